"""The file of a persistent cache: opened, examined, refused when it is damaged or another cache's.

What lives here: `open_store`, which gives the memory of a cache whose data is a file, and `DiskSpace`, its place on the
disk. What does not: memory without a name (`memory`).

A store is an LMDB file with one item more: the cache's description, with the version of this form. Each item has a
checksum. LMDB never overwrites what is in use, so the file is whole whenever its processes are killed; when the machine
itself fails it may not be, because nothing waits for the disk. So all of it is looked at before it is used: first by
`lmdb.verify`, which does not trust it, then item by item.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from typing import Final

import lmdb
import lmdb.verify

from uwsgi_async.errors import BrokenError, OptionError, StoreError
from uwsgi_async.options.caching import CacheSpec
from uwsgi_async.state.cache.layout import META_KEY, Cell, Head
from uwsgi_async.state.cache.memory import PAGE, CacheMemory, lock_file, reserve

logger = logging.getLogger("uwsgi_async")

VERSION: Final = 1
_DESCRIBED: Final = ("items", "blocks", "blocksize", "keysize", "bitmap", "purge_lru")  # what the form depends on
_NEW: Final = ".new"  # the suffix of a store that is being made
_STEP: Final = 4 << 20  # bytes that are reserved at once
_SLACK: Final = 2 << 20  # bytes of them for transactions that drop many items
_TREE_PAGES: Final = 16  # pages that a transaction may take besides those of a value
_PAGE_NUMBER: Final = 8  # bytes: LMDB lists the pages that are free


def describe(spec: CacheSpec) -> bytes:
    """Return the description of a cache that its store carries."""
    return json.dumps({"version": VERSION, **{name: getattr(spec, name) for name in _DESCRIBED}}).encode()


def open_store(spec: CacheSpec, size: int, cells: int) -> CacheMemory:
    """Return the memory of a cache with a store; the file is made when it is not there.

    Raises `OptionError` when there can be no such file, or another instance uses it, `StoreError` when it is damaged,
    or is no store of this cache. With ``store_delete`` a regular file like that is removed, and a new one made.
    """
    path = os.path.abspath(spec.store or "")
    fd = _open(path, spec)
    try:
        problem = _look(path) if os.fstat(fd).st_size else ""
        if problem is None:
            try:
                return _recover(path, os.dup(fd), spec, size, cells)
            except StoreError as error:
                problem = str(error)
        if problem and not spec.store_delete:
            raise StoreError(
                f"cache2: the store {path!r} of cache {spec.name!r} cannot be used: {problem}; "
                "move it away, or let store_delete=1 replace it"
            )
        if problem:
            logger.warning("replacing the store %s, which cannot be used: %s", path, problem)
        return _make(path, spec, size, cells)
    finally:
        os.close(fd)


def _open(path: str, spec: CacheSpec) -> int:
    """Open a file, make it when it is not there, and take it for this instance."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OptionError(
                f"cache2: the store {path!r} of cache {spec.name!r} cannot be opened: {error.strerror}"
            ) from error
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OptionError(f"cache2: the store of cache {spec.name!r} must be a regular file, not {path!r}")
            if not lock_file(fd):
                raise OptionError(f"cache2: the store {path!r} of cache {spec.name!r} is used by another instance")
            if os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(fd)):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # another instance has just replaced it


def _look(path: str) -> str | None:
    """Return what is wrong with an LMDB file; None: nothing."""
    try:
        problems = lmdb.verify.verify(path, subdir=False)  # type: ignore[no-untyped-call]
    except lmdb.verify.VerifyError as error:
        return f"it is no store of uwsgi_async ({error})"
    return f"it is damaged ({problems[0]})" if problems else None


def _make(path: str, spec: CacheSpec, size: int, cells: int) -> CacheMemory:
    """Make a store under another name first: one that has the right name is complete."""
    logger.info("creating a new cache store file: %s", path)
    fd = _open(path + _NEW, spec)
    os.ftruncate(fd, 0)
    memory = CacheMemory.create(spec.name, size, cells, fd)
    try:
        with memory.begin(None, None, True) as txn:
            txn.put(META_KEY, describe(spec))
        os.rename(path + _NEW, path)
    except BaseException:
        memory.close()
        raise
    return memory


def _recover(path: str, fd: int, spec: CacheSpec, size: int, cells: int) -> CacheMemory:
    memory = CacheMemory.create(spec.name, size, cells, fd)
    try:
        count = _examine(memory, spec)
        memory.cells[Cell.PENDING] = memory.environment().info()["last_txnid"] + 1  # the blocks are drawn anew
        memory.cells[Cell.NEXT_SCAN] = 1  # something may have expired meanwhile
    except BaseException as error:
        memory.close()
        if isinstance(error, lmdb.Error | BrokenError) and not isinstance(error, StoreError):
            raise StoreError(f"it is damaged ({error})") from error
        raise
    logger.info("recovered cache from backing store file: %s (%d items)", path, count)
    return memory


def _examine(memory: CacheMemory, spec: CacheSpec) -> int:
    """Look at each item; return how many there are."""
    head = Head(spec)
    count = 0
    txn = memory.begin()
    meta = txn.get(META_KEY)
    if meta is None:
        raise StoreError("it is an LMDB file, but no store of uwsgi_async")
    if meta != describe(spec):
        raise StoreError(
            f"it was made for another cache: {meta.decode(errors='replace')} is not {describe(spec).decode()}"
        )
    for key, found in txn.cursor().iternext():
        if key != META_KEY:
            count += 1
            if not head.is_whole(key, found):
                raise StoreError(f"it is damaged (the checksum of item {key[:40]!r} is wrong)")
    return count


class DiskSpace:
    """Reserves the place that a store needs on the disk, before it is written.

    A store is written through a memory map, where a full disk would kill the process; so the disk is asked first, for
    many transactions at once.
    """

    __slots__ = ("_cells", "_each", "_memory", "_store", "_until")

    def __init__(self, spec: CacheSpec, memory: CacheMemory) -> None:
        self._store = spec.store
        self._memory = memory
        self._cells = memory.cells
        self._each = (-(-spec.largest_value // PAGE) + _TREE_PAGES) * PAGE
        self._until = 0  # transactions with lower numbers have their place

    def __repr__(self) -> str:
        return f"<DiskSpace: {self._cells[Cell.RESERVED]} bytes are reserved>"

    def prepare(self, number: int) -> None:
        """Make sure of the place for a transaction. Raises `NoSpaceError`."""
        if number >= self._until:
            used = self._used()
            self._reserve(used + self._each + _STEP)
            self._until = number + max((self._cells[Cell.RESERVED] - used - _SLACK) // self._each, 1)

    def prepare_clear(self) -> None:
        """Make sure of the place for a transaction that drops all items. Raises `NoSpaceError`."""
        used = self._used()
        self._reserve(used + used // PAGE * _PAGE_NUMBER + _STEP)
        self._until = 0

    def _used(self) -> int:
        pages: int = self._memory.environment().info()["last_pgno"] + 1
        return pages * PAGE

    def _reserve(self, wanted: int) -> None:
        wanted = min(wanted, self._memory.size)
        if wanted > self._cells[Cell.RESERVED]:
            try:
                reserve(self._memory.fds.data, wanted)
            except OSError as error:
                raise NoSpaceError(f"{self._store}: {os.strerror(error.errno or 0)}") from error
            self._cells[Cell.RESERVED] = wanted


class NoSpaceError(Exception):
    """The disk under a store is full: the change is not made. Never leaves `state.cache`."""
