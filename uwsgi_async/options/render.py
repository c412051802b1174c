"""The options as text for people: ``--help`` and ``docs/options.md``, both from the declarations."""

import textwrap
from typing import Final, Literal, get_args, get_origin

from uwsgi_async.options.build import subsystems
from uwsgi_async.options.declare import Declaration, declarations
from uwsgi_async.options.values import expected, is_flag

_WIDTH: Final = 100  # characters in a line of --help
_INDENT: Final = " " * 8

_USAGE = """\
usage: uwsgi-async [OPTION ...] [app.py]

Serves a WSGI app over HTTP/1.1 and the uwsgi protocol. app.py is short for --wsgi-file app.py.
"""
_HELP_TAIL = """\
  -h, --help
        print this and exit
  --version
        print the version and exit"""
_DOCS_HEAD = """\
# Options

Made by `python -m uwsgi_async.options > docs/options.md`; do not edit.

On the command line: `--flag value` or `--flag=value`. In Python: `uwsgi_async.run(app, keyword=value)`. Options
marked * may be given several times; in Python they take one value or a sequence.
"""


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
    return "\n".join(parts)


def _title(subsystem: type) -> str:
    return (subsystem.__doc__ or "").partition(". For ")[0].rstrip(".?")


def _help_entry(declared: Declaration) -> str:
    value = "" if is_flag(declared) else " " + _placeholder(declared)
    flags = ", ".join(dashed(flag) for flag in declared.flags)
    default = _default(declared)
    text = declared.help + (f" (default: {default})" if default else "") + (" (may be repeated)" * declared.repeat)
    return f"  {flags}{value}\n" + textwrap.fill(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)


def _placeholder(declared: Declaration) -> str:
    if get_origin(declared.type) is Literal:
        return "|".join(get_args(declared.type))
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
