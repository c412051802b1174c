"""The short way of what is called most: to store and to count in a plain cache, without a detour.

What lives here: `quick_put`, `quick_calculate`, for caches whose items are a head and a value and nothing else. What
does not: the long way (`local`, `writing`), to which these go with long keys, when there may be no room, and when LMDB
says no. They are closures, and write out what the long way has in functions of its own, because each call of a Python
function costs a tenth of the whole; their test is that both ways answer the same (the state machine and the comparison
with real uWSGI run over caches of both kinds).
"""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from typing import Final

import lmdb

from uwsgi_async.state.cache.counting import NUMBER, NUMBER_SIZE, SIGN, Operation, pack
from uwsgi_async.state.cache.layout import BUCKETS, LONGEST_RAW_KEY, VERSIONS
from uwsgi_async.state.cache.reading import Key, as_bytes
from uwsgi_async.state.cache.writing import Done, Writer

Put = Callable[[Key, Key, int, bool], Done]
Calculate = Callable[[Key, Operation, int, int], Done]

_HEAD: Final = struct.Struct("<Q")
_NEVER: Final = bytes(_HEAD.size)
_MASK: Final = BUCKETS - 1
_CENTURIES: Final = 1 << 40  # seconds


def quick_put(writer: Writer, until_of: Callable[[int], int], slowly: Put) -> Put:
    """Return `LocalCache.put`. ``until_of``: seconds to unix seconds. ``slowly``: the long way."""
    memory, cells, expiring, now = writer.memory, writer.memory.cells, _HEAD.pack, time.time
    longest, largest, always = min(writer.spec.keysize, LONGEST_RAW_KEY), writer.spec.largest_value, writer.spec.expires

    def put(key: Key, value: Key, expires: int, replace: bool) -> Done:
        raw = key if key.__class__ is bytes else key.encode() if key.__class__ is str else as_bytes(key)
        data = value if value.__class__ is bytes else as_bytes(value)
        if not (0 < len(raw) <= longest and 0 < len(data) <= largest):
            return slowly(raw, data, expires, replace)
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
                stored = (expiring(until) if until else _NEVER) + data
                if replace:
                    cells[VERSIONS + (zlib.crc32(raw) & _MASK)] = number
                    txn.put(raw, stored)
                elif not txn.put(raw, stored, True, False):
                    txn.abort()
                    return None
                if until:
                    writer.note_expiry(until)
                txn.commit()
                return True
            txn.abort()
        except lmdb.Error:  # told, or put right, by the long way
            txn.abort()
        except BaseException:
            txn.abort()
            raise
        del txn  # see `Writer.change`
        return slowly(raw, data, expires, replace)

    return put


def quick_calculate(writer: Writer, slowly: Calculate) -> Calculate:
    """Return `LocalCache.calculate`. ``slowly``: the long way, which also makes the key."""
    memory, cells, number_at = writer.memory, writer.memory.cells, NUMBER.unpack_from
    longest, size = min(writer.spec.keysize, LONGEST_RAW_KEY), _HEAD.size + NUMBER_SIZE

    def calculate(key: Key, operation: Operation, operand: int, expires: int) -> Done:
        raw = key if key.__class__ is bytes else key.encode() if key.__class__ is str else as_bytes(key)
        if not (0 < len(raw) <= longest and operand.__class__ is int and -SIGN <= operand < SIGN):
            return slowly(raw, operation, operand, expires)
        txn = memory.begin(None, None, True)
        try:
            found = txn.get(raw)
            if found is not None and len(found) == size:
                cells[VERSIONS + (zlib.crc32(raw) & _MASK)] = txn.id()
                value = pack(operation(number_at(found, NUMBER_SIZE)[0], operand))
                txn.put(raw, found[: _HEAD.size] + value)
                txn.commit()
                return True
            txn.abort()
        except lmdb.Error:  # told, or put right, by the long way
            txn.abort()
        except BaseException:
            txn.abort()
            raise
        del txn  # see `Writer.change`
        return slowly(raw, operation, operand, expires)

    return calculate
