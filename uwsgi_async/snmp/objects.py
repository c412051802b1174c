"""What an object of SNMP is: a name of numbers, and a value of one of three kinds, or a reason why there is none.

What lives here: these words, and numbers that several modules beside this one go by. They know neither bytes nor
shared memory.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

Oid = tuple[int, ...]
"""The name of an object, such as (1, 3, 6, 1, 4, 1, 35156, 17, 1, 1)."""

UWSGI: Oid = (1, 3, 6, 1, 4, 1, 35156, 17)
"""iso.org.dod.internet.private.enterprises.unbit.uwsgi: below it is all that an instance tells."""

MOST_REQUEST: Final = 4096
"""Bytes of the longest request that is read."""

SLOTS: Final = 100
"""How many general values there are, and how many of the app's; their numbers are from 1. As in uWSGI."""


class Kind(IntEnum):
    """What a number means, by the tags of RFC 2578, which uWSGI has in its memory, too."""

    COUNTER32 = 0x41
    GAUGE = 0x42
    COUNTER64 = 0x46


class Value(NamedTuple):
    """A number as it is told: from 0, within the bits of its kind."""

    kind: Kind
    number: int


class Absence(IntEnum):
    """Why an object has no value, by the tags of RFC 3416, section 3."""

    NO_SUCH_OBJECT = 0x80
    NO_SUCH_INSTANCE = 0x81
    END_OF_MIB_VIEW = 0x82


Binding = tuple[Oid, Value | Absence]
"""A name and what is told of it: the variable binding of RFC 3416."""


def wrapped(kind: Kind, number: int) -> int:
    """Return what remains of any number in the bits of a kind. Gauges wrap around too, as in uWSGI."""
    return number % (1 << (64 if kind is Kind.COUNTER64 else 32))


def value_of(kind: Kind, number: int) -> Value:
    """Return ``number``, which may be any, as a value of a kind."""
    return Value(kind, wrapped(kind, number))
