"""Idle connections that go from a worker that ends to one that goes on, so that no client notices.

What lives here: `Handover`, the pair of sockets that all workers of an instance share, and `Taker`, which takes
connections out of it as an `Acceptor` takes them from a listening socket. What does not: when a worker ends
(`instance.worker`). A connection between two requests is nothing but its socket, the client's address, the address
that it was accepted at, and the time that is left to it: these go through. What the client sends meanwhile waits in
the socket, and is read at the other end. Closing such a connection instead would lose the request that may be on its
way.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections.abc import Callable, Sequence

import anyio

from uwsgi_async.cores.connection import Connection, ConnectionProtocol
from uwsgi_async.cores.listener import Acceptor
from uwsgi_async.cores.pool import Pool

logger = logging.getLogger("uwsgi_async")

_HEAD = struct.Struct("!Hd")  # the number of the protocol, and the seconds that are left
_LARGEST = 512  # bytes of one message: this and an IP address as text
_QUEUE = 1 << 20  # bytes; the kernel allows an ordinary user less, and a connection needs about 800
_PATIENCE = 2.0  # seconds
_PAUSE = 0.01  # seconds; until the kernel has room for more file descriptors on their way
# The kernel's ways to say: too many on their way, come back later.
_FULL = frozenset({errno.EAGAIN, errno.ETOOMANYREFS, errno.ENOBUFS})


class Handover:
    """Where workers give away idle connections, and others take them. Made before any fork.

    ``give_end`` and ``take_end``: the two sockets; every process has both, so that a message waits for the next worker
    when there is none at the moment.
    """

    def __init__(self, give_end: socket.socket, take_end: socket.socket) -> None:
        self.give_end = give_end
        self.take_end = take_end
        for sock in (give_end, take_end):
            sock.setblocking(False)

    @classmethod
    def create(cls) -> Handover:
        give_end, take_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        give_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _QUEUE)
        return cls(give_end, take_end)

    def filenos(self) -> list[int]:
        """Return the file descriptors of the two ends, in the order of the constructor's arguments."""
        return [self.give_end.fileno(), self.take_end.fileno()]

    def __repr__(self) -> str:
        return f"<Handover {self.give_end.fileno()} to {self.take_end.fileno()}>"

    def close(self) -> None:
        self.give_end.close()
        self.take_end.close()

    async def give(self, pool: Pool, protocols: Sequence[ConnectionProtocol]) -> None:
        """Give away every idle connection of ``pool``, which must accept no more.

        ``protocols``: in the order that those of a `Taker` have. Waits while the queue is full, two seconds at most:
        then nobody takes any, and the rest stays.
        """
        given = anyio.current_time()
        for connection in list(pool.connections):
            while connection.idle and connection.movable:
                if self._give(connection, protocols.index(connection.protocol)):
                    given = anyio.current_time()
                elif anyio.current_time() - given > _PATIENCE:
                    return
                else:
                    await anyio.sleep(_PAUSE)

    def _give(self, connection: Connection, protocol: int) -> bool:
        left = connection.deadline - connection.pool.poller.time()
        message = _HEAD.pack(protocol, left) + connection.peer.encode()
        try:
            socket.send_fds(self.give_end, [message], [connection.fd])
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        connection.close()  # this process's copy only: the client's connection lives on
        return True


class Taker(Acceptor):
    """Takes connections that other workers give away, as long as the pool takes them."""

    def __init__(
        self,
        handover: Handover,
        protocols: Sequence[ConnectionProtocol],
        pool: Pool,
        leads: Callable[[int], bool] | None = None,
    ) -> None:
        self._protocols = protocols
        super().__init__(handover.take_end, pool, leads)

    def _take(self) -> None:
        message, fds, _, _ = socket.recv_fds(self._sock, _LARGEST, 1)
        if not fds:
            raise OSError(errno.EMFILE, "no file descriptor is free, and an idle connection of another worker is lost")
        protocol, left = _HEAD.unpack_from(message)
        sock = socket.socket(fileno=fds[0])
        sock.setblocking(False)
        peer = message[_HEAD.size :].decode()
        connection = Connection(sock, peer, self._protocols[protocol], self._pool)
        connection.port = _port(sock) if peer else 0
        connection.readable = False  # perhaps it is: then an event comes at once
        connection.park(None, self._pool.poller.time() + left)


def _port(sock: socket.socket) -> int:
    try:
        return int(sock.getpeername()[1])
    except OSError:  # the client has gone meanwhile
        return 0
