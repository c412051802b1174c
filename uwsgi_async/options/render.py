"""The options as text for people: ``--help`` and ``docs/options.md``, both from the declarations and the catalog."""

import textwrap
from typing import Final, Literal, get_args, get_origin

from uwsgi_async.options import catalog
from uwsgi_async.options.build import subsystems
from uwsgi_async.options.config.words import WORDS
from uwsgi_async.options.declare import Declaration, declarations
from uwsgi_async.options.values import expected, is_flag

_WIDTH: Final = 100  # characters in a line of --help
_INDENT: Final = " " * 8

_USAGE = """\
usage: uwsgi-async [OPTION ...] [app.py] [app.ini ...]
       uwsgi-async check [OPTION ...] app.ini    say what would happen, and do not start
       uwsgi-async top|ps|reload|stop TARGET     an instance, by pid, pidfile or stats address
       uwsgi-async --help WORD                   all options about WORD, also of uWSGI alone

Serves WSGI apps over HTTP/1.1 and the uwsgi protocol. app.py is short for --wsgi-file app.py, and
package.module:callable for --module package.module:callable; app.ini, app.yaml, app.json and
app.toml are config files as uWSGI reads them.
"""
_HELP_TAIL = """\
Config files and help
  --ini, --yaml, --json, --toml FILE[:SECTION]
        read options from this file
  --set NAME=VALUE, --set-placeholder NAME=VALUE
        give an option, or a value for %(NAME) in config files
  --show-config
        print all options as one ini file before the start
  --strict
        an unknown name in a config file is an error
  --ignore-unsupported
        start although there are options of uWSGI that are not supported here
  -h, --help [WORD]
        print this, or the options about WORD, and exit
  --version
        print the version and exit

Examples
  uwsgi-async --http-socket 127.0.0.1:8000 --async 100 app.py
  uwsgi-async --http-socket :8000 --master --processes 4 --module project.wsgi --chdir /srv/project
  uwsgi-async --socket /run/app.sock --chmod-socket=660 --ini app.ini:production
  uwsgi-async check app.ini"""
_DOCS_HEAD = """\
# Options

Made by `python -m uwsgi_async.options > docs/options.md`; do not edit.

On the command line: `--flag value` or `--flag=value`. In a config file: `flag = value`, without dashes; an ini file's
section is `[uwsgi]`. In Python: `uwsgi_async.run(app, keyword=value)`. Options marked * may be given several times;
in Python they take one value or a sequence. First the options that are built, then the rest of uWSGI 2.0.31's: those
that are accepted and change nothing, and those that are refused (`ignore-unsupported` makes that a warning).
"""


_VERDICTS: Final[dict[catalog.Verdict, str]] = {
    "no meaning": "Options of uWSGI without effect here",
    "unsupported": "Options of uWSGI that are not supported",
}


def dashed(flag: str) -> str:
    """Return the flag as it is typed: one letter gets one dash, a word two."""
    return f"-{flag}" if len(flag) == 1 else f"--{flag}"


def render_help() -> str:
    """Return the text of ``--help``, without a newline at the end."""
    parts = [_USAGE]
    for subsystem in subsystems().values():
        parts.append(_title(subsystem) + "\n")
        parts += [_help_entry(declared) for declared in declarations(subsystem)]
        parts.append("")
    return "\n".join([*parts, _HELP_TAIL])


def render_search(word: str) -> str:
    """Return the options whose names or help have ``word``, built ones first, then the rest of uWSGI's."""
    wanted = word.lower()
    parts = [
        _help_entry(declared)
        for subsystem in subsystems().values()
        for declared in declarations(subsystem)
        if any(wanted in flag for flag in declared.flags) or wanted in declared.help.lower()
    ]
    for family in catalog.families():
        found = [option for option in family.options if wanted in option.name]
        if found:
            names = ", ".join(dashed(option.name) for option in found)
            verdict = "accepted, without effect" if family.verdict == "no meaning" else "not supported"
            parts += [_filled(names, "  "), _filled(f"{verdict}: {family.reason}", _INDENT)]
    return "\n".join(parts) if parts else f"no option is about {word!r}; --help lists all that are built"


def render_docs() -> str:
    """Return the whole of ``docs/options.md``."""
    parts = [_DOCS_HEAD]
    for subsystem in subsystems().values():
        parts += [
            f"## {_title(subsystem)}\n",
            "| option | keyword | takes | default | meaning |",
            "|---|---|---|---|---|",
        ]
        parts += [_docs_row(declared) for declared in declarations(subsystem)]
        parts.append("")
    parts.append(_docs_words())
    for verdict, title in _VERDICTS.items():
        parts += [f"## {title}\n", "| what | why | options |", "|---|---|---|"]
        parts += [_docs_family(family) for family in catalog.families() if family.verdict == verdict]
        parts.append("")
    return "\n".join(parts)


def _docs_words() -> str:
    words = " ".join(f"`{word}`" for word in WORDS)
    return f"## Words of the config language\n\nThey work as in uWSGI: {words}\n"


def _docs_family(family: catalog.Family) -> str:
    names = " ".join(f"`{option.name}`" for option in family.options)
    return f"| {family.title} | {family.reason} | {names} |"


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def _title(subsystem: type) -> str:
    return (subsystem.__doc__ or "").partition(". For ")[0].rstrip(".?")


def _help_entry(declared: Declaration) -> str:
    value = "" if is_flag(declared) else " " + _placeholder(declared)
    flags = ", ".join(dashed(flag) for flag in declared.flags)
    default = _default(declared)
    text = declared.help + (f" (default: {default})" if default else "") + (" (may be repeated)" * declared.repeat)
    return _filled(flags + value, "  ") + "\n" + _filled(text, _INDENT)


def _placeholder(declared: Declaration) -> str:
    if get_origin(declared.type) is Literal:
        return "|".join(get_args(declared.type))
    if declared.form is not None:
        return declared.form.example
    return declared.unit.upper() or ("N" if declared.type in (int, float) else "VALUE")


def _docs_row(declared: Declaration) -> str:
    flags = " ".join(f"`{dashed(flag)}`" for flag in declared.flags) + " *" * declared.repeat
    takes = "nothing" if is_flag(declared) else expected(declared)
    default = _default(declared)
    cells = (flags, f"`{declared.field}`", takes, f"`{default}`" if default else "", declared.help)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(declared: Declaration) -> str:
    """The default as it would be typed; "" when there is nothing to tell."""
    value = declared.default
    if value is None or value is False or value == ():
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
