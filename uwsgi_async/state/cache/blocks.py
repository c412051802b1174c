"""The blocks of a cache with ``bitmap`` or ``purge_lru``: which are taken, and when each was last used.

What lives here: `Blocks`. What does not: the items (`local`); they and their first blocks are in LMDB, and that alone
is the truth. The map of blocks, one byte each, is drawn from it, changed together with it, and drawn again when
somebody was killed between the two:

A write transaction of LMDB has a number, one more than that of the last one that was committed. Before the map is
changed, the number is noted in the cell ``PENDING``; the map is changed before the commit, never after it. Whoever
begins and finds its own number there is behind somebody who changed the map and did not commit.

A search for blocks goes where that of uWSGI's core/cache.c goes, from the block behind the last one that was found,
so that both are full at the same moment. The least recently used item is the one with the lowest stamp, a time of the
monotonic clock; a reader stamps without a lock.
"""

from __future__ import annotations

import heapq
import struct
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from uwsgi_async.options.caching import CacheSpec
from uwsgi_async.state.cache.layout import FIRST_STAMP, META_KEY, Cell, Head, block_of
from uwsgi_async.state.cache.memory import CELL, CacheMemory

if TYPE_CHECKING:
    from uwsgi_async.state.cache.memory import Transaction

_FEWEST: Final = 32  # of the oldest items that are looked for at once
_PART: Final = 4  # or one of so many items: a search costs a look at each
_FREE: Final = b"\0"
_TAKEN: Final = b"\1"

_head_of = struct.Struct("<QQ").unpack_from
_now = time.monotonic_ns


def cells_for(spec: CacheSpec) -> int:
    """Return how many cells a cache needs."""
    if not (spec.bitmap or spec.purge_lru):
        return FIRST_STAMP
    return FIRST_STAMP + spec.blocks * spec.purge_lru + -(-spec.blocks // CELL)


class Blocks:
    """The blocks of one cache in this process.

    All but `touch` belongs into a write transaction, after `begin`. ``taken``: one byte for each block.
    """

    __slots__ = (
        "_bitmap",
        "_blocksize",
        "_cells",
        "_count",
        "_first",
        "_head",
        "_lru",
        "_memory",
        "_number",
        "_oldest",
        "taken",
    )

    def __init__(self, spec: CacheSpec, memory: CacheMemory) -> None:
        self._memory = memory
        self._cells = memory.cells
        self._head = Head(spec)
        self._bitmap = spec.bitmap
        self._lru = spec.purge_lru
        self._blocksize = spec.blocksize
        self._count = spec.blocks
        self._first = FIRST_STAMP + spec.blocks * spec.purge_lru
        self.taken = memory.bytes(self._first, spec.blocks)
        self._number = 0
        self._oldest: list[tuple[int, bytes, int]] = []  # the youngest of them first

    def __repr__(self) -> str:
        return f"<Blocks: {sum(self.taken)} of {self._count} taken>"

    def begin(self, number: int) -> None:
        """Say that the transaction ``number`` has begun."""
        self._number = number
        if self._cells[Cell.PENDING] == number:
            self._draw()
            self._cells[Cell.PENDING] = 0

    def place(self, size: int) -> int | None:
        """Take the blocks for a value of ``size`` bytes; return the first one, None when there is no room."""
        need = self._need(size)
        position = self._cells[Cell.POSITION]
        block = self._memory.find_free(self._first, need, position, self._count)
        if block < 0 and position:
            # uWSGI looks at whole bytes of its bitmap, and up to the one that it began in, that one included.
            end = min(-(-position // 8) * 8, self._count)
            block = self._memory.find_free(self._first, need, 0, end)
        if block < 0:
            return None
        self._mark(block, need, _TAKEN)
        after = block + need
        self._cells[Cell.POSITION] = after if after < self._count else 0
        return block

    def free(self, block: int, size: int) -> None:
        """Give the blocks of a value of ``size`` bytes back."""
        self._mark(block, self._need(size), _FREE)

    def clear(self) -> None:
        """Give all blocks back."""
        self._mark(0, self._count, _FREE)
        self._oldest.clear()

    def touch(self, block: int) -> None:
        """Note that the item at ``block`` is used now, if anybody wants to know. Needs no transaction."""
        if self._lru:
            self._cells[FIRST_STAMP + block] = _now()

    def oldest(self, txn: Transaction, spared: bytes | None) -> tuple[bytes, bytes] | None:
        """Return the item that was used least recently, key and what is stored, but not ``spared``; None: no item."""
        for _ in range(2):
            while self._oldest:
                stamp, key, block = self._oldest.pop()
                found = txn.get(key) if key != spared and self._cells[FIRST_STAMP + block] == stamp else None
                if found is not None and block_of(found) == block:
                    return key, found
            self._look_for_oldest()
        return None

    def release(self) -> None:
        """Let go of the memory."""
        self.taken.release()

    def _need(self, size: int) -> int:
        return -(-size // self._blocksize) if self._bitmap else 1

    def _mark(self, block: int, need: int, mark: bytes) -> None:
        self._cells[Cell.PENDING] = self._number
        self.taken[block : block + need] = mark * need

    def _look_for_oldest(self) -> None:
        stamps = ((self._cells[FIRST_STAMP + block], key, block) for key, block, _ in self._items())
        self._oldest = heapq.nsmallest(max(_FEWEST, sum(self.taken) // _PART), stamps)
        self._oldest.reverse()

    def _draw(self) -> None:
        """Draw the map anew from the items."""
        self.clear()
        self._cells[Cell.POSITION] = 0
        for _, block, size in self._items():
            self._mark(block, self._need(size), _TAKEN)

    def _items(self) -> Iterator[tuple[bytes, int, int]]:
        """Yield each committed item's key, first block and size of its value."""
        txn = self._memory.begin_views()
        try:
            for key, found in txn.cursor():
                item_key = bytes(key)
                if item_key != META_KEY:
                    yield item_key, _head_of(found)[1], self._head.value_size(item_key, found)
        finally:
            txn.abort()
