"""The memory of a shared area, and the few words that tell how it is used.

What lives here: `AreaMemory`, whose methods are one operation each, called inside of the area's mutex unless they say
otherwise. What does not: which positions are inside, waiting, the lock for apps (`sharedarea`).

The *state* word has two flags, somebody writes and an app's lock is held, and a number that grows with each change. So
who reads can see afterwards whether anything has happened meanwhile, and needs no lock; but only where the machine
keeps loads and stores in order (x86).

A number is written as its bytes, by one instruction; `struct.pack_into` would zero them first, and a process that is
killed in between would leave a zero.
"""

from __future__ import annotations

import struct
import threading
from typing import Final

from uwsgi_async.state.bell import Bell
from uwsgi_async.state.memory import IN_ORDER, Memory
from uwsgi_async.state.wrap import wrapped

WORDS: Final = 3
STATE, MARKS, WAITED_FOR = range(WORDS)
"""The words: the state; how many of its changes were no writes; whether somebody waits for a write."""

WRITING, LOCKED, STEP = 1, 2, 4
"""Of the state word: the flags, and one more of the number."""

NUMBERS: Final = {1: struct.Struct("b"), 2: struct.Struct("h"), 4: struct.Struct("i"), 8: struct.Struct("q")}


class AreaLockedError(Exception):
    """Somebody else may hold the lock of an area. It never leaves the package. ``shared``: a shared one would do."""

    def __init__(self, number: int, shared: bool) -> None:
        super().__init__(f"sharedarea {number} is locked")
        self.number = number
        self.shared = shared


class AreaMemory:
    """The bytes and the words of area ``number``. ``permitted``: threads that hold the app's lock just now. ``words``:
    see `STATE`.

    Widths of numbers are bytes: 1, 2, 4 or 8.
    """

    __slots__ = ("_bell", "_bytes", "number", "permitted", "words")

    def __init__(self, number: int, memory: Memory, words: memoryview, bell: Bell) -> None:
        self.number = number
        self.permitted: set[int] = set()
        self._bytes = memory.map
        self.words = words
        self._bell = bell

    def updates(self) -> int:
        """Return how often it was written to. Outside of the mutex it may be one wrong while a lock changes hands."""
        return self.words[STATE] // STEP - self.words[MARKS]

    def read_now(self, position: int, end: int) -> bytes | None:
        """Return bytes if nobody is in the way, else None: outside of the mutex."""
        state = self.words[STATE]
        if not IN_ORDER or state & (WRITING | LOCKED):
            return None
        data: bytes = self._bytes[position:end]
        return data if self.words[STATE] == state else None

    def read_number_now(self, width: int, position: int) -> int | None:
        """Return a number if nobody is in the way, else None: outside of the mutex."""
        state = self.words[STATE]
        if not IN_ORDER or state & (WRITING | LOCKED):
            return None
        value: int = NUMBERS[width].unpack_from(self._bytes, position)[0]
        return value if self.words[STATE] == state else None

    def read(self, position: int, end: int) -> bytes:
        self._check_lock(shared=True)
        return self._bytes[position:end]

    def write(self, position: int, end: int, data: bytes) -> None:
        self._check_lock(shared=False)
        state = self._begin()
        self._bytes[position:end] = data
        self.words[STATE] = state

    def read_number(self, width: int, position: int) -> int:
        self._check_lock(shared=True)
        value: int = NUMBERS[width].unpack_from(self._bytes, position)[0]
        return value

    def write_number(self, width: int, position: int, value: int) -> None:
        self._check_lock(shared=False)
        state = self._begin()
        self._bytes[position : position + width] = NUMBERS[width].pack(wrapped(width, value))
        self.words[STATE] = state

    def add(self, width: int, position: int, amount: int) -> int:
        self._check_lock(shared=False)
        number = NUMBERS[width]
        value = wrapped(width, number.unpack_from(self._bytes, position)[0] + amount)
        state = self._begin()
        self._bytes[position : position + width] = number.pack(value)
        self.words[STATE] = state
        return value

    def update(self) -> None:
        """Count as a write what was written without an operation."""
        self.words[STATE] = self._begin()

    def updated_or_noted(self, seen: int) -> bool:
        """Whether there was a write since ``seen``; if not, note that somebody waits for one."""
        if self.updates() != seen:
            return True
        self.words[WAITED_FOR] = 1
        return False

    def mark(self) -> None:
        """Note that an app's lock is held."""
        state = self.words[STATE]
        if not state & LOCKED:
            self.words[MARKS] += 1
            self.words[STATE] = (state + STEP) | LOCKED

    def unmark(self) -> None:
        """Note that it is not."""
        self.words[MARKS] += 1
        self.words[STATE] = (self.words[STATE] + STEP) & ~LOCKED

    def close(self) -> None:
        self.words.release()

    def _begin(self) -> int:
        """Begin to write: tell those who wait and those who read; return the state after it."""
        words = self.words
        if words[WAITED_FOR]:
            self._bell.ring()  # before anything has changed: they cannot look before the mutex is free again
            words[WAITED_FOR] = 0
        state = words[STATE] | WRITING  # it is set already when somebody was killed while writing
        words[STATE] = state
        return (state + STEP) & ~WRITING

    def _check_lock(self, *, shared: bool) -> None:
        if self.words[STATE] & LOCKED and threading.get_ident() not in self.permitted:
            raise AreaLockedError(self.number, shared)
