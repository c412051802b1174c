"""One request that a foreign ASGI server has received, answered by a handler of ours.

What lives here: `answer`, and what stands for a connection, a body and a response there. What does not: the instance
around it (`foreign`), the handlers. Framing is the foreign server's.
Source: the ASGI specification, "HTTP", and its "WSGI Compatibility".
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import anyio
import anyio.to_thread

from uwsgi_async.cores.core import Core
from uwsgi_async.cores.pool import Pool
from uwsgi_async.cores.request import Request, RequestBody
from uwsgi_async.cores.response import Response
from uwsgi_async.cores.serving import serve_request
from uwsgi_async.errors import DisconnectedError, PeerTimeoutError
from uwsgi_async.handlers.asgi.events import Message, Receive, Scope, Send
from uwsgi_async.instance.server import Server
from uwsgi_async.wire.http import simple_response
from uwsgi_async.wire.http.names import add_field
from uwsgi_async.wire.vars import Vars

_PIECE = 256 * 1024  # bytes of a file
_NOT_PASSED_ON = ("connection", "keep-alive", "transfer-encoding")


async def answer(server: Server, core: Core, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request in ``core``, which is free, and in the caller's task."""
    vars = vars_of(scope)
    length = vars.get("CONTENT_LENGTH", "")
    connection = _Connection(scope, server.pool)
    response = _Response(connection, send, scope["method"] == "HEAD")
    service = server.service
    announced = int(length) if length.isdecimal() else None
    body = RequestBody(_Body(receive), announced, service.limit_post)
    request = Request(vars, body, response, connection, core)  # type: ignore[arg-type]
    if 0 < service.limit_post < (announced or 0):
        response.refuse(413)
    else:
        await core.serve_alone(partial(serve_request, service, request))
    with suppress(DisconnectedError):  # nobody is there to be told
        await response.flush()


def vars_of(scope: Scope) -> Vars:
    """Return the request variables of a scope, as the HTTP reader makes them."""
    vars: dict[str, str] = {}
    for name, value in scope["headers"]:
        add_field(vars, name, value)
    root, path = scope.get("root_path", ""), scope["path"]
    below = (
        path[len(root) :] if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/") else path
    )
    query = scope.get("query_string", b"").decode("latin-1")
    raw = (scope.get("raw_path") or quote(path).encode()).decode("latin-1")
    host, port = scope.get("server") or ("", None)
    client, client_port = scope.get("client") or ("", 0)
    scheme = scope.get("scheme", "http")
    vars.update(
        REQUEST_METHOD=scope["method"],
        REQUEST_URI=f"{raw}?{query}" if query else raw,
        PATH_INFO=_latin(below),
        QUERY_STRING=query,
        SERVER_PROTOCOL=f"HTTP/{scope['http_version']}",
        SCRIPT_NAME=_latin(root),
        SERVER_NAME=host,
        SERVER_PORT="" if port is None else str(port),
        REMOTE_ADDR=client,
        REMOTE_PORT=str(client_port),
        UWSGI_SCHEME=scheme,
    )
    if scheme == "https":
        vars["HTTPS"] = "on"
    return Vars(vars)


def _latin(text: str) -> str:
    """Return text as PEP 3333 wants it: the bytes of UTF-8 as characters."""
    return text.encode("utf-8", "replace").decode("latin-1")


class _Connection:
    """Stands for a connection that the foreign server has."""

    fd = -1
    closed = peer_closed = False

    def __init__(self, scope: Scope, pool: Pool) -> None:
        client: tuple[str, int] = scope.get("client") or ("", 0)
        self.peer, self.port = client
        self.pool = pool

    def close(self) -> None:
        self.closed = True

    def linger(self) -> None:
        """Do nothing: the foreign server closes it, when a response is not completed."""


class _Body:
    """Hands in a body from the foreign server's events. Each wait may be cancelled, as far as that server lets it."""

    chunk_left = 0  # what the chunks of the client were, is not told

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._over = False

    async def receive(self, timeout: float | None = None) -> bytes:
        with anyio.move_on_after(timeout) as limit:
            while not self._over:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError("the client closed the connection in the middle of the body")
                self._over = not message.get("more_body", False)
                if data := message.get("body", b""):
                    return bytes(data)
        if limit.cancelled_caught:
            raise PeerTimeoutError(f"the client sent nothing for {timeout:g} s")
        return b""

    def receive_nowait(self) -> bytes | None:
        return b"" if self._over else None


class _Response(Response):
    """Gives an answer to the foreign server, as events. What cannot wait now is sent by `flush`."""

    def __init__(self, connection: Any, send: Send, head_only: bool) -> None:
        super().__init__(connection, True, True, head_only, False)
        self._send = send
        self._fields: list[tuple[str, str]] = []
        self._pending: list[Message] = []

    def start(self, status: str, headers: list[tuple[str, str]]) -> None:
        super().start(status, headers)
        self._fields = list(headers)

    def send_all_nowait(self, body: bytes) -> bytes:
        if self.complete:
            return b""
        size = len(body)
        self._head(size)
        body = b"" if self._no_body else self._limit(body)
        self.body_bytes = len(body)
        self.complete = True
        self._note_missing()
        self._pending += [self._start(size), _part(body, more=False)]
        return b""

    async def send(self, chunk: bytes) -> None:
        if not chunk or self.complete:
            return
        await self.send_head()
        chunk = b"" if self._no_body else self._limit(chunk)
        if chunk:
            self.body_bytes += len(chunk)
            await self._emit(_part(chunk, more=True))

    async def send_head(self, length: int | None = None) -> None:
        if not self.head_sent and not self.complete:
            self._head(length)
            await self._emit(self._start(length))

    async def offload(self, fd: int, start: int, count: int, threads: anyio.CapacityLimiter) -> None:
        await self.send_file(fd, start, count)

    async def send_file(self, fd: int, offset: int, count: int, length: int | None = None) -> int:
        sent = 0
        await self.send_head(count if length is None else length)
        while sent < count and not self._no_body and not self.complete:
            data = await anyio.to_thread.run_sync(os.pread, fd, min(_PIECE, count - sent), offset + sent)
            if not data:
                break
            sent += len(data)
            await self.send(data)
        return sent

    async def finish(self, chunk: bytes = b"") -> None:
        if self.complete:
            return
        if not self.head_sent:
            self.send_all_nowait(chunk)
            return
        await self.send(chunk)
        self.complete = True
        self._note_missing()
        if not self._remaining:
            await self._emit(_part(b"", more=False))

    def refuse(self, code: int) -> None:
        """Answer with a short page; a response that has begun is left incomplete, so the foreign server closes."""
        if self.head_sent or self._connection.closed:
            self.complete = True
            return
        self._fields = [("Content-Type", "text/plain")]
        page = simple_response(code).partition(b"\r\n\r\n")[2]
        self._refused, self.head_sent, self.complete = code, True, True
        body = b"" if self.head_only else page
        self.body_bytes = len(body)
        self._pending = [self._start(len(page)), _part(body, more=False)]

    async def flush(self) -> None:
        """Send what has been decided."""
        pending, self._pending = self._pending, []
        for event in pending:
            await self._emit(event)

    def _start(self, length: int | None) -> Message:
        """Return the event of the head. ``length``: of the whole body, None if it is not known."""
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self._fields
            if name.lower() not in _NOT_PASSED_ON
        ]
        known = any(name == b"content-length" for name, _ in headers)
        bodyless = self._started is not None and self._started.bodyless
        if length is not None and not known and not bodyless and not (self.head_only and length == 0):
            headers.append((b"content-length", b"%d" % length))
        return {"type": "http.response.start", "status": self.code, "headers": headers}

    async def _emit(self, event: Message) -> None:
        try:
            await self._send(event)
        except OSError as error:
            raise DisconnectedError("the client went away") from error


def _part(data: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}
