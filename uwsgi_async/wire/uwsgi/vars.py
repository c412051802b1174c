"""The request variables in a uwsgi packet's payload: bytes to names and values, and back.

Each variable is ``u16 little-endian length, name, u16 little-endian length, value``. A name is never empty, a value
may be. What lives here: `decode_vars` and `encode_vars`; `decode_items` and `encode_items`, the same in bytes;
`parse_file`. What does not: the packet around (`packet.py`).
"""

import struct
from collections.abc import Mapping
from typing import AnyStr, Final

from uwsgi_async.errors import BadRequestError
from uwsgi_async.wire.uwsgi.packet import HEADER_SIZE, MAX_PAYLOAD, MODIFIER_SPOOL, MODIFIER_WSGI
from uwsgi_async.wire.vars import Vars

_MAX_ITEM: Final = 0xFFFF  # bytes
_pack_length: Final = struct.Struct("<H").pack
_FILE_MODIFIERS = frozenset({MODIFIER_WSGI, MODIFIER_SPOOL})


def decode_vars(payload: bytes) -> Vars:
    """Return the variables of a payload, each byte one character (latin-1, as PEP 3333 wants it).

    Of variables of one name the last one counts. Raises `BadRequestError` (400) for an empty name, and for a length
    that points behind the payload's end.
    """
    result = Vars()
    _decode(payload, payload.decode("latin-1"), result)
    return result


def decode_items(payload: bytes) -> dict[bytes, bytes]:
    """Return names and values as they are. Otherwise as `decode_vars`."""
    result: dict[bytes, bytes] = {}
    _decode(payload, payload, result)
    return result


def _decode(payload: bytes, text: AnyStr, result: dict[AnyStr, AnyStr]) -> None:
    """Cut what is in ``payload`` out of ``text``, which is the same or its characters."""
    end = len(payload)
    at = 0
    while at < end:
        start = at + 2
        if start > end:
            raise _cut(at)
        at = start + (payload[start - 2] | payload[start - 1] << 8)
        if at == start:
            raise BadRequestError(400, f"uwsgi key cannot be null (at byte {start - 2} of the packet's payload)")
        name = text[start:at]
        start = at + 2
        if start > end:
            raise _cut(at)
        at = start + (payload[start - 2] | payload[start - 1] << 8)
        if at > end:
            raise _cut(start - 2)
        result[name] = text[start:at]


def encode_vars(variables: Mapping[str, str]) -> bytes:
    """Return the payload that `decode_vars` reads as these variables.

    Raises ValueError for an empty name, a character outside latin-1 (then a UnicodeEncodeError), and for more bytes
    than one item (65535) or one packet holds.
    """
    return encode_items({name.encode("latin-1"): value.encode("latin-1") for name, value in variables.items()})


def encode_items(items: Mapping[bytes, bytes]) -> bytes:
    """Return the payload of names and values that are bytes. Raises ValueError as `encode_vars` does."""
    parts: list[bytes] = []
    for name, value in items.items():
        try:
            parts += (_pack_length(len(name)), name, _pack_length(len(value)), value)
        except struct.error:
            raise ValueError(
                f"a uwsgi name or value has at most {_MAX_ITEM} bytes, not {max(len(name), len(value))} ({name!r:.80})"
            ) from None
        if not name:
            raise ValueError(f"a uwsgi variable needs a name (its value is {value!r:.80})")
    payload = b"".join(parts)
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a uwsgi packet carries at most {MAX_PAYLOAD} bytes of variables, not {len(payload)}")
    return payload


def parse_file(content: bytes) -> dict[bytes, bytes] | None:
    """Return the variables of a file that holds one uwsgi packet, as `uwsgi.parsefile` does.

    Bytes behind the packet (a spooled task's body) are ignored. None for anything else: a short file, a modifier1
    other than 0 and 17, malformed variables.
    """
    if len(content) < HEADER_SIZE or content[0] not in _FILE_MODIFIERS:
        return None
    end = HEADER_SIZE + int.from_bytes(content[1:3], "little")
    if len(content) < end:
        return None
    try:
        return decode_items(content[HEADER_SIZE:end])
    except BadRequestError:
        return None


def _cut(at: int) -> BadRequestError:
    return BadRequestError(400, f"malformed uwsgi variables: the item at byte {at} goes beyond the packet's payload")
