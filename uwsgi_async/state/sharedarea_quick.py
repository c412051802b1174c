"""The short way of what is done most with shared areas: to read, write and count a number, to read and write bytes.

What lives here: functions of the areas' numbers, as sync code calls them. What does not: the long way (`sharedarea`),
``slowly``, to which each goes with arguments that are not plainly good, when an app's lock may be held, when somebody
waits for an update and when somebody has died while writing. They are closures that write out what the long way has in
functions of its own, because each call costs a tenth of the whole; their test is that both answer the same.

How reading does without a lock is told in `areamemory`, how the mutex is locked in `mutex`. A number is written as its
bytes, by one instruction; `struct.pack_into` would zero them first, and a process that is killed in between would leave
a zero.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

from uwsgi_async.state.areamemory import LOCKED, NUMBERS, STATE, STEP, WAITED_FOR, WRITING
from uwsgi_async.state.memory import IN_ORDER
from uwsgi_async.state.mutex import Mutex, trylock, unlock

_BUSY: Final = WRITING | LOCKED
_SMALL: Final = 2**30 - 1  # what Python compares in one step
_BYTE: Final = struct.Struct("B")


Part = tuple[mmap.mmap, int, memoryview, Mutex]
"""One area: its bytes, their number, its words, its mutex. No NamedTuple: taking it apart would take longer."""

Parts = Sequence[Part]
"""The areas by their numbers; empty when there are none. It may change at any time."""


def number_reader(parts: Parts, width: int, slowly: Callable[..., int]) -> Callable[[int, int], int]:
    """Return a function of area and position. ``width``: bytes."""
    unpack = NUMBERS[width].unpack_from
    if not IN_ORDER:
        return slowly

    def read(area: int, position: int, /) -> int:
        try:
            memory, size, words, _ = parts[area]
            state = words[STATE]
            if not state & _BUSY and 0 <= position <= size - width and area >= 0:
                value: int = unpack(memory, position)[0]
                if words[STATE] == state:
                    return value
        except (IndexError, TypeError, struct.error):  # told by the long way
            pass
        return slowly(area, position)

    return read


def number_writer(parts: Parts, width: int, slowly: Callable[..., None]) -> Callable[[int, int, int], None]:
    """Return a function of area, position and value. ``width``: bytes; a number of one byte is from 0 to 255."""
    pack = (_BYTE if width == 1 else NUMBERS[width]).pack

    def write(area: int, position: int, value: int, /) -> None:
        try:
            memory, size, words, mutex = parts[area]
            end = position + width
            data = pack(value)
            is_inside = 0 <= position < end <= size and area >= 0
        except (IndexError, TypeError, struct.error):  # told by the long way
            is_inside = False
        if is_inside:
            try:
                code = trylock(mutex.reference)
                if code:
                    mutex.wait(code)
                state = words[STATE]
                if not (state & _BUSY or words[WAITED_FOR]):
                    words[STATE] = state + WRITING
                    memory[position:end] = data
                    words[STATE] = state + STEP
                    return
            finally:
                if mutex.nested:
                    mutex.nested = False
                else:
                    unlock(mutex.reference)
        slowly(area, position, value)

    return write


def number_adder(parts: Parts, width: int, sign: int, slowly: Callable[..., None]) -> Callable[..., None]:
    """Return a function of area, position and amount, 1 when none is given. ``sign``: 1, or -1 to subtract."""
    unpack, pack = NUMBERS[width].unpack_from, NUMBERS[width].pack

    def add(area: int, position: int, amount: int = 1, /) -> None:
        try:
            memory, size, words, mutex = parts[area]
            end = position + width
            is_inside = 0 <= position < end <= size and area >= 0 and -_SMALL <= amount <= _SMALL
        except (IndexError, TypeError):  # told by the long way
            is_inside = False
        if is_inside:
            try:
                code = trylock(mutex.reference)
                if code:
                    mutex.wait(code)
                state = words[STATE]
                if not (state & _BUSY or words[WAITED_FOR]):
                    data = pack(unpack(memory, position)[0] + sign * amount)
                    words[STATE] = state + WRITING
                    memory[position:end] = data
                    words[STATE] = state + STEP
                    return
            except (struct.error, TypeError):  # it wraps around, or is no number
                pass
            finally:
                if mutex.nested:
                    mutex.nested = False
                else:
                    unlock(mutex.reference)
        slowly(area, position, amount)

    return add


def bytes_reader(parts: Parts, slowly: Callable[..., bytes | None]) -> Callable[..., bytes | None]:
    """Return a function of area, position and length."""
    if not IN_ORDER:
        return slowly

    def read(*args: int) -> bytes | None:
        try:
            area, position, length = args
            memory, size, words, _ = parts[area]
            state = words[STATE]
            end = position + length
            if not state & _BUSY and 0 <= position < end <= size and area >= 0:
                data: bytes = memory[position:end]
                if words[STATE] == state:
                    return data
        except (IndexError, TypeError, ValueError):  # told by the long way; ValueError: another number of arguments
            pass
        return slowly(*args)

    return read


def bytes_writer(parts: Parts, slowly: Callable[..., int | None]) -> Callable[..., int | None]:
    """Return a function of area, position and data."""

    def write(*args: Any) -> int | None:
        if len(args) == 3:
            area, position, data = args
            if area.__class__ is position.__class__ is int and data.__class__ is bytes and 0 <= area < len(parts):
                memory, size, words, mutex = parts[area]
                end = position + len(data)
                if 0 <= position < end <= size:
                    try:
                        code = trylock(mutex.reference)
                        if code:
                            mutex.wait(code)
                        state = words[STATE]
                        if not (state & _BUSY or words[WAITED_FOR]):
                            words[STATE] = state + WRITING
                            memory[position:end] = data
                            words[STATE] = state + STEP
                            return None
                    finally:
                        if mutex.nested:
                            mutex.nested = False
                        else:
                            unlock(mutex.reference)
        return slowly(*args)

    return write
