"""The numbers that apps tell by SNMP, the community, and what the agent counts: shared by all processes.

What lives here: `SnmpValues`, one kind of shared state. What does not: the documented functions (`api.snmp`), who reads
the numbers (`tree`), who counts datagrams (`agent`). Source: core/snmp.c, core/uwsgi.c.

A change is one store, whoever is killed in the middle: each slot, and the community, has two places, and a word that
says which of them holds. Writers fill the other place first.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import IntEnum
from importlib.util import find_spec
from typing import Any, Final

import anyio

from uwsgi_async.errors import OptionError
from uwsgi_async.options.snmp import SnmpOptions
from uwsgi_async.snmp.objects import SLOTS, Kind, Value, value_of
from uwsgi_async.state.memory import Memory
from uwsgi_async.state.mutex import Mutex, NoMutex

logger = logging.getLogger("uwsgi_async")

MOST_COMMUNITY: Final = 72
"""Bytes of the longest community, as in uWSGI."""

_WORD: Final = 8  # bytes
_SLOT: Final = 5  # words: which place holds, and twice a kind and a number
_PLACE: Final = 1 + MOST_COMMUNITY  # bytes: a length and a community
_WRAP: Final = 1 << 64


class Count(IntEnum):
    """What the agent counts, under the names of RFC 3418 in small letters."""

    IN_PKTS = 0
    OUT_PKTS = 1
    IN_BAD_VERSIONS = 2
    IN_BAD_COMMUNITY_NAMES = 3
    IN_ASN_PARSE_ERRS = 4


_COUNTS: Final = Mutex.SIZE
_SLOTS: Final = _COUNTS + _WORD * len(Count)
_COMMUNITY: Final = _SLOTS + _WORD * _SLOT * SLOTS
_LENGTH: Final = _COMMUNITY + 1 + 2 * _PLACE


class SnmpValues:
    """The numbers of an instance, in one process. Slots are numbered from 1; any process and thread may use them."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._mutex: Mutex | NoMutex = Mutex(memory.map, 0)
        self._bytes = memoryview(memory.map)
        self._counts = self._bytes[_COUNTS:_SLOTS].cast("Q")
        self._slots = self._bytes[_SLOTS:_COMMUNITY].cast("Q")

    @classmethod
    def create(cls, options: SnmpOptions) -> SnmpValues | None:
        """Return the numbers for the options, None when these do not ask for SNMP.

        Raises `OptionError` when the library that the agent needs is not installed.
        """
        if not options.enabled:
            return None
        require_library()
        memory = Memory.create("snmp", _LENGTH)
        Mutex(memory.map, 0).initialize()
        values = cls(memory)
        if options.snmp_community is not None:
            values.set_community(options.snmp_community.encode("utf-8", "surrogateescape"))
        return values

    @classmethod
    def attach(cls, described: Any) -> SnmpValues:
        return cls(Memory(described))

    def __repr__(self) -> str:
        return f"<SnmpValues: {sum(value is not None for value in self.all())} of {SLOTS}>"

    # --- what apps do -----------------------------------------------------------------------------------------

    def set(self, slot: int, kind: Kind, number: int) -> None:
        """Let a slot be of this kind and have this number."""
        self._mutex.run(self._change, slot, kind, number, False)

    def add(self, slot: int, kind: Kind, number: int) -> None:
        """Let a slot be of this kind, and add to what it has: 0 when nothing was there."""
        self._mutex.run(self._change, slot, kind, number, True)

    def set_community(self, community: bytes) -> None:
        """Let those be answered who send ``community``; b"": nobody. What is too long is cut, as in uWSGI."""
        if len(community) > MOST_COMMUNITY:
            logger.warning(
                "*** warning the supplied SNMP community string will be truncated to %d chars ***", MOST_COMMUNITY
            )
        self._mutex.run(self._change_community, community[:MOST_COMMUNITY])

    # --- what the agent does ----------------------------------------------------------------------------------

    @property
    def community(self) -> bytes:
        """Who sends this is answered; b"": nobody."""
        return self._mutex.run(self._read_community)

    def all(self) -> list[Value | None]:
        """Return what is in each slot, the first one is number 1; None where nothing was ever set."""
        return self._mutex.run(self._read)

    def count(self, what: Count) -> None:
        """Count one more. For the one process that answers."""
        self._counts[what] += 1

    # --- a part of an instance --------------------------------------------------------------------------------

    @property
    def fds(self) -> Sequence[int]:
        return (self._memory.fd,)

    def described(self) -> Any:
        return self._memory.fd

    async def maintain(self) -> None:
        await anyio.sleep_forever()

    def publish(self) -> None:
        """Nothing is kept back."""

    def sections(self) -> Mapping[str, Any]:
        """Tell what the agent has counted."""
        return {"snmp": {count.name.lower(): self._counts[count] for count in Count}}

    def close(self) -> None:
        self._mutex = NoMutex()
        for view in (self._counts, self._slots, self._bytes):
            view.release()
        self._memory.close()

    # --- under the mutex --------------------------------------------------------------------------------------

    def _change(self, slot: int, kind: int, number: int, add: bool) -> None:
        words, base = self._slots, (slot - 1) * _SLOT
        here = words[base]
        there = base + 3 - 2 * here
        if add:
            number += words[base + 2 + 2 * here]
        words[there] = kind
        words[there + 1] = number % _WRAP
        words[base] = 1 - here

    def _read(self) -> list[Value | None]:
        words = self._slots.tolist()
        places = [base + 1 + 2 * words[base] for base in range(0, len(words), _SLOT)]
        return [value_of(Kind(words[at]), words[at + 1]) if words[at] else None for at in places]

    def _change_community(self, community: bytes) -> None:
        memory, here = self._bytes, self._bytes[_COMMUNITY]
        there = _COMMUNITY + 1 + _PLACE * (1 - here)
        memory[there] = len(community)
        memory[there + 1 : there + 1 + len(community)] = community
        memory[_COMMUNITY] = 1 - here

    def _read_community(self) -> bytes:
        here = _COMMUNITY + 1 + _PLACE * self._bytes[_COMMUNITY]
        return bytes(self._bytes[here + 1 : here + 1 + self._bytes[here]])


def require_library() -> None:
    """Raise `OptionError` when what reads and writes messages (`message`) is not installed. It is not imported here."""
    if find_spec("pyasn1") is None or find_spec("pyasn1_modules") is None:
        raise OptionError("snmp: answering SNMP needs pyasn1: pip install 'uwsgi-async[snmp]'")
