"""The places that lines of the log are sent to, which uWSGI calls loggers (they are not `logging`'s).

What lives here: the `Logger` contract, and loggers for descriptors and for datagrams. What does not: files with a
name (`logfile`), what an option says of them (`specs`).

A log that cannot be written must not fail a request, so `write` never raises. What is lost is counted, and told
once, in the same place, when that works again.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Final, Protocol

STREAMS: Final = (1, 2)
"""The descriptors of standard output and standard error."""

_PATIENCE: Final = 0.1  # seconds to wait for a place that is full; only the first time, until it takes lines again
_LARGEST_DATAGRAM: Final = 65507  # bytes: UDP over IPv4

Frame = Callable[[bytes], Iterable[bytes]]
"""A line, with its newline, to the datagrams that are sent for it."""

Complain = Callable[[str], None]
"""Takes a sentence about a logger that has begun to lose lines, and says it somewhere else."""


class Logger(Protocol):
    """A place for lines. ``lost``: lines that it could not take and has not told of yet."""

    lost: int

    def write(self, line: bytes, /) -> None:
        """Take a line, with its newline. Raises nothing."""

    def close(self) -> None:
        """Give back what it has opened."""


def no_complaint(_sentence: str) -> None:
    """Say nothing: for the place where complaints would go."""


class FdLogger:
    """Writes to an open descriptor, one line a call, so that lines of several processes never mix.

    ``owned``: whether `close` closes ``fd``. A file must be open for appending.
    """

    __slots__ = ("_complain", "_owned", "_reason", "_torn", "fd", "lost")

    def __init__(self, fd: int, complain: Complain = no_complaint, *, owned: bool = False) -> None:
        self.fd = fd
        self.lost = 0
        self._owned = owned
        self._complain = complain
        self._reason = ""
        self._torn = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self.fd}, {self.lost} lines lost>"

    def write(self, line: bytes, /) -> None:
        if self._torn:  # a piece of an earlier line stands alone
            line = b"\n" + line
        try:
            written = os.write(self.fd, line)
        except OSError as error:
            self._go_on(line, 0, error)
        else:
            if written != len(line) or self.lost:
                self._go_on(line, written, None)

    def take_streams(self) -> None:
        """Let standard output and error be the same place, for Python, C and programs that are started."""
        if self.fd not in STREAMS:
            for stream in STREAMS:
                os.dup2(self.fd, stream, inheritable=True)

    def close(self) -> None:
        """Close the descriptor, unless it is somebody else's."""
        if self._owned:
            self._owned = False
            os.close(self.fd)

    def _go_on(self, line: bytes, written: int, error: OSError | None) -> None:
        """Write what a first attempt has left; count the line as lost when that cannot be."""
        while written < len(line):
            if error is not None and not self._may_try_again(error):
                self._torn = self._torn or written > 0
                self._count(error)
                return
            try:
                written += os.write(self.fd, line[written:])
                error = None
            except OSError as again:
                error = again
        self._torn = False
        if self.lost:
            lost, self.lost = self.lost, 0
            self.write(_told(lost, self._reason))

    def _may_try_again(self, error: OSError) -> bool:
        return isinstance(error, BlockingIOError) and not self.lost and _wait_for_room(self.fd)

    def _count(self, error: OSError) -> None:
        self.lost += 1
        self._reason = error.strerror or str(error)
        if self.lost == 1:
            self._complain(f"the log cannot be written to {self}, lines are lost: {self._reason}")


class DatagramLogger:
    """Sends each line to a datagram socket, UDP or UNIX, which need not be there yet, and may go and come again.

    ``address``: (host, port), or the path of a UNIX socket; a name is looked up once. ``frame``: see `Frame`.
    Raises OSError for a name that cannot be looked up.
    """

    __slots__ = ("_address", "_complain", "_frame", "_reason", "_sock", "lost")

    def __init__(self, address: tuple[str, int] | str, frame: Frame, complain: Complain = no_complaint) -> None:
        if isinstance(address, str):
            family: int = socket.AF_UNIX
            self._address: tuple[str, int] | str = address
        else:
            family, _, _, _, found = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
            self._address = (str(found[0]), int(found[1]))
        self.lost = 0
        self._frame = frame
        self._complain = complain
        self._reason = ""
        self._sock = socket.socket(family, socket.SOCK_DGRAM)
        # Only the kernel can wait for the receiver of a socket that is not connected: poll(2) says that there is room.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(_PATIENCE))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self._address}, {self.lost} lines lost>"

    def write(self, line: bytes, /) -> None:
        try:
            for datagram in self._frame(line):
                self._send(datagram)
        except OSError as error:
            self.lost += 1
            self._reason = error.strerror or str(error)
            if self.lost == 1:
                self._complain(f"the log cannot be sent by {self}, lines are lost: {self._reason}")
            return
        if self.lost:
            lost, self.lost = self.lost, 0
            self.write(_told(lost, self._reason))

    def close(self) -> None:
        self._sock.close()

    def _send(self, datagram: bytes) -> None:
        # The receiver of a UNIX socket may be slow. Not every line can wait for it: that would hold up the requests.
        flags = socket.MSG_DONTWAIT if self.lost else 0
        try:
            self._sock.sendto(datagram, flags, self._address)
        except OSError as error:
            if error.errno != errno.EMSGSIZE or len(datagram) <= _LARGEST_DATAGRAM:
                raise
            self._sock.sendto(datagram[:_LARGEST_DATAGRAM], flags, self._address)


def _wait_for_room(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(_PATIENCE * 1000))


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1_000_000))


def _told(lost: int, reason: str) -> bytes:
    return f"*** {lost} {'line' if lost == 1 else 'lines'} of the log could not be written: {reason} ***\n".encode()
