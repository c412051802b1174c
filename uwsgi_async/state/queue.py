"""uWSGI's queue: a ring of slots with two positions, one for push and pop, one for pull.

What lives here: `Queue`. What does not: the file that keeps it (`queue_store`), the documented functions
(`api.queue`). The layout is that of real uWSGI 2.0 (core/queue.c), so that a file written by either is read by the
other: position, pull position, then for each slot size, unix time and data; all numbers unsigned, of 64 bits, in the
machine's order. A size of 0 is an empty slot.

The two positions know nothing of each other, as in uWSGI: push and pull are a first in, first out queue as long as no
more than all slots are in use and nobody pops; the oldest items are overwritten by more.

Each change is one in the eyes of everybody else, also when the process that makes it is killed (`journal`).
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread

from uwsgi_async.errors import OptionError
from uwsgi_async.options.settings import QueueOptions
from uwsgi_async.state.bell import Bell
from uwsgi_async.state.journal import DECIDED, WAITED_FOR, Journal
from uwsgi_async.state.line import Line, Waiter
from uwsgi_async.state.memory import Memory
from uwsgi_async.state.mutex import Mutex, NoMutex
from uwsgi_async.state.queue_store import QueueStore

HEADER = 16
"""Bytes before the first slot, and before the data of each slot."""

_ITEM = struct.Struct("QQ")
_WORD = struct.Struct("Q")


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """``items``: slots that are not empty. ``position``, ``pull_position``: the next slots for push and pull."""

    size: int
    blocksize: int
    items: int
    position: int
    pull_position: int


class Queue:
    """The queue, in one process. ``size``: its slots. ``limit``: bytes of the longest message."""

    def __init__(self, slots: Memory, journal: Journal, bell: Bell, blocksize: int, sync: float = 0.0) -> None:
        self.size = (len(slots) - HEADER) // blocksize
        self.blocksize = blocksize
        self.limit = blocksize - HEADER
        self.store: QueueStore | None = None
        self._memory = slots
        self._slots = slots.map
        self._positions = memoryview(slots.map)[:HEADER].cast("Q")
        self._journal = journal
        self._words = journal.words
        self._mutex: Mutex | NoMutex = journal.mutex()
        self._bell = bell
        self._line = Line()
        self._sync = sync

    @classmethod
    def create(cls, options: QueueOptions) -> Queue | None:
        """Return the queue that the options configure, None when they do not.

        Raises `OptionError` for sizes that cannot be, `StoreError` for a file that cannot be used.
        """
        if options.queue == 0:
            return None
        size, blocksize = options.queue, options.queue_blocksize
        page = os.sysconf("SC_PAGE_SIZE")
        if size * blocksize % page:
            raise OptionError(
                f"queue: {size} slots of {blocksize} bytes are {size * blocksize} bytes, and they must be a multiple "
                f"of the memory's page size, {page} (options queue and queue-blocksize)"
            )
        if options.queue_store is not None:
            return cls._stored(options.queue_store, size, blocksize, options.queue_store_sync)
        with ExitStack() as opened:
            slots = Memory.create("queue", HEADER + size * blocksize)
            opened.callback(slots.close)
            journal = Journal(Memory.create("queue journal", Journal.length(blocksize)))
            opened.callback(journal.close)
            journal.initialize(size, blocksize)
            queue = cls(slots, journal, Bell.create(), blocksize)
            opened.pop_all()
        return queue

    @classmethod
    def attach(cls, described: Any) -> Queue:
        slots, journal, bell, blocksize = described
        return cls(Memory(slots), Journal(Memory(journal)), Bell(bell), blocksize)

    @classmethod
    def _stored(cls, path: str, size: int, blocksize: int, sync: float) -> Queue:
        store = QueueStore.open(path, HEADER + size * blocksize, Journal.length(blocksize))
        queue = cls(store.slots, store.prepare(size, blocksize), Bell.create(), blocksize, sync)
        try:
            if queue._words[DECIDED]:
                store.check(queue._journal.fault(size))
                queue._mutex.run(queue._finish)
            store.check(queue.fault())
        except BaseException:
            queue.close()
            raise
        queue.store = store
        return queue

    def __repr__(self) -> str:
        return f"<Queue of {self.size} slots of {self.blocksize} bytes>"

    # --- what apps do -----------------------------------------------------------------------------------------

    def push(self, message: bytes) -> bool:
        """Write into the next slot, over what is there; False for an empty message or one that is too long."""
        return 0 < len(message) <= self.limit and self._mutex.run(self._push, message)

    def pop(self) -> bytes | None:
        """Move one slot back, and return and remove what is there. It moves also to an empty slot (None)."""
        return self._mutex.run(self._pop)

    def pull(self) -> bytes | None:
        """Return and remove what is in the next slot to pull; None, and nothing moves, when it is empty."""
        return self._mutex.run(self._pull)

    def get(self, slot: int) -> bytes | None:
        """Return what is in a slot; None when it is empty or there is none such."""
        return self._mutex.run(self._get, slot) if 0 <= slot < self.size else None

    def set(self, slot: int, message: bytes) -> bool:
        """Write into a slot; False for an empty message, one that is too long, and a slot that is not there."""
        good = 0 <= slot < self.size and 0 < len(message) <= self.limit
        return good and self._mutex.run(self._set, slot, message)

    def last(self, count: int) -> list[bytes | None]:
        """Return the items of the last ``count`` slots before the next one to push to, the newest first."""
        return self._mutex.run(self._last, min(count, self.size))

    @property
    def position(self) -> int:
        """The next slot for `push`."""
        return self._positions[0]

    @property
    def pull_position(self) -> int:
        """The next slot for `pull`."""
        return self._positions[1]

    async def pull_wait(self) -> bytes:
        """Wait for an item in the next slot to pull; return and remove it.

        Who waits stands in line in its process; between processes the first to look gets it. A wait that is cancelled
        has taken nothing.
        """
        line = self._line
        if line.deserted and (item := self.pull()) is not None:
            return item
        async with line.stand(Waiter(None, shared=False)):
            with self._bell.listen() as listener:
                while True:
                    listener.forget()
                    item = self._mutex.run(self._pull_or_note)
                    if item is not None:
                        return item
                    await listener.wait()

    def statistics(self) -> QueueStatistics:
        items = self._mutex.run(self._items)
        return QueueStatistics(self.size, self.blocksize, items, self.position, self.pull_position)

    # --- a part of an instance --------------------------------------------------------------------------------

    @property
    def fds(self) -> Sequence[int]:
        return (self._memory.fd, self._journal.memory.fd, self._bell.fd)

    def described(self) -> Any:
        return [*self.fds, self.blocksize]

    async def maintain(self) -> None:
        """Write the store to the disk now and then."""
        while self._sync > 0 and self.store is not None:
            await anyio.sleep(self._sync)
            await anyio.to_thread.run_sync(self.store.sync)
        await anyio.sleep_forever()

    def publish(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """Give back what this process holds; whoever opened the store also writes it to the disk."""
        if isinstance(self._mutex, NoMutex):
            return
        if self.store is not None:
            self.store.finish(clean=not self._words[DECIDED])
        self._mutex = NoMutex()
        self._positions.release()
        self._journal.close()
        self._memory.close()
        self._bell.close()

    def fault(self) -> str | None:
        """Return what is wrong with the numbers in the memory, in words; None when nothing is."""
        for name, position in (("", self._positions[0]), ("pull ", self._positions[1])):
            if position >= self.size:
                return f"its {name}position is {position}, beyond the last slot, {self.size - 1}"
        for slot in range(self.size):
            length = _WORD.unpack_from(self._slots, HEADER + slot * self.blocksize)[0]
            if length > self.limit:
                return f"slot {slot} says that it holds {length} bytes, and a slot takes {self.limit} at most"
        return None

    # --- inside the mutex: few calls, because each operation pays for them -------------------------------------

    def _push(self, message: bytes) -> bool:
        if self._words[DECIDED]:
            self._finish()
        if self._words[WAITED_FOR]:
            self._ring()
        position, pull_position = self._positions
        following = position + 1 if position + 1 < self.size else 0
        self._change(position, message, int(time.time()), following, pull_position)
        return True

    def _set(self, slot: int, message: bytes) -> bool:
        if self._words[DECIDED]:
            self._finish()
        if self._words[WAITED_FOR]:
            self._ring()
        self._change(slot, message, int(time.time()), *self._positions)
        return True

    def _pop(self) -> bytes | None:
        if self._words[DECIDED]:
            self._finish()
        position, pull_position = self._positions
        position = (position or self.size) - 1
        item = self._item(position)
        self._change(position, b"", 0, position, pull_position)
        return item

    def _pull(self) -> bytes | None:
        if self._words[DECIDED]:
            self._finish()
        position, pull_position = self._positions
        item = self._item(pull_position)
        if item is not None:
            following = pull_position + 1 if pull_position + 1 < self.size else 0
            self._change(pull_position, b"", 0, position, following)
        return item

    def _pull_or_note(self) -> bytes | None:
        item = self._pull()
        if item is None:
            self._words[WAITED_FOR] = 1
        return item

    def _get(self, slot: int) -> bytes | None:
        if self._words[DECIDED]:
            self._finish()
        return self._item(slot)

    def _last(self, count: int) -> list[bytes | None]:
        if self._words[DECIDED]:
            self._finish()
        newest = self._positions[0] - 1
        return [self._item((newest - back) % self.size) for back in range(count)]

    def _items(self) -> int:
        return sum(self._item(slot) is not None for slot in range(self.size))

    def _item(self, slot: int) -> bytes | None:
        at = HEADER + slot * self.blocksize
        size = _WORD.unpack_from(self._slots, at)[0]
        return self._slots[at + HEADER : at + HEADER + size] if size else None

    def _ring(self) -> None:
        """Wake who waits for an item, before there is one: they cannot look before this change is made or undone."""
        self._bell.ring()
        self._words[WAITED_FOR] = 0

    def _change(self, slot: int, data: bytes, now: int, position: int, pull_position: int) -> None:
        self._journal.decide(slot, data, now, position, pull_position)
        self._make(slot, data, now, position, pull_position)

    def _finish(self) -> None:
        """Make the change that was decided by somebody who did not live to make it."""
        change, data = self._journal.decided()
        self._make(change.slot, data, change.time, change.position, change.pull_position)

    def _make(self, slot: int, data: bytes, now: int, position: int, pull_position: int) -> None:
        slots, at, size = self._slots, HEADER + slot * self.blocksize, len(data)
        _WORD.pack_into(slots, at, 0)  # so that not even a file whose journal is lost shows half an item
        if size:
            slots[at + HEADER : at + HEADER + size] = data
            _ITEM.pack_into(slots, at, size, now)
        self._positions[0] = position
        self._positions[1] = pull_position
        self._words[DECIDED] = 0
