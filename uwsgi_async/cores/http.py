"""HTTP/1.1 on a connection: read a head, build the request, serve it, decide what becomes of the connection.

What lives here: `HttpProtocol`. What does not: the grammar (`wire.http`), sockets (`connection`).
"""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING

from uwsgi_async.cores.cork import LONG
from uwsgi_async.cores.request import NO_BODY, Request, RequestBody
from uwsgi_async.cores.response import Response
from uwsgi_async.cores.serving import Service, serve_request
from uwsgi_async.cores.websocket import WebSocket
from uwsgi_async.errors import BadRequestError, DisconnectedError
from uwsgi_async.wire.http import CONTINUE, Endpoint, HttpReader, RequestHead, simple_response
from uwsgi_async.wire.websocket import offers_websocket

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection
    from uwsgi_async.cores.core import Core

logger = logging.getLogger("uwsgi_async")

_DISCARD = 256 * 1024  # bytes of a body that nobody read, thrown away to keep the connection


class HttpProtocol:
    """Serves HTTP/1.0 and 1.1, keep-alive and pipelining, on one listener's connections."""

    def __init__(self, endpoint: Endpoint, service: Service) -> None:
        self._endpoint = endpoint
        self._memory = endpoint.memory
        self._service = service
        self._response = service.response

    async def serve(self, connection: Connection, core: Core) -> None:
        connection.deadline = inf
        reader: HttpReader | None = connection.reader
        head = None
        try:
            if reader is None:
                data = connection.receive_nowait()
                if data:
                    # Most requests come whole, in bytes that were seen before: they need no reader.
                    head = self._memory.recall(data, connection.peer)
                if head is None:
                    reader = HttpReader(self._endpoint, connection.peer)
                    head = self._read_head(connection, reader, data)
            else:
                head = reader.next_head() or self._read_head(connection, reader, connection.receive_nowait())
        except BadRequestError as error:
            self._refuse(connection, error)
            return
        if head is None:
            return
        response = self._response(connection, head.http_1_1, head.keep_alive, head.method == "HEAD", True)
        if reader is None:
            body = NO_BODY
            response.may_wait = connection.pool.cork.holds
        elif head.content_length == 0:
            body = NO_BODY
        else:
            if head.content_length and 0 < self._service.limit_post < head.content_length:
                limit = self._service.limit_post
                self._refuse(connection, BadRequestError(413, f"the body is larger than {limit} bytes"))
                return
            source = _BodySource(connection, reader, response, head.expect_continue)
            body = RequestBody(source, head.content_length, self._service.limit_post)
        request = Request(head.vars, body, response, connection, core)
        if head.upgrade and body is NO_BODY and offers_websocket(head.vars):
            rest = None if reader is None else reader.take_rest
            request.websocket = WebSocket(request, rest, self._service.websockets)
        ended = await serve_request(self._service, request)
        if ended - request.started > LONG:
            connection.pool.cork.note(request, ended)
        if request.released:
            return
        if response.waiting is not None:
            connection.pool.cork.put(connection, response.waiting, core, ended)
        else:
            self._settle(request, ended)

    def release(self, request: Request) -> None:
        request.released = True
        request.connection.stop_reading()
        self._settle(request, request.core.poller.time())

    def expire(self, connection: Connection) -> None:
        reader = connection.reader
        if reader is not None and reader.in_head:
            self._refuse(connection, BadRequestError(408, "the request's head did not arrive in time"))
        else:
            connection.close()

    def _settle(self, request: Request, ended: float) -> None:
        """Decide what becomes of the connection when a response is complete. ``ended``: when, on the poller's clock."""
        connection, body = request.connection, request.body
        if connection.closed:
            return
        response = request.response
        if response.waiting is not None:
            connection.pool.cork.put(connection, response.waiting, request.core, ended)
            return
        reader: HttpReader | None = connection.reader
        if response.keep_alive and (reader is None or body is NO_BODY or self._body_is_over(connection, reader, body)):
            if reader is None or reader.idle:
                connection.park(None, ended + connection.pool.options.keepalive_timeout)
            else:
                connection.pool.enqueue(connection)  # pipelined: behind those who wait already
        elif body.complete and (reader is None or reader.idle) and not connection.readable and not request.websocket:
            connection.close()
        else:
            connection.linger()

    def _read_head(self, connection: Connection, reader: HttpReader, data: bytes | None) -> RequestHead | None:
        """Return the next head, ``data`` being what came last; None when the connection was parked or closed."""
        while data:
            reader.receive_data(data)
            head = reader.next_head()
            if head is not None:
                connection.reader = reader
                return head
            data = connection.receive_nowait()
        if data is None:
            started = connection.ready_since if connection.reader is None else connection.head_since
            connection.head_since = started
            connection.park(None if reader.idle else reader, started + connection.pool.options.header_timeout)
        else:
            connection.close()
        return None

    def _body_is_over(self, connection: Connection, reader: HttpReader, body: RequestBody) -> bool:
        """Whether the next request can be read: throw away what the app left of the body, if it is here already."""
        if body.complete and body.length is None:
            return True
        discarded = 0
        try:
            while discarded < _DISCARD:
                data = reader.next_body()
                if data == b"":
                    return True
                if data is None:
                    more = connection.receive_nowait()
                    if not more:
                        return False
                    reader.receive_data(more)
                else:
                    discarded += len(data)
        except BadRequestError:
            return False
        return False

    def _refuse(self, connection: Connection, error: BadRequestError) -> None:
        logger.warning("%s: request refused with %d: %s", connection.peer or "-", error.status, error)
        try:
            connection.send_nowait(simple_response(error.status))
        except DisconnectedError:
            connection.close()
        else:
            connection.linger()


class _BodySource:
    """Hands the body's bytes from the connection through the reader."""

    __slots__ = ("_connection", "_continue", "_reader", "_response")

    def __init__(self, connection: Connection, reader: HttpReader, response: Response, expect_continue: bool) -> None:
        self._connection = connection
        self._reader = reader
        self._response = response
        self._continue = CONTINUE if expect_continue else b""  # what is still to be sent of it

    @property
    def chunk_left(self) -> int:
        return self._reader.chunk_left

    async def receive(self, timeout: float | None = None) -> bytes:
        while (data := self.receive_nowait()) is None:
            if self._continue:
                await self._connection.send(self._continue)
                self._continue = b""
            self._take_in(await self._connection.receive(timeout))
        return data

    def receive_nowait(self) -> bytes | None:
        while (data := self._reader.next_body()) is None:
            if self._continue:
                # RFC 9110, 10.1.1: only when the app wants the body, and not after an answer has begun.
                sent = len(self._continue)
                if not self._response.head_sent:
                    sent = self._connection.send_nowait(self._continue)
                self._continue = self._continue[sent:]
            more = self._connection.receive_ready()
            if more is None:
                return None
            self._take_in(more)
        return data

    def _take_in(self, more: bytes) -> None:
        if not more:
            raise DisconnectedError("the client closed the connection in the middle of the body")
        self._reader.receive_data(more)
