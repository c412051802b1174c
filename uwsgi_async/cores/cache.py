"""The cache for other instances: what comes in uwsgi packets of modifier1 111, and what goes back.

What lives here: `CacheService`. What does not: who may ask (`instance.server`), the bytes (`wire.uwsgi.cache`), the
caches (`state.cache`). As in uWSGI's plugins/cache/cache.c no answer at all means a miss, or a refusal.

Besides uWSGI's commands there are inc, dec, mul and div: the value that follows is the operand, a signed number of 64
bits, little endian. The old forms, modifier2 0 to 5, answer as uWSGI's comments say; what it sends is garbage in 0 and
5, and in 3 and 4 it never finds anything. The dump of all memory, 6, has no meaning here.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from uwsgi_async.cores.trailing import receive_trailing
from uwsgi_async.state.cache.counting import Operation, quotient
from uwsgi_async.state.cache.local import LocalCache
from uwsgi_async.wire.uwsgi import MAX_PAYLOAD, MODIFIER_CACHE, Packet, decode_vars, encode_packet
from uwsgi_async.wire.uwsgi.cache import (
    CACHE_COMMAND,
    CACHE_DELETE,
    CACHE_GET,
    CACHE_RAW,
    CACHE_SET,
    CACHE_STREAM,
    CacheAnswer,
    CacheCommand,
    decode_command,
    decode_pair,
    encode_answer,
)

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection

logger = logging.getLogger("uwsgi_async")

_OPERATIONS: Final[Mapping[str, Operation]] = {
    "inc": operator.add,
    "dec": operator.sub,
    "mul": operator.mul,
    "div": quotient,
}
_NUMBER: Final = 8  # bytes of an operand
_NOT_FOUND: Final = b"HTTP/1.0 404 Not Found\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nNot Found"


class CacheService:
    """Answers the packets of modifier1 111. ``caches``: by name, "" is the first one."""

    def __init__(self, caches: Mapping[str, LocalCache]) -> None:
        self._caches = caches

    def __repr__(self) -> str:
        return f"<CacheService of {', '.join(name for name in self._caches if name) or 'no cache'}>"

    async def serve(self, connection: Connection, packet: Packet, rest: bytes) -> None:
        """Answer one packet. ``rest``: the bytes that came behind it.

        Raises `BadRequestError`, and what receiving and sending raise.
        """
        if packet.modifier2 == CACHE_COMMAND:
            command = decode_command(packet.payload)
            cache = self._caches.get(command.cache)
            if cache is None:
                return
            if command.cmd in ("set", "update") or command.cmd in _OPERATIONS:
                answer = await _store(connection, cache, command, rest)
            else:
                answer = _answer(cache, command)
        else:
            answer = self._answer_old(packet)
        if answer:
            await connection.send(answer)

    def _answer_old(self, packet: Packet) -> bytes:
        """Answer what uWSGI's own functions no longer send."""
        cache = self._caches.get("")
        if cache is None or not packet.payload:
            return b""
        if packet.modifier2 == CACHE_GET:
            value = cache.get(packet.payload)
            return b"" if value is None or len(value) > MAX_PAYLOAD else encode_packet(MODIFIER_CACHE, CACHE_GET, value)
        if packet.modifier2 == CACHE_STREAM:
            value = cache.get(packet.payload)
            return encode_packet(MODIFIER_CACHE, value is not None) + (value or b"")
        if packet.modifier2 == CACHE_SET:
            cache.put(*decode_pair(packet.payload), 0, False)
        elif packet.modifier2 == CACHE_DELETE:
            cache.delete(packet.payload)
        elif packet.modifier2 in CACHE_RAW:
            return _raw(cache, packet.payload)
        else:
            logger.warning("the cache has no command for modifier2 %d", packet.modifier2)
        return b""


def _answer(cache: LocalCache, command: CacheCommand) -> bytes:
    """Answer a command without a value; b"" is a miss."""
    if command.cmd == "get":
        found = cache.get_with_expiry(command.key)
        return b"" if found is None else encode_answer(CacheAnswer(size=len(found[0]), expires=found[1])) + found[0]
    if command.cmd == "exists":
        done = cache.exists(command.key)
    elif command.cmd == "del":
        done = cache.delete(command.key)
    elif command.cmd == "clear":
        done = cache.clear()
    else:
        logger.warning("the cache has no command %r", command.cmd[:40])
        return b""
    return encode_answer(CacheAnswer()) if done else b""


async def _store(connection: Connection, cache: LocalCache, command: CacheCommand, rest: bytes) -> bytes:
    """Answer a command with a value: read it, but not more than fits."""
    counts = command.cmd in _OPERATIONS
    if not 0 < command.size <= (_NUMBER if counts else cache.spec.largest_value):
        return b""
    data = await receive_trailing(connection, rest, command.size)
    if counts:
        operand = int.from_bytes(data, "little", signed=True)
        done = cache.calculate(command.key, _OPERATIONS[command.cmd], operand, command.expires)
    else:
        done = cache.put(command.key, data, command.expires, command.cmd == "update")
    return encode_answer(CacheAnswer()) if done else b""


def _raw(cache: LocalCache, payload: bytes) -> bytes:
    """Answer with values alone: what a web server caches, headers and all."""
    answer = b""
    for name, key in decode_vars(payload).items():
        if name in ("key", "get") and key:
            value = cache.get(key.encode("latin-1"))
            if value is not None:
                answer += value
            elif name == "get":
                answer += _NOT_FOUND
    return answer
