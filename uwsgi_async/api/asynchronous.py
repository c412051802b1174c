"""The async chapter: sleep, give way, wait for file descriptors, connect.

Each works in a core and in any other task of the event loop. Watching several descriptors before one `suspend`
belongs to cores: elsewhere start several tasks.
Source: uWSGI, "uWSGI asynchronous/non-blocking modes"; plugins/python/uwsgi_pymodule.c.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Generator
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from uwsgi_async.cores.core import current_request
from uwsgi_async.cores.request import Request
from uwsgi_async.errors import DisconnectedError
from uwsgi_async.fdwait.poller import find_poller
from uwsgi_async.fdwait.watch import wait_for_fd
from uwsgi_async.peers.sockets import client_socket

__all__ = [
    "async_connect",
    "async_sleep",
    "green_schedule",
    "is_connected",
    "ready_fd",
    "suspend",
    "wait_fd_read",
    "wait_fd_write",
]


async def async_sleep(seconds: float) -> None:
    """Sleep for ``seconds``; other cores and tasks go on. Zero and less give way once."""
    request = current_request.get()
    if request is not None:
        request.switches += 1
    if seconds <= 0:
        await checkpoint()
        return
    poller = find_poller()
    if poller is None:
        await anyio.sleep(seconds)
        return
    parker = poller.backend.parker()
    timer = poller.timers.call_later(seconds, parker.unpark)
    try:
        await parker.park()
    finally:
        poller.timers.cancel(timer)


async def suspend() -> bool:
    """Give way to the other cores; True when it is our turn again.

    In a core that watches descriptors (`wait_fd_read`, `wait_fd_write`) this waits until one of them is ready or
    a timeout is over, and watches nothing any more afterwards; `ready_fd` tells which one it was. Raises
    OSError(EBADF) when a watched descriptor was closed.
    """
    request = current_request.get()
    if request is not None:
        request.switches += 1
        if request.core.watches.active and _in_its_core(request):
            await request.core.watches.wait()
            return True
    await checkpoint()
    return True


green_schedule = suspend


class FdWait:
    """What `wait_fd_read` and `wait_fd_write` return: await it, or in a core let `suspend` wait for it."""

    __slots__ = ("_fd", "_request", "_timeout", "_write")

    def __init__(self, fd: int, timeout: float | None, *, write: bool) -> None:
        self._fd, self._timeout, self._write = fd, timeout, write
        request = current_request.get()
        self._request = request if request is not None and _in_its_core(request) else None
        if self._request is not None:
            watch(self._request, fd, write=write, timeout=timeout)

    def __repr__(self) -> str:
        return f"<FdWait for fd {self._fd} to be {'writable' if self._write else 'readable'}>"

    def __await__(self) -> Generator[Any, Any, bool]:
        return self._wait().__await__()

    async def _wait(self) -> bool:
        if self._request is not None:
            self._request.switches += 1
            return await self._request.core.watches.wait()
        return await wait_for_fd(self._fd, read=not self._write, write=self._write, timeout=self._timeout)


def watch(request: Request, fd: int, *, write: bool, timeout: float | None) -> None:
    """Let the core of ``request`` watch ``fd`` until its next wait has ended. Raises OSError(EBADF) for a closed fd."""
    watches = request.core.watches
    watches.add(fd, write=write, timeout=timeout)
    if write or fd != request.connection.fd:
        return
    socket = request.websocket
    if request.connection.held or (socket is not None and socket.pending) or request.body.has_arrived():
        watches.wake(fd)  # what has been read ahead is not in the socket any more


def wait_fd_read(fd: int, timeout: float | None = None) -> FdWait:
    """Wait until ``fd`` is readable: ``if await wait_fd_read(fd, 5): ...``

    ``timeout``: seconds; None and 0 mean none. Awaiting gives True when a watched fd is ready and False after the
    timeout. In a core the fd is watched from the call on, so that several calls and one `suspend` wait for the
    first of several descriptors. A regular file is always ready. Raises OSError(EBADF) for a closed fd.
    """
    return FdWait(fd, timeout, write=False)


def wait_fd_write(fd: int, timeout: float | None = None) -> FdWait:
    """Wait until ``fd`` is writable; see `wait_fd_read`."""
    return FdWait(fd, timeout, write=True)


def ready_fd() -> int:
    """Return the fd that ended this core's last wait; -1 after a timeout, before any wait, and outside a core."""
    request = current_request.get()
    return -1 if request is None else request.core.watches.ready_fd


async def async_connect(address: str) -> int:
    """Connect to ``address`` (host:port, UNIX path, @abstract) and return a non-blocking fd, yours to close.

    Raises OSError when the connection fails, `AddressError` when the address cannot be understood.
    """
    sock, target = client_socket(address)
    with sock:
        if await _begin(sock, target):
            await wait_fd_write(sock.fileno())
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, f"cannot connect to {address}: {os.strerror(error)}")
        return sock.detach()


def begin_connect(address: str) -> int:
    """Return a non-blocking fd that is still connecting, -1 on failure: uWSGI's own ``async_connect``."""
    sock, target = client_socket(address)
    with sock:
        if sock.connect_ex(target) not in (0, errno.EINPROGRESS):
            return -1
        return sock.detach()


def is_connected(fd: int) -> bool:
    """Return whether the socket ``fd`` has no pending error. Asking clears the error, as in uWSGI."""
    if fd < 0:
        return False
    try:
        sock = socket.socket(fileno=fd)
    except OSError:
        return False
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    finally:
        sock.detach()


async def _begin(sock: socket.socket, target: Any) -> bool:
    """Begin to connect; return whether it is still under way."""
    error = sock.connect_ex(target)
    if error not in (0, errno.EINPROGRESS, errno.EAGAIN):
        raise OSError(error, f"cannot connect to {target}: {os.strerror(error)}")
    if error == errno.EAGAIN:  # a UNIX socket whose backlog is full
        raise DisconnectedError(f"cannot connect to {target}: its queue of connections is full")
    return error != 0


def _in_its_core(request: Request) -> bool:
    """Whether the running task is the request's own core, not a task or thread that it started."""
    core = request.core
    return core.request is request and core.task is core.poller.backend.current_task()
