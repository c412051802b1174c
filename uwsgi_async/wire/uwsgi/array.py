"""Arrays in a uwsgi packet's payload: bytes to items, and back. No I/O.

Each item is ``u16 little-endian length, bytes``. What lives here: `encode_array`, `decode_array`. What does not: what
the items mean (`rpc`, `cache`). Source: uWSGI's core/protocol.c, uwsgi_parse_array.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from uwsgi_async.errors import BadRequestError

MAX_ITEM: Final = 0xFFFF  # bytes


def encode_array(items: Iterable[bytes]) -> bytes:
    """Return the payload of these items. Raises ValueError for an item of more than `MAX_ITEM` bytes."""
    parts: list[bytes] = []
    for item in items:
        if len(item) > MAX_ITEM:
            raise ValueError(f"an item of a uwsgi array has at most {MAX_ITEM} bytes, not {len(item)}")
        parts += (len(item).to_bytes(2, "little"), item)
    return b"".join(parts)


def decode_array(payload: bytes, most: int) -> list[bytes]:
    """Return the items of a payload, ``most`` of them at most: what is behind these is not looked at.

    As in uWSGI an empty item is none. Raises `BadRequestError` (400) for a length that points behind the end.
    """
    items: list[bytes] = []
    at = 0
    while at < len(payload) and len(items) < most:
        start = at + 2
        at = start + int.from_bytes(payload[start - 2 : start], "little")
        if start > len(payload) or at > len(payload):
            raise BadRequestError(400, f"invalid uwsgi array: the item at byte {start - 2} goes beyond the payload")
        if at > start:
            items.append(payload[start:at])
    return items
