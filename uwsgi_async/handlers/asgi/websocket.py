"""One websocket, for an ASGI app: `receive` and `send`, and what the app's end means.

What lives here: `WebSocketExchange`. What does not: handshake, messages and control frames (`cores.websocket`), the
scope (`scope`). The extension "Websocket Denial Response" is here, too.
Source: the ASGI specification, "WebSocket", and its "Extensions".
"""

from __future__ import annotations

import logging

from uwsgi_async.cores.request import Request
from uwsgi_async.cores.websocket import WebSocket
from uwsgi_async.errors import AppError, WebSocketClosedError
from uwsgi_async.handlers.asgi.causes import client_caused
from uwsgi_async.handlers.asgi.events import Message
from uwsgi_async.handlers.asgi.head import head_of, text_pairs
from uwsgi_async.handlers.asgi.turns import Turns

logger = logging.getLogger("uwsgi_async")


class WebSocketExchange:
    """What an app gets to speak with the client of one websocket. Any of the app's tasks may use it."""

    def __init__(self, request: Request, websocket: WebSocket) -> None:
        self._request = request
        self._response = request.response
        self._websocket = websocket
        self._connection = request.connection
        self._asked = self._told = self._decided = self._denying = False
        self._receiving = Turns()

    def __repr__(self) -> str:
        return f"<WebSocketExchange {self._request!r}, {self._websocket!r}>"

    async def receive(self) -> Message:
        """Return websocket.connect, then, behind the handshake, each message, and at last websocket.disconnect."""
        if not self._asked:
            self._asked = True
            return {"type": "websocket.connect"}
        await self._receiving.take()
        try:
            while not self._decided and not self._connection.peer_closed:
                await self._connection.until_peer_closed()
            if not self._websocket.accepted:  # it has got another answer, or has not waited for one
                return self._disconnect(WebSocketClosedError(1006))
            try:
                message = await self._websocket.receive()
            except WebSocketClosedError as error:
                return self._disconnect(error)
        finally:
            self._receiving.give()
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    async def send(self, message: Message) -> None:
        """Accept, send, close, or answer the request in another way.

        Raises `WebSocketClosedError`, an OSError, when the client has closed or is gone; TypeError and `AppError` for
        an event that is not as the specification says.
        """
        kind = message["type"]
        if kind == "websocket.send":
            await self._send(message)
        elif kind == "websocket.accept":
            await self._accept(message)
        elif kind == "websocket.close":
            await self._close(message)
        elif kind == "websocket.http.response.start":
            self._deny(message)
        elif kind == "websocket.http.response.body" and self._denying:
            await self._deny_with(message)
        else:
            raise AppError(f"expected an event such as websocket.accept or websocket.send, got {kind!r}")

    def fail(self, error: Exception) -> None:
        """Raise what an app's error means. Nothing, when the client has closed: frameworks tell it by an error."""
        lost = client_caused(error)
        if lost is not None:
            raise lost from error
        if self._told:
            logger.info("%r: the websocket is closed, and its app has ended with %r", self._request, error)
            return
        raise error

    def end(self) -> None:
        """Judge what the app has left when it returned."""
        if not self._response.head_sent and not self._connection.closed:
            raise AppError("the app returned without sending websocket.accept or websocket.close")
        if self._denying and not self._response.complete:
            raise AppError("the app returned before its answer was complete: its last event had more_body=True")

    def _decide(self) -> None:
        """The client has its answer: let who waits for messages go on."""
        self._decided = True
        self._connection.stop_reading()

    def _disconnect(self, error: WebSocketClosedError) -> Message:
        self._told = True
        return {"type": "websocket.disconnect", "code": error.code, "reason": error.reason}

    async def _send(self, message: Message) -> None:
        data, text = message.get("bytes"), message.get("text")
        if (data is None) == (text is None):
            raise AppError("expected either bytes or text in websocket.send")
        if text is not None:
            if not isinstance(text, str):
                raise TypeError(f"expected a str as the text of websocket.send, got {type(text).__name__}")
            await self._websocket.send(text)
        elif isinstance(data, bytes | bytearray | memoryview):
            await self._websocket.send(bytes(data))
        else:
            raise TypeError(f"expected bytes as the bytes of websocket.send, got {type(data).__name__}")

    async def _accept(self, message: Message) -> None:
        headers = text_pairs(message.get("headers", ()))
        if any(name.lower() == "sec-websocket-protocol" for name, _ in headers):
            raise AppError("expected the subprotocol under its own key in websocket.accept, got it as a header")
        try:
            await self._websocket.accept(message.get("subprotocol"), headers)
        finally:
            self._decide()

    async def _close(self, message: Message) -> None:
        if self._websocket.accepted:
            await self._websocket.close(message.get("code", 1000), message.get("reason") or "")
        elif not self._response.head_sent:
            await self._websocket.refuse()
            self._decide()

    def _deny(self, message: Message) -> None:
        if self._denying or self._response.head_sent:
            raise AppError("expected one answer to the request, got websocket.http.response.start behind another")
        self._response.start_with(head_of(message["status"], message.get("headers", ())))
        self._response.keep_alive = False
        self._denying = True

    async def _deny_with(self, message: Message) -> None:
        body = message.get("body", b"")
        if not isinstance(body, bytes):
            raise TypeError(f"expected bytes as the body of websocket.http.response.body, got {type(body).__name__}")
        if message.get("more_body"):
            await self._response.send(body)
        else:
            await self._response.finish(body)
            self._decide()
