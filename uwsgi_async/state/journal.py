"""The redo journal of the queue: makes a change of several words and of data one change.

What lives here: `Journal` and `Change`. What does not: the slots (`queue`). A change is written down here first, then
marked as decided, then made, then marked as done. A process that is killed on the way leaves the queue as it was, or
leaves a decided change that whoever comes next makes again; making it twice does no harm. What is done most, to fill an
empty slot and to empty one, needs less (`queue_quick`): the slot tells by itself how far it has come.

The journal also has the mutex, and the note that somebody waits for an item, because both live and die with it.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from uwsgi_async.state.memory import Memory
from uwsgi_async.state.mutex import Mutex

_MAGIC = b"uwsgi_async queue journal 2\n".ljust(32, b"\0")
_HEADER = struct.Struct("32sQQ")  # magic, slots, bytes of a slot
_HEADER_AT = Mutex.SIZE
_WORDS_AT = 128
DATA_AT = 256
"""Where the data of a change is in the journal."""

_CHANGE = struct.Struct("QQQQQ")
_CHANGE_AT = _WORDS_AT + 40

STATE, WAITED_FOR, CHANGING, SIZE, TIME = range(5)
"""The words. ``STATE`` is odd while a change is decided and not done, and two more after each. ``WAITED_FOR``: whether
somebody waits for an item. ``CHANGING``: what is changed: `WRITTEN_DOWN`, or four times the number of a slot and how it
is changed. ``SIZE``, ``TIME``: of an item that is written over another."""

FILL, EMPTY, PUSH_OVER, SET = range(4)
"""How a slot is changed: a push into it while it is empty, a pull from it; these need no data in the journal. A push
over what is there, `Queue.set`."""

WRITTEN_DOWN: Final = 2**64 - 1
"""The value of ``CHANGING`` for any other change: all of it is in the journal."""


class Change(NamedTuple):
    """A slot's new item (``size`` 0: none) and the queue's new positions. ``time``: unix seconds."""

    slot: int
    size: int
    time: int
    position: int
    pull_position: int


class Journal:
    """The journal in ``memory``, which belongs to it. All but `mutex` is used inside of the mutex.

    ``words``: five numbers, see `STATE`; they are looked at for each operation.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.words = memoryview(memory.map)[_WORDS_AT:_CHANGE_AT].cast("Q")

    @staticmethod
    def length(blocksize: int) -> int:
        """Return the bytes that a journal for slots of ``blocksize`` bytes needs."""
        return DATA_AT + blocksize

    def mutex(self) -> Mutex:
        """Return the mutex for everything in the journal and the queue. It keeps the memory mapped."""
        return Mutex(self.memory.map, 0)

    def initialize(self, slots: int, blocksize: int) -> None:
        """Begin a life: with a free mutex, and nobody waiting. A decided change stays."""
        _HEADER.pack_into(self.memory.map, _HEADER_AT, _MAGIC, slots, blocksize)
        self.words[WAITED_FOR] = 0
        self.mutex().initialize()

    def is_of(self, slots: int, blocksize: int) -> bool:
        """Whether it was made for such a queue."""
        return _HEADER.unpack_from(self.memory.map, _HEADER_AT) == (_MAGIC, slots, blocksize)

    @property
    def is_blank(self) -> bool:
        """Whether nothing was ever written into it."""
        return not any(self.memory.map[:DATA_AT])

    def write_down(self, slot: int, data: bytes, time: int, position: int, pull_position: int) -> None:
        """Write a change down, ``data`` empty: an empty slot. It is decided when ``STATE`` gets odd."""
        memory, size = self.memory.map, len(data)
        _CHANGE.pack_into(memory, _CHANGE_AT, slot, size, time, position, pull_position)
        if size:
            memory[DATA_AT : DATA_AT + size] = data
        self.words[CHANGING] = WRITTEN_DOWN

    def decided(self) -> tuple[Change, bytes]:
        """Return the change that was decided."""
        memory = self.memory.map
        change = Change(*_CHANGE.unpack_from(memory, _CHANGE_AT))
        return change, memory[DATA_AT : min(DATA_AT + change.size, len(memory))]

    def fault(self, slots: int) -> str | None:
        """Return what is wrong with the change that was decided, in words; None when nothing is."""
        if self.words[CHANGING] != WRITTEN_DOWN:
            slot, how = divmod(self.words[CHANGING], 4)
            if slot < slots and (how < PUSH_OVER or self.words[SIZE] <= len(self.memory) - DATA_AT):
                return None
            return f"its journal is about to change slot {slot} of {slots}, to {self.words[SIZE]} bytes"
        change, data = self.decided()
        if max(change.slot, change.position, change.pull_position) >= slots or change.size != len(data):
            return f"its journal is about to make an impossible change: {change}"
        return None

    def close(self) -> None:
        self.words.release()
        self.memory.close()
