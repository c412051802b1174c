"""A port mapper for tests of nodes of ours among each other: what Erlang's own says, as far as they ask."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream


class Epmd:
    """``ports``: of the names that are registered now."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self._creation = 1

    async def serve(self, stream: SocketStream) -> None:
        async with stream:
            try:
                request = await self._request(stream)
                if request[0] == 122:
                    await stream.send(self._address(request[1:].decode()))
                else:
                    await self._keep(stream, request)
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass

    async def _request(self, stream: SocketStream) -> bytes:
        received = b""
        while len(received) < 2 or len(received) < 2 + int.from_bytes(received[:2], "big"):
            received += await stream.receive()
        return received[2:]

    def _address(self, name: str) -> bytes:
        if name not in self.ports:
            return b"w\x01"
        data = name.encode()
        return b"w\0" + struct.pack(">HBBHHH", self.ports[name], 72, 0, 6, 5, len(data)) + data + b"\0\0"

    async def _keep(self, stream: SocketStream, request: bytes) -> None:
        port, _, _, _, _, size = struct.unpack_from(">HBBHHH", request, 1)
        name = request[11 : 11 + size].decode()
        if name in self.ports:
            await stream.send(b"v\x01\0\0\0\0")
            return
        self.ports[name] = port
        self._creation += 1
        try:
            await stream.send(b"v\0" + struct.pack(">I", self._creation))
            await stream.receive()
        finally:
            del self.ports[name]


@asynccontextmanager
async def an_epmd(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Epmd]:
    """Run one that all nodes of the block use."""
    epmd = Epmd()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0) as listener:
        monkeypatch.setenv("ERL_EPMD_PORT", str(listener.extra(SocketAttribute.local_port)))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, epmd.serve)
            yield epmd
            tasks.cancel_scope.cancel()
