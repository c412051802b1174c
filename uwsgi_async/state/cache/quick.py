"""The short way of what is called most: to store, delete and count in a plain cache, without a detour.

What lives here: `quick_put`, `quick_delete`, `quick_calculate`, for caches whose items are a head and a value and
nothing else. What does not: the long way (`local`, `writing`), to which these go, ``slowly``, with long keys, with
whatever is wrong with the arguments, when there may be no room, and when LMDB says no. They are closures, and write out
what the long way has in functions of its own, because each call of a Python function costs a tenth of the whole; their
test is that both ways answer the same (the state machine and the comparison with real uWSGI run over caches of both
kinds).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import Any, Final

import lmdb

from uwsgi_async.state.cache.counting import NUMBER_SIZE, Operation
from uwsgi_async.state.cache.layout import LONGEST_RAW_KEY, bucket_of
from uwsgi_async.state.cache.reading import Key, as_bytes
from uwsgi_async.state.cache.writing import Done, Writer

Put = Callable[[Key, Key, int, bool], Done]
Delete = Callable[[Key], Done]
Calculate = Callable[[Key, Operation, int, int], Done]

_HEAD: Final = struct.Struct("<Q")
_COUNTED: Final = struct.Struct(f"<{_HEAD.size}sq")
_NEVER: Final = bytes(_HEAD.size)
_CENTURIES: Final = 1 << 40  # seconds
_MOST_PLACES: Final = 1024


class Places:
    """Where the keys are that this process changes: the key in LMDB, and the cell of its bucket.

    ``get``: returns the place of a key that was changed lately, else None; then `find` makes it.
    """

    __slots__ = ("_known", "_longest", "get")

    def __init__(self, keysize: int) -> None:
        self._known: dict[Any, tuple[bytes, int]] = {}
        self._longest = min(keysize, LONGEST_RAW_KEY)
        self.get = self._known.get

    def __repr__(self) -> str:
        return f"<Places of {len(self._known)} keys>"

    def find(self, key: Key) -> tuple[bytes, int] | None:
        """Return the place of a key; None when it is not for the short way. Raises TypeError for what is no key."""
        raw = as_bytes(key)
        if not 0 < len(raw) <= self._longest:
            return None
        if len(self._known) >= _MOST_PLACES:
            self._known.clear()
        place = self._known[key] = raw, bucket_of(raw)
        return place


def quick_put(writer: Writer, places: Places, until_of: Callable[[int], int], slowly: Put) -> Put:
    """Return `LocalCache.put`. ``until_of``: seconds to unix seconds."""
    memory, cells, expiring, now = writer.memory, writer.memory.cells, _HEAD.pack, time.time
    largest, always, place_of = writer.spec.largest_value, writer.spec.expires, places.get

    def put(key: Key, value: Key, expires: int, replace: bool) -> Done:
        data = value if value.__class__ is bytes else as_bytes(value)
        place = place_of(key) or places.find(key)
        if place is None or not 0 < len(data) <= largest:
            return slowly(key, data, expires, replace)
        raw, cell = place
        if not (expires or always):
            until = 0
        elif expires.__class__ is int and 0 < expires < _CENTURIES:
            until = int(now()) + expires
        else:
            until = until_of(expires)
        txn = memory.begin(None, None, True)
        try:
            number = txn.id()
            if number < writer.roomy_until:
                if txn.put(raw, (expiring(until) if until else _NEVER) + data, True, replace):
                    cells[cell] = number
                    if until:
                        writer.note_expiry(until)
                    txn.commit()
                    return True
                txn.abort()
                return None
            txn.abort()
        except lmdb.Error:  # told, or put right, by the long way
            txn.abort()
        except BaseException:
            txn.abort()
            raise
        del txn  # see `Writer.change`
        return slowly(key, data, expires, replace)

    return put


def quick_delete(writer: Writer, places: Places, slowly: Delete) -> Delete:
    """Return `LocalCache.delete`."""
    memory, cells, place_of = writer.memory, writer.memory.cells, places.get

    def delete(key: Key) -> Done:
        place = place_of(key) or places.find(key)
        if place is None:
            return slowly(key)
        raw, cell = place
        txn = memory.begin(None, None, True)
        try:
            if txn.delete(raw):
                cells[cell] = txn.id()
                txn.commit()
                return True
            txn.abort()
            return None
        except lmdb.Error:  # told, or put right, by the long way
            txn.abort()
        except BaseException:
            txn.abort()
            raise
        del txn  # see `Writer.change`
        return slowly(key)

    return delete


def quick_calculate(writer: Writer, places: Places, slowly: Calculate) -> Calculate:
    """Return `LocalCache.calculate`. The long way also makes the key, and lets numbers wrap around."""
    memory, cells, parts, joined = writer.memory, writer.memory.cells, _COUNTED.unpack, _COUNTED.pack
    place_of, size = places.get, _HEAD.size + NUMBER_SIZE

    def calculate(key: Key, operation: Operation, operand: int, expires: int) -> Done:
        place = place_of(key) or places.find(key)
        if place is None or operand.__class__ is not int:
            return slowly(key, operation, operand, expires)
        raw, cell = place
        txn = memory.begin(None, None, True)
        try:
            found = txn.get(raw)
            if found is not None and len(found) == size:
                head, value = parts(found)
                stored = joined(head, operation(value, operand))
                cells[cell] = txn.id()
                txn.put(raw, stored)
                txn.commit()
                return True
            txn.abort()
        except (lmdb.Error, struct.error):  # told, or put right, by the long way
            txn.abort()
        except BaseException:
            txn.abort()
            raise
        del txn  # see `Writer.change`
        return slowly(key, operation, operand, expires)

    return calculate
