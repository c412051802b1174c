"""One response: status, headers and chunks from the handler, framed for the protocol, out to the connection.

What lives here: `Response`. What does not: the bytes of a head (`wire.http`), the rules of WSGI (`handlers`).

Framing is decided once, when the head is sent: by the app's Content-Length, by the length of a complete body, by
chunks on HTTP/1.1, else by the end of the connection.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from uwsgi_async.cores.cork import LARGEST
from uwsgi_async.cores.files import Transfer
from uwsgi_async.errors import AppError
from uwsgi_async.wire.http import LAST_CHUNK, ResponseHead, encode_chunk, response_head, simple_response

if TYPE_CHECKING:
    import anyio

    from uwsgi_async.cores.connection import Connection

logger = logging.getLogger("uwsgi_async")

_RESPONSE: Final = b"HTTP"  # how a response begins


class Response:
    """The answer to one request.

    ``http_1_1``: the client understands chunks. ``keep_alive``: the connection may live on; set to False to close
    it after the answer. ``head_only``: the request was a HEAD. ``date``: add a Date header.
    ``write_error``: the client went away, or took nothing for too long. ``may_wait``: a small answer may be
    kept back as ``waiting``, for whoever serves the connection to give it to the pool's cork.
    ``body_bytes`` and ``header_bytes`` are what was sent, framing not counted in the body. ``transfer``: a part of the
    body that is sent when the handler has returned, or before whatever it sends next.
    """

    # Defaults stand in the class: a response costs what it sets, and most set little.
    _started: ResponseHead | None = None
    head_sent = complete = write_error = may_wait = False
    waiting: bytes | None = None
    transfer: Transfer | None = None
    body_bytes = header_bytes = _refused = 0
    via = ""
    _chunked = _no_body = _raw = False
    _remaining: int | None = None

    def __init__(self, connection: Connection, http_1_1: bool, keep_alive: bool, head_only: bool, date: bool) -> None:
        self._connection = connection
        self.http_1_1 = http_1_1
        self.keep_alive = keep_alive
        self.head_only = head_only
        self.date = date

    def __repr__(self) -> str:
        state = "complete" if self.complete else "head sent" if self.head_sent else "not begun"
        return f"<Response {self.status or '-'} {state}, {self.body_bytes} bytes>"

    @property
    def status(self) -> str:
        """What `start` was given, or the code of a refusal; "" before there is one."""
        if self._refused:
            return str(self._refused)
        return "" if self._started is None else self._started.status

    @property
    def code(self) -> int:
        """The status code; 0 before there is one."""
        return int(self.status[:3] or 0)

    def start(self, status: str, headers: list[tuple[str, str]]) -> None:
        """Take status and headers; sent with the first byte of the body. A second call replaces the first.

        Raises TypeError and `AppError` as `response_head` does, and changes nothing then.
        """
        self._started = response_head(status, headers)

    def start_with(self, head: ResponseHead) -> None:
        """Take a head that has been checked before; else as `start`."""
        self._started = head

    def send_all_nowait(self, body: bytes) -> bytes:
        """Send head and complete body, and end the response. The path of nearly every request.

        With ``may_wait`` a small answer is only made, see ``waiting``. Returns the rest that the socket did not take,
        mostly b"": the caller sends it with `send_rest`.
        """
        if self.complete:  # disconnected by the app: what it still sends is lost
            return b""
        size = len(body)
        data = self._head(size)  # its framing is never chunked: the length is known
        if not self._no_body:
            if self._remaining == size:
                self._remaining = 0
            else:
                body = self._limit(body)
                size = len(body)
            self.body_bytes = size
            data += body
        self.complete = True
        if self._remaining:
            self._note_missing()
        if self.may_wait and self.keep_alive and len(data) <= LARGEST:
            self.waiting = data
            return b""
        sent = self._connection.send_nowait(data)
        return data[sent:] if sent < len(data) else b""

    async def send_rest(self, rest: bytes) -> None:
        """Send what `send_all_nowait` returned."""
        await self._connection.send(rest)

    @property
    def header_count(self) -> int:
        """The headers that the app gave."""
        return 0 if self._started is None else self._started.count

    async def send_all(self, body: bytes) -> None:
        """Send head and complete body now, and end the response."""
        self.may_wait = False  # the app has not ended yet
        rest = self.send_all_nowait(body)
        if rest:
            await self.send_rest(rest)

    async def send(self, chunk: bytes) -> None:
        """Send one chunk of the body, the head before it when it is the first. An empty chunk sends nothing."""
        if not chunk or self.complete:
            return
        if self.transfer is not None:
            await self._run_transfer()
        data = b"" if self.head_sent else self._first_head(chunk)
        chunk = b"" if self._no_body else self._limit(chunk)
        if chunk:
            self.body_bytes += len(chunk)
            data += encode_chunk(chunk) if self._chunked else chunk
        if data:
            await self._connection.send(data)

    async def send_head(self, length: int | None = None) -> None:
        """Send the head now, if it has not been sent. ``length``: of the body, in bytes; None: not known yet."""
        if not self.head_sent and not self.complete:
            await self._connection.send(self._head(length))

    async def send_file(self, fd: int, offset: int, count: int, length: int | None = None) -> int:
        """Send ``count`` bytes of an open file as a part of the body; return how many were there.

        ``length``: of the whole body, where the app has announced none and more than these bytes will come.
        Goes through sendfile(2) where the framing lets it, so that no byte passes through Python.
        """
        if self.complete:
            return 0
        if self.transfer is not None:
            await self._run_transfer()
        if not self.head_sent:
            await self._connection.send(self._head(count if length is None else length))
        if self._no_body:
            return 0
        if self._remaining is not None:
            count = min(count, self._remaining)
        if self._chunked and count:
            await self._connection.send(b"%x\r\n" % count)
        sent = await self._connection.send_file(fd, offset, count)
        self.via = "sendfile"
        self.body_bytes += sent
        if self._remaining is not None:
            self._remaining -= sent
        if self._chunked and count:
            if sent < count:
                self.keep_alive = False  # the chunk that was announced cannot be completed
            else:
                await self._connection.send(b"\r\n")
        return sent

    async def offload(self, fd: int, start: int, count: int, threads: anyio.CapacityLimiter) -> None:
        """Send the head, and ``count`` bytes of a file from ``start`` when the handler has returned.

        The core is free then. ``fd`` may be closed at once. Raises as `send`.
        """
        if self.complete:
            return
        if self.transfer is not None:
            await self._run_transfer()
        if not self.head_sent:
            await self._connection.send(self._head(count))
        if count > 0 and not self._no_body:
            self.transfer = Transfer(fd, start, count, threads)

    async def _run_transfer(self) -> None:
        transfer, self.transfer = self.transfer, None
        if transfer is not None:
            await transfer.run(self)
            self.via = "offload"

    def abandon(self) -> None:
        """End the response as it is: what the app still sends is lost."""
        self.complete = True
        self.keep_alive = False
        self._drop_transfer()

    def _drop_transfer(self) -> None:
        transfer, self.transfer = self.transfer, None
        if transfer is not None:
            transfer.drop()

    def go_raw(self) -> None:
        """Let the handler send bytes over the connection by itself: no head is missed then, and the connection ends."""
        self._raw = True
        self.keep_alive = False

    async def finish(self, chunk: bytes = b"") -> None:
        """End the response, with a last ``chunk``. Without any before, it is the whole body."""
        if self.complete:
            return
        if self.transfer is not None:
            await self._run_transfer()
        if not self.head_sent:
            await self.send_all(chunk)
            return
        data = b"" if self._no_body else self._limit(chunk)
        self.body_bytes += len(data)
        if self._chunked and not self._no_body:
            data = encode_chunk(data) + LAST_CHUNK
        self.complete = True
        self._note_missing()
        if data:
            await self._connection.send(data)

    async def switch(self, fields: list[tuple[str, str]]) -> None:
        """Answer 101: from here on the connection speaks another protocol, and is closed at the end.

        Nothing that the app sends as a body goes out any more. Raises as `start` and `Connection.send`.
        """
        head = response_head("101 Switching Protocols", fields)
        data = head.encode((True, True, False, None, self.date))
        self._started = head
        self.head_sent = self.complete = True
        self.keep_alive = False
        self.header_bytes = len(data)
        await self._connection.send(data)

    def refuse(self, code: int) -> None:
        """Answer with a short error page if nothing was sent yet, and close in any case. Does not wait."""
        connection = self._connection
        self.keep_alive = False
        self._drop_transfer()
        if not self.head_sent and not connection.closed:
            data = simple_response(code)
            head, _, body = data.partition(b"\r\n\r\n")
            self._refused = code
            self.head_sent = True
            self.header_bytes = len(head) + 4
            self.body_bytes = len(body)
            try:
                connection.send_nowait(head + b"\r\n\r\n" if self.head_only else data)
            except ConnectionError:
                pass
        self.complete = True

    def _first_head(self, chunk: bytes) -> bytes:
        """Return the head before the first chunk; none when the app hands a whole response of another server on.

        As in uWSGI such an app does not call start_response.
        """
        if self._started is None and chunk.startswith(_RESPONSE):
            self.go_raw()
        return self._head(None)

    def _head(self, length: int | None) -> bytes:
        """Return the bytes of the head and decide how the body is framed. ``length``: None if not known yet."""
        started = self._started
        if started is None:
            if self._raw:
                self.head_sent = True
                return b""
            raise AppError("the app returned without calling start_response")
        if started.close or self._connection.pool.closing:
            self.keep_alive = False
        announced = started.length
        self._no_body = self.head_only or started.bodyless
        if announced is not None:
            self._remaining, add_length = announced, None
        else:
            self._remaining = length
            add_length = None if started.bodyless else length
            if length is None and not started.bodyless:
                self._chunked = self.http_1_1
                self.keep_alive = self.keep_alive and self._chunked
            elif self.head_only and length == 0:
                add_length = None  # the app knows that a HEAD needs no body: 0 would be a guess
        data = started.encode((self.http_1_1, self.keep_alive, self._chunked, add_length, self.date))
        self.head_sent = True
        self.header_bytes = len(data)
        return data

    def _limit(self, chunk: bytes) -> bytes:
        """Keep to the announced Content-Length: bytes beyond it would be read as the next response."""
        if self._remaining is None:
            return chunk
        if len(chunk) > self._remaining:
            logger.error("the app sent more than its Content-Length; %d bytes cut", len(chunk) - self._remaining)
            chunk = chunk[: self._remaining]
        self._remaining -= len(chunk)
        return chunk

    def _note_missing(self) -> None:
        """Look whether the app has sent as much as it announced: what is missing cannot be made up."""
        if self._remaining and not self._no_body:
            logger.error("the app sent %d bytes less than its Content-Length; connection closed", self._remaining)
            self.keep_alive = False
