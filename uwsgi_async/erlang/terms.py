"""Erlang terms as Python values, and back: uWSGI's table on top of erlang_py.

What lives here: `encode` and `decode`. What does not: the types without a Python one (`values`), the check of foreign
bytes (`measure`). erlang_py (the extra ``erlang``) makes the bytes, and is imported by the first call.

    Python                           Erlang                 and back
    bytes                            binary                 bytes
    str                              atom                   str
    True, False                      atoms true, false      True, False
    int, float                       integer, float         int, float
    list                             list                   list; ErlangString when all are numbers below 256
    None                             []                     []
    tuple                            tuple                  tuple
    dict                             map                    dict
    Pid (a tuple of three numbers)   pid                    Pid

Source: uWSGI's page "Integrating uWSGI with Erlang"; plugins/pyerl/pyerl.c of uWSGI 1.9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, Final

from uwsgi_async.erlang.measure import DEEPEST, Measured, measure
from uwsgi_async.erlang.values import BitString, ErlangString, Fun, ImproperList, Pid, Port, Reference, Term
from uwsgi_async.errors import ErlangError, NotConfiguredError, TermError

_LONGEST_ATOM: Final = 255  # characters
_WORD: Final = 4  # bytes
_V4: Final = 8  # bytes of the number of a port


@cache
def library() -> ModuleType:
    """Return erlang_py's module. Raises `NotConfiguredError` that names the extra when it is not installed."""
    try:
        import erlang
    except ImportError as error:
        raise NotConfiguredError("Erlang's terms need erlang_py: pip install 'uwsgi-async[erlang]'") from error
    return erlang  # type: ignore[no-any-return]


def encode(term: Term) -> bytes:
    """Return the external form of a term, with its version. Raises `TermError` for what has none."""
    erlang = library()
    try:
        made: bytes = erlang.term_to_binary(_to_library(term, DEEPEST))
    except erlang.OutputException as error:
        raise TermError(f"{type(term).__name__} cannot be an Erlang term: {error}") from error
    return made


def decode(data: bytes, start: int = 0) -> tuple[Term, int]:
    """Return the term at ``start``, and where it ends. Raises `ErlangError` for what is none, `TermError` as `measure`.

    A map whose keys are equal in Python, such as 1 and 1.0, is a `TermError`, too.
    """
    measured = measure(data, start)
    return decode_measured(data, start, measured), measured.end


def decode_measured(data: bytes, start: int, measured: Measured) -> Term:
    """Return the term that has been measured already. Raises as `decode`."""
    erlang = library()
    try:
        found = erlang.binary_to_term(data[start : measured.end])
    except (erlang.ParseException, ValueError) as error:
        raise ErlangError(f"a term cannot be read: {error}") from error
    converting = _FromLibrary(erlang)
    term = converting.convert(found)
    if converting.pairs != measured.pairs:
        raise TermError('a map has two keys that are equal in Python, such as 1 and 1.0, or "a" and <<"a">>')
    return term


# --- Python to Erlang -------------------------------------------------------------------------------------------------


def _to_library(term: Term, room: int) -> Any:
    """Return what erlang_py makes the bytes of. ``room``: how deep it may still go."""
    if room < 0:
        raise TermError(f"a term may be {DEEPEST} deep inside of itself, not deeper")
    kind = type(term)
    convert = _TO_LIBRARY.get(kind)
    if convert is None:
        convert = next((_TO_LIBRARY[base] for base in kind.__mro__ if base in _TO_LIBRARY), None)
        if convert is None:
            raise TermError(
                "Unsupported object in Python->Erlang translation: expected bytes, str, int, float, bool, None, list, "
                f"tuple, dict, or a value of uwsgi_async.erlang, but {kind.__name__} came"
            )
    return convert(term, room - 1)


def _atom(text: str, _room: int = 0) -> Any:
    if len(text) > _LONGEST_ATOM:
        raise TermError(f"a str is an atom, of {_LONGEST_ATOM} characters at most, not {len(text)}: send text as bytes")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TermError(f"the atom {text!r} cannot be encoded: {error.reason}") from error
    return library().OtpErlangAtom(text)


def _bytes(data: bytes | bytearray | memoryview, _room: int) -> Any:
    return library().OtpErlangBinary(bytes(data))


def _float(number: float, _room: int) -> float:
    if not math.isfinite(number):
        raise TermError(f"Erlang has no float {number}")
    return number


def _list(items: list[Any], room: int) -> Any:
    return library().OtpErlangList([_to_library(item, room) for item in items])


def _tuple(items: tuple[Any, ...], room: int) -> tuple[Any, ...]:
    return tuple([_to_library(item, room) for item in items])


def _dict(items: dict[Any, Any], room: int) -> dict[Any, Any]:
    return {_to_library(key, room): _to_library(value, room) for key, value in items.items()}


def _improper(value: ImproperList, room: int) -> Any:
    if not value.items or isinstance(value.tail, list) or value.tail is None:
        raise TermError(f"an improper list has items, and a tail that is no list: {value!r}")
    parts = [_to_library(item, room) for item in (*value.items, value.tail)]
    return library().OtpErlangList(parts, improper=True)


def _pid(pid: Pid, _room: int) -> Any:
    number, serial, creation = (_word(each, pid) for each in pid)
    return library().OtpErlangPid(_atom(pid.node), number, serial, creation)


def _port(port: Port, _room: int) -> Any:
    return library().OtpErlangPort(_atom(port.node), _word(port.number, port, _V4), _word(port.creation, port))


def _reference(reference: Reference, _room: int) -> Any:
    if not reference.words:
        raise TermError(f"a reference has one word at least: {reference!r}")
    words = b"".join(_word(word, reference) for word in reference.words)
    return library().OtpErlangReference(_atom(reference.node), words, _word(reference.creation, reference))


def _word(number: int, whole: object, size: int = _WORD) -> bytes:
    try:
        return int(number).to_bytes(size, "big")
    except OverflowError as error:
        raise TermError(f"{number} does not fit into {size * 8} bits: {whole!r}") from error


def _bit_string(value: BitString, _room: int) -> Any:
    if not value.data or not 1 <= value.bits <= 7:
        raise TermError(f"a bit string has bytes, and 1 to 7 bits of the last one: {value!r}")
    return library().OtpErlangBinary(value.data, value.bits)


_TO_LIBRARY: Final[dict[type, Callable[[Any, int], Any]]] = {
    bool: lambda value, _room: value,
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
    ErlangString: lambda value, _room: bytes(value),  # bytes of erlang_py's are a list of small numbers
    str: _atom,
    int: lambda value, _room: int(value),
    float: _float,
    type(None): lambda _value, _room: library().OtpErlangList([]),
    list: _list,
    Pid: _pid,
    tuple: _tuple,
    dict: _dict,
    ImproperList: _improper,
    Port: _port,
    Reference: _reference,
    Fun: lambda value, _room: library().OtpErlangFunction(value.tag, value.data),
    BitString: _bit_string,
}


# --- Erlang to Python -------------------------------------------------------------------------------------------------


class _FromLibrary:
    """Converts one term of erlang_py's. ``pairs``: of all maps that it has given."""

    def __init__(self, erlang: ModuleType) -> None:
        self.pairs = 0
        self._convert: dict[type, Callable[[Any], Term]] = {
            bytes: ErlangString,
            type(None): lambda _value: "undefined",
            list: self._list,
            tuple: lambda value: tuple([self.convert(item) for item in value]),
            dict: self._dict,
            erlang.frozendict: self._dict,
            erlang.OtpErlangAtom: self._atom,
            erlang.OtpErlangBinary: self._binary,
            erlang.OtpErlangList: self._improper,
            erlang.OtpErlangPid: self._pid,
            erlang.OtpErlangPort: lambda value: Port(
                self._atom(value.node), _from_word(value.id), _from_word(value.creation)
            ),
            erlang.OtpErlangReference: self._reference,
            erlang.OtpErlangFunction: lambda value: Fun(value.tag, value.value),
        }

    def convert(self, found: Any) -> Term:
        """Return the Python value of what erlang_py has read; numbers and truth values are as they are."""
        convert = self._convert.get(type(found))
        return found if convert is None else convert(found)

    def _list(self, items: list[Any]) -> list[Term]:
        return [self.convert(item) for item in items]

    def _dict(self, items: dict[Any, Any]) -> dict[Term, Term]:
        made = {_hashable(self.convert(key)): self.convert(value) for key, value in items.items()}
        self.pairs += len(made)
        return made

    def _atom(self, atom: Any) -> str:
        value = atom.value
        return value.decode("latin-1") if isinstance(value, bytes) else str(value)

    def _binary(self, binary: Any) -> Term:
        return binary.value if binary.bits == 8 else BitString(binary.value, binary.bits)

    def _improper(self, value: Any) -> Term:
        """Convert a list with another tail; as a key of a map it may be a proper one."""
        items = [self.convert(item) for item in value.value]
        return ImproperList(tuple(items[:-1]), items[-1]) if value.improper else items

    def _pid(self, pid: Any) -> Pid:
        return Pid(self._atom(pid.node), *(_from_word(each) for each in (pid.id, pid.serial, pid.creation)))

    def _reference(self, reference: Any) -> Reference:
        data = reference.id
        words = tuple(_from_word(data[at : at + _WORD]) for at in range(0, len(data), _WORD))
        return Reference(self._atom(reference.node), words, _from_word(reference.creation))


def _hashable(key: Term) -> Term:
    """Return a key that a dict can have. Raises `TermError`: a tuple in its place would not go back as a list."""
    try:
        hash(key)
    except TypeError as error:
        raise TermError("a map has a key with a list or a map in it, which no dict of Python's can have") from error
    return key


def _from_word(data: bytes) -> int:
    return int.from_bytes(data, "big")
