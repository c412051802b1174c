"""The short way of what is done most with a queue: to push, to pull, to set, and to look.

What lives here: `quick_functions`. What does not: the long way (`ring`), to which these go when somebody
waits for an item and when somebody has died in the middle of a change. They are closures that write out what the long
way has in functions of its own, because each call costs a tenth of the whole; their test is that both answer the same,
and that a process may be killed at any line of either.

To fill an empty slot, and to empty one, needs no data in the journal. Its size is written last, or zeroed first, and
by that one word the change has happened or has not; ``CHANGING`` tells the next one that a position may have to follow.

Looking takes no mutex where the machine keeps loads and stores in order: ``STATE`` tells whether anything has changed
meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from uwsgi_async.state.journal import (
    CHANGING,
    DATA_AT,
    EMPTY,
    FILL,
    PUSH_OVER,
    SET,
    SIZE,
    STATE,
    TIME,
    WAITED_FOR,
    Journal,
)
from uwsgi_async.state.memory import IN_ORDER
from uwsgi_async.state.mutex import Mutex, trylock, unlock
from uwsgi_async.state.ring import HEADER, Ring

_WORD: Final = 8  # bytes
_FIRST: Final = HEADER // _WORD  # the first item, in words


class QuickFunctions(NamedTuple):
    """What `queue.Queue` has under these names."""

    push: Callable[[bytes], bool]
    pull: Callable[[], bytes | None]
    get: Callable[[int], bytes | None]
    set: Callable[[int, bytes], bool]
    last: Callable[[int], list[bytes | None]]


def quick_functions(ring: Ring, journal: Journal, mutex: Mutex) -> QuickFunctions:
    """Return the functions of a queue."""
    slow = QuickFunctions(
        partial(mutex.run, ring.push),
        partial(mutex.run, ring.pull),
        partial(mutex.run, ring.get),
        partial(mutex.run, ring.set),
        partial(mutex.run, ring.last),
    )
    if ring.blocksize % _WORD:
        return slow
    quick = slow._replace(push=_push(ring, journal, mutex), pull=_pull(ring, mutex), set=_set(ring, journal, mutex))
    return quick._replace(get=_get(ring, slow.get), last=_last(ring, slow.last)) if IN_ORDER else quick


def _push(ring: Ring, journal: Journal, mutex: Mutex) -> Callable[[bytes], bool]:
    memory, positions, words, slots = ring.memory, ring.positions, ring.words, ring.slots
    written, now, reference = journal.memory.map, time.time, mutex.reference
    limit, last, stride = ring.limit, ring.size - 1, ring.blocksize // _WORD

    def push(message: bytes) -> bool:
        size = len(message)
        try:
            code = trylock(reference)
            if code:
                mutex.wait(code)
            state = words[STATE]
            if state & 1 or words[WAITED_FOR] or not 0 < size <= limit:
                return ring.push(message)
            position = positions[0]
            following = position + 1 if position < last else 0
            item = position * stride + _FIRST
            data = item * _WORD + HEADER
            seconds = int(now())
            if slots[item]:
                written[DATA_AT : DATA_AT + size] = message
                words[SIZE] = size
                words[TIME] = seconds
                words[CHANGING] = position << 2 | PUSH_OVER
                words[STATE] = state + 1
                slots[item] = 0
            else:
                words[CHANGING] = position << 2 | FILL
                words[STATE] = state + 1
            memory[data : data + size] = message
            slots[item + 1] = seconds
            slots[item] = size
            positions[0] = following
            words[STATE] = state + 2
            return True
        finally:
            if mutex.nested:
                mutex.nested = False
            else:
                unlock(reference)

    return push


def _pull(ring: Ring, mutex: Mutex) -> Callable[[], bytes | None]:
    memory, positions, words, slots = ring.memory, ring.positions, ring.words, ring.slots
    last, stride, reference = ring.size - 1, ring.blocksize // _WORD, mutex.reference

    def pull() -> bytes | None:
        try:
            code = trylock(reference)
            if code:
                mutex.wait(code)
            state = words[STATE]
            if state & 1:
                return ring.pull()
            position = positions[1]
            item = position * stride + _FIRST
            size = slots[item]
            if not size:
                return None
            data = item * _WORD + HEADER
            message: bytes = memory[data : data + size]
            words[CHANGING] = position << 2 | EMPTY
            words[STATE] = state + 1
            slots[item] = 0
            positions[1] = position + 1 if position < last else 0
            words[STATE] = state + 2
            return message
        finally:
            if mutex.nested:
                mutex.nested = False
            else:
                unlock(reference)

    return pull


def _set(ring: Ring, journal: Journal, mutex: Mutex) -> Callable[[int, bytes], bool]:
    memory, words, slots = ring.memory, ring.words, ring.slots
    written, now, reference = journal.memory.map, time.time, mutex.reference
    limit, count, stride = ring.limit, ring.size, ring.blocksize // _WORD

    def set_(slot: int, message: bytes) -> bool:
        size = len(message)
        try:
            code = trylock(reference)
            if code:
                mutex.wait(code)
            state = words[STATE]
            if state & 1 or words[WAITED_FOR] or not (0 <= slot < count and 0 < size <= limit):
                return ring.set(slot, message)
            item = slot * stride + _FIRST
            data = item * _WORD + HEADER
            seconds = int(now())
            written[DATA_AT : DATA_AT + size] = message
            words[SIZE] = size
            words[TIME] = seconds
            words[CHANGING] = slot << 2 | SET
            words[STATE] = state + 1
            slots[item] = 0
            memory[data : data + size] = message
            slots[item + 1] = seconds
            slots[item] = size
            words[STATE] = state + 2
            return True
        finally:
            if mutex.nested:
                mutex.nested = False
            else:
                unlock(reference)

    return set_


def _get(ring: Ring, slowly: Callable[[int], bytes | None]) -> Callable[[int], bytes | None]:
    memory, words, slots, count, stride = ring.memory, ring.words, ring.slots, ring.size, ring.blocksize // _WORD

    def get(slot: int) -> bytes | None:
        if not 0 <= slot < count:
            return None
        state = words[STATE]
        item = slot * stride + _FIRST
        size = slots[item]
        data = item * _WORD + HEADER
        message = memory[data : data + size] if size else None
        return slowly(slot) if state & 1 or words[STATE] != state else message

    return get


def _last(ring: Ring, slowly: Callable[[int], list[bytes | None]]) -> Callable[[int], list[bytes | None]]:
    memory, positions, words, slots = ring.memory, ring.positions, ring.words, ring.slots
    count, stride = ring.size, ring.blocksize // _WORD

    def last(number: int) -> list[bytes | None]:
        state = words[STATE]
        slot = positions[0]
        messages: list[bytes | None] = []
        for _ in range(min(number, count)):
            slot = (slot or count) - 1
            item = slot * stride + _FIRST
            size = slots[item]
            data = item * _WORD + HEADER
            messages.append(memory[data : data + size] if size else None)
        return slowly(number) if state & 1 or words[STATE] != state else messages

    return last
