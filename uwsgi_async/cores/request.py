"""One request: its vars, its body, and what the app may ask for or note about it.

What lives here: `Request`, `RequestBody`, and `BodySource`, which the protocols give to it. What does not: how bytes
arrive (`connection`), what a protocol's packets look like (`wire`), the answer (`response`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from uwsgi_async.errors import BadRequestError, ChunkedInputError, DisconnectedError, PeerError
from uwsgi_async.wire.vars import Vars

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection
    from uwsgi_async.cores.core import Core
    from uwsgi_async.cores.response import Response
    from uwsgi_async.cores.websocket import WebSocket


class Request:
    """What a handler gets.

    ``vars``: the request variables as the protocol gave them; see `Vars`. ``body``: see `RequestBody`.
    ``response``: where the answer goes. ``started``: on the poller's clock, seconds. ``switches``: how often the
    request gave way. ``logvars``: what the app noted for the log. ``log_this``: log it though logging is off.
    ``app_id``: the number of the app that serves it, -1 for none. ``app_requests``: how many that app has had, this one
    included; None where all requests are the one app's. ``app_failed``: the app has raised an error.
    ``thread``: the thread that its app runs in, as of `threading.get_ident`; 0 = the event loop's.
    ``websocket``: what it becomes if the app accepts it; None in a request that asks for no websocket.
    ``released``: the response is complete and the connection serves others, though the app has not ended.
    """

    # Defaults stand in the class: see `Response`.
    switches = 0
    logvars: dict[bytes, bytes] | None = None
    log_this = False
    app_failed = False
    app_id = 0
    app_requests: int | None = None
    thread = 0
    websocket: WebSocket | None = None
    released = False

    def __init__(self, vars: Vars, body: RequestBody, response: Response, connection: Connection, core: Core) -> None:
        self.vars = vars
        self.body = body
        self.response = response
        self.connection = connection
        self.core = core
        self.started = core.poller.time()

    def __repr__(self) -> str:
        return f"<Request {self.vars.get('REQUEST_METHOD', '-')} {self.vars.get('REQUEST_URI', '-')}>"

    @property
    def elapsed(self) -> float:
        """Seconds since the request began."""
        return self.core.poller.time() - self.started


class BodySource(Protocol):
    """Where the bytes of a body come from: a protocol's reader and the connection."""

    @property
    def chunk_left(self) -> int:
        """The bytes of the current chunk that were not handed in yet; 0 at its end, and for a body without chunks."""

    async def receive(self, timeout: float | None = None) -> bytes:
        """Wait for bytes; b"" is the end of the body, or of the connection. ``timeout``: as of `Connection.receive`."""

    def receive_nowait(self) -> bytes | None:
        """Return what is there, None when nothing is. Raises as `receive`."""


class RequestBody:
    """A request's body, read while it arrives.

    ``length``: bytes announced; None when the client did not say. ``received``: bytes handed in so far.
    ``read_error``: the client went away, was too slow or sent nonsense.
    Reading returns b"" at the end. Each read raises `DisconnectedError` when the client went away before the end,
    `PeerTimeoutError` when it was silent too long, `BadRequestError` when the body is malformed or larger than
    ``limit`` bytes (0: no limit). Source: PEP 3333, "Input and Error Streams".
    """

    # What has come and was not read: the rest of `_data` from `_position` on, then the pieces of `_more`. They are put
    # together only when they are read, so that a body that is read at once is copied once.
    __slots__ = (
        "_available",
        "_data",
        "_more",
        "_position",
        "_source",
        "complete",
        "length",
        "limit",
        "read_error",
        "received",
    )

    def __init__(self, source: BodySource | None, length: int | None, limit: int) -> None:
        self._source = source
        self._data = b""
        self._position = 0
        self._more: list[bytes] = []
        self._available = 0
        self.length = length
        self.limit = limit
        self.received = 0
        self.complete = source is None
        self.read_error = False

    def __repr__(self) -> str:
        return f"<RequestBody {self.received} of {self.length} bytes{', complete' if self.complete else ''}>"

    async def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes, fewer only at the end; with -1 all that is left."""
        if size == 0:
            return b""
        while not self.complete and (size < 0 or self._available < size):
            await self._fill()
        return self._take(self._available if size < 0 else size)

    async def readline(self, size: int = -1) -> bytes:
        """Return bytes up to and with the next newline, ``size`` at the most (-1: no limit)."""
        if size == 0:
            return b""
        self._put_together()
        length = self._data.find(b"\n", self._position) + 1 - self._position
        if length <= 0:
            # Look at each piece once: a client may send a line without end.
            length = self._available
            while not self.complete and (size < 0 or length < size):
                await self._fill()
                piece = self._more[-1] if self._more else b""
                end = piece.find(b"\n") + 1
                length = self._available - len(piece) + end if end else self._available
                if end:
                    break
        return self._take(length if size < 0 else min(length, size))

    async def readlines(self, hint: int = -1) -> list[bytes]:
        """Return the lines that are left; stop after about ``hint`` bytes (-1: all)."""
        lines: list[bytes] = []
        size = 0
        while line := await self.readline():
            lines.append(line)
            size += len(line)
            if 0 < hint <= size:
                break
        return lines

    async def read_available(self, size: int = -1) -> bytes:
        """Return what is there, at least one byte and ``size`` at the most (-1: no limit); b"" at the end."""
        if not self._available and not self.complete:
            await self._fill()
        return self._take(self._available if size < 0 else min(size, self._available))

    @property
    def is_over(self) -> bool:
        """Whether all of it has been read."""
        return self.complete and not self._available

    def has_arrived(self) -> bool:
        """Whether some of it, or its error, can be read without waiting."""
        if not self._available and not self.complete and self._source is not None:
            try:
                data = self._source.receive_nowait()
            except PeerError:
                return True
            if data is not None:
                self._keep(data)
        return self._available > 0

    async def read_chunk(self, limit: int, timeout: float | None = None) -> bytes:
        """Return the next chunk as the client has framed it; b"" at the end. Of a body without chunks: what is there.

        ``timeout``: seconds that the client may be silent; None is the option socket-timeout. A chunk of more than
        ``limit`` bytes is a `ChunkedInputError`, and so is what is no chunk. What has come of a chunk is kept when an
        error or a cancellation ends the wait.
        """
        while (chunk := self._chunk(limit)) is None:
            await self._fill(timeout)
        return chunk

    def read_chunk_nowait(self, limit: int) -> bytes | None:
        """Return what `read_chunk` would if no waiting is needed for it, else None. Raises as `read_chunk`."""
        while (chunk := self._chunk(limit)) is None:
            assert self._source is not None
            try:
                data = self._source.receive_nowait()
            except PeerError:
                self.read_error = True
                raise
            if data is None:
                return None
            self._keep(data)
        return chunk

    def _chunk(self, limit: int) -> bytes | None:
        left = 0 if self._source is None else self._source.chunk_left
        if self._available + left > limit:
            raise ChunkedInputError(413, f"a chunk is larger than {limit} bytes (option chunked-input-limit)")
        if self.complete or (self._available and not left):
            return self._take(self._available)
        return None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the lines, as PEP 3333 says for ``wsgi.input``."""
        while line := await self.readline():
            yield line

    def buffered(self, size: int) -> bytes | None:
        """Return `read`'s result if no waiting is needed for it, else None."""
        if self.complete or 0 <= size <= self._available:
            return self._take(self._available if size < 0 else size)
        return None

    def _put_together(self) -> None:
        if self._more:
            self._data = b"".join((self._data[self._position :], *self._more) if self._data else self._more)
            self._position = 0
            self._more.clear()

    def _take(self, size: int) -> bytes:
        self._put_together()
        start = self._position
        data = self._data[start : start + size]
        self._available -= len(data)
        if self._available:
            self._position = start + len(data)
        else:
            self._data, self._position = b"", 0
        return data

    async def _fill(self, timeout: float | None = None) -> None:
        assert self._source is not None
        try:
            data = await self._source.receive(timeout)
        except PeerError:
            self.read_error = True
            raise
        self._keep(data)

    def _keep(self, data: bytes) -> None:
        """Take in what the source has handed in; b"" is the end."""
        if not data:
            self.complete = True
            if self.length is not None and self.received < self.length:
                self.read_error = True
                raise DisconnectedError(
                    f"the client closed the connection after {self.received} of {self.length} bytes of the body"
                )
            return
        self.received += len(data)
        if self.limit and self.received > self.limit:
            raise BadRequestError(413, f"the body is larger than {self.limit} bytes (option limit-post)")
        self._more.append(data)
        self._available += len(data)
        if self.received == self.length:
            self.complete = True


NO_BODY = RequestBody(None, 0, 0)
"""The body of all requests that have none: reading it changes nothing."""
