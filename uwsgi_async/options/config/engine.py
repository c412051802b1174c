"""The config language: conditions, loops, includes and placeholders, in the order in which uWSGI works.

What lives here: `read`. What does not: formats (`readers`), the meaning of the options (`options.resolve`).

The order: the environment's ``UWSGI_*``, the options of the command line, its files; where an entry loads a file, that
file's entries come in its place. Then ``$(...)``, ``@(...)`` and ``%(...)`` are replaced in all values, and ``inherit``
is loaded behind everything. Of a key that takes one value the last entry counts.
Source: uWSGI's pages "Configuration", "ConfigLogic" and "ParsingOrder", and its behaviour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from uwsgi_async.errors import OptionError
from uwsgi_async.options.config.entries import ENVIRONMENT, Entry, Origin
from uwsgi_async.options.config.expand import LARGEST, compute, expand
from uwsgi_async.options.config.magic import magic_of_file, substitute
from uwsgi_async.options.config.readers import READERS
from uwsgi_async.options.config.words import CONDITIONS, ENDS, FORMATS, LOOPS, WORDS
from uwsgi_async.options.config.world import STDIN, World

_MOST_ENTRIES = 10_000
_MOST_FILES = 100
_NOT_OPTIONS = ("RELOADS", "VASSALS_DIR", "BROODLORD_NUM", "JAIL_PID", "ORIGINAL_PROC_NAME")
_SCHEME = re.compile(r"[a-z]+://")
_PYPROJECT = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read.

    ``entries``: the options in their order, values expanded, without the words of the language. ``placeholders``:
    the names that were set for ``%(name)``, or asked for by it. ``warnings``: sentences. ``printed``: what `print`
    and `get` say.
    ``exit``: the status of the word ``exit``; None without it.
    """

    entries: tuple[Entry, ...]
    placeholders: frozenset[str]
    warnings: tuple[str, ...]
    printed: tuple[str, ...]
    strict: bool
    show: bool
    ignore_unsupported: bool
    exit: int | None


def read(words: Sequence[Entry], files: Sequence[Entry], world: World, is_option: Callable[[str], bool]) -> Reading:
    """Read everything that an instance is configured by.

    ``words``: the command line's options; ``files``: its config files, as entries of ``ini``, ``yaml`` and so on.
    ``is_option`` tells whether a name is an option, for ``set-placeholder``. Raises `OptionError` with file and line.
    """
    engine = _Engine(world, is_option)
    for name, value in world.environ.items():
        if name.startswith("UWSGI_") and not name.startswith("UWSGI_EMPEROR") and name[6:] not in _NOT_OPTIONS:
            engine.add(Entry(name[6:].lower().replace("_", "-"), value, ENVIRONMENT))
    for entry in (*words, *files):
        engine.add(entry)
    return engine.finish()


class _Engine:
    def __init__(self, world: World, is_option: Callable[[str], bool]) -> None:
        self._world = world
        self._is_option = is_option
        self._entries: list[Entry] = []
        self._placeholders: set[str] = set()
        self._asked: set[str] = set()
        self._warnings: list[str] = []
        self._printed: list[str] = []
        self._logic: Entry | None = None
        self._blacklist: frozenset[str] = frozenset()
        self._whitelist: frozenset[str] = frozenset()
        self._loading: list[tuple[str, str]] = []
        self._files = 0
        self._first_magic: dict[str, str] | None = None
        self._strict = self._show = self._ignore_unsupported = False
        self._exit: int | None = None

    # --- entries in their order ---------------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        """Take an entry: let a word of the language do its work, put anything else at the end of the list."""
        if entry.key in ENDS:
            self._logic = None
            return
        if self._logic is not None:
            for each in self._run_logic(self._logic, entry):
                self._add(each)
            return
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        key, origin = entry.key, entry.origin
        if key in self._blacklist or (self._whitelist and key not in self._whitelist and key != "end-whitelist"):
            raise OptionError(f"{origin}: the option {key!r} is forbidden here (by blacklist or whitelist)")
        if len(self._entries) >= _MOST_ENTRIES or len(entry.value or "") > LARGEST:
            raise OptionError(f"{origin}: expected at most {_MOST_ENTRIES} options of {LARGEST} characters, got more")
        if key not in WORDS:
            self._entries.append(entry)
            return
        takes = WORDS[key]
        if takes == "required" and not entry.value:
            raise OptionError(f"{origin}: {key}: expected a value, but none came")
        self._do(entry, entry.value or "")

    def _do(self, entry: Entry, value: str) -> None:
        key, origin = entry.key, entry.origin
        if key in FORMATS:
            self._load(key, value, origin)
        elif key == "include":
            self._load(_format_of(value, origin), value, origin)
        elif key in LOOPS or key in CONDITIONS:
            if self._logic is not None:
                raise OptionError(f"{origin}: {key} inside of {self._logic.key} ({self._logic.origin}): not possible")
            self._logic = entry
        elif key in ("set", "set-placeholder", "set-ph"):
            self._set(key, value, origin)
        elif key == "resolve":
            self._resolve(value, origin)
        elif key == "strict":
            self._strict = True
        elif key == "show-config":
            self._show = True
        elif key == "ignore-unsupported":
            self._ignore_unsupported = True
        elif key == "exit":
            self._exit = int(value) if value.isascii() and value.isdigit() else 0
        elif key == "iprint":
            self._printed.append(value)
        elif key in ("blacklist", "end-blacklist"):
            self._blacklist = frozenset(value.split())
        elif key in ("whitelist", "end-whitelist"):
            self._whitelist = frozenset(value.split())
        else:  # inherit, print, get: when everything is known
            self._entries.append(entry)

    def _set(self, key: str, value: str, origin: Origin) -> None:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise OptionError(f"{origin}: {key}: expected name=value, but {value!r} came")
        if key == "set":
            self._add(Entry(name, text, origin))
            return
        if self._is_option(name):
            raise OptionError(f"{origin}: {key}: {name!r} is an option, so it cannot be a placeholder: use set")
        self._placeholders.add(name)
        self._entries.append(Entry(name, text, origin))

    def _resolve(self, value: str, origin: Origin) -> None:
        name, equals, host = value.partition("=")
        if not equals:
            raise OptionError(f"{origin}: resolve: expected placeholder=host, but {value!r} came")
        try:
            address = self._world.resolve(host)
        except OSError as error:
            raise OptionError(f"{origin}: resolve: the host {host!r} is not known") from error
        self._placeholders.add(name)
        self._entries.append(Entry(name, address, origin))

    # --- files --------------------------------------------------------------------------------------------------

    def _load(self, kind: str, spec: str, origin: Origin) -> None:
        """Add the entries of a file, ``path`` or ``path:section``."""
        if _SCHEME.match(spec):
            raise OptionError(f"{origin}: {kind}: only files can be read, not {spec!r}: fetch it before the start")
        path, colon, section = spec.rpartition(":") if ":" in spec else (spec, "", "")
        if colon and not path:
            path = self._loading[-1][0] if self._loading else ""
            if not path:
                raise OptionError(f"{origin}: {kind}: {spec!r} names a section of no file")
        default = "tool.uwsgi-async" if path.endswith(_PYPROJECT) else "uwsgi"
        identity = (path, section or default)
        if identity in self._loading or self._files >= _MOST_FILES:
            chain = " > ".join(":".join(each) for each in (*self._loading, identity))
            raise OptionError(f"{origin}: {kind}: this file is being read already, it would never end: {chain}")
        self._files += 1
        text = self._text(path, kind, origin)
        magic = magic_of_file(path, section, self._world, self._first_magic)
        if self._first_magic is None:
            self._first_magic = magic
        source = "standard input" if path == STDIN else path
        entries = READERS[kind](substitute(text, magic), section or default, source)
        if entries is None:
            self._warnings.append(f"{source} has no section [{section or default}]: nothing was read from it")
            return
        self._loading.append(identity)
        try:
            for entry in entries:
                self.add(entry)
        finally:
            self._loading.pop()

    def _text(self, path: str, kind: str, origin: Origin) -> str:
        try:
            return self._world.read(path)
        except OSError as error:
            raise OptionError(f"{origin}: {kind}: cannot read {path!r}: {error.strerror or error}") from error
        except ValueError as error:
            raise OptionError(f"{origin}: {kind}: {path!r} is not text in UTF-8") from error

    # --- logic --------------------------------------------------------------------------------------------------

    def _run_logic(self, logic: Entry, entry: Entry) -> Iterator[Entry]:
        """Yield ``entry`` as often as the loop or the condition around it says, its ``%(_)`` replaced."""
        value = self._expand_now(logic.value or "")
        items = self._loop(logic, value) if logic.key in LOOPS else self._condition(logic, value)
        for item in items:
            yield entry if entry.value is None else replace(entry, value=entry.value.replace("%(_)", item))

    def _expand_now(self, value: str) -> str:
        """The argument of a loop or condition may name what is known so far by ``$(...)``. An extension of ours."""
        return expand(value, "$", self._world.environ.get)

    def _loop(self, logic: Entry, value: str) -> Sequence[str]:
        if logic.key == "for":
            return value.split()
        if logic.key == "for-glob":
            return self._world.glob(value) or [value]
        if logic.key == "for-times":
            if not (value.isascii() and value.isdigit() and int(value) <= _MOST_ENTRIES):
                raise OptionError(f"{logic.origin}: for-times: expected a number up to {_MOST_ENTRIES}, not {value!r}")
            return [str(number) for number in range(1, int(value) + 1)]
        return self._text(value, logic.key, logic.origin).splitlines()

    def _condition(self, logic: Entry, value: str) -> Sequence[str]:
        """Return what ``%(_)`` is when the condition holds, as a list of one; an empty list when it does not."""
        word = logic.key.removeprefix("if").removeprefix("-")
        wanted = not word.startswith("not-")
        word = word.removeprefix("not-")
        if word in ("env", "opt"):
            name, equals, expected = value.partition("=")
            known = self._world.environ.get(name) if word == "env" else self._value_of(name)
            holds = known is not None and (not equals or known == expected)
            return [known or ""] if holds == wanted else []
        if word == "reload":
            holds = self._world.reload
        elif word == "exists":
            holds = self._world.exists(value)
        elif word == "file":
            holds = self._world.is_file(value)
        elif word in ("dir", "directory"):
            holds = self._world.is_dir(value)
        elif word == "plugin":
            holds = value in ("python", "python3", "http", "asyncio", "greenlet", "ugreen", "gevent")
        elif word == "hostname":
            holds = self._world.hostname == value
        else:
            try:
                holds = re.search(value, self._world.hostname) is not None
            except re.error as error:
                raise OptionError(
                    f"{logic.origin}: {logic.key}: {value!r} is no regular expression: {error}"
                ) from error
        return [value] if holds == wanted else []

    def _placeholder(self, key: str) -> str | None:
        self._asked.add(key)
        return self._value_of(key)

    def _value_of(self, key: str) -> str | None:
        """The value of the first entry with that key."""
        for entry in self._entries:
            if entry.key == key:
                return entry.value or ""
        return None

    # --- the end ------------------------------------------------------------------------------------------------

    def finish(self) -> Reading:
        """Replace the placeholders, load what is inherited, and return everything."""
        self._expand_all()
        while inherited := [entry for entry in self._entries if entry.key == "inherit"]:
            self._entries = [entry for entry in self._entries if entry.key != "inherit"]
            for entry in inherited:
                self._load(_format_of(entry.value or "", entry.origin), entry.value or "", entry.origin)
            self._expand_all()
        options = []
        for entry in self._entries:
            if entry.key == "print":
                self._printed.append(entry.value or "")
            elif entry.key == "get":
                self._printed.append(self._value_of(entry.value or "") or "")
                self._exit = 0
            else:
                options.append(entry)
        return Reading(
            entries=tuple(options),
            placeholders=frozenset(self._placeholders | self._asked),
            warnings=tuple(self._warnings),
            printed=tuple(self._printed),
            strict=self._strict,
            show=self._show,
            ignore_unsupported=self._ignore_unsupported,
            exit=self._exit,
        )

    def _expand_all(self) -> None:
        for symbol in "$@%":
            for number, entry in enumerate(self._entries):
                if entry.key in self._placeholders:
                    continue  # replaced where it is used
                if entry.value is not None and symbol + "(" in entry.value:
                    self._entries[number] = replace(entry, value=self._expanded(entry, symbol))

    def _expanded(self, entry: Entry, symbol: str) -> str:
        def from_file(path: str) -> str:
            if _SCHEME.match(path):
                raise OptionError(f"{entry.origin}: {entry.key}: only files can be read, not {path!r}")
            return self._text(path, f"{entry.key}: @({path})", entry.origin).removesuffix("\n").removesuffix("\r")

        lookups: dict[str, Callable[[str], str | None]] = {
            "$": self._world.environ.get,
            "@": from_file,
            "%": lambda expression: compute(expression, self._placeholder),
        }
        try:
            return expand(entry.value or "", symbol, lookups[symbol])
        except OptionError as error:
            if str(error).startswith(str(entry.origin)):
                raise
            raise OptionError(f"{entry.origin}: {entry.key}: {error}") from error


def _format_of(spec: str, origin: Origin) -> str:
    """Return the format of a file by its suffix."""
    path = spec.rpartition(":")[0] or spec
    suffix = path.rpartition(".")[2]
    if suffix not in READERS:
        raise OptionError(f"{origin}: expected a file that ends with .{', .'.join(READERS)}, but {spec!r} came")
    return suffix
