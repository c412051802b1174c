"""A websocket: what a request becomes when the app accepts the handshake that its client offers.

What lives here: `WebSocket`, which uWSGI's functions (`api.websockets`) and ASGI apps stand on. What does not: frames
(`wire.websocket`), the socket (`connection`), the order of what goes out (`outbox`), whether the client lives
(`heartbeat`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import TYPE_CHECKING, Self

from anyio.lowlevel import checkpoint

from uwsgi_async.cores.connection import RECEIVE_SIZE
from uwsgi_async.cores.heartbeat import Heartbeat
from uwsgi_async.cores.outbox import Outbox
from uwsgi_async.errors import (
    AppError,
    DisconnectedError,
    PeerTimeoutError,
    WebSocketClosedError,
    WebSocketHandshakeError,
)
from uwsgi_async.options.websockets import WebSocketOptions
from uwsgi_async.wire.websocket import (
    ABNORMAL,
    VERSION,
    Close,
    Deflate,
    Inbox,
    Ping,
    Readers,
    accept_token,
    check_close_code,
    check_handshake,
    encode_close,
    encode_message,
    encode_ping,
    encode_pong,
    negotiate_deflate,
)

if TYPE_CHECKING:
    from uwsgi_async.cores.request import Request

NORMAL, SERVER_ERROR, RESTART = 1000, 1011, 1012
"""Close codes that we give by ourselves: the app has returned, it has failed, the server ends (RFC 6455, 7.4.1)."""

_IN_A_ROW = 64  # messages that were there already, until other tasks get their turn
_MOST_UNSENT = 64 * 1024  # bytes for a client that takes nothing; its pings have no answer beyond it (RFC 6455, 5.5.3)


class WebSockets:
    """What the websockets of a worker share: their options, and the parsers that they lend each other."""

    def __init__(self, options: WebSocketOptions) -> None:
        self.options = options
        self.readers = Readers(options.max_message)


class WebSocket:
    """The websocket of a request: before it is accepted, while it is open, and when it is closed.

    ``request``: asks for a websocket. ``take_rest``: returns what has been read behind its head; None: nothing was.

    One task at a time may receive; any number may send, and their messages go out whole, in the order of the calls.
    Before `accept` every other call but `refuse` raises `AppError`. When the websocket is closed, by the client, by
    `close`, or because something went wrong, every call but `close` raises `WebSocketClosedError`.
    """

    __slots__ = (
        "_connection",
        "_end",
        "_exact",
        "_heartbeat",
        "_inbox",
        "_outbox",
        "_receiving",
        "_response",
        "_row",
        "_shared",
        "_take_rest",
        "_vars",
        "_window_bits",
        "subprotocol",
    )

    def __init__(self, request: Request, take_rest: Callable[[], bytes] | None, shared: WebSockets) -> None:
        self._connection = request.connection
        self._response = request.response
        self._vars = request.vars
        self._take_rest = take_rest
        self._shared = shared
        self._inbox: Inbox | None = None  # as long as it is not accepted
        self._outbox = Outbox(request.connection)
        self._window_bits: int | None = None  # of what the client gets compressed; None: nothing
        self._heartbeat: Heartbeat | None = None
        self._exact = True  # no byte has been taken from the socket before its time
        self._end: WebSocketClosedError | None = None
        self._receiving = False
        self._row = 0
        self.subprotocol: str | None = None

    def __repr__(self) -> str:
        state = "offered" if self._inbox is None else "open" if self._end is None else f"closed with {self._end.code}"
        return f"<WebSocket {state}>"

    @property
    def accepted(self) -> bool:
        """Whether the handshake is complete. It stays so when the websocket is closed."""
        return self._inbox is not None

    @property
    def closed(self) -> bool:
        """Whether it is closed, as far as we know."""
        return self._end is not None

    # --- the handshake --------------------------------------------------------------------------------------------

    async def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[str, str]] = (), *, key: str | None = None
    ) -> None:
        """Complete the handshake: from here on messages go both ways.

        ``subprotocol``: the one of the client's that is spoken; None names none. ``headers``: further fields of the
        answer. ``key``: what the answer proves to have read; None is the client's Sec-WebSocket-Key. Raises
        `WebSocketHandshakeError` for a malformed handshake, when the client has been told, `WebSocketClosedError` when
        the client is gone, `AppError` when there was an answer already or a header is none.
        """
        if self._response.head_sent:
            raise AppError("a websocket can be accepted once, and not after another answer to the request")
        try:
            check_handshake(self._vars)
        except WebSocketHandshakeError as error:
            await self._refuse_handshake(error)
            raise
        fields = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_token(key or self._vars["HTTP_SEC_WEBSOCKET_KEY"])),
        ]
        if subprotocol:
            fields.append(("Sec-WebSocket-Protocol", subprotocol))
        options = self._shared.options
        offers = self._vars.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", "") if options.websockets_deflate else ""
        deflate = negotiate_deflate(offers)
        if deflate is not None:
            fields.append(("Sec-WebSocket-Extensions", deflate.field))
        try:
            await self._response.switch([*fields, *headers])
        except (DisconnectedError, PeerTimeoutError) as error:
            self.lose(str(error))
            raise self._closed() from error
        self.subprotocol = subprotocol
        self._begin(deflate)

    async def refuse(
        self, status: str = "403 Forbidden", headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        """Answer with an ordinary response instead. Raises as `Response.start` and `Response.send_all`."""
        self._response.keep_alive = False
        self._response.start(status, list(headers))
        await self._response.send_all(body)

    async def _refuse_handshake(self, error: WebSocketHandshakeError) -> None:
        if error.status == 426:  # RFC 6455, 4.4 and RFC 9110, 15.5.22
            fields = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", VERSION)]
            await self.refuse("426 Upgrade Required", fields)
        else:
            await self.refuse("400 Bad Request")

    def _begin(self, deflate: Deflate | None) -> None:
        self._window_bits = None if deflate is None else deflate.window_bits
        self._inbox = Inbox(self._shared.readers, deflate is not None)
        rest = b"" if self._take_rest is None else self._take_rest()
        self._take_rest = None
        if rest:
            self._exact = False
            self._inbox.take(rest)
        if self._shared.options.websockets_ping_freq > 0:
            self._heartbeat = Heartbeat(self, self._connection.pool.poller, self._shared.options)

    # --- receiving ------------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """Wait for the next message: a str for a text message, bytes for a binary one.

        Answers pings and the client's close frame meanwhile. A cancelled call loses nothing.
        """
        inbox = self._open()
        self._exact = False
        self._listen()
        try:
            self._row += 1
            if self._row >= _IN_A_ROW:
                self._row = 0
                await checkpoint()
            while (message := self._next_message(inbox)) is None:
                if self._outbox.unsent:
                    await self._send(b"")
                self._open()
                try:
                    data = await self._connection.receive(inf)
                except (DisconnectedError, PeerTimeoutError) as error:
                    if self._end is None:  # else another task has closed it
                        self.lose(str(error))
                    raise self._closed() from error
                self._take_in(inbox, data)
            return message
        finally:
            self._listen_no_more()

    def receive_nowait(self) -> str | bytes | None:
        """Return the next message if it is there, else None. Raises as `receive`.

        As long as only this is called, no byte is taken from the socket that belongs to a later message: its file
        descriptor stays readable.
        """
        inbox = self._open()
        self._listen()
        try:
            while (message := self._next_message(inbox)) is None:
                self._post(b"")
                self._open()
                data = self._connection.receive_nowait(inbox.wanted if self._exact else RECEIVE_SIZE)
                if data is None:
                    if self._heartbeat is not None:
                        self._heartbeat.look()
                        self._open()
                    return None
                self._take_in(inbox, data)
            return message
        finally:
            self._listen_no_more()

    def __aiter__(self) -> Self:
        """Iterate over the messages until the websocket is closed; raises `WebSocketClosedError` if not in order."""
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except WebSocketClosedError as error:
            if error.clean:
                raise StopAsyncIteration from None
            raise

    @property
    def pending(self) -> bool:
        """Whether something has been read that was not yet received."""
        return self._inbox is not None and self._inbox.pending

    def _listen(self) -> None:
        if self._receiving:
            raise AppError("another task receives from this websocket already")
        self._receiving = True
        if self._heartbeat is not None:
            self._heartbeat.listening = True

    def _listen_no_more(self) -> None:
        self._receiving = False
        if self._heartbeat is not None:
            self._heartbeat.listening = False

    def _take_in(self, inbox: Inbox, data: bytes) -> None:
        if not data:
            self.lose("the client closed the connection without a close frame")
            raise self._closed()
        if self._heartbeat is not None:
            self._heartbeat.heard()
        inbox.take(data)

    def _next_message(self, inbox: Inbox) -> str | bytes | None:
        """Return the next message that has been read; answer the control frames before it."""
        while True:
            event = inbox.next_event()
            if event is None or isinstance(event, (str, bytes)):
                return event
            if isinstance(event, Ping) and self._outbox.unsent < _MOST_UNSENT:
                self._post(encode_pong(event.payload))
            elif isinstance(event, Close):
                if self._end is None:
                    self._stop(WebSocketClosedError(event.code, event.reason))
                    self._post(encode_close(event.code, event.reason))
                return None

    # --- sending --------------------------------------------------------------------------------------------------

    async def send(self, message: str | bytes) -> None:
        """Send a text message (str) or a binary one (bytes); wait while the client does not take it.

        A cancelled call has sent the message whole or not at all. Raises UnicodeEncodeError for text without UTF-8.
        """
        self._open()
        await self._send(encode_message(message, self._window_bits))

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the websocket; nothing happens when it is closed already. A task that receives gets its error at once.

        ``reason``: at most 123 bytes of UTF-8, else it is cut. Raises ValueError for a code that may not be sent.
        """
        check_close_code(code)
        if self._end is None:
            self._open()
            self._stop(WebSocketClosedError(code, reason))
            try:
                await self._send(encode_close(code, reason))
            except WebSocketClosedError:
                pass  # the client was quicker
            finally:
                if self._receiving:
                    self._connection.stop_reading()  # the client may never answer

    async def end(self) -> None:
        """The app has returned: close what it has left open. For `serving`."""
        if self._inbox is not None:
            await self.close()
            if self._outbox.unsent:
                await self._send(b"")
        self._account()

    def abort(self, status: int) -> None:
        """The request has failed with this HTTP status: tell the client as far as that can be done without waiting."""
        if self._inbox is not None and self._end is None:
            code = RESTART if status == 503 else SERVER_ERROR
            self._stop(WebSocketClosedError(code))
            self._post(encode_close(code))
        self._account()

    def ping(self) -> None:
        """Send a ping, unless more than that waits to be sent."""
        if self._end is None and self._inbox is not None and not self._outbox.unsent:
            self._post(encode_ping())

    async def _send(self, data: bytes) -> None:
        try:
            await self._outbox.send(data)
        except (DisconnectedError, PeerTimeoutError) as error:
            self.lose(str(error))
            raise self._closed() from error

    def _post(self, data: bytes) -> None:
        try:
            self._outbox.post(data)
        except DisconnectedError as error:
            self.lose(str(error))

    # --- the end --------------------------------------------------------------------------------------------------

    def lose(self, reason: str) -> None:
        """The connection is of no use any more: close it."""
        self._stop(WebSocketClosedError(ABNORMAL, reason))
        self._outbox.clear()
        self._connection.close()

    def _open(self) -> Inbox:
        """Return the inbox of a websocket that is open."""
        if self._inbox is None:
            raise AppError("the websocket must be accepted first: accept(), or websocket_handshake()")
        if self._end is not None:
            raise self._closed()
        return self._inbox

    def _closed(self) -> WebSocketClosedError:
        """Return the error to raise, a new one each time: it gets a traceback of its own."""
        assert self._end is not None
        return WebSocketClosedError(self._end.code, self._end.reason)

    def _stop(self, end: WebSocketClosedError) -> None:
        """Note how it has ended. The first end counts."""
        self._end = self._end or end
        if self._heartbeat is not None:
            self._heartbeat.stop()
            self._heartbeat = None

    def _account(self) -> None:
        """Tell the response what was sent, for the log and the statistics."""
        self._response.body_bytes += self._outbox.sent
        self._outbox.sent = 0
