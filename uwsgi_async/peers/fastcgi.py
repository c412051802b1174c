"""Asking a FastCGI application, such as php-fpm: a request goes to it, its output comes back as it is written.

What lives here: `ask_application`, `FastCgiAnswer`. What does not: the records (`wire.fastcgi`). The output begins
with a CGI head (RFC 3875, 6), which is left to the caller, as in uWSGI.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Iterable

from uwsgi_async.errors import NodeGoneError
from uwsgi_async.peers.sockets import PeerAnswer, PeerSocket, answers_of
from uwsgi_async.wire.fastcgi import End, Output, ResponseReader, encode_request, encode_stdin

logger = logging.getLogger("uwsgi_async")

_LONGEST_LINE = 2000  # characters of what an application writes to its error output


class FastCgiAnswer(PeerAnswer):
    """The output of an application, as it comes; what it writes to its error output goes to the log.

    ``async for chunk in answer``; then, or by `aclose`, the connection is closed. Raises `NodeGoneError` when it
    ends before the application says so, and when the application refuses; `NodeTimeoutError`, `BadAnswerError`.
    """

    def __init__(self, peer: PeerSocket, address: str) -> None:
        super().__init__(peer)
        self._address = address
        self._reader = ResponseReader()

    def __repr__(self) -> str:
        return f"<FastCgiAnswer of {self._address}>"

    def __aiter__(self) -> FastCgiAnswer:
        return self

    async def __anext__(self) -> bytes:
        event = None
        try:
            event = await self._next() if self._peer is not None else None
            if isinstance(event, Output):
                return event.data
        finally:
            if not isinstance(event, Output):  # the end, or an error
                self.close()
        if isinstance(event, End) and event.problem:
            raise NodeGoneError(f"{self._address} has refused the request: {event.problem}")
        raise StopAsyncIteration

    async def _next(self) -> Output | End:
        assert self._peer is not None
        while True:
            with answers_of(self._address):
                event = self._reader.next_event()
            if isinstance(event, Output) and event.is_error:
                text = event.data.decode("utf-8", "replace").rstrip()
                logger.warning("FastCGI %s: %r", self._address, text[:_LONGEST_LINE])
            elif event is not None:
                return event
            else:
                data = await self._peer.receive()
                if not data:
                    raise NodeGoneError(f"{self._address} closed the connection before the end of its answer")
                self._reader.receive_data(data)


async def ask_application(
    address: str, params: Iterable[tuple[bytes, bytes]], stdin: AsyncIterable[bytes] | None, timeout: float | None
) -> FastCgiAnswer:
    """Send a request to the application at ``address``, and return its answer, which the caller closes.

    ``timeout``: seconds that it may be silent. Raises `NodeGoneError`, `NodeTimeoutError`, `AddressError`.
    """
    peer = await PeerSocket.open(address, timeout)
    try:
        await peer.send(encode_request(params))
        if stdin is not None:
            async for chunk in stdin:
                await peer.send(encode_stdin(chunk))
        await peer.send(encode_stdin(b""))
    except BaseException:
        peer.close()
        raise
    return FastCgiAnswer(peer, address)
