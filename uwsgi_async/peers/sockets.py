"""Sockets to other servers: connect, send, receive, each without holding up the event loop, each with a limit in time.

What lives here: `connect`, `PeerSocket`, `PeerAnswer`, `answers_of`, and the same on bare file descriptors. What does
not: what is said over them (`calls`, `messages`, `fastcgi`), the connections of the instance's own clients
(`cores.connection`).
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import anyio

from uwsgi_async.errors import AddressError, BadAnswerError, BadRequestError, NodeGoneError, NodeTimeoutError
from uwsgi_async.fdwait.watch import wait_for_fd
from uwsgi_async.wire.address import AbstractAddress, TcpAddress, UnixAddress, parse_address

CHUNK: Final = 65536  # bytes

_MOST_EARLY: Final = 16 * CHUNK
_IN_PROGRESS: Final = (0, errno.EINPROGRESS)
_PAUSE: Final = 0.01  # seconds until a UNIX socket whose queue is full is tried again
_Target = tuple[socket.AddressFamily, Any]


def client_socket(text: str) -> tuple[socket.socket, Any]:
    """Return a non-blocking socket for an address, and what to connect it to.

    Raises `AddressError`, and OSError for the address of an open fd.
    """
    family, target = _target(text)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    return sock, target


async def connect(address: str, timeout: float | None) -> socket.socket:
    """Return a non-blocking socket that is connected to ``address`` within ``timeout`` seconds; None = no limit.

    Raises `NodeGoneError` when nobody is there, `NodeTimeoutError`, and `AddressError`.
    """
    family, target = _target(address)
    last: OSError | None = None
    try:
        with anyio.fail_after(timeout):
            for found in await _resolve(family, target):
                try:
                    return await _connect_to(*found)
                except OSError as error:
                    last = error
    except TimeoutError:
        raise NodeTimeoutError(f"{address} did not take a connection within {timeout} s") from None
    except OSError as error:  # of the look-up of a name
        last = error
    raise NodeGoneError(f"cannot connect to {address}: {last.strerror if last else 'no such host'}") from last


@contextmanager
def answers_of(name: str) -> Iterator[None]:
    """Let what the parsers refuse in the block be an answer of another server, not a request of a client."""
    try:
        yield
    except BadRequestError as error:
        raise BadAnswerError(f"{name}: {error}") from error


class PeerSocket:
    """A connection to another server. ``timeout``: seconds that it may send, or take, nothing; None = for ever.

    Methods raise `NodeGoneError`, and `NodeTimeoutError` when the time is over. Close it.
    """

    __slots__ = ("_early", "_ended", "_name", "_sock", "_timeout")

    def __init__(self, sock: socket.socket, name: str, timeout: float | None) -> None:
        self._sock = sock
        self._name = name
        self._timeout = timeout
        self._early = bytearray()  # what came while we were sending: who sends it may wait until it is taken
        self._ended = False

    def __repr__(self) -> str:
        return f"<PeerSocket to {self._name}{', closed' if self._sock.fileno() < 0 else ''}>"

    @classmethod
    async def open(cls, address: str, timeout: float | None) -> PeerSocket:
        """Return a connection to ``address``. Raises what `connect` raises."""
        return cls(await connect(address, timeout), address, timeout)

    @classmethod
    def borrow(cls, fd: int, timeout: float | None) -> PeerSocket:
        """Return the connection of an fd, which stays open when this is closed. Raises OSError."""
        return cls(socket.socket(fileno=os.dup(fd)), f"fd {fd}", timeout)

    def __enter__(self) -> PeerSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Closing twice is allowed."""
        self._sock.close()

    def fileno(self) -> int:
        return self._sock.fileno()

    async def send(self, data: bytes | memoryview) -> None:
        """Send all of ``data``; take what comes meanwhile, so that two who both send do not wait for each other."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._send_some(rest) :]
            if rest:
                await self._wait_while_sending()

    async def receive(self, size: int = CHUNK) -> bytes:
        """Return what comes next, ``size`` bytes at most; b"" at the end of the stream."""
        if self._early:
            data = bytes(self._early[:size])
            del self._early[:size]
            return data
        if self._ended:
            return b""
        try:
            return await receive_some(self._sock.fileno(), size, self._timeout)
        except TimeoutError:
            raise NodeTimeoutError(f"{self._name} sent nothing for {self._timeout} s") from None
        except OSError as error:
            raise NodeGoneError(f"{self._name} closed the connection: {error.strerror}") from error

    def _send_some(self, data: memoryview) -> int:
        try:
            return send_some(self._sock.fileno(), data)
        except OSError as error:
            raise NodeGoneError(f"{self._name} closed the connection: {error.strerror}") from error

    async def _wait_while_sending(self) -> None:
        listens = not self._ended and len(self._early) < _MOST_EARLY
        if not await wait_for_fd(self._sock.fileno(), read=listens, write=True, timeout=self._timeout):
            raise NodeTimeoutError(f"{self._name} took nothing for {self._timeout} s")
        if listens:
            try:
                data = self._sock.recv(CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            self._early += data
            self._ended = not data


class PeerAnswer:
    """An answer that is read as it comes from a connection of its own, which is closed behind it."""

    def __init__(self, peer: PeerSocket) -> None:
        self._peer: PeerSocket | None = peer

    def close(self) -> None:
        """Want no more of it. Calling it twice is allowed."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    async def aclose(self) -> None:
        """The same, for `contextlib.aclosing`."""
        self.close()


async def receive_some(fd: int, size: int, timeout: float | None = None) -> bytes:
    """Wait until ``fd`` has bytes and return them, ``size`` at most; b"" at its end.

    It may be a blocking fd: nothing is read before there is something. Raises TimeoutError after ``timeout`` seconds,
    OSError.
    """
    if not _is_readable(fd) and not await wait_for_fd(fd, read=True, timeout=timeout):
        raise TimeoutError(f"nothing came within {timeout} s")
    while True:
        try:
            return os.read(fd, size)
        except BlockingIOError:  # somebody else was quicker
            if not await wait_for_fd(fd, read=True, timeout=timeout):
                raise TimeoutError(f"nothing came within {timeout} s") from None


async def send_all(fd: int, data: bytes, timeout: float | None = None) -> None:
    """Send all of ``data``, whether ``fd`` blocks or not. Raises TimeoutError after ``timeout`` seconds, OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[send_some(fd, rest) :]
        if rest and not await wait_for_fd(fd, write=True, timeout=timeout):
            raise TimeoutError(f"nothing was taken within {timeout} s")


def send_some(fd: int, data: memoryview) -> int:
    """Send what ``fd`` takes now; return how many bytes that was. Never waits. Raises OSError."""
    try:
        with _borrowed(fd) as sock:
            return sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return 0
    except OSError as error:
        if error.errno != errno.ENOTSOCK:
            raise
    # A pipe, perhaps: when it is writable it takes that much without waiting (pipe(7)).
    return os.write(fd, data[: select.PIPE_BUF]) if _poll(fd, select.POLLOUT) else 0


class _borrowed:  # noqa: N801 - it is used as a function
    """A socket object for an fd that is somebody else's."""

    __slots__ = ("_sock",)

    def __init__(self, fd: int) -> None:
        _check(fd)
        self._sock = socket.socket(fileno=fd)

    def __enter__(self) -> socket.socket:
        return self._sock

    def __exit__(self, *_: object) -> None:
        self._sock.detach()


def _is_readable(fd: int) -> bool:
    return _poll(fd, select.POLLIN)


def _poll(fd: int, events: int) -> bool:
    _check(fd)
    poll = select.poll()
    poll.register(fd, events)
    return bool(poll.poll(0))


def _check(fd: int) -> None:
    """Raise OSError for what cannot be a descriptor, such as the -1 of a `connect` that has failed."""
    if fd < 0:
        raise OSError(errno.EBADF, f"fd {fd} is no open file descriptor")


def _target(text: str) -> _Target:
    match parse_address(text):
        case TcpAddress(host, port):
            host = host or "127.0.0.1"
            return socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port)
        case UnixAddress(path):
            return socket.AF_UNIX, path
        case AbstractAddress(name):
            return socket.AF_UNIX, f"\0{name}"
    raise AddressError(f"expected the address of another server, such as 10.0.0.1:3031, but {text!r} is an open fd")


async def _resolve(family: socket.AddressFamily, target: Any) -> Sequence[_Target]:
    """Return where to connect to: the addresses of a host's name."""
    if family == socket.AF_UNIX or _is_number(target[0]):
        return [(family, target)]
    found = await anyio.getaddrinfo(*target, type=socket.SOCK_STREAM)
    return [(each[0], each[4]) for each in found]


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _connect_to(family: socket.AddressFamily, target: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while (code := sock.connect_ex(target)) == errno.EAGAIN:  # noqa: ASYNC110 - the kernel tells nobody
            await anyio.sleep(_PAUSE)
        if code not in _IN_PROGRESS:
            raise OSError(code, os.strerror(code))
        if code:
            await wait_for_fd(sock.fileno(), write=True)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock
