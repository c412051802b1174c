"""One request and its answer, for an ASGI app: `receive` and `send`, and what the app's end means.

What lives here: `AsgiHandler`, `HttpExchange`. What does not: websockets (`websocket`), the scope (`scope`), framing
(`cores.response`), files (`files`). An app that does not wait costs no task switch: it runs in the core's task, and so
do receive and send.

A response that is complete sets its connection free at once: what the app does behind it, a background task for one,
goes on in its core, and the client's next request does not wait for that.
Source: the ASGI specification, "HTTP".
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from anyio.lowlevel import checkpoint

from uwsgi_async.cores.request import NO_BODY, Request
from uwsgi_async.cores.websocket import WebSocket
from uwsgi_async.errors import AppError, BadRequestError, DisconnectedError, PeerError, PeerTimeoutError
from uwsgi_async.handlers.asgi.causes import client_caused
from uwsgi_async.handlers.asgi.events import App, Message
from uwsgi_async.handlers.asgi.files import FileSender
from uwsgi_async.handlers.asgi.head import head_of
from uwsgi_async.handlers.asgi.scope import Scopes
from uwsgi_async.handlers.asgi.turns import Turns
from uwsgi_async.handlers.asgi.websocket import WebSocketExchange

logger = logging.getLogger("uwsgi_async")

_IN_A_ROW = 16  # events that need not wait, before the other cores get their turn


class AsgiHandler:
    """Calls ``app(scope, receive, send)`` with each request. ``files``: sends those that the app names."""

    def __init__(self, app: App, scopes: Scopes, files: FileSender) -> None:
        self._app = app
        self._scopes = scopes
        self._files = files

    async def __call__(self, request: Request) -> None:
        if request.websocket is not None:
            await self._speak(request, request.websocket)
            return
        exchange = HttpExchange(request, self._files)
        try:
            await self._app(self._scopes.http(request), exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - raised again, or what it follows from
            exchange.fail(error)
        if not request.response.complete or exchange.refused is not None:
            exchange.end()

    async def _speak(self, request: Request, websocket: WebSocket) -> None:
        exchange = WebSocketExchange(request, websocket)
        try:
            await self._app(self._scopes.websocket(request), exchange.receive, exchange.send)
        except Exception as error:  # noqa: BLE001 - raised again, or what it follows from
            exchange.fail(error)
        else:
            exchange.end()


class HttpExchange:
    """What an app gets to answer one request. Any of the app's tasks may use it, also several at once.

    ``refused``: why the request cannot be answered as the app would like; the client has got that answer. ``lost``:
    what `send` has raised because of the client.
    """

    # Defaults stand in the class: see `Response`.
    refused: PeerError | None = None
    lost: PeerError | None = None
    _begun = _body_given = _told = False
    _receiving: Turns | None = None
    _sending: Turns | None = None
    _row = 0

    def __init__(self, request: Request, files: FileSender) -> None:
        self._request = request
        self._response = request.response
        self._files = files

    def __repr__(self) -> str:
        return f"<HttpExchange {self._request!r}, {self._response!r}>"

    async def receive(self) -> Message:
        """Return the next piece of the body; behind its end wait for the end of the response, or of the connection.

        A client that goes away in the middle of its body, or sends nonsense, is a disconnect, too.
        """
        if self._request.body is NO_BODY and not self._body_given and not self._response.complete:
            self._body_given = True
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._receiving is None:
            self._receiving = Turns()
        await self._receiving.take()
        try:
            if not self._body_given and not self._response.complete:
                message = await self._next_piece()
                if message is not None:
                    return message
            while not self._response.complete and not self._request.connection.peer_closed:
                await self._request.connection.until_peer_closed()
        finally:
            self._receiving.give()
        self._told = True
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take the next event of the response; wait while the client does not take the bytes.

        Raises `DisconnectedError` and `PeerTimeoutError`, which are OSErrors, when the client is gone or too slow;
        TypeError and `AppError` for an event that is not as the specification says. What comes behind a complete
        response means nothing.
        """
        kind = message["type"]
        response = self._response
        if response.complete:
            return
        if kind == "http.response.start":
            if self._begun:
                raise AppError("expected http.response.body, got a second http.response.start")
            response.start_with(head_of(message["status"], message.get("headers", ())))
            self._begun = True
            return
        if not self._begun:
            raise AppError(f"expected http.response.start first, got {kind}")
        try:
            if kind != "http.response.body":
                await self._send_file(kind, message)
                return
            body = message.get("body", b"")
            if type(body) is not bytes:
                body = _bytes(body)
            if message.get("more_body") or response.head_sent or self._sending is not None:
                await self._send_part(body, bool(message.get("more_body")))
                return
            rest = response.send_all_nowait(body)
            if rest:
                await response.send_rest(rest)
            self._release()
        except PeerError as error:
            self.lost = error
            raise

    def fail(self, error: Exception) -> NoReturn:
        """Raise what an app's error means: what the client has done, when it only follows from that."""
        if self.refused is not None:
            raise self.refused from error
        lost = client_caused(error)
        if lost is not None:
            raise lost from error
        raise error

    def end(self) -> None:
        """Judge what the app has left when it returned."""
        if self.refused is not None:
            raise self.refused
        if self.lost is not None or self._told or self._request.connection.closed:
            raise self.lost or DisconnectedError("the client went away")
        if not self._begun:
            raise AppError("the app returned without sending http.response.start")
        raise AppError("the app returned before its response was complete: its last event had more_body=True")

    async def _next_piece(self) -> Message | None:
        """Return the next piece of the body, None when no more of it will come."""
        await self._give_way()
        body = self._request.body
        try:
            data = await body.read_available()
        except PeerError as error:
            if not self._response.complete:
                self._refuse(error)
            return None
        if self._response.complete:
            return None
        self._body_given = body.complete
        return {"type": "http.request", "body": data, "more_body": not body.complete}

    def _refuse(self, error: PeerError) -> None:
        """Answer at once: an app takes its client's disconnect as an error of its own, and would say so."""
        self.refused = error
        status = 408 if isinstance(error, PeerTimeoutError) else 400
        self._response.refuse(error.status if isinstance(error, BadRequestError) else status)

    async def _send_part(self, body: bytes, more: bool) -> None:
        """Send one part of the body, one after the other if several tasks do."""
        if self._sending is None:
            self._sending = Turns()
        response = self._response
        await self._sending.take()
        try:
            await self._give_way()
            if not more:
                await self._complete(body)
            elif body:
                await response.send(body)
            else:
                await response.send_head()
        finally:
            self._sending.give()

    async def _send_file(self, kind: str, message: Message) -> None:
        if self._sending is None:
            self._sending = Turns()
        await self._sending.take()
        try:
            if kind == "http.response.pathsend":
                await self._files.send_path(self._response, message["path"])
                await self._complete()
            elif kind == "http.response.zerocopysend":
                await self._files.send_open(self._response, message)
                if not message.get("more_body"):
                    await self._complete()
            else:
                raise AppError(f"expected an event of the type http.response.body, got {kind!r}")
        finally:
            self._sending.give()

    async def _complete(self, body: bytes = b"") -> None:
        if not self._response.complete:
            await self._response.finish(body)
            self._release()

    def _release(self) -> None:
        protocol: Any = self._request.connection.protocol  # a `RequestProtocol`: it serves one
        protocol.release(self._request)

    async def _give_way(self) -> None:
        """Let the other cores run now and then: a quick client may never make an app wait."""
        self._row += 1
        if self._row >= _IN_A_ROW:
            self._row = 0
            await checkpoint()


def _bytes(body: object) -> bytes:
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise TypeError(f"expected bytes as the body of http.response.body, got {type(body).__name__}")
