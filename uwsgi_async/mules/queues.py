"""The queues of messages of an instance's mules: pairs of sockets that outlive every mule and every generation.

What lives here: `MessageQueue` and `MuleQueues`, one kind of shared state. What does not: who takes messages out
(`mule`), the documented functions (`api.mules`). As in uWSGI each queue is a pair of SOCK_SEQPACKET sockets, so the
kernel keeps the messages, their bounds and their order, whatever process is killed; how many have room is a matter of
their bytes, with what the kernel adds to each. Source: core/mule.c.
"""

from __future__ import annotations

import array
import errno
import fcntl
import logging
import secrets
import socket
import termios
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import anyio

from uwsgi_async.errors import OptionError
from uwsgi_async.options.mules import MuleOptions, farms

logger = logging.getLogger("uwsgi_async")

_SO_SNDBUFFORCE: Final = 32  # <asm-generic/socket.h>: the same without net.core.wmem_max, for who may
_SECRET_SIZE: Final = 16  # bytes
_COMPLAIN: Final = 10.0  # seconds between two complaints about the same queue


class MessageQueue:
    """One queue. ``name``: what it is called in messages, such as "mule 1". Any process and thread may use it."""

    def __init__(self, name: str, ends: tuple[socket.socket, socket.socket]) -> None:
        self.name = name
        self._in, self._out = ends
        self._complained = -_COMPLAIN
        for end in ends:
            end.setblocking(False)

    @classmethod
    def create(cls, name: str, size: int) -> MessageQueue:
        """Return a new queue. ``size``: bytes of memory that messages may take; 0: as the kernel has it."""
        ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if size:
            _give_room(ends[0], size)
        return cls(name, ends)

    def __repr__(self) -> str:
        return f"<MessageQueue of {self.name}, {self.waiting} bytes>"

    @property
    def fds(self) -> tuple[int, int]:
        return self._in.fileno(), self._out.fileno()

    @property
    def size(self) -> int:
        """Bytes of memory that the messages may take, with what the kernel adds to each."""
        return self._in.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)

    @property
    def waiting(self) -> int:
        """Bytes of the messages that nobody has taken yet."""
        count = array.array("i", [0])
        fcntl.ioctl(self._out, termios.FIONREAD, count)
        return count[0]

    def fileno(self) -> int:
        """The file descriptor that can be read when there is a message."""
        return self._out.fileno()

    def send(self, message: bytes) -> bool:
        """Put a message into the queue; False when it is too long or the queue is full, which the log tells."""
        try:
            self._in.send(message)
        except BlockingIOError:
            self._complain("the queue is full: its size is %d bytes (you can tune it with --mule-msg-size)", self.size)
            return False
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS, errno.ENOMEM):
                raise
            self._complain("a message of %d bytes was not sent: %s", len(message), error.strerror)
            return False
        return True

    def take(self, size: int) -> bytes | None:
        """Take the oldest message, ``size`` bytes of it at most; None when there is none.

        The rest of a longer one is lost, as in uWSGI, and the log tells it.
        """
        try:
            message = self._out.recv(size + 1)  # cheaper than recvmsg(2), which would tell that there was more
        except BlockingIOError:
            return None
        if len(message) > size:
            logger.error("a message for %s was longer than the buffer: it was cut to %d bytes", self.name, size)
            return message[:size]
        return message

    def close(self) -> None:
        self._in.close()
        self._out.close()

    def _complain(self, words: str, *arguments: object) -> None:
        now = time.monotonic()
        if now - self._complained >= _COMPLAIN:
            self._complained = now
            logger.error("*** MULE MSG QUEUE of %s: " + words + " ***", self.name, *arguments)


def _give_room(end: socket.socket, size: int) -> None:
    """Let messages take ``size`` bytes, or as many as this user may ask for."""
    try:
        end.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size)
    except PermissionError:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    got = end.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    if got < size:
        logger.warning(
            "mule-msg-size: %d bytes are asked for, but the system gives %d (net.core.wmem_max): raise that by sysctl",
            size, got,
        )  # fmt: skip


class MuleQueues:
    """All queues of an instance, in one process. ``shared``: of all mules; ``own``: of each; ``farms``: by their names.

    ``members``: the numbers of the mules of each farm. ``secret``: what only this instance knows, as long as it lives.
    """

    def __init__(
        self,
        shared: MessageQueue,
        own: Sequence[MessageQueue],
        farms: Mapping[str, MessageQueue],
        members: Mapping[str, tuple[int, ...]],
        secret: bytes,
    ) -> None:
        self.shared = shared
        self.own = tuple(own)
        self.farms = dict(farms)
        self.members = dict(members)
        self.secret = secret

    @classmethod
    def create(cls, options: MuleOptions, mules: int) -> MuleQueues | None:
        """Return the queues for so many mules and the farms of the options; None when there is no mule.

        Raises `OptionError` when the system gives no more sockets.
        """
        if not mules:
            return None
        members, size = farms(options), options.mule_msg_size
        names = [
            "all mules",
            *(f"mule {number}" for number in range(1, mules + 1)),
            *(f"farm {name}" for name in members),
        ]
        made: list[MessageQueue] = []
        try:
            for name in names:
                made.append(MessageQueue.create(name, size))  # noqa: PERF401 - what was made is closed
        except OSError as error:
            for queue in made:
                queue.close()
            raise OptionError(
                f"mules: {len(names)} queues need two sockets each, but the system says: {error.strerror}; "
                "have fewer mules, or more file descriptors (ulimit -n)"
            ) from error
        of_farms = dict(zip(members, made[mules + 1 :], strict=True))
        return cls(made[0], made[1 : mules + 1], of_farms, members, secrets.token_bytes(_SECRET_SIZE))

    @classmethod
    def attach(cls, described: Any) -> MuleQueues:
        shared, own, of_farms, members, secret = described
        return cls(
            _attached("all mules", shared),
            [_attached(f"mule {number}", fds) for number, fds in enumerate(own, 1)],
            {name: _attached(f"farm {name}", fds) for name, fds in of_farms.items()},
            {name: tuple(numbers) for name, numbers in members.items()},
            bytes.fromhex(secret),
        )

    def __repr__(self) -> str:
        return f"<MuleQueues of {len(self.own)} mules and {len(self.farms)} farms>"

    def farms_of(self, mule: int) -> list[str]:
        """Return the names of the farms that a mule is in."""
        return [name for name, numbers in self.members.items() if mule in numbers]

    def all(self) -> Iterable[MessageQueue]:
        return (self.shared, *self.own, *self.farms.values())

    # --- a part of an instance --------------------------------------------------------------------------------

    @property
    def fds(self) -> list[int]:
        return [fd for queue in self.all() for fd in queue.fds]

    def described(self) -> Any:
        return [
            self.shared.fds,
            [queue.fds for queue in self.own],
            {name: queue.fds for name, queue in self.farms.items()},
            self.members,
            self.secret.hex(),
        ]

    async def maintain(self) -> None:
        await anyio.sleep_forever()

    def publish(self) -> None:
        """Nothing is only counted here."""

    def sections(self) -> Mapping[str, Any]:
        """Return the farms, and what waits in the queue of all mules. Times and processes are told elsewhere."""
        return {
            "mule_queue": {"waiting": self.shared.waiting, "size": self.shared.size},
            "farms": [
                {"name": name, "mules": list(self.members[name]), "waiting": queue.waiting, "size": queue.size}
                for name, queue in self.farms.items()
            ],
        }

    def close(self) -> None:
        for queue in self.all():
            queue.close()


def _attached(name: str, fds: Sequence[int]) -> MessageQueue:
    return MessageQueue(name, (socket.socket(fileno=fds[0]), socket.socket(fileno=fds[1])))
