"""A websocket: what a request becomes when the app accepts the handshake that its client offers.

What lives here: `WebSocket`, which uWSGI's functions (`api.websockets`) and ASGI apps stand on. What does not: frames
(`wire.websocket`), the socket (`connection`), the order of what goes out (`outbox`), whether the client lives
(`heartbeat`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from math import inf
from typing import TYPE_CHECKING

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
    FrameMeter,
    Frames,
    Ping,
    accept_token,
    check_close_code,
    check_handshake,
    negotiate_deflate,
)

if TYPE_CHECKING:
    from uwsgi_async.cores.request import Request
    from uwsgi_async.wire.websocket import Event

NORMAL, SERVER_ERROR, RESTART = 1000, 1011, 1012
"""Close codes that we give by ourselves: the app has returned, it has failed, the server ends (RFC 6455, 7.4.1)."""

_IN_A_ROW = 64  # messages that were there already, until other tasks get their turn
_MOST_UNSENT = 64 * 1024  # bytes for a client that takes nothing; its pings have no answer beyond it (RFC 6455, 5.5.3)


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
        "_frames",
        "_heartbeat",
        "_meter",
        "_next",
        "_options",
        "_outbox",
        "_receiving",
        "_response",
        "_row",
        "_take_rest",
        "_vars",
        "subprotocol",
    )

    def __init__(self, request: Request, take_rest: Callable[[], bytes] | None, options: WebSocketOptions) -> None:
        self._connection = request.connection
        self._response = request.response
        self._vars = request.vars
        self._take_rest = take_rest
        self._options = options
        self._frames: Frames | None = None
        self._outbox = Outbox(request.connection)
        self._heartbeat: Heartbeat | None = None
        self._meter: FrameMeter | None = None
        self._next: Event | None = None  # decoded, and not yet asked for
        self._end: WebSocketClosedError | None = None
        self._receiving = False
        self._row = 0
        self.subprotocol: str | None = None

    def __repr__(self) -> str:
        state = "offered" if self._frames is None else "open" if self._end is None else f"closed with {self._end.code}"
        return f"<WebSocket {state}>"

    @property
    def accepted(self) -> bool:
        """Whether the handshake is complete. It stays so when the websocket is closed."""
        return self._frames is not None

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
        offers = self._vars.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", "") if self._options.websockets_deflate else ""
        deflate = negotiate_deflate(offers)
        if deflate is not None:
            fields.append(("Sec-WebSocket-Extensions", deflate.field))
        try:
            await self._response.switch([*fields, *headers])
        except (DisconnectedError, PeerTimeoutError) as error:
            self.lose(str(error))
            raise self._closed() from error
        self.subprotocol = subprotocol
        self._begin(Frames(self._options.max_message, deflate))

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

    def _begin(self, frames: Frames) -> None:
        rest = b"" if self._take_rest is None else self._take_rest()
        self._take_rest = None
        self._frames = frames
        if rest:
            frames.receive_data(rest)
        else:
            self._meter = FrameMeter()
        if self._options.websockets_ping_freq > 0:
            self._heartbeat = Heartbeat(self, self._connection.pool.poller, self._options)

    # --- receiving ------------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """Wait for the next message: a str for a text message, bytes for a binary one.

        Answers pings and the client's close frame meanwhile. A cancelled call loses nothing.
        """
        frames = self._open()
        self._meter = None  # from here on all that is there is taken at once
        self._listen()
        try:
            self._row += 1
            if self._row >= _IN_A_ROW:
                self._row = 0
                await checkpoint()
            while (message := self._next_message(frames)) is None:
                await self._flush()
                self._open()
                self._take_in(frames, await self._read())
            return message
        finally:
            self._listen_no_more()

    def receive_nowait(self) -> str | bytes | None:
        """Return the next message if it is there, else None. Raises as `receive`.

        As long as only this is called, no byte is taken from the socket that belongs to a later message: its file
        descriptor stays readable.
        """
        frames = self._open()
        self._listen()
        try:
            while (message := self._next_message(frames)) is None:
                self._post(b"")
                self._open()
                data = self._connection.receive_nowait(RECEIVE_SIZE if self._meter is None else self._meter.wanted)
                if data is None:
                    if self._heartbeat is not None:
                        self._heartbeat.look()
                        self._open()
                    return None
                self._take_in(frames, data)
            return message
        finally:
            self._listen_no_more()

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """Iterate over the messages until the websocket is closed; raises `WebSocketClosedError` if not in order."""
        while True:
            try:
                message = await self.receive()
            except WebSocketClosedError as error:
                if error.clean:
                    return
                raise
            yield message

    @property
    def pending(self) -> bool:
        """Whether something has been read that was not yet received."""
        if self._next is None and self._frames is not None:
            self._next = self._frames.next_event()
        return self._next is not None

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

    async def _read(self) -> bytes:
        try:
            return await self._connection.receive(inf)
        except (DisconnectedError, PeerTimeoutError) as error:
            self.lose(str(error))
            raise self._closed() from error

    def _take_in(self, frames: Frames, data: bytes) -> None:
        if not data:
            self.lose("the client closed the connection without a close frame")
            raise self._closed()
        if self._heartbeat is not None:
            self._heartbeat.heard()
        if self._meter is not None:
            self._meter.take(data)
        frames.receive_data(data)

    def _next_message(self, frames: Frames) -> str | bytes | None:
        """Return the next message that has been read; answer the control frames before it."""
        while True:
            event, self._next = frames.next_event() if self._next is None else self._next, None
            if event is None or isinstance(event, (str, bytes)):
                return event
            if isinstance(event, Ping) and self._outbox.unsent < _MOST_UNSENT:
                self._post(frames.pong(event.payload))
            elif isinstance(event, Close):
                if self._end is None:
                    self._stop(WebSocketClosedError(event.code, event.reason))
                    self._post(frames.close(event.code, event.reason))
                return None

    # --- sending --------------------------------------------------------------------------------------------------

    async def send(self, message: str | bytes) -> None:
        """Send a text message (str) or a binary one (bytes); wait while the client does not take it.

        A cancelled call has sent the message whole or not at all. Raises UnicodeEncodeError for text without UTF-8.
        """
        await self._send(self._open().encode(message))

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the websocket; nothing happens when it is closed already.

        ``reason``: at most 123 bytes of UTF-8, else it is cut. Raises ValueError for a code that may not be sent.
        """
        check_close_code(code)
        if self._end is None:
            frames = self._open()
            self._stop(WebSocketClosedError(code, reason))
            try:
                await self._send(frames.close(code, reason))
            except WebSocketClosedError:
                pass  # the client was quicker

    async def end(self) -> None:
        """The app has returned: close what it has left open. For `serving`."""
        if self._frames is not None:
            await self.close()
            await self._flush()
        self._account()

    def abort(self, status: int) -> None:
        """The request has failed with this HTTP status: tell the client as far as that can be done without waiting."""
        if self._frames is not None and self._end is None:
            code = RESTART if status == 503 else SERVER_ERROR
            self._stop(WebSocketClosedError(code))
            self._post(self._frames.close(code, ""))
        self._account()

    def ping(self) -> None:
        """Send a ping, unless more than that waits to be sent."""
        if self._end is None and self._frames is not None and not self._outbox.unsent:
            self._post(self._frames.ping())

    async def _send(self, data: bytes) -> None:
        try:
            await self._outbox.send(data)
        except (DisconnectedError, PeerTimeoutError) as error:
            self.lose(str(error))
            raise self._closed() from error

    async def _flush(self) -> None:
        if self._outbox.unsent:
            await self._send(b"")

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

    def _open(self) -> Frames:
        """Return the frames of a websocket that is open."""
        if self._frames is None:
            raise AppError("the websocket must be accepted first: accept(), or websocket_handshake()")
        if self._end is not None:
            raise self._closed()
        return self._frames

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
