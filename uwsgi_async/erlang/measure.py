"""How long a term is, and whether it is one: the check that all bytes of another node pass before they are decoded.

What lives here: `measure`. What does not: decoding (`terms`). erlang_py decodes what is well formed; it recurses as
deep as the term is, takes slices of what is cut off, unpacks as much as zlib gives, and reads long integers in
quadratic time. After `measure` none of that can happen: each length is compared with what is there, each depth and
size with its limit. Source: Erlang's "External Term Format" (erl_ext_dist).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from uwsgi_async.errors import ErlangError, TermError

VERSION: Final = 131
DEEPEST: Final = 200  # terms inside of each other; Python's stack has 1000 frames, and decoding takes several for each
LONGEST_INTEGER: Final = 16 << 10  # bytes
_LONGEST_ATOM: Final = 255 * 4  # bytes; Erlang allows 255 characters
_MOST_WORDS: Final = 5  # of a reference

Header = tuple[int, int]
"""Where what follows begins, and how many terms of this one follow."""


@dataclass(frozen=True, slots=True)
class Measured:
    """``end``: the index behind the term. ``pairs``: of all maps in it."""

    end: int
    pairs: int


def measure(data: bytes, start: int = 0) -> Measured:
    """Return where the term at ``start`` ends; it begins with the byte of the version.

    Raises `ErlangError` for what is no term, and `TermError` for one that is beyond the limits of this side: then
    ``end`` of the error says where it ends, if it could be told.
    """
    if start >= len(data) or data[start] != VERSION:
        raise ErlangError("expected an Erlang term, which begins with 131")
    at, pairs, depth_error = start + 1, 0, False
    open_terms = [1]  # how many are still to come, at each depth
    long_integer = False
    while open_terms:
        if not open_terms[-1]:
            open_terms.pop()
            continue
        open_terms[-1] -= 1
        tag = _byte(data, at)
        skip = _HEADERS.get(tag)
        if skip is None:
            raise ErlangError(f"a term of the unknown kind {tag}")
        if tag == _MAP:
            pairs += _number(data, at + 1, 4)
        elif tag == _LARGE_BIG:
            long_integer |= _number(data, at + 1, 4) > LONGEST_INTEGER
        at, inside = skip(data, at + 1)
        if at + inside > len(data):
            raise ErlangError("a term is cut off")
        if inside:
            open_terms.append(inside)
            depth_error |= len(open_terms) > DEEPEST
    if depth_error:
        raise TermError(f"terms are taken up to {DEEPEST} deep inside of each other, not deeper", at)
    if long_integer:
        raise TermError(f"integers are taken up to {LONGEST_INTEGER} bytes, not longer", at)
    return Measured(at, pairs)


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise ErlangError("a term is cut off")
    return data[at]


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise ErlangError("a term is cut off")
    return int.from_bytes(data[at : at + size], "big")


def _fixed(size: int) -> Callable[[bytes, int], Header]:
    return lambda data, at: (at + size, 0)


def _counted(size: int, more: int = 0) -> Callable[[bytes, int], Header]:
    """Return what skips a length of ``size`` bytes, ``more`` bytes, and so many bytes as the length says."""
    return lambda data, at: (at + size + more + _number(data, at, size), 0)


def _atom(size: int, encoding: str) -> Callable[[bytes, int], Header]:
    def skip(data: bytes, at: int) -> Header:
        length = _number(data, at, size)
        end = at + size + length
        if length > _LONGEST_ATOM or end > len(data):
            raise ErlangError(f"an atom of {length} bytes is cut off, or longer than any")
        try:
            data[at + size : end].decode(encoding)
        except UnicodeDecodeError as error:
            raise ErlangError("an atom is no UTF-8") from error
        return end, 0

    return skip


def _named(size: int) -> Callable[[bytes, int], Header]:
    """Return what skips the name of a node, and so many bytes."""
    return lambda data, at: (_skip_atom(data, at) + size, 0)


def _skip_atom(data: bytes, at: int) -> int:
    tag = _byte(data, at)
    if tag not in _ATOMS:
        raise ErlangError(f"expected an atom, but a term of kind {tag} came")
    return _ATOMS[tag](data, at + 1)[0]


def _reference(creation: int) -> Callable[[bytes, int], Header]:
    def skip(data: bytes, at: int) -> Header:
        words = _number(data, at, 2)
        if not 1 <= words <= _MOST_WORDS:
            raise ErlangError(f"a reference has 1 to {_MOST_WORDS} words, not {words}")
        return _skip_atom(data, at + 2) + creation + 4 * words, 0

    return skip


def _export(data: bytes, at: int) -> Header:
    at = _skip_atom(data, _skip_atom(data, at))
    if _byte(data, at) != _SMALL_INTEGER:
        raise ErlangError("the arity of a fun is no small integer")
    return at + 2, 0


def _new_fun(data: bytes, at: int) -> Header:
    """Skip a fun by its size, which counts itself; erlang_py does not look inside either."""
    size = _number(data, at, 4)
    if size < 4:
        raise ErlangError(f"a fun of {size} bytes")
    return at + size, 0


def _bits(data: bytes, at: int) -> Header:
    length, bits = _number(data, at, 4), _byte(data, at + 4)
    if not 1 <= bits <= 8 or not length:
        raise ErlangError(f"a bit string of {length} bytes and {bits} bits")
    return at + 5 + length, 0


def _old_float(data: bytes, at: int) -> Header:
    text = data[at : at + 31].partition(b"\0")[0]
    try:
        float(text)
    except ValueError as error:
        raise ErlangError(f"{text!r} is no float") from error
    return at + 31, 0


_SMALL_INTEGER: Final = 97
_LARGE_BIG: Final = 111
_MAP: Final = 116

_ATOMS: Final[dict[int, Callable[[bytes, int], Header]]] = {
    100: _atom(2, "latin-1"),  # ATOM_EXT
    115: _atom(1, "latin-1"),  # SMALL_ATOM_EXT
    118: _atom(2, "utf-8"),  # ATOM_UTF8_EXT
    119: _atom(1, "utf-8"),  # SMALL_ATOM_UTF8_EXT
}

_HEADERS: Final[dict[int, Callable[[bytes, int], Header]]] = {
    **_ATOMS,
    70: _fixed(8),  # NEW_FLOAT_EXT
    77: _bits,  # BIT_BINARY_EXT
    88: _named(12),  # NEW_PID_EXT
    89: _named(8),  # NEW_PORT_EXT
    90: _reference(4),  # NEWER_REFERENCE_EXT
    _SMALL_INTEGER: _fixed(1),
    98: _fixed(4),  # INTEGER_EXT
    99: _old_float,  # FLOAT_EXT
    102: _named(5),  # PORT_EXT
    103: _named(9),  # PID_EXT
    104: lambda data, at: (at + 1, _byte(data, at)),  # SMALL_TUPLE_EXT
    105: lambda data, at: (at + 4, _number(data, at, 4)),  # LARGE_TUPLE_EXT
    106: _fixed(0),  # NIL_EXT
    107: _counted(2),  # STRING_EXT
    108: lambda data, at: (at + 4, _number(data, at, 4) + 1),  # LIST_EXT, with its tail
    109: _counted(4),  # BINARY_EXT
    110: _counted(1, 1),  # SMALL_BIG_EXT, with its sign
    _LARGE_BIG: _counted(4, 1),
    112: _new_fun,  # NEW_FUN_EXT
    113: _export,  # EXPORT_EXT
    114: _reference(1),  # NEW_REFERENCE_EXT
    _MAP: lambda data, at: (at + 4, 2 * _number(data, at, 4)),
    120: _named(12),  # V4_PORT_EXT
}
