"""How an item lies in LMDB, and what the cells of a cache's memory are.

What lives here: `Head`, the bytes before each value, the key of an item, and the numbers of the cells. What does not:
what is done with them (`local`, `blocks`).

The key of an item is the cache's key, as long as LMDB takes it; that of a longer one is a digest, and the key stands
before the value. Keys of 511 bytes are ours alone: digests, and the description of a store.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from enum import IntEnum
from typing import Final

from uwsgi_async.options.caching import CacheSpec


class Cell(IntEnum):
    """The first cells. Each is written by the holder of the write transaction only.

    ``NEXT_SCAN``: unix seconds when something may have expired; 0 = nothing will. ``PENDING``: the transaction that
    has last changed the blocks; see `blocks`. ``POSITION``: where the search for free blocks begins. ``RESERVED``:
    bytes of a store that have their place on the disk.
    """

    NEXT_SCAN = 0
    HITS = 1
    MISSES = 2
    FULL = 3
    LAST_MODIFIED = 4
    PENDING = 5
    POSITION = 6
    RESERVED = 7


VERSIONS: Final = 16  # the first of the cells that tell whether a remembered value is still good
BUCKETS: Final = 1024
FIRST_STAMP: Final = VERSIONS + BUCKETS

LONGEST_RAW_KEY: Final = 510  # bytes; LMDB takes 511
_DIGEST: Final = 32
_LONG: Final = b"\xff" * (LONGEST_RAW_KEY + 1 - _DIGEST)
META_KEY: Final = b"uwsgi_async cache".ljust(LONGEST_RAW_KEY + 1, b"\0")

_LENGTH: Final = struct.Struct("<I")
_CHECKSUM: Final = struct.Struct("<I")


class Head:
    """The bytes before each value: when it expires, its first block where there are blocks, a checksum in a store.

    ``size``: bytes. `make` and the readers are for the values of one cache.
    """

    __slots__ = ("_is_plain", "_pack", "has_block", "has_checksum", "never", "size")

    def __init__(self, spec: CacheSpec) -> None:
        self.has_block = spec.bitmap or spec.purge_lru
        self.has_checksum = spec.store is not None
        self._is_plain = not (self.has_block or self.has_checksum)
        layout = struct.Struct("<QQ" if self.has_block else "<Q")
        self._pack = layout.pack
        self.size = layout.size + _CHECKSUM.size * self.has_checksum
        self.never = bytes(layout.size)  # the head of an item that does not expire, when there is nothing else in it

    def make(self, key: bytes, value: bytes, expires: int, block: int) -> bytes:
        """Return what is stored for an item. ``expires``: unix seconds, 0 = never."""
        if self._is_plain and len(key) <= LONGEST_RAW_KEY:
            return (self._pack(expires) if expires else self.never) + value
        head = self._pack(expires, block) if self.has_block else self._pack(expires) if expires else self.never
        rest = value if len(key) <= LONGEST_RAW_KEY else _LENGTH.pack(len(key)) + key + value
        if self.has_checksum:
            return head + _CHECKSUM.pack(zlib.crc32(rest, zlib.crc32(key, zlib.crc32(head)))) + rest
        return head + rest

    def value(self, item_key: bytes, found: bytes) -> bytes:
        """Return the value of what is stored."""
        if len(item_key) <= LONGEST_RAW_KEY:
            return found[self.size :]
        return found[self.size + long_key_size(item_key, found, self.size) :]

    def value_size(self, item_key: bytes, found: bytes | memoryview) -> int:
        """Return how many bytes the value has."""
        return len(found) - self.size - long_key_size(item_key, found, self.size)

    def is_whole(self, item_key: bytes, found: bytes) -> bool:
        """Whether what is stored fits its checksum."""
        if len(found) <= self.size:
            return False
        start = self.size - _CHECKSUM.size
        checksum: int = _CHECKSUM.unpack_from(found, start)[0]
        key = key_of(item_key, found, self.size)
        return checksum == zlib.crc32(found[self.size :], zlib.crc32(key, zlib.crc32(found[:start])))


def item_key(key: bytes) -> bytes:
    """Return the key of an item in LMDB."""
    if len(key) <= LONGEST_RAW_KEY:
        return key
    return _LONG + hashlib.blake2b(key, digest_size=_DIGEST).digest()


def key_of(item_key: bytes, found: bytes, head: int) -> bytes:
    """Return the cache's key of an item. ``head``: the size of its head."""
    if len(item_key) <= LONGEST_RAW_KEY:
        return item_key
    start = head + _LENGTH.size
    return found[start : start + _LENGTH.unpack_from(found, head)[0]]


def long_key_size(item_key: bytes, found: bytes | memoryview, head: int) -> int:
    """Return how many bytes lie between the head and the value: 0 for all keys but long ones."""
    if len(item_key) <= LONGEST_RAW_KEY:
        return 0
    size: int = _LENGTH.unpack_from(found, head)[0]
    return _LENGTH.size + size


def expiry_of(found: bytes | memoryview) -> int:
    """Return when an item expires, in unix seconds; 0 = never."""
    return int.from_bytes(found[:8], "little")


def block_of(found: bytes) -> int:
    """Return an item's first block, in a cache that has blocks."""
    return int.from_bytes(found[8:16], "little")


def bucket_of(item_key: bytes) -> int:
    """Return the cell that tells whether remembered values of this key are still good."""
    return VERSIONS + (zlib.crc32(item_key) & (BUCKETS - 1))
