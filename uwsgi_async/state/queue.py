"""uWSGI's queue: a ring of slots with two positions, one for push and pop, one for pull.

What lives here: `Queue`. What does not: what is in the memory (`ring`), the file that keeps it (`queue_store`), the
documented functions (`api.queue`).

The two positions know nothing of each other, as in uWSGI: push and pull are a first in, first out queue as long as no
more than all slots are in use and nobody pops; the oldest items are overwritten by more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NoReturn

import anyio
import anyio.to_thread

from uwsgi_async.errors import OptionError
from uwsgi_async.options.settings import QueueOptions
from uwsgi_async.state.bell import Bell
from uwsgi_async.state.journal import Journal
from uwsgi_async.state.line import Line, Waiter
from uwsgi_async.state.memory import Memory
from uwsgi_async.state.mutex import Mutex, NoMutex
from uwsgi_async.state.queue_quick import quick_functions
from uwsgi_async.state.queue_store import QueueStore
from uwsgi_async.state.ring import HEADER, Ring


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """``items``: slots that are not empty. ``position``, ``pull_position``: the next slots for push and pull."""

    size: int
    blocksize: int
    items: int
    position: int
    pull_position: int


class Queue:
    """The queue, in one process. ``size``: its slots. ``limit``: bytes of the longest message.

    ``push``: writes into the next slot, over what is there; False for an empty message or one that is too long.
    ``pull``: returns and removes what is in the next slot to pull; None, and nothing moves, when it is empty.
    ``get``: returns what is in a slot; None when it is empty or there is none such. ``set``: writes into a slot; False
    as for ``push``, and for a slot that is not there. ``last``: returns the items of the last ``count`` slots before
    the next one to push to, the newest first; one at least.
    """

    def __init__(self, slots: Memory, journal: Journal, bell: Bell, blocksize: int, sync: float = 0.0) -> None:
        self._ring = Ring(slots, journal, bell, blocksize)
        self.size = self._ring.size
        self.blocksize = blocksize
        self.limit = blocksize - HEADER
        self.store: QueueStore | None = None
        self._memory = slots
        self._journal = journal
        self._mutex: Mutex | NoMutex = journal.mutex()
        self._bell = bell
        self._line = Line()
        self._sync = sync
        self.push, self.pull, self.get, self.set, self.last = quick_functions(self._ring, self._journal, self._mutex)

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
            return _stored(options.queue_store, size, blocksize, options.queue_store_sync)
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

    def __repr__(self) -> str:
        return f"<Queue of {self.size} slots of {self.blocksize} bytes>"

    # --- what apps do -----------------------------------------------------------------------------------------

    def pop(self) -> bytes | None:
        """Move one slot back, and return and remove what is there. It moves also to an empty slot (None)."""
        return self._mutex.run(self._ring.pop)

    @property
    def position(self) -> int:
        """The next slot for `push`."""
        return self._ring.position

    @property
    def pull_position(self) -> int:
        """The next slot for `pull`."""
        return self._ring.pull_position

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
                    item = self._mutex.run(self._ring.pull_or_note)
                    if item is not None:
                        return item
                    await listener.wait()

    def statistics(self) -> QueueStatistics:
        items = self._mutex.run(self._ring.count)
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

    def sections(self) -> Mapping[str, Any]:
        """uWSGI tells nothing of the queue."""
        return {}

    def close(self) -> None:
        """Give back what this process holds; whoever opened the store also writes it to the disk."""
        if isinstance(self._mutex, NoMutex):
            return
        if self.store is not None:
            self.store.finish(clean=not self._ring.decided)
        self._mutex = NoMutex()
        self.push = self.pull = self.get = self.set = self.last = _closed
        self._ring.close()
        self._journal.close()
        self._memory.close()
        self._bell.close()


def _closed(*_: object) -> NoReturn:
    NoMutex().run(_closed)
    raise AssertionError


def _stored(path: str, size: int, blocksize: int, sync: float) -> Queue:
    """Return the queue that a file keeps. Raises `StoreError`; then nothing is left open."""
    store = QueueStore.open(path, HEADER + size * blocksize, Journal.length(blocksize))
    queue = Queue(store.slots, store.prepare(size, blocksize), Bell.create(), blocksize, sync)
    try:
        if queue._ring.decided:
            store.check(queue._journal.fault(size))
            queue._mutex.run(queue._ring.finish)
        store.check(queue._ring.fault())
    except BaseException:
        queue.close()
        raise
    queue.store = store
    return queue
