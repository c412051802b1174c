"""A cache of this instance: what uWSGI's cache_* functions do, on LMDB.

What lives here: `LocalCache`. What does not: its memory (`memory`), reading (`reading`), what happens inside a write
transaction (`writing`), names of caches (`caches`), other instances (`remote`).

Each change is one write transaction: it has happened, or it has not, also when its process is killed in the middle.
Changes answer as uWSGI's do: True, or None when nothing was done. A disk that is full under a store is logged, and the
answer is None.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uwsgi_async.options.caching import CacheSpec
from uwsgi_async.state.cache.copies import Sender
from uwsgi_async.state.cache.counting import NUMBER_SIZE, Operation, long, pack, unpack
from uwsgi_async.state.cache.layout import (
    LONGEST_RAW_KEY,
    META_KEY,
    Cell,
    Head,
    expiry_of,
    item_key,
    key_of,
)
from uwsgi_async.state.cache.memory import CacheMemory
from uwsgi_async.state.cache.quick import Calculate, Delete, Places, Put, quick_calculate, quick_delete, quick_put
from uwsgi_async.state.cache.reading import Key, Reader, as_bytes, is_expired
from uwsgi_async.state.cache.writing import Done, Writer
from uwsgi_async.wire.uwsgi.cache import Copy

if TYPE_CHECKING:
    from uwsgi_async.state.cache.memory import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheStatistics:
    """What a cache holds and has done. Hits and misses of other processes are counted in with a short delay.

    ``max_items``: as configured; one less are stored. ``full``: how often an item found no room. ``last_modified``:
    unix seconds, 0 without the option lastmod. Sizes are bytes.
    """

    name: str
    items: int
    max_items: int
    hits: int
    misses: int
    full: int
    last_modified: int
    blocks: int
    blocksize: int
    keysize: int
    hash: str
    hashsize: int


class LocalCache:
    """One cache, in one process. ``meta``: the description of a store.

    ``get``: returns the value of a key, None when there is none.

    ``put``: stores a value under a key that expires in ``expires`` seconds, 0 = never. None when it is there already
    and shall not be replaced, for a key or value that is empty or too large, and when the cache is full.

    ``delete``: deletes an item; None when there is none.

    ``calculate``: puts the result of an operation with a number into a key, as a signed number of 64 bits that wraps
    around. A key that is not there begins with the option math_initial, and expires in ``expires`` seconds, 0 = never.
    Of a value that is no number the first eight bytes count.
    """

    def __init__(self, spec: CacheSpec, memory: CacheMemory, meta: bytes | None = None) -> None:
        self.spec = spec
        self.memory = memory
        self._cells = memory.cells
        head = Head(spec)
        self._head = head
        self.writer = Writer(spec, memory, head, meta)
        self.reader = Reader(spec, memory, head, self._expire)
        self.get = self.reader.get
        self._keysize = spec.keysize
        self._default_expires = 0 if spec.purge_lru else spec.expires
        self.put: Put = self._put_slowly
        self.calculate: Calculate = self._calculate_slowly
        self.delete: Delete = self._delete_slowly
        self._sender = Sender(spec.name, spec.nodes) if spec.nodes else None
        if not (head.has_block or head.has_checksum or spec.lazy_expire or spec.lastmod or spec.nodes):
            places = Places(spec.keysize)
            self.put = quick_put(self.writer, places, self._until, self._put_slowly)
            self.calculate = quick_calculate(self.writer, places, self._calculate_slowly)
            self.delete = quick_delete(self.writer, places, self._delete_slowly)

    def __repr__(self) -> str:
        return f"<LocalCache {self.spec.name!r}: {self.count()} of {self.spec.limit} items>"

    # --- looking ----------------------------------------------------------------------------------------------

    def get_with_expiry(self, key: Key) -> tuple[bytes, int] | None:
        """Return a value and when it expires, in unix seconds, 0 = never; None when there is none."""
        value = self.get(key)
        if value is None:
            return None
        found = self.reader.find(item_key(as_bytes(key)))
        return value, 0 if found is None else expiry_of(found)

    def exists(self, key: Key) -> Done:
        """Return True when there is such an item. That is no use of it, and no hit."""
        if self.reader.recalls(key):
            return True
        key = as_bytes(key)
        if not 0 < len(key) <= self._keysize:
            return None
        raw = item_key(key)
        found = self.reader.read_views(lambda txn: txn.get(raw))
        if found is not None and self.spec.lazy_expire and is_expired(found):
            self._expire(raw)
            return None
        return None if found is None else True

    def num(self, key: Key) -> int:
        """Return the number that is counted in a key; 0 when there is none, or the value is no number."""
        value = self.get(key)
        return unpack(value) if value is not None and len(value) == NUMBER_SIZE else 0

    def keys(self) -> list[bytes]:
        """Return all keys, in no order that means something. What has expired and is not yet swept is among them."""

        def read(txn: Transaction) -> list[bytes]:
            keys = list(txn.cursor().iternext(keys=True, values=False))
            if any(len(key) > LONGEST_RAW_KEY for key in keys):
                return [key_of(key, txn.get(key, b""), self._head.size) for key in keys if key != META_KEY]
            return keys

        return self.reader.read(read)

    def count(self) -> int:
        """Return how many items there are."""
        return self.reader.read(self.writer.count)

    def statistics(self) -> CacheStatistics:
        """Return what the cache holds and has done."""
        self.publish()
        spec, cells = self.spec, self._cells
        return CacheStatistics(
            name=spec.name,
            items=self.count(),
            max_items=spec.items,
            hits=cells[Cell.HITS],
            misses=cells[Cell.MISSES],
            full=cells[Cell.FULL],
            last_modified=cells[Cell.LAST_MODIFIED],
            blocks=spec.blocks,
            blocksize=spec.blocksize,
            keysize=spec.keysize,
            hash=spec.hash,
            hashsize=spec.hashsize,
        )

    # --- changing ---------------------------------------------------------------------------------------------

    def clear(self) -> Done:
        """Delete all items."""
        return self.writer.change(self.writer.clear)

    def take(self, copy: Copy) -> None:
        """Make a change that another instance has made; it is not sent on."""
        key, value = copy.key, copy.value
        if not 0 < len(key) <= self._keysize:
            return
        if value is None:
            self.writer.change(self._delete, key, None)
        elif 0 < len(value) <= self.spec.largest_value:
            until = 0 if self.spec.purge_lru else copy.expires
            self.writer.change(self._put, key, value, until, True, None)

    # --- the process ------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Let other processes see the hits and misses of this one."""
        hits, misses = self.reader.take_counts()
        if hits or misses:

            def add(_txn: Transaction, _number: int) -> None:
                self._cells[Cell.HITS] += hits
                self._cells[Cell.MISSES] += misses

            self.writer.change(add)

    def close(self) -> None:
        """Give back what this process has of the cache."""
        self.put, self.calculate, self.delete = self._put_slowly, self._calculate_slowly, self._delete_slowly
        if self.writer.blocks is not None:
            self.writer.blocks.release()
        if self._sender is not None:
            self._sender.close()
        self.memory.close()

    # --- inside a transaction ---------------------------------------------------------------------------------

    def _put_slowly(self, key: Key, value: Key, expires: int, replace: bool) -> Done:
        key, value = as_bytes(key), as_bytes(value)
        if not (0 < len(key) <= self._keysize and 0 < len(value) <= self.spec.largest_value):
            return None
        until = self._until(expires) if expires or self._default_expires else 0
        return self.writer.change(self._put, key, value, until, replace, self._sender)

    def _calculate_slowly(self, key: Key, operation: Operation, operand: int, expires: int) -> Done:
        key, operand = as_bytes(key), long(operand)
        until = self._until(expires) if expires or self._default_expires else 0
        if not 0 < len(key) <= self._keysize or self.spec.largest_value < NUMBER_SIZE:
            return None
        return self.writer.change(self._calculate, key, operation, operand, until)

    def _delete_slowly(self, key: Key) -> Done:
        key = as_bytes(key)
        if not 0 < len(key) <= self._keysize:
            return None
        return self.writer.change(self._delete, key, self._sender)

    def _put(
        self, txn: Transaction, number: int, key: bytes, value: bytes, until: int, replace: bool, sender: Sender | None
    ) -> Done:
        raw = item_key(key)
        found = self.writer.find(txn, number, raw)
        if found is None:
            done = self.writer.insert(txn, number, raw, key, value, until)
        elif replace:
            done = self.writer.replace(txn, number, raw, key, value, until, found, True)
        else:
            done = None
        if done and sender is not None:
            sender.send(Copy(key=key, value=value, expires=until))
        return done

    def _calculate(
        self, txn: Transaction, number: int, key: bytes, operation: Operation, operand: int, until: int
    ) -> Done:
        raw = item_key(key)
        found = self.writer.find(txn, number, raw)
        if found is None:
            value = pack(operation(self.spec.math_initial, operand))
            done = self.writer.insert(txn, number, raw, key, value, until)
        else:
            value, until = pack(operation(unpack(self._head.value(raw, found)), operand)), expiry_of(found)
            done = self.writer.replace(txn, number, raw, key, value, until, found, False)
        if done and self._sender is not None:
            self._sender.send(Copy(key=key, value=value, expires=until))
        return done

    def _delete(self, txn: Transaction, number: int, key: bytes, sender: Sender | None) -> Done:
        raw = item_key(key)
        found = self.writer.find(txn, number, raw)
        if found is None:
            return None
        self.writer.drop(txn, number, raw, found)
        if sender is not None:
            sender.send(Copy(key=key))
        return True

    def _expire(self, raw: bytes) -> None:
        """Drop an item that was met expired, unless it has been renewed meanwhile: finding it does that."""
        self.writer.change(self.writer.find, raw)

    def _until(self, expires: int) -> int:
        """Return the unix second when an item expires; one that has expired already when ``expires`` is negative."""
        seconds = long(expires) or self._default_expires
        return 0 if self.spec.purge_lru else max(int(time.time()) + seconds, 1)
