"""A cache of another instance, over the uwsgi protocol: one connection for each call, as uWSGI does it.

What lives here: `RemoteCache`. What does not: the bytes (`wire.uwsgi.cache`), the server's side (`cores.cache`).
Works against real uWSGI too, with what that can do: it has no command to count, and its own functions overwrite the
number instead. Ours sends inc, dec, mul and div, which real uWSGI refuses and `cores.cache` knows.
"""

from __future__ import annotations

from typing import Final

import anyio
from anyio.abc import ByteStream

from uwsgi_async.errors import AddressError, BadRequestError, DisconnectedError, PeerTimeoutError, UsageError
from uwsgi_async.options.settings import PacketOptions
from uwsgi_async.state.cache.reading import Key, as_bytes
from uwsgi_async.state.cache.writing import Done
from uwsgi_async.wire.address import AbstractAddress, TcpAddress, UnixAddress, parse_address
from uwsgi_async.wire.uwsgi import MAX_PAYLOAD, PacketReader
from uwsgi_async.wire.uwsgi.cache import CacheAnswer, CacheCommand, decode_answer, encode_command

TIMEOUT: Final = 4.0  # seconds; uWSGI's own socket-timeout
LARGEST_ANSWER: Final = 64 << 20  # bytes
_NUMBER: Final = 8  # bytes
_CHUNK: Final = 65536

_PACKETS = PacketOptions(buffer_size=MAX_PAYLOAD)


class RemoteCache:
    """The cache ``name`` of the instance at ``address``; an empty name is the first one there.

    ``timeout``: seconds for a whole call. ``largest``: bytes of the largest value that is taken. Methods return what
    those of a local cache return, None also when the other side refuses, and raise `DisconnectedError` (a
    ConnectionError) when nobody is there, `PeerTimeoutError` (a TimeoutError) when the answer is late, and
    `BadRequestError` when it is none of a cache's.
    """

    __slots__ = ("_address", "_largest", "_timeout", "address", "name")

    def __init__(self, name: str, address: str, timeout: float = TIMEOUT, largest: int = LARGEST_ANSWER) -> None:
        self.name = name
        self.address = address
        parsed = parse_address(address)
        if not isinstance(parsed, TcpAddress | UnixAddress | AbstractAddress):
            raise AddressError(f"expected the address of another instance, such as 10.0.0.1:4040, not {address!r}")
        self._address = parsed
        self._timeout = timeout
        self._largest = largest

    def __repr__(self) -> str:
        return f"<RemoteCache {self.name}@{self.address}>"

    async def get(self, key: Key) -> bytes | None:
        """Return a value; None when there is none."""
        found = await self.get_with_expiry(key)
        return None if found is None else found[0]

    async def get_with_expiry(self, key: Key) -> tuple[bytes, int] | None:
        """Return a value and when it expires, in unix seconds, 0 = never; None when there is none."""
        answer = await self._ask("get", key)
        return None if answer is None or not answer[1] else (answer[1], answer[0].expires)

    async def exists(self, key: Key) -> Done:
        """Return True when there is such an item."""
        return _done(await self._ask("exists", key))

    async def num(self, key: Key) -> int:
        """Return the number that is counted in a key; 0 when there is none, or the value is no number."""
        value = await self.get(key)
        return int.from_bytes(value, "little", signed=True) if value is not None and len(value) == _NUMBER else 0

    async def put(self, key: Key, value: Key, expires: int, replace: bool) -> Done:
        """Store an item that expires in ``expires`` seconds, 0 = never; see `LocalCache.put`."""
        value = as_bytes(value)
        if not value:
            return None
        return _done(await self._ask("update" if replace else "set", key, value, expires))

    async def calculate(self, key: Key, operation: str, operand: int, expires: int) -> Done:
        """Count in a key: ``operation`` is inc, dec, mul or div. Needs an instance of uwsgi_async at the other end."""
        value = operand.to_bytes(_NUMBER, "little", signed=True)
        return _done(await self._ask(operation, key, value, expires))

    async def delete(self, key: Key) -> Done:
        """Delete an item; None when there is none."""
        return _done(await self._ask("del", key))

    async def clear(self) -> Done:
        """Delete all items."""
        return _done(await self._call("clear", b""))

    async def _ask(self, cmd: str, key: Key, value: bytes = b"", expires: int = 0) -> tuple[CacheAnswer, bytes] | None:
        raw = as_bytes(key)
        return await self._call(cmd, raw, value, expires) if raw else None

    async def _call(
        self, cmd: str, key: bytes, value: bytes = b"", expires: int = 0
    ) -> tuple[CacheAnswer, bytes] | None:
        # There is no way to say that something has expired already: one second is the next best.
        expires = max(expires, 1) if expires else 0
        try:
            packet = encode_command(CacheCommand(cmd=cmd, key=key, cache=self.name, expires=expires, size=len(value)))
        except ValueError:  # the key is too long for a packet, so it cannot be there
            return None
        try:
            with anyio.fail_after(self._timeout):
                async with await self._connect() as stream:
                    await stream.send(packet + value)
                    return await self._answer(stream)
        except TimeoutError as error:
            raise PeerTimeoutError(f"the cache {self!r} did not answer within {self._timeout:g} s") from error
        except (OSError, anyio.BrokenResourceError) as error:
            raise DisconnectedError(f"the cache {self!r} cannot be reached: {error}") from error

    async def _connect(self) -> ByteStream:
        address = self._address
        if isinstance(address, TcpAddress):
            return await anyio.connect_tcp(address.host.strip("[]") or "127.0.0.1", address.port)
        path = address.path if isinstance(address, UnixAddress) else f"\0{address.name}"
        return await anyio.connect_unix(path)

    async def _answer(self, stream: ByteStream) -> tuple[CacheAnswer, bytes] | None:
        """Return the answer and the value behind it; None when the other side has closed instead."""
        reader = PacketReader(_PACKETS)
        while (packet := reader.next_packet()) is None:
            try:
                reader.receive_data(await stream.receive(_CHUNK))
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return None
        answer = decode_answer(packet)
        if answer is None:
            return None
        if answer.size > self._largest:
            raise BadRequestError(413, f"{self!r} has sent a value of {answer.size} bytes, more than {self._largest}")
        value = bytearray(reader.take_rest())
        while len(value) < answer.size:
            try:
                value += await stream.receive(_CHUNK)
            except anyio.EndOfStream:
                raise DisconnectedError(f"{self!r} closed in the middle of a value") from None
        return answer, bytes(value[: answer.size])


def split_name(text: str, timeout: float = TIMEOUT) -> RemoteCache:
    """Return the cache that ``name@address`` means. Raises `AddressError`, `UsageError`."""
    name, at, address = text.partition("@")
    if not at:
        raise UsageError(f"expected the name of a cache of another instance, name@address, but {text!r} came")
    return RemoteCache(name, address, timeout)


def _done(answer: object) -> Done:
    return None if answer is None else True
