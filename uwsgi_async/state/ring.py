"""The ring of the queue: its memory, and what is done with it. Everything here is one operation.

What lives here: `Ring`, whose methods are called inside of the queue's mutex unless they say otherwise. What does
not: waiting, files, the documented functions (`queue`, `queue_store`, `api.queue`).

The layout is that of real uWSGI 2.0 (core/queue.c), so that a file written by either is read by the other: position,
pull position, then for each slot size, unix time and data; all numbers unsigned, of 64 bits, in the machine's order.
A size of 0 is an empty slot. Each change is one, also when the process that makes it is killed (`journal`).
"""

from __future__ import annotations

import struct
import time
from typing import Final

from uwsgi_async.state.bell import Bell
from uwsgi_async.state.journal import (
    CHANGING,
    DATA_AT,
    EMPTY,
    PUSH_OVER,
    SET,
    SIZE,
    STATE,
    TIME,
    WAITED_FOR,
    WRITTEN_DOWN,
    Journal,
)
from uwsgi_async.state.memory import Memory

HEADER: Final = 16
"""Bytes before the first slot, and before the data of each slot."""

_ITEM = struct.Struct("QQ")
_WORD = struct.Struct("Q")


class Ring:
    """``size`` slots of ``blocksize`` bytes. ``bell``: rung for those who wait for an item.

    ``limit``: bytes of the longest message. ``memory``: all of it. ``slots``: the same as
    words. ``positions``: of push and pop, and of pull. ``words``: the journal's.
    """

    _memory__ = ("_bell", "_journal", "blocksize", "limit", "memory", "positions", "size", "slots", "words")

    def __init__(self, memory: Memory, journal: Journal, bell: Bell, blocksize: int) -> None:
        self.size = (len(memory) - HEADER) // blocksize
        self.blocksize = blocksize
        self.limit = blocksize - HEADER
        self.memory = memory.map
        self.positions = memoryview(memory.map)[:HEADER].cast("Q")
        self.slots = memoryview(memory.map).cast("Q")
        self._journal = journal
        self.words = journal.words
        self._bell = bell

    @property
    def position(self) -> int:
        """The next slot to push to; outside of the mutex, too."""
        return self.positions[0]

    @property
    def pull_position(self) -> int:
        """The next slot to pull from; outside of the mutex, too."""
        return self.positions[1]

    @property
    def decided(self) -> bool:
        """Whether somebody has died in the middle of a change."""
        return self.words[STATE] & 1 == 1

    def push(self, message: bytes) -> bool:
        if not 0 < len(message) <= self.limit:
            return False
        if self.words[STATE] & 1:
            self.finish()
        if self.words[WAITED_FOR]:
            self._ring()
        position, pull_position = self.positions
        following = position + 1 if position + 1 < self.size else 0
        self._change(position, message, int(time.time()), following, pull_position)
        return True

    def set(self, slot: int, message: bytes) -> bool:
        if not (0 <= slot < self.size and 0 < len(message) <= self.limit):
            return False
        if self.words[STATE] & 1:
            self.finish()
        if self.words[WAITED_FOR]:
            self._ring()
        self._change(slot, message, int(time.time()), *self.positions)
        return True

    def pop(self) -> bytes | None:
        if self.words[STATE] & 1:
            self.finish()
        position, pull_position = self.positions
        position = (position or self.size) - 1
        item = self._item(position)
        self._change(position, b"", 0, position, pull_position)
        return item

    def pull(self) -> bytes | None:
        if self.words[STATE] & 1:
            self.finish()
        position, pull_position = self.positions
        item = self._item(pull_position)
        if item is not None:
            following = pull_position + 1 if pull_position + 1 < self.size else 0
            self._change(pull_position, b"", 0, position, following)
        return item

    def pull_or_note(self) -> bytes | None:
        """Pull; note that somebody waits when there is nothing."""
        item = self.pull()
        if item is None:
            self.words[WAITED_FOR] = 1
        return item

    def get(self, slot: int) -> bytes | None:
        if not 0 <= slot < self.size:
            return None
        if self.words[STATE] & 1:
            self.finish()
        return self._item(slot)

    def last(self, count: int) -> list[bytes | None]:
        if self.words[STATE] & 1:
            self.finish()
        newest = self.positions[0] - 1
        return [self._item((newest - back) % self.size) for back in range(min(count, self.size))]

    def count(self) -> int:
        """Return how many slots are not empty."""
        if self.words[STATE] & 1:
            self.finish()
        return sum(self._item(slot) is not None for slot in range(self.size))

    def finish(self) -> None:
        """Make the change that was decided by somebody who did not live to make it."""
        changing = self.words[CHANGING]
        if changing == WRITTEN_DOWN:
            change, data = self._journal.decided()
            self._make(change.slot, data, change.time, change.position, change.pull_position)
            return
        slot, how = divmod(changing, 4)
        at = HEADER + slot * self.blocksize
        if how >= PUSH_OVER:
            size = self.words[SIZE]
            _WORD.pack_into(self.memory, at, 0)
            self.memory[at + HEADER : at + HEADER + size] = self._journal.memory.map[DATA_AT : DATA_AT + size]
            _ITEM.pack_into(self.memory, at, size, self.words[TIME])
        is_done = (_WORD.unpack_from(self.memory, at)[0] == 0) == (how == EMPTY)
        if is_done and how != SET:
            self.positions[how == EMPTY] = slot + 1 if slot + 1 < self.size else 0
        self.words[STATE] += 1

    def fault(self) -> str | None:
        """Return what is wrong with the numbers in the memory, in words; None when nothing is."""
        for name, position in (("", self.positions[0]), ("pull ", self.positions[1])):
            if position >= self.size:
                return f"its {name}position is {position}, beyond the last slot, {self.size - 1}"
        for slot in range(self.size):
            length = _WORD.unpack_from(self.memory, HEADER + slot * self.blocksize)[0]
            if length > self.limit:
                return f"slot {slot} says that it holds {length} bytes, and a slot takes {self.limit} at most"
        return None

    def close(self) -> None:
        self.positions.release()
        self.slots.release()

    def _item(self, slot: int) -> bytes | None:
        at = HEADER + slot * self.blocksize
        size = _WORD.unpack_from(self.memory, at)[0]
        return self.memory[at + HEADER : at + HEADER + size] if size else None

    def _ring(self) -> None:
        """Wake who waits for an item, before there is one: they cannot look before this change is made or undone."""
        self._bell.ring()
        self.words[WAITED_FOR] = 0

    def _change(self, slot: int, data: bytes, now: int, position: int, pull_position: int) -> None:
        self._journal.write_down(slot, data, now, position, pull_position)
        self.words[STATE] += 1
        self._make(slot, data, now, position, pull_position)

    def _make(self, slot: int, data: bytes, now: int, position: int, pull_position: int) -> None:
        memory, at, size = self.memory, HEADER + slot * self.blocksize, len(data)
        _WORD.pack_into(memory, at, 0)  # so that not even a file whose journal is lost shows half an item
        if size:
            memory[at + HEADER : at + HEADER + size] = data
            _ITEM.pack_into(memory, at, size, now)
        self.positions[0] = position
        self.positions[1] = pull_position
        self.words[STATE] += 1
