"""One cache's memory: an LMDB environment and a table of cells, without a name in any file system.

What lives here: `CacheMemory`: created once for all processes, attached in each, opened in each at its first use.
What does not: what is in it (`local`), the file of a persistent cache (`store`), names for LMDB (`place`).

LMDB (http://www.lmdb.tech/doc/) must not be used across a fork, so each process opens its own environment when it
needs one, and closes it before it forks. LMDB's lock is a robust mutex in shared memory: when its holder is killed,
the next one gets it, and the transaction has never been.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import lmdb

from uwsgi_async.errors import BrokenError
from uwsgi_async.options.caching import CacheSpec
from uwsgi_async.state.cache.place import place
from uwsgi_async.state.cache.waking import LOCKS_SIZE, Waker

if TYPE_CHECKING:
    Transaction = lmdb.Transaction[bytes]
    Views = lmdb.Transaction[memoryview]  # a transaction that gives memoryviews

CELL: Final = 8  # bytes
PAGE: Final = 4096  # bytes of LMDB's pages
_NODE: Final = 64  # bytes of an item besides key and value, at most
_SLACK: Final = 16 << 20  # bytes
_READERS: Final = 2048  # read transactions at once, of all processes and threads


@dataclass(frozen=True, slots=True)
class MemoryFds:
    """The file descriptors of a cache: the data, LMDB's locks and table of readers, the cells.

    Whoever closes another descriptor of ``locks`` in a process that has the environment open takes LMDB's own lock
    away, by the rules of POSIX: leave it alone.
    """

    data: int
    locks: int
    cells: int


class CacheMemory:
    """A cache's memory in this process.

    ``begin``: begins a transaction, as ``lmdb.Environment.begin`` does; look it up anew for each one. ``cells``: the
    table of unsigned 64-bit numbers, all of them 0 at first. ``closings``: how often the environment was closed, which
    another thread does when it forks: transactions that ran then fail, and are to be tried again. ``size``: the most
    bytes of data. ``wake``: wakes those who would sleep for ever after a death; see `waking`.
    """

    __slots__ = ("__weakref__", "_environment", "_map", "begin", "cells", "closings", "fds", "size", "wake")

    def __init__(self, fds: MemoryFds, size: int) -> None:
        self.fds = fds
        self.size = size
        self._map = mmap.mmap(fds.cells, os.fstat(fds.cells).st_size)
        self.cells = memoryview(self._map).cast("Q")
        self.wake = Waker(fds.locks)
        self._environment: lmdb.Environment | None = None
        self.closings = 0
        self.begin: Callable[..., Transaction] = self._open_and_begin
        _all.add(self)

    def __repr__(self) -> str:
        return f"<CacheMemory of {self.size} bytes, {'closed' if self._environment is None else 'open'}>"

    @classmethod
    def create(cls, name: str, size: int, cells: int, data: int | None = None) -> CacheMemory:
        """Return new memory of ``size`` bytes of data and so many cells.

        ``name``: for people who look at ``/proc/*/fd``. ``data``: the fd of a file for the data, which is then closed
        with this; None = in memory. Raises `BrokenError` when the system does not give it.
        """
        fds: list[int] = [] if data is None else [data]
        try:
            if data is None:
                fds.append(os.memfd_create(f"uwsgi_async cache {name}"[:200]))
            fds.append(os.memfd_create(f"uwsgi_async cache {name} locks"[:200]))
            fds.append(os.memfd_create(f"uwsgi_async cache {name} cells"[:200]))
            os.ftruncate(fds[1], LOCKS_SIZE)
            os.ftruncate(fds[2], -(-cells * CELL // mmap.PAGESIZE) * mmap.PAGESIZE)
            memory = cls(MemoryFds(*fds), size)
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        try:
            memory.environment()  # what cannot be opened is told now, and not in the middle of a request
        except BaseException:
            memory.close()
            raise
        return memory

    def environment(self) -> lmdb.Environment:
        """Return the open environment. Raises `BrokenError` when it cannot be opened."""
        environment = self._environment
        if environment is None:
            with _opening:
                environment = self._environment
                if environment is None:
                    environment = self._environment = self._open()
                    self.begin = environment.begin
        return environment

    def begin_views(self) -> Views:
        """Begin a read transaction that gives memoryviews, valid as long as it is."""
        txn: Any = self.begin(None, None, False, True)
        return txn  # type: ignore[no-any-return]

    def bytes(self, first: int, count: int) -> memoryview:
        """Return ``count`` bytes of the table, from cell ``first``."""
        return memoryview(self._map)[first * CELL : first * CELL + count]

    def find_free(self, first: int, need: int, start: int, end: int) -> int:
        """Return the place of ``need`` zero bytes in a row between two places of `bytes` from ``first``, or -1."""
        base = first * CELL
        found = self._map.find(bytes(need), base + start, base + end)
        return found - base if found >= 0 else -1

    def recover(self) -> None:
        """Forget readers that were killed, so that the pages that they looked at are used again."""
        with suppress(lmdb.Error):
            self.environment().reader_check()

    def close_environment(self) -> None:
        """Close LMDB's environment; the next `begin` opens it again."""
        environment, self._environment = self._environment, None
        self.begin = self._open_and_begin
        self.closings += 1
        if environment is not None:
            environment.close()

    def close(self) -> None:
        """Give back all that this process has of the memory. No cell may be in use any more."""
        self.close_environment()
        self.begin = _closed
        _all.discard(self)
        self.wake.close()
        self.cells.release()
        self._map.close()
        for fd in (self.fds.data, self.fds.locks, self.fds.cells):
            os.close(fd)

    def _open_and_begin(self, *args: Any) -> Transaction:
        self.environment()
        return self.begin(*args)

    def _open(self) -> lmdb.Environment:
        try:
            with place(self.fds.data, self.fds.locks) as path:
                return lmdb.open(
                    path,
                    map_size=self.size,
                    max_readers=_READERS,
                    max_spare_txns=1,
                    sync=False,  # the data outlives the process in any case; a store is synced now and then
                    metasync=False,
                    writemap=True,
                    meminit=False,
                    readahead=False,
                    lib_version=0,
                )
        except (OSError, lmdb.Error) as error:
            raise BrokenError(f"a cache's memory cannot be opened: {error}") from error


def size_for(spec: CacheSpec) -> int:
    """Return the bytes of LMDB's map that a full cache needs in the worst case. Only what is used takes memory."""
    stored = _NODE + spec.keysize + (0 if spec.bitmap else spec.blocksize)
    pages = spec.items * (2 + stored // PAGE)  # a leaf for each, besides the pages of its value
    if spec.bitmap:
        pages += -(-spec.blocks * spec.blocksize // PAGE)
    return (2 * pages + pages // 8) * PAGE + _SLACK  # twice, as what is written is a copy; the branches of the tree


def inherit(fds: Sequence[int]) -> None:
    """Keep descriptors that came from a parent process from the programs that this process starts."""
    for fd in fds:
        os.set_inheritable(fd, False)


def reserve(fd: int, size: int) -> None:
    """Make sure that the first ``size`` bytes of a file have their place on the disk. Raises OSError.

    The data of a cache is written through a memory map, where a full disk would kill the process.
    """
    os.posix_fallocate(fd, 0, size)


def lock_file(fd: int) -> bool:
    """Take a file for this instance, until the last process that inherits ``fd`` has ended; False: it is taken."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _closed(*_args: object) -> Transaction:
    raise BrokenError("this cache is closed: its instance has ended")


# --- forks ----------------------------------------------------------------------------------------------------------

_all: weakref.WeakSet[CacheMemory] = weakref.WeakSet()
_opening = threading.Lock()  # held through a fork, so that no environment is opened in the middle of it


def _before_fork() -> None:
    _opening.acquire()
    for memory in list(_all):
        memory.close_environment()


def _after_fork() -> None:
    _opening.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
