"""The poller: one private epoll per event loop, on which every connection is registered once, edge-triggered.

What lives here: `Poller`, which turns epoll's events into calls of `Source.on_event`, and keeps the timers.
What does not: what a source does with an event (`cores.connection`, `watch`), and how the event loop waits
(`backend`). The loop waits for the epoll's own file descriptor only, so asyncio and trio run the same code, and a
keep-alive request costs two system calls of its own.

Edge-triggered discipline: an event says that something has changed, once. Who gets it must note it until it has
been used up.
"""

from __future__ import annotations

import errno
import logging
import select
import threading
from collections.abc import Callable
from typing import Protocol

from uwsgi_async.errors import BrokenError
from uwsgi_async.fdwait.alarm import TimerAlarm
from uwsgi_async.fdwait.backend import Backend, current_backend
from uwsgi_async.fdwait.timers import Timers

logger = logging.getLogger("uwsgi_async")

if hasattr(select, "epoll"):
    READ = select.EPOLLIN
    WRITE = select.EPOLLOUT
    HANGUP = select.EPOLLHUP | select.EPOLLERR
    PEER_CLOSED = select.EPOLLRDHUP
    EDGE = select.EPOLLET
else:  # pragma: no cover - the names must exist for imports elsewhere; open_poller explains
    READ, WRITE, HANGUP, PEER_CLOSED, EDGE = 1, 4, 24, 8192, 1 << 31

# At most so many events are handled before the event loop turns: some milliseconds of work, so that other tasks of
# the program get their turn in time. The rest stays in the epoll, which stays readable.
_BATCH = 128

# By the thread that runs its event loop. anyio's RunVar would say the same, and is asked for by every sleep: this costs
# a tenth of it.
_pollers: dict[int, Poller] = {}


class Source(Protocol):
    """Whose file descriptor is registered."""

    def on_event(self, mask: int) -> None:
        """Take note of an event. Runs in the event loop, outside any task; must not raise."""


class Poller:
    """Tells sources that their file descriptors are ready, and timers that they are due.

    ``time`` is the backend's clock in seconds. ``heartbeat`` is the time at which the loop was last seen to turn.
    """

    def __init__(self, backend: Backend) -> None:
        if not hasattr(select, "epoll"):  # pragma: no cover
            raise BrokenError("this system has no epoll; uwsgi_async needs Linux for now")
        self.backend = backend
        self._thread = threading.get_ident()
        self.time = backend.time
        self.closed = False
        self.heartbeat = backend.time()
        self._epoll = select.epoll()
        self._alarm = TimerAlarm(backend.time, self._fire) if backend.real_time else None
        self.timers = Timers(backend.time, backend.set_alarm if self._alarm is None else self._alarm.set)
        self._sources: dict[int, Source] = {}
        self._pumps: list[Callable[[], bool]] = []
        self._users = 0
        if self._alarm is not None:
            self.register(self._alarm.fd, self._alarm, READ)
        backend.start(self._epoll.fileno(), self._drain, self._fire)

    def __repr__(self) -> str:
        fds = len(self._sources) - (self._alarm is not None)
        state = "closed" if self.closed else f"{fds} fds, {len(self.timers)} timers"
        return f"<Poller on {self.backend.name}, {state}>"

    def register(self, fd: int, source: Source, events: int) -> None:
        """Tell ``source`` of ``events`` on ``fd``.

        Raises OSError: EPERM for a regular file, EBADF for a closed fd, EEXIST when it is registered already.
        """
        if fd in self._sources:
            raise FileExistsError(errno.EEXIST, f"fd {fd} is registered already")
        self._epoll.register(fd, events)
        self._sources[fd] = source

    def claim(self, fd: int, source: Source) -> None:
        """Keep ``fd`` for ``source``, which tells by `watch` when it wants events. No system call is made."""
        self._sources[fd] = source

    def watch(self, fd: int, events: int) -> None:
        """Tell the source of a claimed ``fd`` of ``events`` from now on, also of what is ready already."""
        self._epoll.register(fd, events)

    def release_claim(self, fd: int) -> None:
        """Forget a claimed ``fd`` that was never watched."""
        self._sources.pop(fd, None)

    def modify(self, fd: int, events: int) -> None:
        """Change the events of a registered fd. Raises OSError (ENOENT, EBADF) when it was closed meanwhile."""
        self._epoll.modify(fd, events)

    def unregister(self, fd: int) -> None:
        """Forget ``fd``. Call it before the fd is closed, so that its number never wakes a stranger."""
        if self._sources.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:
                pass  # closed by somebody else: the kernel has forgotten it by itself

    def add_pump(self, pump: Callable[[], bool]) -> None:
        """Call ``pump`` after every batch of events; as long as it returns True, again when the loop has turned."""
        self._pumps.append(pump)

    def remove_pump(self, pump: Callable[[], bool]) -> None:
        self._pumps.remove(pump)

    def turn(self) -> None:
        """Run the pumps when the event loop has turned once."""
        self.backend.turn()

    def acquire(self) -> None:
        """Count one more user; the poller lives until each has called `release`."""
        self._users += 1

    def release(self) -> None:
        self._users -= 1
        if self._users == 0:
            self.close()

    def close(self) -> None:
        """Stop watching and free the epoll. Sources that are still registered are forgotten."""
        if not self.closed:
            self.closed = True
            self.backend.stop()
            self._epoll.close()
            self._sources.clear()
            if self._alarm is not None:
                self._alarm.close()
            if _pollers.get(self._thread) is self:
                del _pollers[self._thread]

    def _drain(self) -> bool:
        if self.closed:
            return False
        self.heartbeat = self.time()
        sources = self._sources
        for fd, mask in self._epoll.poll(0, _BATCH):
            source = sources.get(fd)
            if source is not None:
                try:
                    source.on_event(mask)
                except Exception:
                    logger.exception("an event on fd %d could not be handled", fd)
        again = False
        for pump in self._pumps:
            again = pump() or again
        return again

    def _fire(self) -> None:
        self.heartbeat = self.time()
        try:
            self.timers.fire()
        except Exception:
            logger.exception("a timer failed")
            self.timers.fire()


def open_poller() -> Poller:
    """Return the poller of the running event loop; the first call in a loop makes it.

    The caller owns one use of it: `Poller.release` when done. Raises `NoLoopError` outside an event loop.
    """
    poller = find_poller()
    if poller is None:
        poller = Poller(current_backend())
        _pollers[threading.get_ident()] = poller
    poller.acquire()
    return poller


def find_poller() -> Poller | None:
    """Return the poller of the running event loop, or None when none is open in it."""
    poller = _pollers.get(threading.get_ident())
    return poller if poller is not None and poller.backend.is_running() else None
