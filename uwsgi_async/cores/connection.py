"""One accepted socket: receive, send, wait, park, close. Nothing here knows a protocol.

States: *new* (accepted; its first bytes are mostly there already, so a core looks at once), *parked* (no core, no task:
an event puts it into the pool's queue), *queued*, *served* (a core has it), *lingering* (answered and half closed; what
still comes is thrown away, so that the answer is not lost to a reset), *closed*. The poller watches it from its first
wait on.

The poller's events are edge-triggered: ``readable`` stays set until a receive has emptied the socket, and a
connection with ``readable`` set is never parked.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from uwsgi_async.cores.cork import Rest
from uwsgi_async.errors import DisconnectedError, PeerTimeoutError
from uwsgi_async.fdwait.backend import Parker
from uwsgi_async.fdwait.poller import EDGE, HANGUP, PEER_CLOSED, READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from uwsgi_async.cores.core import Core
    from uwsgi_async.cores.pool import Pool
    from uwsgi_async.cores.request import Request

RECEIVE_SIZE = 64 * 1024
_LINGER = 2.0  # seconds that a client has to read the answer to a request it has not sent completely
_EVENTS = READ | PEER_CLOSED | EDGE
_GONE = PEER_CLOSED | HANGUP
_READABLE = READ | _GONE
_WRITABLE = WRITE | HANGUP


class ConnectionProtocol(Protocol):
    """What a listener's protocol does with its connections: `http.HttpProtocol`, `uwsgi.UwsgiProtocol`."""

    def serve(self, connection: Connection, core: Core) -> Coroutine[Any, Any, None]:
        """Serve one request, then park, queue or close the connection."""

    def expire(self, connection: Connection) -> None:
        """Close a parked connection whose time is over."""


class RequestProtocol(ConnectionProtocol, Protocol):
    """One that serves requests."""

    def release(self, request: Request) -> None:
        """Let the connection of ``request`` go on without it, whose response is complete: park, queue or close it.

        What has been started for the request may go on in its core; it must not use the connection any more.
        """


class Connection:
    """A client's connection. Who makes one gives it to the pool's queue, or parks it.

    ``peer``: the client's IP address as text; "" for a UNIX socket. ``port``: the client's, 0 there.
    ``deadline``: when, on the pool's clock, `expire` is due. ``head_since``: when the first bytes of an incomplete head
    came. ``reader``: the protocol's reader while it holds bytes, else None: idle connections hold none.
    """

    __slots__ = (
        "_peer_closed",
        "_read_waiter",
        "_timed_out",
        "_watched",
        "_write_waiter",
        "_write_watched",
        "closed",
        "deadline",
        "fd",
        "head_since",
        "lingering",
        "parked",
        "peer",
        "pool",
        "port",
        "protocol",
        "readable",
        "reader",
        "ready_since",
        "sock",
    )

    movable = True
    """Whether another process can go on with it, between two requests."""

    def __init__(self, sock: socket.socket, peer: str, protocol: ConnectionProtocol, pool: Pool) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.peer = peer
        self.port = 0
        self.protocol = protocol
        self.pool = pool
        self.reader: Any = None
        self.readable = True  # perhaps: the first receive tells
        self.closed = self.lingering = self.parked = False
        self.head_since = 0.0
        self.deadline = inf
        self._peer_closed = self._timed_out = self._watched = self._write_watched = False
        self._read_waiter: Parker | None = None
        self._write_waiter: Parker | None = None
        pool.connections.add(self)
        pool.poller.claim(self.fd, self)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "lingering" if self.lingering else "parked" if self.parked else "served"
        return f"<Connection fd={self.fd} peer={self.peer or '-'} {state}>"

    @property
    def peer_closed(self) -> bool:
        """Whether the client has closed the connection, or its half of it, as far as this has been noticed."""
        return self._peer_closed or self.closed

    @property
    def idle(self) -> bool:
        """Whether no byte of a request has been received, and none is answered."""
        return self.parked and self.reader is None

    @property
    def unfinished(self) -> bool:
        """Whether a part of a request has been received, or an answer is sent in part, while no core has it."""
        return self.reader is not None or isinstance(self.protocol, Rest)

    # --- events -----------------------------------------------------------------------------------------------

    def on_event(self, mask: int) -> None:
        if mask & _READABLE:
            self.readable = True
            if mask & _GONE:
                self._peer_closed = True
            if self.parked:
                self.parked = False
                pool = self.pool
                self.ready_since = pool.poller.heartbeat
                pool.ready.append(self)
            elif self._read_waiter is not None:
                self._read_waiter.unpark()
            elif self.lingering:
                self._discard()
        if mask & _WRITABLE and self._write_waiter is not None:
            self._write_waiter.unpark()

    def expire(self) -> None:
        """Its time is over: end the wait that it is in, or the connection."""
        self.deadline = inf
        if self.lingering:
            self.close()
        elif self.parked:
            self.protocol.expire(self)
        else:
            self._timed_out = True
            for waiter in (self._read_waiter, self._write_waiter):
                if waiter is not None:
                    waiter.unpark()

    def park(self, reader: Any, deadline: float) -> None:
        """Give the core back until more bytes come; or queue again when they are there already."""
        self.reader = reader
        if self.readable:
            self.deadline = inf
            self.pool.enqueue(self)
        else:
            self.deadline = deadline
            self.parked = True
            if not self._watched:
                self._watch(_EVENTS)

    def _watch(self, events: int) -> None:
        """Ask for events, for the first time. Many connections end before they ever wait, and cost no call for this."""
        self._watched = True
        self.pool.poller.watch(self.fd, events)

    @property
    def held(self) -> bool:
        """Whether there are bytes that nobody has received and that are not in the socket any more."""
        return False

    # --- receiving --------------------------------------------------------------------------------------------

    def receive_nowait(self, size: int = RECEIVE_SIZE) -> bytes | None:
        """Return the bytes that are there, ``size`` at most; b"" at the end of the stream, None when there are none."""
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            self.readable = False
            return None
        except OSError:
            data = b""
        # A short read has emptied the socket, but an end that came with it is announced only once.
        self.readable = self._peer_closed or len(data) == size
        return data

    def receive_ready(self) -> bytes | None:
        """Do as `receive_nowait`, without a system call where an event would have told of bytes."""
        return self.receive_nowait() if self.readable or not self._watched else None

    async def receive(self, timeout: float | None = None) -> bytes:
        """Wait for bytes; b"" at the end of the stream.

        Raises `PeerTimeoutError` when nothing came for ``socket_timeout`` seconds; with ``timeout`` for so many, to the
        moment. inf: however long it takes.
        """
        while True:
            if self.readable:
                data = self.receive_nowait()
                if data is not None:
                    return data
            self._read_waiter = parker = self.pool.poller.backend.parker()
            try:
                if not self._watched and not self.closed:
                    self._watch(_EVENTS)
                if timeout is None:
                    await self._wait(parker, "sent nothing")
                elif timeout == inf:  # here wait idle websockets, and one coroutine less is 270 bytes less for each
                    self._timed_out = False
                    if not self.closed:
                        await parker.park()
                    self._look_back("the client took nothing for too long (option socket-timeout)")
                else:
                    await self._wait_until(parker, timeout)
                if self._read_waiter is not parker:
                    raise DisconnectedError("the request is over: what still comes is not for it")
            finally:
                if self._read_waiter is parker:
                    self._read_waiter = None

    async def until_peer_closed(self) -> None:
        """Wait until the client has closed the connection, or its half of it; or until `stop_reading`.

        However long it takes, and whatever comes meanwhile, which stays unread.
        """
        self._peer_closed = self._peer_closed or _has_peer_closed(self.fd)
        parker = self.pool.poller.backend.parker()
        try:
            while not (self._peer_closed or self.closed):
                self._read_waiter = parker
                if not self._watched:
                    self._watch(_EVENTS)
                await parker.park()
                if self._read_waiter is not parker:
                    return
        finally:
            if self._read_waiter is parker:
                self._read_waiter = None

    def stop_reading(self) -> None:
        """End the wait of who waits for bytes of a request that is over. Who waits for its body gets an error."""
        waiter, self._read_waiter = self._read_waiter, None
        if waiter is not None:
            waiter.unpark()

    # --- sending ----------------------------------------------------------------------------------------------

    def send_nowait(self, data: bytes | memoryview) -> int:
        """Send what the socket takes now; return how many bytes that was. Raises `DisconnectedError`."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise DisconnectedError(f"the client went away: {error.strerror}") from error

    async def send(self, data: bytes) -> None:
        """Send all of ``data``; wait while the client does not take it.

        Raises `DisconnectedError`, and `PeerTimeoutError` when it took nothing for ``socket_timeout`` seconds.
        """
        sent = self.send_nowait(data)
        if sent < len(data):
            rest = memoryview(data)[sent:]
            while rest:
                await self.wait_writable()
                rest = rest[self.send_nowait(rest) :]

    async def send_file(self, fd: int, offset: int, count: int) -> int:
        """Send ``count`` bytes of a file from ``offset``; return how many were there. Raises as `send`."""
        sent = 0
        while sent < count:
            try:
                size = os.sendfile(self.fd, fd, offset + sent, count - sent)
            except BlockingIOError:
                await self.wait_writable()
                continue
            except ConnectionError as error:
                raise DisconnectedError(f"the client went away: {error.strerror}") from error
            if size == 0:
                break
            sent += size
        return sent

    async def wait_writable(self) -> None:
        """Wait until the socket takes bytes. Raises as `send`; one task at a time."""
        self._write_waiter = self.pool.poller.backend.parker()
        try:
            if not self._write_watched and not self.closed:
                # Only now: most sockets take every answer at once, and need not be watched for this.
                self._write_watched = True
                if self._watched:
                    self.pool.poller.modify(self.fd, _EVENTS | WRITE)
                else:
                    self._watch(_EVENTS | WRITE)
            await self._wait(self._write_waiter, "took nothing")
        finally:
            self._write_waiter = None

    async def _wait(self, parker: Parker, complaint: str) -> None:
        if self.closed:
            raise DisconnectedError("the connection is closed")
        timeout = self.pool.options.socket_timeout
        self.deadline = self.pool.poller.time() + timeout if timeout > 0 else inf
        self._timed_out = False
        try:
            await parker.park()
        finally:
            if parker is self._read_waiter or parker is self._write_waiter:  # else it is not ours any more
                self.deadline = inf
        if self._timed_out or self.closed:
            self._look_back(f"the client {complaint} for {timeout:g} s (option socket-timeout)")

    async def _wait_until(self, parker: Parker, timeout: float) -> None:
        """Wait for bytes with a timer of its own, not with the sweep."""
        if self.closed:
            raise DisconnectedError("the connection is closed")
        timers = self.pool.poller.timers
        timer = timers.call_later(timeout, self.expire)
        self._timed_out = False
        try:
            await parker.park()
        finally:
            timers.cancel(timer)
        self._look_back(f"the client sent nothing for {timeout:g} s")

    def _look_back(self, complaint: str) -> None:
        """Raise what has ended a wait, if it was no event: ``complaint`` for the time that is over."""
        if self._timed_out:
            raise PeerTimeoutError(complaint)
        if self.closed:
            raise DisconnectedError("the connection was closed")

    # --- closing ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the socket. Closing twice is allowed."""
        if self.closed:
            return
        self.closed = True
        self.parked = False
        self.deadline = inf
        self.reader = None
        if self._watched:
            self.pool.poller.unregister(self.fd)
        else:
            self.pool.poller.release_claim(self.fd)
        self.sock.close()
        self.pool.connections.discard(self)
        for waiter in (self._read_waiter, self._write_waiter):
            if waiter is not None:
                waiter.unpark()
        self.pool.on_connection_closed()

    def linger(self) -> None:
        """Close for writing; throw away what still comes, for two seconds at most.

        Closing a socket that has unread bytes resets it, and the reset may overtake the answer.
        """
        if self.closed:
            return
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)
        self.reader = None
        self.parked = False
        self.lingering = True
        self.deadline = self.pool.poller.time() + _LINGER
        if not self._watched:
            self._watch(_EVENTS)
        if self.readable:
            self._discard()

    def _discard(self) -> None:
        for _ in range(16):
            data = self.receive_nowait()
            if data is None:
                return
            if not data:
                self.close()
                return
        self.close()  # a megabyte at once: this client does not listen


def _has_peer_closed(fd: int) -> bool:
    """Whether the other side of a socket has closed it, or its half, without reading anything."""
    poll = select.poll()
    poll.register(fd, select.POLLRDHUP)
    return bool(poll.poll(0))
