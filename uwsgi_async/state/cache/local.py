"""A cache of this instance: what uWSGI's cache_* functions do, on LMDB.

What lives here: `LocalCache`. What does not: its memory (`memory`), reading (`reading`), what happens inside a write
transaction (`writing`), names of caches (`caches`), other instances (`remote`).

Each change is one write transaction: it has happened, or it has not, also when its process is killed in the middle.
Changes answer as uWSGI's do: True, or None when nothing was done. A disk that is full under a store is logged, and the
answer is None.
"""

from __future__ import annotations

import operator
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import lmdb

from uwsgi_async.options.caching import CacheSpec
from uwsgi_async.state.cache.layout import (
    BUCKETS,
    LONGEST_RAW_KEY,
    META_KEY,
    VERSIONS,
    Cell,
    Head,
    expiry_of,
    item_key,
    key_of,
)
from uwsgi_async.state.cache.memory import CacheMemory
from uwsgi_async.state.cache.reading import Key, Reader, as_bytes, is_expired
from uwsgi_async.state.cache.writing import Done, Writer

if TYPE_CHECKING:
    from uwsgi_async.state.cache.memory import Transaction

Operation = Callable[[int, int], int]

_NUMBER: Final = 8  # bytes of what is counted in
_SIGN: Final = 1 << 63
_INTEGER: Final = struct.Struct("<q")
_INTEGER_AT: Final = _INTEGER.unpack_from
_HEAD: Final = struct.Struct("<Q").pack  # of an item of a cache without blocks or a store
_QUICK_NUMBER: Final = 16  # bytes of a number in such a cache, head and all


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
    """One cache, in one process.

    ``get``: returns the value of a key, bytes or str, None when there is none. ``meta``: the description of a store.
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
        self._largest = spec.largest_value
        self._default_expires = 0 if spec.purge_lru else spec.expires
        self._quick = not (head.has_block or head.has_checksum or spec.lazy_expire or spec.lastmod)
        self._never = head.never

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
        return int.from_bytes(value, "little", signed=True) if value is not None and len(value) == _NUMBER else 0

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

    def put(self, key: Key, value: Key, expires: int, replace: bool) -> Done:
        """Store an item that expires in ``expires`` seconds; 0 = never.

        None when it is there already and shall not be replaced, for a key or value that is empty or too large, and
        when the cache is full.
        """
        key = key if key.__class__ is bytes else as_bytes(key)
        value = value if value.__class__ is bytes else as_bytes(value)
        if not (0 < len(key) <= self._keysize and 0 < len(value) <= self._largest):
            return None
        until = self._until(expires) if expires or self._default_expires else 0
        if self._quick and len(key) <= LONGEST_RAW_KEY:
            # What nearly all calls are, without a detour: one lookup, one put.
            txn = self.memory.begin(None, None, True)
            try:
                number = txn.id()
                if number < self.writer.roomy_until:
                    stored = (_HEAD(until) if until else self._never) + value
                    if replace:
                        self._cells[VERSIONS + (zlib.crc32(key) & (BUCKETS - 1))] = number
                        txn.put(key, stored)
                    elif not txn.put(key, stored, True, False):
                        txn.abort()
                        return None
                    if until:
                        self.writer.note_expiry(until)
                    txn.commit()
                    return True
                txn.abort()
            except lmdb.Error:  # told, or put right, by the way below
                txn.abort()
            except BaseException:
                txn.abort()
                raise
            del txn  # see `Writer.change`
        return self.writer.change(self._put, key, value, until, replace)

    def calculate(self, key: Key, operation: Operation, operand: int, expires: int) -> Done:
        """Put the result of ``operation`` into a key, as a signed number of 64 bits that wraps around.

        A key that is not there begins with the option math_initial, and expires in ``expires`` seconds, 0 = never. Of a
        value that is no number the first eight bytes count.
        """
        key = key if key.__class__ is bytes else as_bytes(key)
        operand = operand if operand.__class__ is int and -_SIGN <= operand < _SIGN else _long(operand)
        until = self._until(expires) if expires or self._default_expires else 0
        if not 0 < len(key) <= self._keysize or self._largest < _NUMBER:
            return None
        return self.writer.change(self._calculate, key, operation, operand, until)

    def delete(self, key: Key) -> Done:
        """Delete an item; None when there is none."""
        key = as_bytes(key)
        if not 0 < len(key) <= self._keysize:
            return None
        return self.writer.change(self._delete, item_key(key))

    def clear(self) -> Done:
        """Delete all items."""
        return self.writer.change(self.writer.clear)

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
        if self.writer.blocks is not None:
            self.writer.blocks.release()
        self.memory.close()

    # --- inside a transaction ---------------------------------------------------------------------------------

    def _put(self, txn: Transaction, number: int, key: bytes, value: bytes, until: int, replace: bool) -> Done:
        raw = item_key(key)
        found = self.writer.find(txn, number, raw)
        if found is None:
            return self.writer.insert(txn, number, raw, key, value, until)
        if not replace:
            return None
        return self.writer.replace(txn, number, raw, key, value, until, found, True)

    def _calculate(
        self, txn: Transaction, number: int, key: bytes, operation: Operation, operand: int, until: int
    ) -> Done:
        raw = key if len(key) <= LONGEST_RAW_KEY else item_key(key)
        if self._quick:
            found = txn.get(raw)
            if found is not None and len(found) == _QUICK_NUMBER:  # a head, and the number
                self._cells[VERSIONS + (zlib.crc32(raw) & (BUCKETS - 1))] = number
                txn.put(raw, found[:_NUMBER] + _packed(operation(_INTEGER_AT(found, _NUMBER)[0], operand)))
                return True
        found = self.writer.find(txn, number, raw)
        if found is None:
            value = _packed(operation(self.spec.math_initial, operand))
            return self.writer.insert(txn, number, raw, key, value, until)
        value = _packed(operation(_unpacked(self._head.value(raw, found)), operand))
        return self.writer.replace(txn, number, raw, key, value, expiry_of(found), found, False)

    def _delete(self, txn: Transaction, number: int, raw: bytes) -> Done:
        if self._quick:
            self._cells[VERSIONS + (zlib.crc32(raw) & (BUCKETS - 1))] = number
            return txn.delete(raw) or None
        found = self.writer.find(txn, number, raw)
        if found is None:
            return None
        self.writer.drop(txn, number, raw, found)
        return True

    def _expire(self, raw: bytes) -> None:
        """Drop an item that was met expired, unless it has been renewed meanwhile: finding it does that."""
        self.writer.change(self.writer.find, raw)

    def _until(self, expires: int) -> int:
        """Return the unix second when an item expires; one that has expired already when ``expires`` is negative."""
        seconds = _long(expires) or self._default_expires
        return 0 if self.spec.purge_lru else max(int(time.time()) + seconds, 1)


def quotient(value: int, divisor: int) -> int:
    """Divide as C does, toward zero; by zero gives zero, as in uWSGI."""
    if divisor == 0:
        return 0
    result = abs(value) // abs(divisor)
    return result if (value < 0) == (divisor < 0) else -result


def _packed(number: int) -> bytes:
    if not -_SIGN <= number < _SIGN:
        number = (number + _SIGN) % (2 * _SIGN) - _SIGN
    return _INTEGER.pack(number)


def _unpacked(value: bytes) -> int:
    number: int = _INTEGER.unpack(value if len(value) == _NUMBER else value[:_NUMBER].ljust(_NUMBER, b"\0"))[0]
    return number


def _long(number: int) -> int:
    number = operator.index(number)
    if not -_SIGN <= number < _SIGN:
        raise OverflowError("Python int too large to convert to C long")
    return number
