"""The command line: words to entries, and with all other sources to `Options`.

What lives here: `parse`, `configure`, `check`. What does not: the options themselves (`settings`), config files
(`config`), what entries mean (`resolve`), the text of ``--help`` (`render`), starting anything (`cli`). Accepted are
``--flag value``, ``--flag=value``, ``-s value``, ``-svalue``, a switch alone or as ``--switch=false``, and files:
``app.py`` means ``--wsgi-file app.py``, ``package.module:callable`` means ``--module``, ``app.ini`` (or .yaml, .json,
.toml) is a config file, read behind the other words. A value that begins with a dash needs the ``=``, unless it is a
number. Behind ``--`` there are only files.
Why not argparse: every word of uWSGI's shall be known, its values repeat and keep their order, and each error names
the option, what was expected and what came.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from uwsgi_async.errors import OptionError
from uwsgi_async.options import catalog
from uwsgi_async.options.build import nearest
from uwsgi_async.options.caching import check_room, specs_of
from uwsgi_async.options.config.engine import Reading, read
from uwsgi_async.options.config.entries import COMMAND_LINE, Entry, of_flag
from uwsgi_async.options.config.readers import READERS
from uwsgi_async.options.config.words import WORDS
from uwsgi_async.options.config.world import Machine, World
from uwsgi_async.options.render import dashed, render_help, render_search
from uwsgi_async.options.resolve import Resolution, by_letter, by_name, names, resolve
from uwsgi_async.options.settings import Options
from uwsgi_async.options.values import expected, is_flag, is_yes_or_no

RESERVED: Final = ("help", "h", "version")  # flags that no option may have
CHECK: Final = "check"
"""The first word that asks what would happen, without a start."""

_APP_SUFFIXES = (".py", ".wsgi")
_CONFIG_SUFFIXES = tuple(f".{kind}" for kind in READERS)
_STDIN_OR_NUMBER = re.compile(r"-(\.?\d|:|$)")
_MODULE = re.compile(r"[\w.]+:\w+(\(\))?")


def parse(argv: Sequence[str], world: World | None = None) -> Options:
    """Return the options of a command line, without the program's name: ``parse(sys.argv[1:])``.

    ``world``: the machine; None is this one. Prints and raises SystemExit for ``--help``, ``--version`` and what a
    config file says about printing and exiting. Raises `OptionError` with one line for each entry that is wrong.
    """
    options = configure(argv, world).options
    assert options is not None  # configure has raised
    return options


def configure(argv: Sequence[str], world: World | None = None) -> Resolution:
    """Return what a command line comes to, with the remarks about it. Prints and raises as `parse`."""
    reading = _read(argv, world or Machine())
    for line in reading.printed:
        say(line)
    if reading.exit is not None:
        raise SystemExit(reading.exit)
    if reading.show:
        say(show(reading))
    resolution = resolve(reading)
    if resolution.problems:
        raise OptionError("\n".join(resolution.problems))
    return resolution


def check(argv: Sequence[str], world: World | None = None) -> tuple[str, bool]:
    """Return what would happen with these words, as text, and whether the instance would start.

    Raises `OptionError` for what cannot even be read.
    """
    reading = _read(argv, world or Machine())
    resolution = resolve(reading)
    problems = list(resolution.problems)
    options = resolution.options
    if options is not None:
        if not options.sockets.http_socket and not options.sockets.socket:
            problems.append("there is no socket to serve: give one with http-socket or socket")
        if not (options.load.names_an_app() or options.static.serves_files()) and options.load.need_app:
            problems.append("there is no app: name one with wsgi-file, module or mount")
        try:
            check_room(specs_of(options.cache))
        except OptionError as error:
            problems.append(str(error))
    lines = [show(reading), ""]
    for title, sentences in (("good to know", resolution.remarks), ("not possible", problems)):
        if sentences:
            lines += [f"{title}:", *(f"  {sentence}" for sentence in sentences), ""]
    lines.append("it would not start" if problems else "it would start")
    return "\n".join(lines), not problems


def show(reading: Reading) -> str:
    """Return all that was read as one ini file, as ``--show-config`` prints it."""
    lines = [";uWSGI instance configuration", "[uwsgi]"]
    lines += [f"{entry.key} = {'true' if entry.value is None else entry.value}" for entry in reading.listed]
    return "\n".join([*lines, ";end of configuration"])


def _read(argv: Sequence[str], world: World) -> Reading:
    entries: list[Entry] = []
    files: list[Entry] = []
    app: str | None = None
    options_end = False
    words = _Words(argv)
    for word in words:
        if options_end or not word.startswith("-") or word == "-":
            if word.partition(":")[0].endswith(_CONFIG_SUFFIXES):
                files.append(Entry("", word, COMMAND_LINE))
            elif app is not None:
                raise OptionError(f"expected one app at most, but {word!r} came after {app!r}")
            else:
                app = word
                entries += _app(word)
        elif word in ("--help", "-h") or word.startswith("--help="):
            subject = word.partition("=")[2] or next(words, "")
            _print_and_exit(render_search(subject) if subject else render_help())
        elif word == "--version":
            from importlib.metadata import version  # here, because it takes as long as the rest of this package

            _print_and_exit(f"uwsgi-async {version('uwsgi-async')}")
        elif word == "--":
            options_end = True
        else:
            entries.append(_entry(word, words))
    return read(entries, files, world, lambda name: name in names())


def say(text: str) -> None:
    """Print text, which may have bytes in it that are no UTF-8; nobody needs to read it to its end."""
    try:
        print(text.encode("utf-8", "backslashreplace").decode(), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends


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

    def next_value(self, *, not_a_file: bool = False) -> str | None:
        """Take the next word, if it may be a value; else None. ``not_a_file``: an app or config file is none."""
        if self._at >= len(self._words):
            return None
        word = self._words[self._at]
        if word.startswith("-") and not _STDIN_OR_NUMBER.match(word):
            return None
        if not_a_file and word.endswith((*_APP_SUFFIXES, *_CONFIG_SUFFIXES)):
            return None
        return next(self)

    def next_yes_or_no(self) -> str | None:
        """Take the next word if it is a yes or a no, as behind a switch that takes a value in uWSGI; else None."""
        return next(self) if self._at < len(self._words) and is_yes_or_no(self._words[self._at]) else None


def _entry(word: str, words: _Words) -> Entry:
    """Return the entry of a flag, and take its value from the words if it needs one."""
    flag, text = _split(word)
    name = flag.lstrip("-")
    if (len(name) == 1) == flag.startswith("--"):
        raise _unknown(flag)
    key = by_letter().get(name, name)
    declared = by_name().get(key)
    known = catalog.lookup(key)
    if declared is not None:
        takes = "none" if is_flag(declared) else "required" if declared.bare is None else "optional"
    elif known is not None:
        takes = known.takes
    elif key in WORDS:
        takes = WORDS[key]
    else:
        raise _unknown(flag)
    if text is None and takes == "required":
        text = words.next_value()
        if text is None:
            wanted = expected(declared) if declared is not None else "a value"
            raise OptionError(f"{flag}: expected {wanted}, but no value came")
    if text is None and takes == "none":
        text = words.next_yes_or_no()
    if text is None and declared is not None and declared.bare is not None:
        text = words.next_value(not_a_file=True)
    return Entry(key, text, of_flag(flag))


def _split(word: str) -> tuple[str, str | None]:
    """``--flag=text`` and ``-ftext`` to the flag, with its dashes, and the text; None: no text is attached."""
    if word.startswith("--"):
        flag, equals, text = word.partition("=")
        return flag, text if equals else None
    return word[:2], word[2:] or None


def _unknown(flag: str) -> OptionError:
    match = nearest(flag.removeprefix("--"), names()) if flag[:2] == "--" else None
    return OptionError(
        f"unknown option {flag}; {f'did you mean {dashed(match)}?' if match else '--help lists all of them'}"
    )


def _app(word: str) -> Sequence[Entry]:
    """Return the entries that ``app.py``, ``app.py:callable`` or ``package.module:callable`` stands for."""
    path, _, name = word.partition(":")
    if path.endswith(_APP_SUFFIXES):
        callable = [Entry("callable", name, COMMAND_LINE)] if name else []
        return [Entry("wsgi-file", path, COMMAND_LINE), *callable]
    if _MODULE.fullmatch(word):
        return [Entry("module", word, COMMAND_LINE)]
    raise OptionError(
        f"expected an option, an app such as app.py or package.module:callable, or a config file such as app.ini, "
        f"but {word!r} came"
    )


def _print_and_exit(text: str) -> None:
    say(text)
    raise SystemExit(0)
