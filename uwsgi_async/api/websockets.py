"""The chapter of websockets.

What lives here: uWSGI's functions, and `websocket`, which gives the object that they stand on and is for async code
alone. What does not: that object (`cores.websocket`). Each works in the request's core, and in tasks and threads that
it has started. Source: uWSGI, page "WebSocket support", plugins/python/uwsgi_pymodule.c, core/websockets.c.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uwsgi_async.api.request import the_request
from uwsgi_async.api.sharedarea import sharedarea_read
from uwsgi_async.cores.portal import call_in_loop
from uwsgi_async.cores.websocket import WebSocket
from uwsgi_async.errors import WebSocketHandshakeError
from uwsgi_async.wire.websocket import subprotocols

__all__ = [
    "websocket_handshake",
    "websocket_recv",
    "websocket_recv_nb",
    "websocket_send",
    "websocket_send_binary",
    "websocket_send_binary_from_sharedarea",
    "websocket_send_from_sharedarea",
]


def websocket() -> WebSocket:
    """Return the websocket that the current request asks for: accept it, iterate over it, send.

    It may be kept and sent to from other requests, as a chat does. Raises `WebSocketHandshakeError` (an OSError) in a
    request that asks for no websocket.
    """
    found = the_request().websocket
    if found is None:
        raise WebSocketHandshakeError(400, "unable to complete websocket handshake: the request asks for no websocket")
    return found


async def websocket_handshake(key: str | bytes = "", origin: str | bytes = "", proto: str | bytes = "") -> None:
    """Accept the websocket; do not call start_response.

    Without arguments what the client has sent is taken. ``key``: its Sec-WebSocket-Key. ``origin``: sent back as
    Sec-WebSocket-Origin, which no client of today looks at. ``proto``: the subprotocol; where the client speaks several
    its first one is taken (uWSGI sends the whole list back, and browsers give up). Raises `WebSocketHandshakeError` and
    `WebSocketClosedError`, both OSError.
    """
    request = the_request()
    chosen = _text(proto) or next(iter(subprotocols(request.vars)), None)
    sent_back = _text(origin) or request.vars.get("HTTP_ORIGIN") or "*"
    await websocket().accept(chosen, [("Sec-WebSocket-Origin", sent_back)], key=_text(key) or None)


async def websocket_recv() -> bytes:
    """Wait for the next message and return it, text as UTF-8.

    Pings, pongs and the client's close frame are dealt with meanwhile. Raises `WebSocketClosedError` (an OSError),
    whose ``code`` and ``reason`` tell how it ended. Gives whole messages only: uWSGI gives b"\\x00" for a part of one.
    """
    return _bytes(await websocket().receive())


def websocket_recv_nb() -> bytes:
    """Return the next message if it is there, b"" when there is none. Raises as `websocket_recv`.

    `connection_fd` stays readable as long as a message waits. Call it after each timeout too: it sends the pings.
    """
    message = websocket().receive_nowait()
    return b"" if message is None else _bytes(message)


async def websocket_send(message: str | bytes) -> None:
    """Send a text message. Raises `WebSocketClosedError` (an OSError), UnicodeDecodeError for bytes that are no UTF-8.

    uWSGI sends such bytes as they are, and the client closes the websocket; `websocket_send_binary` takes any.
    """
    await websocket().send(message if isinstance(message, str) else bytes(message).decode())


async def websocket_send_binary(message: str | bytes) -> None:
    """Send a binary message; a str is encoded as UTF-8. Raises `WebSocketClosedError` (an OSError)."""
    await websocket().send(_bytes(message))


async def websocket_send_from_sharedarea(id: int, pos: int, size: int = 0) -> None:
    """Send ``size`` bytes of a shared area as a text message, from ``pos`` on; 0: to its end.

    Raises as `websocket_send` and `sharedarea_read`.
    """
    await websocket_send(await sharedarea_read(id, pos, size) or b"")


async def websocket_send_binary_from_sharedarea(id: int, pos: int, size: int = 0) -> None:
    """Send ``size`` bytes of a shared area as a binary message, from ``pos`` on; 0: to its end. Raises as above."""
    await websocket_send_binary(await sharedarea_read(id, pos, size) or b"")


def _recv_nb_blocking() -> bytes:
    return call_in_loop(websocket_recv_nb)


BLOCKING: dict[str, Callable[..., Any]] = {"websocket_recv_nb": _recv_nb_blocking}
"""The functions that sync code calls in another form, by their names."""


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def _bytes(message: str | bytes) -> bytes:
    return message.encode() if isinstance(message, str) else bytes(message)
