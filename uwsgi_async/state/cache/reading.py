"""How a process reads a cache: LMDB's read transactions, and what it remembers of hot items.

What lives here: `Reader`: `get`, and its counts of hits and misses. What does not: changes (`local`).

**What is remembered.** A small value that is read again and again is kept in a dict of the process, with a number:
that of the last write transaction that has changed an item of the same bucket, from the bucket's cell in shared
memory. A writer puts its transaction's number into the cell before it commits. A remembered value is good as long as
the cell has not changed, because then nothing has been committed to the bucket since; a value is remembered only
if the snapshot that it comes from is not older than the cell says. So a reader sees what has been committed, always:
a transaction that dies between the two only makes the bucket slower, until the next one.

Every fourth value that is fetched is remembered: the hot ones soon, and a walk over all keys costs little. That a key
is not there is remembered in the same way, apart from the values: so keys without end that are asked for once do not
push them out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import lmdb

from uwsgi_async.errors import BrokenError
from uwsgi_async.options.caching import CacheSpec
from uwsgi_async.state.cache.layout import (
    FIRST_STAMP,
    LONGEST_RAW_KEY,
    Head,
    block_of,
    bucket_of,
    expiry_of,
    item_key,
)
from uwsgi_async.state.cache.memory import CacheMemory

if TYPE_CHECKING:
    from uwsgi_async.state.cache.memory import Transaction, Views

_MOST_REMEMBERED: Final = 1024  # values; when there are more, all are forgotten
_LARGEST_REMEMBERED: Final = 4096  # bytes
_EVERY: Final = 4
_ATTEMPTS: Final = 3

T = TypeVar("T")
X = TypeVar("X")

Key = bytes | str

_stamp = time.monotonic_ns


class Reader:
    """Reads one cache in this process.

    ``get``: returns the value of a key, None when there is none. ``take_counts``: returns the hits and misses since
    it was last called. ``expired``: called with an item's key when ``get`` has met it and it has expired, in a cache
    that expires lazily.
    """

    def __init__(self, spec: CacheSpec, memory: CacheMemory, head: Head, expired: Callable[[bytes], object]) -> None:
        self._memory = memory
        self._head = head
        self._keysize = spec.keysize
        self._lazy = spec.lazy_expire
        self._lru = spec.purge_lru
        self._expired = expired
        self._fetched = self._missed = 0
        self._remembered: dict[Any, tuple[bytes, int, int]] = {}
        self._absent: dict[Any, tuple[int, int]] = {}
        careful = spec.lazy_expire or spec.purge_lru
        fetch = self._fetch_carefully if careful else self._fetch
        self.get, self.take_counts = _make_get(self._remembered.get, self._absent.get, memory.cells, fetch)

    def __repr__(self) -> str:
        return f"<Reader that remembers {len(self._remembered)} values>"

    def recalls(self, key: Key) -> bool:
        """Whether the value of a key is remembered, and still good."""
        known = self._remembered.get(key)
        return known is not None and self._memory.cells[known[1]] == known[2]

    def find(self, raw: bytes) -> bytes | None:
        """Return what is stored for an item, head included. Raises `BrokenError`."""
        return self.read(lambda txn: txn.get(raw))

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Return what ``work`` makes of a snapshot. Raises `BrokenError`."""
        return self._read(lambda: self._memory.begin(), work)  # looked up anew: see `CacheMemory`

    def read_views(self, work: Callable[[Views], T]) -> T:
        """Return what ``work`` makes of a snapshot that gives memoryviews. Raises `BrokenError`."""
        return self._read(lambda: self._memory.begin_views(), work)

    def _read(self, begin: Callable[[], X], work: Callable[[X], T]) -> T:
        problem, attempts = "", 0
        while attempts < _ATTEMPTS:
            closings = self._memory.closings
            try:
                return work(begin())
            except lmdb.Error as error:
                # The environment was closed under us, because another thread forks; or dead readers fill the table.
                problem = str(error)
            attempts += self._memory.closings == closings
            self._memory.recover()
        raise BrokenError(f"the cache cannot be read: {problem}")

    def _fetch(self, key: Key) -> bytes | None:
        """Return a value from a cache whose items are good as long as they are there."""
        raw = key if key.__class__ is bytes else key.encode() if key.__class__ is str else as_bytes(key)
        if not 0 < len(raw) <= LONGEST_RAW_KEY:
            return self._fetch_carefully(raw)
        try:
            found = self._memory.begin().get(raw)
        except lmdb.Error:
            found = self.find(raw)
        if found is None:
            self._missed += 1
            if self._missed % _EVERY == 0:
                self._remember(key, raw)
            return None
        self._fetched += 1
        if self._fetched % _EVERY == 0:
            self._remember(key, raw)
        return found[self._head.size :]

    def _fetch_carefully(self, key: Key) -> bytes | None:
        """Return a value of any cache: reading an item may end it, or makes it young."""
        key = as_bytes(key)
        if not 0 < len(key) <= self._keysize:
            return None
        raw = item_key(key)
        found = self.find(raw)
        if found is None:
            return None
        if self._lazy and is_expired(found):
            self._expired(raw)
            return None
        if self._lru:
            self._memory.cells[FIRST_STAMP + block_of(found)] = _stamp()
        return self._head.value(raw, found)

    def _remember(self, key: Key, raw: bytes) -> None:
        bucket = bucket_of(raw)
        number = self._memory.cells[bucket]  # before the snapshot is taken
        try:
            txn = self._memory.begin()
            found = txn.get(raw)
            snapshot = txn.id()
        except lmdb.Error:
            return
        if snapshot < number:
            return
        if found is None:
            if len(self._absent) >= _MOST_REMEMBERED:
                self._absent.clear()
            self._absent[key] = bucket, number
        elif len(found) <= _LARGEST_REMEMBERED:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = found[self._head.size :], bucket, number


def _make_get(
    recall: Callable[[Any], tuple[bytes, int, int] | None],
    recall_absence: Callable[[Any], tuple[int, int] | None],
    cells: memoryview,
    fetch: Callable[[Key], bytes | None],
) -> tuple[Callable[[Key], bytes | None], Callable[[], tuple[int, int]]]:
    """Return `Reader.get` and `Reader.take_counts`: closures, as attributes would take half as long again."""
    hits = misses = 0

    def get(key: Key) -> bytes | None:
        nonlocal hits, misses
        known = recall(key)
        if known is not None and cells[known[1]] == known[2]:
            hits += 1
            return known[0]
        absence = recall_absence(key)
        if absence is not None and cells[absence[0]] == absence[1]:
            misses += 1
            return None
        value = fetch(key)
        if value is None:
            misses += 1
        else:
            hits += 1
        return value

    def take_counts() -> tuple[int, int]:
        nonlocal hits, misses
        counts = hits, misses
        hits = misses = 0
        return counts

    return get, take_counts


def is_expired(found: bytes | memoryview) -> bool:
    """Whether an item has expired. As in uWSGI it has at the second itself."""
    expires = expiry_of(found)
    return expires != 0 and expires <= int(time.time())


def as_bytes(value: object) -> bytes:
    """Return a str in UTF-8, and bytes as they are. Raises TypeError for anything else, in uWSGI's words."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        raise TypeError(f"argument must be read-only bytes-like object, not {type(value).__name__}")
    raise TypeError(f"a bytes-like object is required, not '{type(value).__name__}'")
