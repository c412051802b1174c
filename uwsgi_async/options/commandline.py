"""The command line: words to `Options`, from nothing but the declarations.

What lives here: `parse`. What does not: the options themselves (`settings.py`), the text of ``--help`` (`render.py`),
starting anything (`cli`). Accepted are ``--flag value``, ``--flag=value``, ``-s value``, ``-svalue``, a switch alone
or as ``--switch=false``, and one file: ``app.py`` means ``--wsgi-file app.py``. The last value of an option counts,
except that repeated options add up. A value that begins with a dash needs the ``=``, unless it is a number.
Why not argparse: each error shall name the option, what was expected and what came.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from uwsgi_async.errors import OptionError
from uwsgi_async.options.build import assemble, by_field, nearest
from uwsgi_async.options.declare import Declaration
from uwsgi_async.options.render import dashed, render_help
from uwsgi_async.options.settings import Options
from uwsgi_async.options.values import expected, from_text, is_flag

RESERVED: Final = ("help", "h", "version")  # flags that no option may have

_APP_SUFFIXES = (".py", ".wsgi")
_NUMBER = re.compile(r"-\.?\d")


def parse(argv: Sequence[str]) -> Options:
    """Return the options of a command line, without the program's name: ``parse(sys.argv[1:])``.

    Prints and raises SystemExit(0) for ``--help`` and ``--version``. Raises `OptionError` for an unknown option, a
    missing or unexpected value, a value of a wrong type or out of range, and a second file.
    """
    values: dict[str, Any] = {}
    words = _Words(argv)
    has_file = False
    for word in words:
        if word in ("--help", "-h"):
            _print_and_exit(render_help())
        if word == "--version":
            _print_and_exit(f"uwsgi-async {version('uwsgi-async')}")
        if word.startswith("-") and word != "-":
            _take_option(word, words, values)
        elif has_file:
            raise OptionError(f"expected one app at most, but {word!r} came after {values['wsgi_file']!r}")
        else:
            values["wsgi_file"] = _app_file(word)
            has_file = True
    return assemble(values)


class _Words(Iterator[str]):
    """The words of a command line, with a look at the next one."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._at = 0

    def __next__(self) -> str:
        if self._at >= len(self._words):
            raise StopIteration
        self._at += 1
        return self._words[self._at - 1]

    def next_value(self) -> str | None:
        """Take the next word, if it may be a value; else None."""
        if self._at >= len(self._words):
            return None
        word = self._words[self._at]
        if word.startswith("-") and word != "-" and not _NUMBER.match(word):
            return None
        return next(self)


@cache
def _by_flag() -> Mapping[str, Declaration]:
    return {dashed(flag): declared for declared in by_field().values() for flag in declared.flags}


def _take_option(word: str, words: _Words, values: dict[str, Any]) -> None:
    flag, text = _split(word)
    declared = _by_flag().get(flag)
    if declared is None:
        raise OptionError(f"unknown option {flag}; {_hint(flag)}")
    value = True if is_flag(declared) and text is None else _value(declared, flag, text, words)
    if declared.repeat:
        value = (*values.get(declared.field, ()), value)
    values[declared.field] = value


def _split(word: str) -> tuple[str, str | None]:
    """``--flag=text`` and ``-ftext`` to the flag, with its dashes, and the text; None: no text is attached."""
    if word.startswith("--"):
        flag, equals, text = word.partition("=")
        return flag, text if equals else None
    return word[:2], word[2:] or None


def _value(declared: Declaration, flag: str, text: str | None, words: _Words) -> Any:
    if text is None:
        text = words.next_value()
    if text is None:
        raise OptionError(f"{flag}: expected {expected(declared)}, but no value came")
    return from_text(declared, text, flag)


def _hint(flag: str) -> str:
    words = (known.removeprefix("--") for known in _by_flag() if known.startswith("--"))
    match = nearest(flag.removeprefix("--"), words) if flag.startswith("--") else None
    return f"did you mean --{match}?" if match else "--help lists all of them"


def _app_file(word: str) -> str:
    if not word.endswith(_APP_SUFFIXES):
        raise OptionError(f"expected an option or a file such as app.py, but {word!r} came; a module needs --module")
    return word


def _print_and_exit(text: str) -> None:
    print(text)
    raise SystemExit(0)
