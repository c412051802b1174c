"""The cache's commands in uwsgi packets of modifier1 111: bytes to commands and answers, and back. No I/O.

What lives here: `CacheCommand`, `CacheAnswer`, their codecs, and the array of two items of modifier2 1. What does not:
the packet around (`packet`), what a command does (`cores.cache`), who sends it (`state.cache.remote`).

A command of modifier2 17 is a dict of ``cmd`` (get, set, update, del, exists, clear), ``key``, ``cache``, ``expires``
and ``size``; the value follows the packet. Its answer is a dict of ``status``, ``size``, ``expires`` (unix seconds),
and the value behind it; no answer means a miss or a refusal. Source: uWSGI's plugins/cache/cache.c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from uwsgi_async.errors import BadRequestError
from uwsgi_async.wire.uwsgi.packet import MODIFIER_CACHE, Packet, encode_packet
from uwsgi_async.wire.uwsgi.vars import decode_vars, encode_vars

CACHE_GET: Final = 0  # the payload is a key; answered with a packet that holds the value
CACHE_SET: Final = 1  # the payload is an array of key and value
CACHE_DELETE: Final = 2  # the payload is a key
CACHE_RAW: Final = (3, 4)  # the payload is vars with ``key`` or ``get``; answered with the value alone
CACHE_STREAM: Final = 5  # the payload is a key; answered with an empty packet, modifier2 1 or 0, and the value
CACHE_DUMP: Final = 6
CACHE_COPY_SET: Final = 10  # in a datagram: a change that another instance has made, see `Copy`
CACHE_COPY_DELETE: Final = 11
CACHE_COMMAND: Final = 17  # the payload is a command

MAX_ITEM: Final = 65535  # bytes
LARGEST_DATAGRAM: Final = 65507  # bytes, over UDP and IPv4

_OK: Final = "ok"
_DIGITS: Final = 18  # of a number that somebody sends


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheCommand:
    """A command. ``cache``: the cache's name, "" = the first one. ``expires``: seconds. ``size``: bytes that follow."""

    cmd: str
    key: bytes = b""
    cache: str = ""
    expires: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheAnswer:
    """An answer that says ok. ``size``: bytes of the value that follows. ``expires``: unix seconds, 0 = never."""

    size: int = 0
    expires: int = 0


def encode_command(command: CacheCommand) -> bytes:
    """Return the packet of a command. Raises ValueError when key and name are too long for one."""
    fields = {"cmd": command.cmd}
    if command.key:
        fields["key"] = command.key.decode("latin-1")
    if command.size:
        fields["size"] = str(command.size)
    if command.expires > 0:
        fields["expires"] = str(command.expires)
    if command.cache:
        fields["cache"] = command.cache.encode().decode("latin-1")
    return encode_packet(MODIFIER_CACHE, CACHE_COMMAND, encode_vars(fields))


def decode_command(payload: bytes) -> CacheCommand:
    """Return the command of a payload. Raises `BadRequestError` for a malformed one; an unknown ``cmd`` is none."""
    fields = decode_vars(payload)
    return CacheCommand(
        cmd=fields.get("cmd", ""),
        key=fields.get("key", "").encode("latin-1"),
        cache=_name(fields.get("cache", "")),
        expires=_number(fields.get("expires", "")),
        size=_number(fields.get("size", "")),
    )


def encode_answer(answer: CacheAnswer) -> bytes:
    """Return the packet of an answer."""
    fields = {"status": _OK}
    if answer.size:
        fields["size"] = str(answer.size)
    if answer.expires:
        fields["expires"] = str(answer.expires)
    return encode_packet(MODIFIER_CACHE, CACHE_COMMAND, encode_vars(fields))


def decode_answer(packet: Packet) -> CacheAnswer | None:
    """Return the answer in a packet; None when it says anything but ok. Raises `BadRequestError`."""
    if (packet.modifier1, packet.modifier2) != (MODIFIER_CACHE, CACHE_COMMAND):
        raise BadRequestError(
            400, f"expected the answer of a cache, but modifiers {packet.modifier1}, {packet.modifier2}"
        )
    fields = decode_vars(packet.payload)
    if fields.get("status") != _OK:
        return None
    return CacheAnswer(size=_number(fields.get("size", "")), expires=_number(fields.get("expires", "")))


def decode_pair(payload: bytes) -> tuple[bytes, bytes]:
    """Return key and value of an array; further items are ignored. Raises `BadRequestError`."""
    items: list[bytes] = []
    at = 0
    while len(items) < 2:
        start = at + 2
        at = start + int.from_bytes(payload[start - 2 : start], "little")
        if start > len(payload) or at > len(payload):
            raise BadRequestError(400, "expected an array of key and value")
        items.append(payload[start:at])
    return items[0], items[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A change of a cache, for another instance's. ``value``: None = the key was deleted. ``expires``: unix seconds."""

    key: bytes
    value: bytes | None = None
    expires: int = 0


def encode_copy(copy: Copy) -> bytes:
    """Return the datagram of a change. Raises ValueError when it is too large for one."""
    if copy.value is None:
        return encode_packet(MODIFIER_CACHE, CACHE_COPY_DELETE, _items(copy.key))
    data = encode_packet(MODIFIER_CACHE, CACHE_COPY_SET, _items(copy.key, copy.value, b"%d" % copy.expires))
    if len(data) > LARGEST_DATAGRAM:
        raise ValueError(f"{len(data)} bytes do not fit a datagram")
    return data


def decode_copy(datagram: bytes) -> Copy | None:
    """Return the change in a datagram; None when it is none, or malformed."""
    if (
        len(datagram) < 4
        or datagram[0] != MODIFIER_CACHE
        or int.from_bytes(datagram[1:3], "little") != len(datagram) - 4
    ):
        return None
    items = []
    rest = datagram[4:]
    while rest:
        size = int.from_bytes(rest[:2], "little")
        items.append(rest[2 : 2 + size])
        if len(rest) < 2 + size:
            return None
        rest = rest[2 + size :]
    if datagram[3] == CACHE_COPY_DELETE and items:
        return Copy(key=items[0])
    if datagram[3] == CACHE_COPY_SET and len(items) >= 2:
        return Copy(key=items[0], value=items[1], expires=_number(items[2].decode("latin-1")) if len(items) > 2 else 0)
    return None


def _items(*items: bytes) -> bytes:
    if any(len(item) > MAX_ITEM for item in items):
        raise ValueError(f"an item has more than {MAX_ITEM} bytes")
    return b"".join(len(item).to_bytes(2, "little") + item for item in items)


def _name(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogateescape")


def _number(text: str) -> int:
    """Read a number as uWSGI does: digits; anything else is 0."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else 0
