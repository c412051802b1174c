"""The Erlang terms that Python has no type for: pids, ports, references, funs, bit strings, improper lists, strings.

What lives here: these values. What does not: their bytes (`terms`), what maps to Python's own types (`terms`, too).
Source: Erlang's "External Term Format" (erl_ext_dist).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class Pid(tuple[int, int, int]):
    """A process: a tuple of number, serial and creation, as in uWSGI, that knows its node besides.

    ``node``: the name of the node, such as "shop@host". Equal are two of the same node, and a plain tuple of the same
    three numbers.
    """

    node: str

    def __new__(cls, node: str, number: int, serial: int, creation: int) -> Pid:
        pid = super().__new__(cls, (number, serial, creation))
        pid.__dict__["node"] = node
        return pid

    def __getnewargs__(self) -> tuple[Any, ...]:
        return self.node, *self

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Pid cannot be changed: {name}")

    def __repr__(self) -> str:
        return f"Pid({self.node!r}, {', '.join(map(str, self))})"

    def __eq__(self, other: object) -> bool:
        return tuple.__eq__(self, other) and (not isinstance(other, Pid) or self.node == other.node)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = tuple.__hash__


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a node, such as a file or a socket there. ``number``: up to 64 bits."""

    node: str
    number: int
    creation: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference that a node has made, unique. ``words``: its numbers of 32 bits each, one to five."""

    node: str
    words: tuple[int, ...]
    creation: int


@dataclass(frozen=True, slots=True)
class Fun:
    """A fun of a node: it can be kept and given back, not called. ``tag`` and ``data``: its external form."""

    tag: int
    data: bytes


@dataclass(frozen=True, slots=True)
class BitString:
    """Bits that are no whole number of bytes. ``bits``: how many of the last byte count, from its top, 1 to 7."""

    data: bytes
    bits: int


@dataclass(frozen=True, slots=True)
class ImproperList:
    """A list whose tail is no list, such as ``[a | b]``. ``items``: at least one."""

    items: tuple[Any, ...]
    tail: Any


class ErlangString(bytes):
    """What Erlang writes as "text" or [116, 101]: a list of small numbers, which travels as bytes.

    It is bytes, as in uWSGI, and goes back as a list. ``list(value)`` gives the numbers.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"ErlangString({bytes(self)!r})"


Term = Any
"""Any of these, or int, float, bool, str (an atom), bytes (a binary), list, tuple, dict, None (the empty list)."""
