"""A websocket client for the tests that can be as wrong as a test wants: raw frames out, parsed frames in."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import anyio

from tests.client import connect

if TYPE_CHECKING:
    from tests.client import Client
    from uwsgi_async import Server

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
TOKEN = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The key of RFC 6455, 1.3, and what belongs to it."""

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

PATIENCE = 10.0  # seconds


class Frame(NamedTuple):
    """A frame of the server's. ``first``: the byte with FIN, the reserved bits and the opcode."""

    first: int
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 15


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    reserved: int = 0,
    mask: bytes | None = b"\x11\x22\x33\x44",
    length: int | None = None,
) -> bytes:
    """Return a client's frame. ``reserved``: the three bits; ``mask``: None sends it bare; ``length``: what it says."""
    size = len(payload) if length is None else length
    flag = 0 if mask is None else 0x80
    head = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if size < 126:
        head += bytes([flag | size])
    elif size < 65536:
        head += struct.pack("!BH", flag | 126, size)
    else:
        head += struct.pack("!BQ", flag | 127, size)
    if mask is None:
        return head + payload
    repeated = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = int.from_bytes(payload) ^ int.from_bytes(repeated)
    return head + mask + masked.to_bytes(len(payload))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


def handshake(path: str = "/", *, key: str = KEY, version: str = "13", more: str = "") -> bytes:
    """Return a request for a websocket. ``more``: lines that end with CR LF."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: {version}\r\n{more}\r\n"
    ).encode()


class WebSocketClient:
    """One connection. ``head``: the server's answer to the handshake, lines without their ends."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.head: list[str] = []
        self._buffer = b""

    async def open(self, path: str = "/", more: str = "", behind: bytes = b"") -> None:
        """Send the handshake, with ``behind`` in the same packet, and read the answer."""
        await self.client.send(handshake(path, more=more) + behind)
        while b"\r\n\r\n" not in self._buffer:
            await self._fill()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1").split("\r\n")
        assert self.head[0].startswith("HTTP/1.1 101 "), self.head

    async def send(self, *frames: bytes) -> None:
        await self.client.send(b"".join(frames))

    async def next(self) -> Frame:
        """Read the next frame. Raises `anyio.EndOfStream` when there is none before the end."""
        with anyio.fail_after(PATIENCE):
            await self._need(2)
            size, start = self._buffer[1] & 127, 2
            assert not self._buffer[1] & 128, "a server must not mask"
            if size >= 126:
                start = 4 if size == 126 else 10
                await self._need(start)
                size = int.from_bytes(self._buffer[2:start])
            await self._need(start + size)
            found = Frame(self._buffer[0], self._buffer[start : start + size])
            self._buffer = self._buffer[start + size :]
            return found

    async def message(self) -> str | bytes:
        """Read the next frame, which must be a whole message."""
        found = await self.next()
        assert found.first in (0x80 | TEXT, 0x80 | BINARY), found
        return found.payload.decode() if found.opcode == TEXT else found.payload

    async def until_close(self) -> tuple[int, str]:
        """Read until the server's close frame and the end of the connection; return code and reason, 1005 for none."""
        while (found := await self.next()).opcode != CLOSE:
            pass
        with anyio.fail_after(PATIENCE):
            assert await self.client.rest() == b""
        if not found.payload:
            return 1005, ""
        return int.from_bytes(found.payload[:2]), found.payload[2:].decode()

    async def _need(self, size: int) -> None:
        while len(self._buffer) < size:
            await self._fill()

    async def _fill(self) -> None:
        try:
            self._buffer += await self.client.stream.receive(65536)
        except anyio.BrokenResourceError:
            raise anyio.EndOfStream from None


@asynccontextmanager
async def websocket(
    server: Server, path: str = "/", more: str = "", behind: bytes = b""
) -> AsyncIterator[WebSocketClient]:
    """Open a websocket at a server's first HTTP socket."""
    async with connect(server) as client:
        opened = WebSocketClient(client)
        with anyio.fail_after(PATIENCE):
            await opened.open(path, more, behind)
        yield opened
