"""The config language: sources, conditions, loops, includes and placeholders, in the order in which uWSGI works.

What lives here: `read`. What does not: which files there are and what is in them (`sources`), how often an entry
counts (`logic`), how a placeholder is replaced (`expand`), the meaning of the options (`options.resolve`).

The order: the environment's ``UWSGI_*``, the options of the command line, its files; where an entry loads a file, that
file's entries come in its place. Then ``$(...)``, ``@(...)`` and ``%(...)`` are replaced in all values, and ``inherit``
is loaded behind everything, as it stands. Of a key that takes one value the last entry counts.
Source: uWSGI's pages "Configuration", "ConfigLogic" and "ParsingOrder", core/config.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from uwsgi_async.errors import OptionError
from uwsgi_async.options.config.entries import Entry, of_environment
from uwsgi_async.options.config.expand import LARGEST, Lookup, compute, expand
from uwsgi_async.options.config.logic import repetitions
from uwsgi_async.options.config.sources import Sources
from uwsgi_async.options.config.words import CONDITIONS, ENDS, FORMATS, LOOPS, SWITCHES, WORDS
from uwsgi_async.options.config.world import World

_MOST_ENTRIES = 10_000
_NO = ("false", "off", "no", "0")  # whatever else a switch of uWSGI is given means yes

# What uWSGI tells its own children by the environment.
_NOT_OPTIONS = frozenset(
    f"UWSGI_{name}"
    for name in (
        "RELOADS", "VASSALS_DIR", "EMPEROR_FD", "EMPEROR_FD_CONFIG", "EMPEROR_PROXY", "BROODLORD_NUM", "JAIL_PID",
        "ORIGINAL_PROC_NAME",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read.

    ``entries``: the options in their order, values expanded, without words of the language and placeholders.
    ``listed``: all that was read, as ``--show-config`` prints it. ``magic``: the
    magic variables in the end. ``asked``: the names that some ``%(name)`` asked
    for. ``warnings``: sentences. ``printed``: what ``print``, ``iprint`` and ``get`` say. ``exit``: the status to end
    with at once, None to go on.
    """

    entries: tuple[Entry, ...]
    listed: tuple[Entry, ...]
    magic: Mapping[str, str]
    asked: frozenset[str]
    warnings: tuple[str, ...]
    printed: tuple[str, ...]
    strict: bool
    show: bool
    ignore_unsupported: bool
    exit: int | None


def read(words: Iterable[Entry], files: Iterable[Entry], world: World, is_option: Callable[[str], bool]) -> Reading:
    """Read everything that an instance is configured by.

    ``words``: the command line's options; ``files``: its bare config files, as values of entries.
    ``is_option`` tells whether a name is an option, for ``set-placeholder``. Raises `OptionError` with file and line.
    """
    engine = _Engine(world, is_option)
    try:
        for name, value in world.environ.items():
            if name.startswith("UWSGI_") and name not in _NOT_OPTIONS:
                engine.add(Entry(name[6:].lower().replace("_", "-"), value, of_environment(name)))
        for entry in words:
            engine.add(entry)
        for entry in files:
            engine.load("", entry.value or "", entry)
        engine.finish()
    except SystemExit as end:  # the word ``exit``: what comes behind it is not read
        return engine.reading(int(end.code or 0))
    return engine.reading()


@dataclass(slots=True)
class _Item:
    """An entry of the list. ``done``: its value is taken as it is. ``option``: it is neither word nor placeholder."""

    entry: Entry
    done: bool
    option: bool


class _Engine:
    def __init__(self, world: World, is_option: Callable[[str], bool]) -> None:
        self._world = world
        self._is_option = is_option
        self._sources = Sources(world)
        self._items: list[_Item] = []
        self._first: dict[str, _Item] = {}  # the first item of each key: the one that placeholders mean
        self._asked: set[str] = set()
        self._warnings: list[str] = []
        self._printed: list[str] = []
        self._logic: Entry | None = None
        self._repeating = False
        self._blacklist: frozenset[str] = frozenset()
        self._whitelist: frozenset[str] = frozenset()
        self._switches = dict.fromkeys(SWITCHES, False)
        self._got = False
        self._work = self._table()

    def _table(self) -> dict[str, Callable[[Entry, str], None]]:
        """What each word does, given its entry and its value."""
        return {
            **dict.fromkeys(FORMATS, lambda entry, value: self.load(entry.key, value, entry)),
            **dict.fromkeys((*LOOPS, *CONDITIONS), lambda entry, _: self._begin_logic(entry)),
            **dict.fromkeys(ENDS, lambda _entry, _value: None),
            **dict.fromkeys(SWITCHES, lambda entry, value: self._switch(entry.key, value)),
            **dict.fromkeys(("set-placeholder", "set-ph"), partial(self._set, placeholder=True)),
            "set": partial(self._set, placeholder=False),
            "include": lambda entry, value: self.load("", value, entry),
            "resolve": self._resolve,
            "exit": self._exit,
            "iprint": lambda _, value: self._printed.append(value),
            "blacklist": lambda _, value: self._forbid(blacklist=value),
            "end-blacklist": lambda _entry, _value: self._forbid(blacklist=""),
            "whitelist": lambda _, value: self._forbid(whitelist=value),
            "end-whitelist": lambda _entry, _value: self._forbid(whitelist=""),
        }

    # --- entries in their order ---------------------------------------------------------------------------------

    def add(self, entry: Entry) -> None:
        """Take an entry: as often as the loop or condition around it says, once without one."""
        self._check_allowed(entry)
        if not self._repeating:
            if entry.key in ENDS:
                self._logic = None
            if self._logic is not None:
                self._repeat(self._logic, entry)
                return
        self._put(entry)

    def _repeat(self, logic: Entry, entry: Entry) -> None:
        try:
            items = repetitions(logic, self._world, self._value_of)
        except (OSError, ValueError) as error:
            if isinstance(error, OptionError):
                raise
            self._warnings.append(f"{logic.origin}: {logic.key}: cannot read {logic.value!r}, so nothing is repeated")
            return
        self._repeating = True
        for item in items:
            value = entry.value
            self._put(replace(entry, value=value.replace("%(_)", item) if value and item is not None else value))
        self._repeating = False

    def _put(self, entry: Entry) -> None:
        """Put an entry at the end of the list, and let a word of the language do its work."""
        key, value = entry.key, entry.value or ""
        if WORDS.get(key) == "required" and not value:
            raise OptionError(f"{entry.origin}: {key}: expected a value, but none came")
        self._list(entry, done=key in self._work, option=key not in WORDS)
        if key in self._work:
            self._work[key](entry, value)

    def _list(self, entry: Entry, *, done: bool, option: bool) -> None:
        if len(self._items) >= _MOST_ENTRIES or len(entry.value or "") > LARGEST:
            most = f"at most {_MOST_ENTRIES} options of {LARGEST} characters"
            raise OptionError(f"{entry.origin}: {entry.key[:80]}: expected {most}, but more came")
        item = _Item(entry, done, option)
        self._items.append(item)
        self._first.setdefault(entry.key, item)

    def _check_allowed(self, entry: Entry) -> None:
        key = entry.key.lower()
        if key in self._blacklist or (self._whitelist and key not in self._whitelist and key != "end-whitelist"):
            raise OptionError(f"{entry.origin}: the option {key!r} is forbidden here (by blacklist or whitelist)")

    # --- the words of the language ------------------------------------------------------------------------------

    def _begin_logic(self, entry: Entry) -> None:
        if self._logic is not None:
            around = f"{self._logic.key} ({self._logic.origin})"
            raise OptionError(f"{entry.origin}: {entry.key} inside of {around}: not possible")
        if any(f"{symbol}(" in (entry.value or "") for symbol in "$@%"):
            self._warnings.append(
                f"{entry.origin}: {entry.key}: {entry.value!r} is taken as it stands: placeholders are replaced later"
            )
        self._logic = entry

    def _switch(self, key: str, value: str) -> None:
        self._switches[key] = value.lower() not in _NO

    def _set(self, entry: Entry, value: str, *, placeholder: bool) -> None:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise OptionError(f"{entry.origin}: {entry.key}: expected name=value, but {value!r} came")
        if placeholder and self._is_option(name):
            raise OptionError(
                f"{entry.origin}: {entry.key}: {name!r} is an option, so it cannot be a placeholder: use set"
            )
        chosen = Entry(name, text, entry.origin)
        self._check_allowed(chosen)
        if placeholder:
            self._list(chosen, done=True, option=False)
        else:
            self._put(chosen)

    def _resolve(self, entry: Entry, value: str) -> None:
        name, equals, host = value.partition("=")
        if not equals:
            raise OptionError(f"{entry.origin}: resolve: expected placeholder=host, but {value!r} came")
        try:
            address = self._world.resolve(host)
        except (OSError, ValueError) as error:
            raise OptionError(f"{entry.origin}: resolve: the host {host!r} is not known") from error
        self._set(entry, f"{name}={address}", placeholder=True)

    def _exit(self, entry: Entry, value: str) -> None:
        if entry.value is None:
            raise SystemExit(1)
        raise SystemExit(int(value) & 0xFF if value.isascii() and value.isdigit() and len(value) <= 9 else 0)

    def _forbid(self, *, blacklist: str | None = None, whitelist: str | None = None) -> None:
        if blacklist is not None:
            self._blacklist = frozenset(blacklist.lower().split(" ")) - {""}
        if whitelist is not None:
            self._whitelist = frozenset(whitelist.lower().split(" ")) - {""}

    def load(self, kind: str, spec: str, entry: Entry) -> None:
        """Add the entries of a file. ``kind``: its format; "" is the one that its suffix says."""
        with self._sources.opened(kind, spec, entry) as (entries, warning):
            if warning:
                self._warnings.append(warning)
            for each in entries:
                self.add(each)

    # --- placeholders -------------------------------------------------------------------------------------------

    def _value_of(self, key: str) -> str | None:
        item = self._first.get(key)
        return None if item is None else item.entry.value

    def _placeholder(self, key: str) -> str | None:
        self._asked.add(key)
        return self._value_of(key)

    def _expand_all(self) -> None:
        for symbol in "$@%":
            for item in self._items:
                if not item.done and symbol + "(" in (item.entry.value or ""):
                    item.entry = replace(item.entry, value=self._expanded(item.entry, symbol))

    def _expanded(self, entry: Entry, symbol: str) -> str:
        lookups: dict[str, Lookup] = {
            "$": self._world.environ.get,
            "@": lambda path: self._sources.content(path, entry),
            "%": lambda expression: compute(expression, self._placeholder),
        }
        try:
            return expand(entry.value or "", symbol, lookups[symbol])
        except OptionError as error:
            raise OptionError(f"{entry.origin}: {entry.key}: {error}") from error

    # --- the end ------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Replace the placeholders, load what is inherited, print what is asked for."""
        self._expand_all()
        for item in self._items:  # it grows: an inherited file may inherit another
            if item.entry.key == "inherit":
                self.load("", item.entry.value or "", item.entry)
        for item in self._items:
            value = item.entry.value or ""
            if item.entry.key == "print":
                self._printed.append(value)
        for item in self._items:
            if item.entry.key == "get":
                self._got = True
                found = self._value_of(item.entry.value or "")
                self._printed += [found] if found is not None else []

    def reading(self, status: int | None = None) -> Reading:
        """Return all that was read. ``status``: of the word ``exit``."""
        return Reading(
            entries=tuple(item.entry for item in self._items if item.option),
            listed=tuple(item.entry for item in self._items),
            magic=dict(self._sources.magic),
            asked=frozenset(self._asked),
            warnings=tuple(dict.fromkeys(self._warnings)),
            printed=tuple(self._printed),
            strict=self._switches["strict"],
            show=self._switches["show-config"],
            ignore_unsupported=self._switches["ignore-unsupported"],
            exit=0 if status is None and self._got else status,
        )
