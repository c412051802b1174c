"""Wakes the tasks of all processes that wait for a change of shared state, without polling.

What lives here: `Bell`, rung by who has changed something, and `Listener`, which one waiting task has. What does not:
what has changed: who hears a bell looks at the state again, and may find that nothing has.

A bell is an eventfd(2) that nobody ever reads. Each listener watches it through an epoll(7) of its own,
edge-triggered, so that each ring wakes every listener, also when another one has died on the way to the state.
"""

from __future__ import annotations

import os
import select
from types import TracebackType
from typing import Self

import anyio

from uwsgi_async.fdwait.poller import open_poller
from uwsgi_async.fdwait.watch import Watches

_BLIND = 0.05  # seconds between two looks at a lock whose holder cannot be watched


class Bell:
    """A bell that all processes of an instance share through ``fd``."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def create(cls) -> Bell:
        return cls(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))

    def __repr__(self) -> str:
        return f"<Bell fd={self.fd}>"

    def ring(self) -> None:
        """Wake every listener, in all processes."""
        os.eventfd_write(self.fd, 1)

    def listen(self) -> Listener:
        """Return a listener to be used in a ``with`` block, in one task of a running event loop."""
        return Listener(self.fd)

    def close(self) -> None:
        os.close(self.fd)


class Listener:
    """Hears each ring since the last `forget`. ``watched``: the process whose end is heard like a ring; None: none."""

    __slots__ = ("_epoll", "_pidfd", "_poller", "_watches", "watched")

    def __init__(self, bell: int) -> None:
        self._epoll = select.epoll()
        try:
            self._epoll.register(bell, select.EPOLLIN | select.EPOLLET)
            self._poller = open_poller()
        except BaseException:
            self._epoll.close()
            raise
        self._watches = Watches(self._poller, self._poller.backend.parker())
        self._pidfd = -1
        self.watched: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ignore()
        self._poller.release()
        self._epoll.close()

    def forget(self) -> None:
        """Take all rings so far as heard. Then look at the state, then `wait`: no change is missed."""
        if any(fd == self._pidfd for fd, _ in self._epoll.poll(0)):
            self.ignore()

    def watch(self, pid: int) -> None:
        """Hear the end of process ``pid``, and of no other one. It may have ended already: look at the state again."""
        self.ignore()
        self.watched = pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except OSError:  # it has ended, it is out of sight, or there is no fd left: `wait` looks now and then instead
            return
        self._epoll.register(self._pidfd, select.EPOLLIN)

    def ignore(self) -> None:
        """Watch no process any more."""
        if self._pidfd >= 0:
            self._epoll.unregister(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        self.watched = None

    async def wait(self) -> None:
        """Wait for the next ring since the last `forget`. A checkpoint."""
        self._watches.add(self._epoll.fileno(), write=False, timeout=None)
        if self.watched is not None and self._pidfd < 0:
            with anyio.move_on_after(_BLIND):
                await self._watches.wait()
        else:
            await self._watches.wait()
