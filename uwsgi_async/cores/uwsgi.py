"""The uwsgi protocol on a connection: one packet of vars, the body behind it, one answer, the end.

What lives here: `UwsgiProtocol`. What does not: the packet's layout (`wire.uwsgi`), sockets (`connection`).
Served is modifier 0, a request. All others let whoever reaches the socket ask the instance, or act on it: those that
are allowed have a `PacketHandler`.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from uwsgi_async.cores.request import Request, RequestBody
from uwsgi_async.cores.serving import Service, serve_request
from uwsgi_async.cores.websocket import WebSocket
from uwsgi_async.errors import BadRequestError, DisconnectedError, PeerTimeoutError
from uwsgi_async.options.settings import PacketOptions
from uwsgi_async.wire.http.chunked import ChunkedDecoder
from uwsgi_async.wire.uwsgi import Packet, PacketReader, decode_vars
from uwsgi_async.wire.websocket import offers_websocket

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection
    from uwsgi_async.cores.core import Core

logger = logging.getLogger("uwsgi_async")

_REQUEST = 0
ALWAYS_SERVED = frozenset({_REQUEST})
"""The modifiers that need no handler of their own."""


class PacketHandler(Protocol):
    """Serves packets of one modifier1."""

    def __call__(self, connection: Connection, packet: Packet, rest: bytes) -> Coroutine[Any, Any, None]:
        """Answer ``packet``; ``rest`` are the bytes that came behind it. The connection is closed afterwards.

        May raise `BadRequestError`, and what receiving and sending raise.
        """


class UwsgiProtocol:
    """Serves the uwsgi protocol as nginx speaks it. Source: uWSGI's page "The uwsgi Protocol".

    ``handlers``: by the modifier1 that each is for. ``max_chunk_overhead``: bytes of chunk extensions and trailers,
    where a front end hands in a body in its chunks.
    """

    def __init__(
        self,
        options: PacketOptions,
        service: Service,
        handlers: Mapping[int, PacketHandler] | None = None,
        max_chunk_overhead: int = 0,
    ) -> None:
        self._max_chunk_overhead = max_chunk_overhead
        self._options = options
        self._service = service
        self._handlers = handlers or {}

    async def serve(self, connection: Connection, core: Core) -> None:
        reader: PacketReader = connection.reader or PacketReader(self._options)
        connection.deadline = inf
        try:
            packet = self._read_packet(connection, reader)
            if packet is None:
                return
            if packet.modifier1 in self._handlers:
                await self._handle(connection, packet, reader)
                return
            request = self._request(connection, core, reader, packet)
        except BadRequestError as error:
            # As real uWSGI: the peer is a web server with a wrong setting, and no HTTP answer would reach a person.
            logger.warning("%s: %s; connection closed", connection.peer or "-", error)
            connection.linger()
            return
        if request is None:
            connection.close()
            return
        await serve_request(self._service, request)
        if not request.released:
            self._settle(request)

    def release(self, request: Request) -> None:
        request.released = True
        request.connection.stop_reading()
        self._settle(request)

    def _settle(self, request: Request) -> None:
        if request.body.complete and not request.websocket:
            request.connection.close()
        else:
            request.connection.linger()

    def expire(self, connection: Connection) -> None:
        if connection.reader is not None:
            logger.warning("%s: the uwsgi packet did not arrive in time; connection closed", connection.peer or "-")
        connection.close()

    def _read_packet(self, connection: Connection, reader: PacketReader) -> Packet | None:
        """Return the packet; None when the connection was parked or closed instead."""
        while (packet := reader.next_packet()) is None:
            data = connection.receive_nowait()
            if data is None:
                if connection.reader is None:
                    connection.head_since = connection.ready_since
                deadline = connection.head_since + connection.pool.options.header_timeout
                connection.park(None if reader.idle else reader, deadline)
                return None
            if not data:
                connection.close()
                return None
            reader.receive_data(data)
        return packet

    async def _handle(self, connection: Connection, packet: Packet, reader: PacketReader) -> None:
        connection.pool.packets += 1  # so that the end of the server waits for it
        try:
            await self._handlers[packet.modifier1](connection, packet, reader.take_rest())
        except (DisconnectedError, PeerTimeoutError) as error:
            logger.info("%s: modifier1 %d: %s", connection.peer or "-", packet.modifier1, error)
        except BaseException:
            connection.close()
            raise
        finally:
            connection.pool.packets -= 1
        connection.linger()  # a value that nobody wanted may be on its way

    def _request(self, connection: Connection, core: Core, reader: PacketReader, packet: Packet) -> Request | None:
        """Return the request of a packet; None when it was none and the connection can be closed."""
        if packet.modifier1 != _REQUEST:
            logger.warning("-- unavailable modifier requested: %d --", packet.modifier1)
            return None
        if not packet.payload:
            logger.warning("Empty python request. skip.")
            return None
        vars = decode_vars(packet.payload)
        length = _content_length(vars)
        limit = self._service.limit_post
        if 0 < limit < length:
            connection.send_nowait(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
            raise BadRequestError(413, f"the body is larger than {limit} bytes (option limit-post)")
        response = self._service.response(connection, False, False, vars.get("REQUEST_METHOD") == "HEAD", False)
        if not length and offers_websocket(vars):
            request = Request(vars, RequestBody(None, 0, limit), response, connection, core)
            request.websocket = WebSocket(request, reader.take_rest, self._service.websockets)
            return request
        return Request(vars, self._body(connection, vars, length, reader.take_rest()), response, connection, core)

    def _body(self, connection: Connection, vars: dict[str, str], length: int, rest: bytes) -> RequestBody:
        limit = self._service.limit_post
        if length:
            return RequestBody(_BodySource(connection, rest, length), length, limit)
        if "CONTENT_LENGTH" in vars or vars.get("HTTP_TRANSFER_ENCODING", "").lower() != "chunked":
            return RequestBody(None, 0, limit)
        return RequestBody(_ChunkedSource(connection, rest, ChunkedDecoder(self._max_chunk_overhead)), None, limit)


def _content_length(vars: dict[str, str]) -> int:
    value = vars.get("CONTENT_LENGTH", "")
    if value and not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise BadRequestError(400, f"CONTENT_LENGTH must be a number of bytes, not {value[:40]!r}")
    return int(value or 0)


class _BodySource:
    """Hands in the bytes behind the packet, never more than were announced."""

    __slots__ = ("_connection", "_left", "_rest")

    chunk_left = 0

    def __init__(self, connection: Connection, rest: bytes, length: int) -> None:
        self._connection = connection
        self._rest = rest
        self._left = length

    async def receive(self, timeout: float | None = None) -> bytes:
        return self._limited(self._rest or await self._connection.receive(timeout))

    def receive_nowait(self) -> bytes | None:
        data = self._rest or self._connection.receive_ready()
        return None if data is None else self._limited(data)

    def _limited(self, data: bytes) -> bytes:
        self._rest = b""
        if not data:
            raise DisconnectedError("the client closed the connection in the middle of the body")
        data = data[: self._left]
        self._left -= len(data)
        return data


class _ChunkedSource:
    """Hands in a body that has come in its chunks: from uWSGI's HTTP router with http-raw-body, for one."""

    __slots__ = ("_buffer", "_connection", "_decoder")

    def __init__(self, connection: Connection, rest: bytes, decoder: ChunkedDecoder) -> None:
        self._connection = connection
        self._buffer = rest
        self._decoder = decoder

    @property
    def chunk_left(self) -> int:
        return self._decoder.chunk_left

    async def receive(self, timeout: float | None = None) -> bytes:
        while (data := self._decode()) is None:
            self._take_in(await self._connection.receive(timeout))
        return data

    def receive_nowait(self) -> bytes | None:
        while (data := self._decode()) is None:
            more = self._connection.receive_ready()
            if more is None:
                return None
            self._take_in(more)
        return data

    def _decode(self) -> bytes | None:
        data = self._decoder.decode(self._buffer, 0)
        self._buffer = self._buffer[self._decoder.position :]
        return data

    def _take_in(self, more: bytes) -> None:
        if not more:
            raise DisconnectedError("the client closed the connection in the middle of the body")
        self._buffer += more
