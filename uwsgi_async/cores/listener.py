"""Accepting: one listening socket, its protocol, and what to do when the machine or the worker is full.

What lives here: `Acceptor` and `SocketAcceptor`. What does not: opening the socket (`instance.listeners`), reading from
connections, taking over those of another worker (`handover`).
"""

from __future__ import annotations

import errno
import logging
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable

from uwsgi_async.cores.connection import Connection, ConnectionProtocol
from uwsgi_async.cores.pool import Pool
from uwsgi_async.fdwait.poller import READ
from uwsgi_async.fdwait.timers import Timer

logger = logging.getLogger("uwsgi_async")

_BATCH = 64
_SHARED_BATCH = 16  # beside others at the same socket
_LEAVE = 0.002  # seconds for the others to take something
_RETRY = 0.1  # seconds
# The machine is out of something; it comes back when a connection closes, or by itself.
_OVERLOAD = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Acceptor(ABC):
    """Takes connections out of a socket, as long as the pool takes them.

    The socket is level-triggered, unlike connections: what is not accepted now is announced again. It is not
    watched while ``max_connections`` are open or the machine is out of file descriptors. ``leads``: told before it
    takes some how many connections are open here; returns whether these are so many more than another process has at
    the same socket that it should leave some for a moment. None: nobody else is there.
    """

    def __init__(self, sock: socket.socket, pool: Pool, leads: Callable[[int], bool] | None = None) -> None:
        self._sock = sock
        self._fd = sock.fileno()
        self._pool = pool
        self._leads = leads
        self._watched = self._held = self._left = False
        self._retry: Timer | None = None
        self.resume()

    def __repr__(self) -> str:
        return f"<Acceptor fd={self._fd} {'accepting' if self._watched else 'paused'}>"

    def resume(self) -> None:
        """Accept again, unless it is on hold."""
        if not self._watched and self._retry is None and self._fd >= 0 and not self._held:
            self._watched = True
            self._pool.poller.register(self._fd, self, READ)

    def hold(self) -> None:
        """Accept no more until `release` is called."""
        self._held = True
        self._pause()

    def release(self) -> None:
        """Accept again."""
        self._held = False
        self.resume()

    def close(self) -> None:
        """Accept no more. The socket stays open: it belongs to who opened it."""
        self._pause()
        self._fd = -1
        if self._retry is not None:
            self._pool.poller.timers.cancel(self._retry)
            self._retry = None

    def on_event(self, _mask: int) -> None:
        if self._leads is None:
            self.accept(_BATCH)
        elif not self._left and self._leads(len(self._pool.connections)):
            self._left = True
            self._pause()
            self._retry = self._pool.poller.timers.call_later(_LEAVE, self._try_again)
        else:
            self._left = False
            self.accept(_SHARED_BATCH)

    def accept(self, most: int) -> None:
        """Take what waits, so many at most."""
        pool = self._pool
        for _ in range(most):
            if len(pool.connections) >= pool.options.max_connections:
                self._pause()
                return
            try:
                self._take()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OVERLOAD:
                    self._wait_for_better_times(error)
                    return
                continue  # the client was gone before it was accepted

    @abstractmethod
    def _take(self) -> None:
        """Make a `Connection` of what waits first. Raises OSError, BlockingIOError when nothing waits."""

    def _pause(self) -> None:
        if self._watched:
            self._watched = False
            self._pool.poller.unregister(self._fd)

    def _wait_for_better_times(self, error: OSError) -> None:
        logger.error("cannot accept connections: %s; trying again every %g s", error.strerror, _RETRY)
        self._pause()
        self._retry = self._pool.poller.timers.call_later(_RETRY, self._try_again)

    def _try_again(self) -> None:
        self._retry = None
        self.resume()


class SocketAcceptor(Acceptor):
    """Accepts connections from one listening socket."""

    _make: type[Connection] = Connection

    def __init__(
        self,
        sock: socket.socket,
        protocol: ConnectionProtocol,
        pool: Pool,
        leads: Callable[[int], bool] | None = None,
    ) -> None:
        self._protocol = protocol
        self._is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        super().__init__(sock, pool, leads)

    def _take(self) -> None:
        sock, address = self._sock.accept()
        sock.setblocking(False)
        if self._is_tcp:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._make(sock, address[0] if self._is_tcp else "", self._protocol, self._pool)
        if self._is_tcp:
            connection.port = address[1]
        self._pool.enqueue(connection)  # its first bytes are mostly there already
