"""Inside a write transaction of a cache: find, store and drop items, and make room when it is full.

What lives here: `Writer`. What does not: the operations that users know (`local`), blocks (`blocks`), the place that a
store needs on the disk (`store`).

What happens when a cache is full is what core/cache.c of uWSGI does, with two differences where that gives up although
it has made room: with blocks of a bitmap it drops one item, or all of them, and refuses the new one in any case.
"""

from __future__ import annotations

import logging
import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeVar, TypeVarTuple, Unpack

import lmdb

from uwsgi_async.errors import BrokenError
from uwsgi_async.options.caching import CacheSpec
from uwsgi_async.state.cache.blocks import Blocks
from uwsgi_async.state.cache.layout import (
    BUCKETS,
    META_KEY,
    VERSIONS,
    Cell,
    Head,
    block_of,
    bucket_of,
    expiry_of,
)
from uwsgi_async.state.cache.memory import CacheMemory
from uwsgi_async.state.cache.reading import is_expired
from uwsgi_async.state.cache.store import DiskSpace, NoSpaceError

if TYPE_CHECKING:
    from uwsgi_async.state.cache.memory import Transaction

logger = logging.getLogger("uwsgi_async")

T = TypeVar("T")
Args = TypeVarTuple("Args")
Done = Literal[True] | None

_ATTEMPTS: Final = 3
_PATIENT_ATTEMPTS: Final = 8
_FIRST_PAUSE: Final = 0.001  # seconds; each of the next is twice as long, all of them a quarter of a second
_NEXT_SCAN: Final = int(Cell.NEXT_SCAN)


class Writer:
    """Changes one cache in this process.

    All methods but `change` are for the function that `change` calls, and take its transaction and that one's number.
    ``roomy_until``: transactions with lower numbers find room without a look, because each stores one item at most.
    ``blocks``: None where the cache has none. ``meta``: the description of a store, which `clear` leaves in place.
    """

    def __init__(self, spec: CacheSpec, memory: CacheMemory, head: Head, meta: bytes | None) -> None:
        self.roomy_until = 0
        self.blocks = Blocks(spec, memory) if head.has_block else None
        self.spec = spec
        self.memory = memory
        self._cells = memory.cells
        self._head = head
        self._meta = meta
        self._lastmod = spec.lastmod
        self._disk = None if meta is None else DiskSpace(spec, memory)
        self._prepares = self.blocks is not None or self._disk is not None

    def __repr__(self) -> str:
        return f"<Writer: no look for room before transaction {self.roomy_until}>"

    def change(self, work: Callable[[Transaction, int, Unpack[Args]], T], *args: *Args) -> T | None:
        """Let ``work`` make a change, commit it, and return what it returned; None when there is no room at all.

        ``args``: for ``work``, behind the transaction and its number. It is called again when another thread has
        closed the environment to fork, and when readers that were killed held the pages that it needs.
        """
        txn = self.memory.begin(None, None, True)
        try:
            number = txn.id()
            if self._prepares:
                self._prepare(number)
            result = work(txn, number, *args)
            txn.commit()
            return result
        except (lmdb.Error, NoSpaceError):
            txn.abort()
        except BaseException:
            txn.abort()
            raise
        # If another thread closes the environment, it waits until this transaction has really gone; that of a closed
        # environment goes only with its last reference. So none may be left, nor an error's traceback.
        del txn
        return self._change_again(work, *args)

    def find(self, txn: Transaction, number: int, raw: bytes) -> bytes | None:
        """Return what is stored for an item; None when there is none, or it has just expired."""
        found: bytes | None = txn.get(raw)
        if found is not None and self.spec.lazy_expire and is_expired(found):
            self.drop(txn, number, raw, found)
            return None
        return found

    def insert(self, txn: Transaction, number: int, raw: bytes, key: bytes, value: bytes, until: int) -> Done:
        """Store an item that is not there; None when there is no room.

        ``raw``: the item's key in LMDB. ``until``: unix seconds, 0 = never.
        """
        if number >= self.roomy_until and not self._room(txn, number):
            return None
        block = 0
        if self.blocks is not None:
            placed = self.blocks.place(len(value))
            if placed is None:
                placed = self._place_somehow(txn, number, len(value), None)
            if placed is None:
                return None
            block = placed
            self.blocks.touch(block)
        self._cells[bucket_of(raw)] = number
        self._write(txn, raw, key, value, until, block)
        return True

    def replace(
        self, txn: Transaction, number: int, raw: bytes, key: bytes, value: bytes, until: int, found: bytes, use: bool
    ) -> Done:
        """Store a new value for an item that is there; None when there is no room. ``use``: it is used by that."""
        if number >= self.roomy_until:
            self._look_for_room(txn, number)
        block = 0
        if self.blocks is not None:
            block = block_of(found)
            if self.spec.bitmap:
                moved = self._move(txn, number, raw, found, len(value))
                if moved is None:
                    return None
                block = moved
            if use:
                self.blocks.touch(block)
        self._cells[bucket_of(raw)] = number
        self._write(txn, raw, key, value, until, block)
        return True

    def drop(self, txn: Transaction, number: int, raw: bytes, found: bytes) -> None:
        """Delete an item."""
        if self.blocks is not None:
            self.blocks.free(block_of(found), self._head.value_size(raw, found))
        self._cells[bucket_of(raw)] = number
        txn.delete(raw)
        if self._lastmod:
            self._note_change()

    def clear(self, txn: Transaction, number: int) -> Done:
        """Delete all items."""
        if self.blocks is not None:
            self.blocks.clear()
        if self._disk is not None:
            self._disk.prepare_clear()
        self._cells[VERSIONS : VERSIONS + BUCKETS] = memoryview(array("Q", [number]) * BUCKETS)
        txn.drop(self.memory.environment().open_db(), delete=False)
        if self._meta is not None:
            txn.put(META_KEY, self._meta)
        if self._lastmod:
            self._note_change()
        return True

    def count(self, txn: Transaction) -> int:
        """Return how many items there are."""
        entries: int = txn.stat()["entries"]
        return entries - (self._meta is not None)

    def note_expiry(self, until: int) -> None:
        """Let the sweep know that something expires at ``until``, unix seconds."""
        soonest = self._cells[_NEXT_SCAN]
        if not soonest or soonest > until:
            self._cells[_NEXT_SCAN] = until

    # --- a full cache -----------------------------------------------------------------------------------------

    def _room(self, txn: Transaction, number: int) -> bool:
        """Whether there is room for one more item, after a full cache has done what its options say."""
        if self._look_for_room(txn, number):
            return True
        self._full(txn, number, None)
        return self._look_for_room(txn, number)

    def _look_for_room(self, txn: Transaction, number: int) -> bool:
        room = self.spec.limit - self.count(txn)
        self.roomy_until = number + room if room > 0 else 0
        return room > 0

    def _full(self, txn: Transaction, number: int, spared: bytes | None) -> bool:
        """Do what the options say about a full cache; return whether something was dropped."""
        spec = self.spec
        if not spec.ignore_full:
            if spec.purge_lru:
                logger.info('LRU item will be purged from cache "%s"', spec.name)
            else:
                logger.warning('*** DANGER cache "%s" is FULL !!! ***', spec.name)
        self._cells[Cell.FULL] += 1
        dropped = spec.purge_lru and self._purge(txn, number, spared)
        swept = False
        now = int(time.time())
        if spec.sweep_on_full and self._cells[Cell.NEXT_SCAN] <= now:
            self._cells[Cell.NEXT_SCAN] = now + spec.sweep_on_full
            swept = self._sweep(txn, number, now)
        if spec.clear_on_full and not swept:
            return bool(self.clear(txn, number))
        return dropped or swept

    def _purge(self, txn: Transaction, number: int, spared: bytes | None) -> bool:
        assert self.blocks is not None
        oldest = self.blocks.oldest(txn, spared)
        if oldest is None:
            return False
        self.drop(txn, number, *oldest)
        return True

    def _sweep(self, txn: Transaction, number: int, now: int) -> bool:
        expired = [
            (key, found) for key, found in txn.cursor().iternext() if key != META_KEY and 0 < expiry_of(found) <= now
        ]
        for key, found in expired:
            self.drop(txn, number, key, found)
        return bool(expired)

    def _move(self, txn: Transaction, number: int, raw: bytes, found: bytes, size: int) -> int | None:
        """Find blocks for the new value of an item. As in uWSGI the old ones are taken until it is found."""
        assert self.blocks is not None
        block = self.blocks.place(size)
        old, old_size = block_of(found), self._head.value_size(raw, found)
        if block is None:
            block = self._place_somehow(txn, number, size, raw)
            if block is None and self.spec.purge_lru:
                self.blocks.free(old, old_size)
                return self.blocks.place(size)  # all others are gone: there is room
        if block is not None and txn.get(raw) is not None:  # else the whole cache was cleared
            self.blocks.free(old, old_size)
        return block

    def _place_somehow(self, txn: Transaction, number: int, size: int, spared: bytes | None) -> int | None:
        """Find blocks in a cache that has no room, by dropping what its options allow to drop."""
        assert self.blocks is not None
        block = None
        while block is None and self._full(txn, number, spared):
            block = self.blocks.place(size)
        return block

    # --- the memory -------------------------------------------------------------------------------------------

    def _change_again(self, work: Callable[[Transaction, int, Unpack[Args]], T], *args: *Args) -> T | None:
        full, problem, attempts, most = False, "", 0, _ATTEMPTS
        while attempts < most:
            closings = self.memory.closings
            self.memory.recover()
            txn = self.memory.begin(None, None, True)
            try:
                number = txn.id()
                self._prepare(number)
                result = work(txn, number, *args)
                txn.commit()
                return result
            except lmdb.MapFullError as error:
                # Somebody reads, and has lost its processor in the middle: what was replaced since then is kept for it.
                txn.abort()
                full, problem, most = True, str(error), _PATIENT_ATTEMPTS
                time.sleep(_FIRST_PAUSE * 2**attempts)
            except (lmdb.Error, NoSpaceError) as error:
                txn.abort()
                full, problem = isinstance(error, NoSpaceError), str(error)
            except BaseException:
                txn.abort()
                raise
            del txn
            attempts += self.memory.closings == closings
        if full:
            logger.error("cache %r: nothing was stored: %s", self.spec.name, problem)
            return None
        raise BrokenError(f"cache {self.spec.name!r} cannot be changed: {problem}")

    def _prepare(self, number: int) -> None:
        if self._disk is not None:
            self._disk.prepare(number)
        if self.blocks is not None:
            self.blocks.begin(number)

    def _write(self, txn: Transaction, raw: bytes, key: bytes, value: bytes, until: int, block: int) -> None:
        txn.put(raw, self._head.make(key, value, until, block))
        if until:
            self.note_expiry(until)
        if self._lastmod:
            self._note_change()

    def _note_change(self) -> None:
        self._cells[Cell.LAST_MODIFIED] = int(time.time())
