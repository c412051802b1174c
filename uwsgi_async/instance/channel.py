"""How the processes of an instance talk: small messages over a SOCK_SEQPACKET socket pair made before the fork.

What lives here: the messages and `Channel`. What does not: what a message makes somebody do (`master`, `worker`,
`forkserver`). Messages are JSON, so that a worker, which runs the user's code, can send the master nothing but data.
When one end's process dies, or closes, the other end reads the end of the stream.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import mmap
import select
import socket
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast, get_args, get_origin, get_type_hints

import anyio

from uwsgi_async.errors import BrokenError
from uwsgi_async.signals.messages import BY_CODE, FromProcess, Numbers, ToProcess

_LARGEST = 256 * 1024  # bytes of one message; the kernel takes about 200 KiB
MOST_FDS = 8  # in one message
_ROOM_FOR_FDS = socket.CMSG_LEN(MOST_FDS * array("i").itemsize)
# The kernel is short of something: memory, or the count of file descriptors on their way.
_LATER = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.ETOOMANYREFS})


@dataclass(frozen=True, slots=True)
class Begin:
    """Master to zygote, with a fork server's end of a channel and the fd of its scoreboard: fork it."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Master to zygote, with as many file descriptors: hold them under these numbers, for all fork servers.

    ``above``: a number that none of these messages names, nor a larger one.
    """

    numbers: list[int]
    above: int


@dataclass(frozen=True, slots=True)
class Start:
    """Master to fork server, the first message.

    With the descriptors of the `DynamicOptions` and of the log (`Collector.for_a_process`).

    ``options``: values by the names of their fields. ``listeners``: fd, protocol, name, url and share of each,
    and the number of its certificates.
    ``handover``: the fds of its ends. ``files``: the values of each `OwnFile` of the instance. ``state``: what
    `SharedState.attach` needs. ``master``: its process id. ``reloads``: how many there have been.
    """

    options: dict[str, Any]
    listeners: list[list[Any]]
    handover: list[int]
    files: list[list[Any]]
    state: dict[str, Any]
    master: int
    reloads: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """Fork server to master: the app is loaded, or will be in each worker."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Fork server or worker to master: the app cannot be loaded; ``reason`` is a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Files:
    """Master to fork server: what it has to remove when the master dies, in the place of `Start.files`."""

    files: list[list[Any]]


@dataclass(frozen=True, slots=True)
class Fork:
    """Master to fork server: fork who has this row of the scoreboard (`roles`).

    With the new process's end of a channel and those of its log.
    """

    seat: int


@dataclass(frozen=True, slots=True)
class End:
    """Master to fork server: there is nothing left to do. Without this, the end of the channel is the master's end."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Fork server or worker to master, the first message: this is its process."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to master: it serves."""


@dataclass(frozen=True, slots=True)
class Retire:
    """Master to worker: another process is to take your place; answer with `Worn`."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """Master to worker: accept no connections until told otherwise; ``on`` is False to go on."""

    on: bool


@dataclass(frozen=True, slots=True)
class Worn:
    """Worker to master: another process is to take its place; ``reason`` is a sentence without its full stop.

    It has moved to its spare row of the scoreboard, and serves until it is told to `Drain`.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Inherit:
    """Master to worker: the process that it has replaced has ended, and had counted these meanwhile.

    ``counts``: by the numbers of the scoreboard's columns, as text.
    """

    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Drain:
    """Master to worker: accept no more, finish the running requests, end.

    ``hand_over``: others go on, and get the idle connections; else these are closed.
    """

    hand_over: bool


@dataclass(frozen=True, slots=True)
class Reopen:
    """Master to fork server and workers: open the log files again, they were moved or rotated."""


@dataclass(frozen=True, slots=True)
class Reload:
    """Worker to master: `uwsgi.reload()` was called."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Worker to master: `uwsgi.stop()` was called."""


@dataclass(frozen=True, slots=True)
class Publish:
    """Master to worker: somebody looks; write on the scoreboard what you do, and answer with `Published`.

    ``detail``: see `statistics.publish.Detail`.
    """

    detail: int


@dataclass(frozen=True, slots=True)
class Published:
    """Worker to master: the scoreboard says what this worker does now."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Fork server or worker to master: files that it has imported, for ``py-autoreload``.

    ``files``: of each the module's name, the absolute path, and when it was changed (see `sources`).
    """

    files: list[tuple[str, str, int]]


Message = (
    Begin
    | Hold
    | Start
    | Loaded
    | Failed
    | Files
    | Fork
    | End
    | Hello
    | Ready
    | Retire
    | Suspend
    | Worn
    | Inherit
    | Drain
    | Reload
    | Stop
    | Reopen
    | Sources
    | Publish
    | Published
    | FromProcess
    | ToProcess
)

_KINDS: dict[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}


_CODES = {kind: bytes([code]) for code, kind in BY_CODE.items()}


class Channel:
    """One end of a socket pair.

    Messages keep their order and their bounds. An end is used by one process; close it in all others.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Its pages are taken when they are used; a new buffer for each message would cost ten times the system call.
        self._buffer = mmap.mmap(-1, _LARGEST, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        sock.setblocking(False)

    def __repr__(self) -> str:
        return f"<Channel fd={self._sock.fileno()}>"

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()

    def send(self, message: Message, *fds: int) -> bool:
        """Send now; return False when the other end is gone, or has not read for so long that nothing more fits.

        Raises `BrokenError` for a message that no channel takes.
        """
        if isinstance(message, Numbers):
            data = _CODES[type(message)] + message.numbers
        else:
            data = json.dumps([type(message).__name__, dataclasses.asdict(message)]).encode()
        try:
            if fds:
                socket.send_fds(self._sock, [data], fds)
            else:
                self._sock.send(data)  # a fifth of the time
        except (BlockingIOError, ConnectionError):
            return False
        except OSError as error:
            if error.errno in _LATER:
                return False
            raise BrokenError(f"a message of {len(data)} bytes cannot be sent: {error.strerror}") from error
        return True

    def send_all(self, messages: Iterable[Message]) -> bool:
        """Send several, and wait while the other end does not read; return False as soon as it is gone.

        For a process without an event loop.
        """
        self._sock.setblocking(True)
        try:
            return all(self.send(message) for message in messages)
        finally:
            self._sock.setblocking(False)

    async def receive(self) -> Message | None:
        """Wait for the next message; None when the other end is closed. Raises `BrokenError` for what is none."""
        while True:
            try:
                return self._receive()[0]
            except BlockingIOError:
                await anyio.wait_readable(self._sock)

    def wait_blocking(self) -> None:
        """Wait until there is something to receive, or the other end is closed, in a process without an event loop."""
        poll = select.poll()  # not select(2), which refuses a large fd
        poll.register(self._sock, select.POLLIN)
        poll.poll()

    def receive_blocking(self) -> tuple[Message | None, list[int]]:
        """The same for a process without an event loop; returns also the file descriptors that came along."""
        self._sock.setblocking(True)
        try:
            return self._receive()
        finally:
            self._sock.setblocking(False)

    def is_called_off(self) -> bool:
        """Whether the next message is `End`, or the other end is closed. Does not wait, and takes no message."""
        try:
            data = self._sock.recv(_LARGEST, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except ConnectionError:
            return True
        return not data or isinstance(_decode(data), End)

    def _receive(self) -> tuple[Message | None, list[int]]:
        try:
            length, more, _, _ = self._sock.recvmsg_into([self._buffer], _ROOM_FOR_FDS)
        except ConnectionError:
            return None, []
        fds = array("i")
        for level, kind, content in more:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
        if not length:
            return None, list(fds)
        return _decode(self._buffer[:length]), list(fds)


def pair() -> tuple[socket.socket, socket.socket]:
    """Return the two sockets of a channel; neither is inherited by programs that are executed."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def _decode(data: bytes) -> Message:
    by_code = BY_CODE.get(data[0])
    if by_code is not None and len(data) > 1:
        return cast("Message", by_code(data[1:]))
    try:
        name, values = json.loads(data)
        kind = _KINDS[name]
        for field, hint in get_type_hints(kind).items():
            wanted = get_origin(hint) or hint
            if not isinstance(values[field], (int, float) if wanted is float else wanted):
                raise TypeError(f"{field} must be {wanted.__name__}")
        return kind(**values)
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenError(f"expected a message of another process of this instance, got {data[:80]!r}") from error
