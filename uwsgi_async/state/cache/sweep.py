"""Delete what has expired, a few items at a time. One process of an instance does it, the master or the only one.

What lives here: `sweep`. What does not: when (`caches`), lazy expiry (`reading`, `writing`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from uwsgi_async.state.cache.layout import META_KEY, Cell, expiry_of
from uwsgi_async.state.cache.local import LocalCache
from uwsgi_async.state.cache.writing import Writer

if TYPE_CHECKING:
    from uwsgi_async.state.cache.memory import Transaction, Views

_PART: Final = 256  # items that are looked at before others get a turn


def sweep(cache: LocalCache, now: int) -> Iterator[int]:
    """Delete what has expired by ``now``, unix seconds; yield now and then, with the number of items deleted since."""
    cells = cache.memory.cells
    if not 0 < cells[Cell.NEXT_SCAN] <= now:
        return

    def begin(_txn: Transaction, _number: int) -> None:
        # First of all: what is stored from now on notes its own expiry.
        cells[Cell.NEXT_SCAN] = 0

    cache.writer.change(begin)
    soonest = 0
    after: bytes | None = b""
    while after is not None:
        part, after = _read_part(cache, after)
        expired = [key for key, expires in part if expires <= now]
        yield cache.writer.change(partial(_delete, cache.writer, expired, now)) or 0 if expired else 0
        left = [expires for _, expires in part if expires > now]
        soonest = min([soonest, *left] if soonest else left, default=0)
    if soonest:
        cache.writer.change(lambda _txn, _number: cache.writer.note_expiry(soonest))


def _read_part(cache: LocalCache, after: bytes) -> tuple[list[tuple[bytes, int]], bytes | None]:
    """Return the next items that expire at all, keys and unix seconds, and where to go on; None at the end."""

    def read(txn: Views) -> tuple[list[tuple[bytes, int]], bytes | None]:
        part: list[tuple[bytes, int]] = []
        cursor = txn.cursor()
        if not (cursor.set_range(after) if after else cursor.first()):
            return part, None
        for count, (key, found) in enumerate(cursor.iternext()):
            if count == _PART:
                return part, bytes(key)
            expires = expiry_of(found[:8])
            if expires and key != META_KEY:
                part.append((bytes(key), expires))
        return part, None

    return cache.reader.read_views(read)


def _delete(writer: Writer, keys: list[bytes], now: int, txn: Transaction, number: int) -> int:
    deleted = 0
    for key in keys:
        found = txn.get(key)
        if found is not None and 0 < expiry_of(found) <= now:
            writer.drop(txn, number, key, found)
            deleted += 1
    return deleted
