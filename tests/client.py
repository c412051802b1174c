"""A client for the tests: raw bytes in, parsed responses out, on whichever event loop runs."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import h11

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from uwsgi_async import Server


@dataclass(frozen=True, slots=True)
class Answer:
    """One response. ``headers``: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """One connection to a server."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream = stream
        self._h11 = h11.Connection(h11.CLIENT)

    async def send(self, data: bytes) -> None:
        await self.stream.send(data)

    async def answer(self, method: str = "GET") -> Answer:
        """Read the next response. ``method`` is the one that was sent: a HEAD has no body."""
        if self._h11.our_state is h11.DONE:
            self._h11.start_next_cycle()
        if self._h11.our_state is h11.IDLE:
            self._h11.send(h11.Request(method=method, target="/", headers=[("Host", "test")]))
            self._h11.send(h11.EndOfMessage())
        status, headers, body = 0, {}, b""
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                try:
                    self._h11.receive_data(await self.stream.receive(65536))
                except anyio.EndOfStream:
                    self._h11.receive_data(b"")
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Answer(status, headers, body)

    async def get(self, target: str = "/", *, headers: str = "", method: str = "GET", body: bytes = b"") -> Answer:
        """Send one request and read its response. ``headers``: lines that end with CR LF."""
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        await self.send(f"{method} {target} HTTP/1.1\r\nHost: test\r\n{headers}{length}\r\n".encode() + body)
        return await self.answer(method)

    async def rest(self) -> bytes:
        """Read until the server closes."""
        data = b""
        try:
            while True:
                data += await self.stream.receive(65536)
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return data


@asynccontextmanager
async def connect(server: Server) -> AsyncIterator[Client]:
    """Connect to a server's first HTTP socket."""
    url = urlsplit(server.url)
    assert url.hostname is not None
    assert url.port is not None
    async with await anyio.connect_tcp(url.hostname, url.port) as stream:
        yield Client(stream)


async def get(server: Server, target: str = "/", **options: str | bytes) -> Answer:
    """Send one request over a connection of its own."""
    async with connect(server) as client:
        return await client.get(target, **options)  # type: ignore[arg-type]
