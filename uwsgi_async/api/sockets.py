"""The chapter of sockets: connect to other servers, send, receive, each by a file descriptor.

What lives here: the functions, and their forms for sync code. What does not: `async_connect` and waiting for
descriptors (`asynchronous`), messages (`messages`). Source: plugins/python/uwsgi_pymodule.c of uWSGI 2.0.31, and of
1.4.10 and 1.9.21.1 for `recv_frame` and `recv_block`.

Nothing here holds up the event loop, whether a descriptor blocks or not. What is received from the descriptor of the
current request's client is its body first. In the `uwsgi` module errors are None or -1,
as in uWSGI, and a descriptor that does not block is not waited for.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from operator import index
from typing import Any, Final

import anyio

from uwsgi_async.api.request import disconnect, the_request
from uwsgi_async.cores.core import current_request
from uwsgi_async.cores.portal import wait_for
from uwsgi_async.cores.request import RequestBody
from uwsgi_async.errors import AddressError, PeerError
from uwsgi_async.peers import sockets

__all__ = ["close", "connect", "recv", "recv_block", "recv_frame", "send"]

CONNECT_TIMEOUT: Final = 3  # seconds, as in uWSGI
_MOST: Final = 4096  # bytes of one `recv`, as in uWSGI
LARGEST_FRAME: Final = 1 << 20  # bytes


async def connect(address: str, timeout: float = 0) -> int:
    """Connect to ``address`` and return the fd, which blocks, and is yours to close.

    ``address``: host:port, the path of a UNIX socket, @abstract. ``timeout``: seconds; 0 is 3. Raises `AddressError`,
    `NodeGoneError` when nobody is there, `NodeTimeoutError`.
    """
    sock = await sockets.connect(_text(address), timeout if timeout > 0 else CONNECT_TIMEOUT)
    sock.setblocking(True)
    return sock.detach()


async def send(fd: int | bytes, data: bytes | None = None) -> bool:
    """Send all of ``data`` to ``fd``; with one argument send it to the client of the current request as it is.

    What goes to the client like that is not framed by the server: it may take the place of a head and a body, and the
    connection is closed behind the request. Returns True. Raises OSError, `NoRequestError`, and what `Connection.send`
    raises.
    """
    if data is None:
        await _send_raw(_bytes(fd))
    else:
        await sockets.send_all(_number(fd), _bytes(data))
    return True


async def recv(fd: int, size: int = _MOST) -> bytes | None:
    """Wait until ``fd`` has bytes and return them, ``size`` and 4096 at most; None at its end. Raises OSError."""
    return await _receive(index(fd), min(index(size), _MOST)) or None


async def recv_block(fd: int, size: int, timeout: float = -1) -> bytes | None:
    """Wait for exactly ``size`` bytes; None when the end, or ``timeout`` seconds of silence, come first.

    What came until then is lost. ``timeout``: below 0 is for ever. Raises OSError.
    """
    block = bytearray()
    while len(block) < size:
        try:
            data = await _receive(index(fd), size - len(block), None if timeout < 0 else max(timeout, 0.001))
        except TimeoutError:
            return None
        if not data:
            return None
        block += data
    return bytes(block)


async def recv_frame(fd: int, start: str | bytes = b"\0", end: str | bytes = b"\xff") -> bytes:
    r"""Wait for a frame and return what is between its first byte and its last one; b"" at the end of the stream.

    ``start``, ``end``: one byte each, b"\\0" and b"\\xff" as in the first websockets; uWSGI took no notice of them.
    What comes before a frame is skipped, and nothing behind it is read. Raises ValueError for a frame of more than 1
    MiB, OSError.
    """
    first, last = _byte(start), _byte(end)
    frame = bytearray()
    begun = False
    while byte := await _receive(index(fd), 1):
        if not begun:
            begun = byte == first
        elif byte == last:
            return bytes(frame)
        else:
            frame += byte
            if len(frame) > LARGEST_FRAME:
                raise ValueError(f"a frame has more than {LARGEST_FRAME} bytes")
    return b""


def close(fd: int) -> None:
    """Close ``fd``; an error is ignored, as in uWSGI. That of the current request's client is disconnected instead."""
    number = index(fd)
    request = current_request.get()
    if request is not None and request.core.request is request and request.connection.fd == number:
        disconnect()
        return
    try:
        os.close(number)
    except OSError:
        pass


async def _receive(fd: int, size: int, timeout: float | None = None) -> bytes:
    """Receive from a descriptor; from that of the current request's client its body, as long as there is any."""
    body = _body_of_client(fd)
    if body is None:
        return await sockets.receive_some(fd, size, timeout)
    with anyio.fail_after(timeout):
        return await body.read_available(size)


def _body_of_client(fd: int) -> RequestBody | None:
    request = current_request.get()
    if request is None or request.core.request is not request or request.connection.fd != fd or request.body.is_over:
        return None
    return request.body


async def _send_raw(data: bytes) -> None:
    request = the_request()
    request.response.go_raw()
    await request.connection.send(data)
    request.response.body_bytes += len(data)


def _connect_blocking(address: str, timeout: int = 0, /) -> int:
    """Connect from sync code; -1 when that fails for whatever reason."""
    try:
        return wait_for(connect, _text(address), index(timeout), name="connect")
    except (PeerError, AddressError):
        return -1


def _send_blocking(*words: Any) -> bool | None:
    """Send from sync code; None when that fails."""
    if not 0 < len(words) < 3:
        raise TypeError(f"send() takes 1 or 2 arguments ({len(words)} given)")
    _bytes(words[-1])
    try:
        return wait_for(send, *words, name="send")
    except OSError:
        return None


def _recv_blocking(fd: int, size: int = _MOST, /) -> bytes | None:
    """Receive in sync code: from a descriptor that does not block only what is there, as in uWSGI; None for errors."""
    number, most = index(fd), min(index(size), _MOST)
    try:
        if not os.get_blocking(number) and _body_of_client(number) is None:
            return os.read(number, most) or None
        return wait_for(recv, number, most, name="recv")
    except OSError:
        return None


def _recv_block_blocking(fd: int, size: int, timeout: int = -1, /) -> bytes | None:
    """Receive a block in sync code; None for errors."""
    try:
        return wait_for(recv_block, index(fd), index(size), index(timeout), name="recv_block")
    except OSError:
        return None


def _recv_frame_blocking(fd: int, start: str | bytes = b"\0", end: str | bytes = b"\xff", /) -> bytes:
    r"""Receive a frame in sync code; b"" for errors."""
    try:
        return wait_for(recv_frame, index(fd), start, end, name="recv_frame")
    except OSError as error:
        if error.errno == errno.EBADF:
            raise
        return b""


BLOCKING: Final[dict[str, Callable[..., Any]]] = {
    "connect": _connect_blocking,
    "send": _send_blocking,
    "recv": _recv_blocking,
    "recv_block": _recv_block_blocking,
    "recv_frame": _recv_frame_blocking,
}
"""The functions that sync code calls in another form, by their names."""


def _byte(value: str | bytes) -> bytes:
    byte = value.encode("latin-1") if isinstance(value, str) else value
    if len(byte) != 1:
        raise ValueError(f"expected one byte, but {value!r} came")
    return byte


def _text(address: str) -> str:
    if not isinstance(address, str):
        raise TypeError(f"expected an address as str, not {type(address).__name__}")
    return address


def _number(fd: object) -> int:
    if not isinstance(fd, int):
        raise TypeError(f"expected a file descriptor, not {type(fd).__name__}")
    return fd


def _bytes(data: object) -> bytes:
    if not isinstance(data, bytes):
        raise TypeError(f"a bytes-like object is required, not '{type(data).__name__}'")
    return data
