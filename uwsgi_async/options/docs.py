"""``docs/options.md``, from the declarations, the words of the config language and the catalog.

What lives here: `render_docs`. What does not: ``--help`` (`render`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from uwsgi_async.options import catalog
from uwsgi_async.options.build import groups
from uwsgi_async.options.config.words import HELP
from uwsgi_async.options.declare import Declaration, declarations
from uwsgi_async.options.render import dashed, default_of, title_of
from uwsgi_async.options.values import expected, is_flag

_HEAD: Final = """\
# Options

Made by `python -m uwsgi_async.options > docs/options.md`; do not edit.

On the command line: `--flag value` or `--flag=value`. In a config file: `flag = value`, without dashes; an ini file's
section is `[uwsgi]`. In the environment: `UWSGI_FLAG`. In Python: `uwsgi_async.run(app, keyword=value)`. Options
marked * may be given several times; in Python they take one value or a sequence. A letter is for the command line
alone. A reload reads the options again, but does not change those marked †. First the options that are built, then the
rest of uWSGI 2.0.31's: those that are accepted and change nothing, and those that are refused (`ignore-unsupported`
makes that a warning).
"""
_VERDICTS: Final[dict[catalog.Verdict, str]] = {
    "no meaning": "Options of uWSGI without effect here",
    "unsupported": "Options of uWSGI that are not supported",
}


def render_docs() -> str:
    """Return the whole of ``docs/options.md``."""
    parts = [_HEAD]
    for subsystem in groups():
        parts += [
            f"## {title_of(subsystem)}\n",
            "| option | keyword | takes | default | meaning |",
            "|---|---|---|---|---|",
        ]
        parts += [_option(declared) for declared in declarations(subsystem)]
        parts.append("")
    parts += ["## Words of the config language\n", "| word | takes | meaning |", "|---|---|---|"]
    parts += [_row(_code(names), value, meaning) for names, value, meaning in HELP]
    parts.append("")
    for verdict, title in _VERDICTS.items():
        parts += [f"## {title}\n", "| what | why | options |", "|---|---|---|"]
        parts += [_family(family) for family in catalog.families() if family.verdict == verdict]
        parts.append("")
    return "\n".join(parts)


def _option(declared: Declaration) -> str:
    flags = _code(map(dashed, declared.flags)) + " *" * declared.repeat
    takes = "nothing" if is_flag(declared) else expected(declared)
    default = default_of(declared)
    meaning = declared.help + " †" * declared.fixed
    return _row(flags, f"`{declared.field}`", takes, f"`{default}`" if default else "", meaning)


def _family(family: catalog.Family) -> str:
    return _row(family.title, family.reason, _code(option.name for option in family.options))


def _code(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
