"""File descriptors of the app's: `wait_fd_read`, `wait_fd_write`, several of them before one wait, timeouts.

What lives here: `Watches`, the set of descriptors that one waiter watches, `FdSource`, one descriptor with all who
watch it, and `wait_for_fd`, one wait for one descriptor. What does not: the server's own connections, which are
registered once and for all (`cores.connection`); the app's descriptors are registered for one wait, because the app
may close them at any time.

The rules, each with a test in ``tests/fdwait/test_watch.py``:

- A regular file is always ready (epoll refuses it, and so it never blocks).
- A closed or negative fd raises OSError(EBADF) at once.
- An fd that is closed while somebody waits for it ends the wait with OSError(EBADF), within `CHECK_INTERVAL`
  seconds (the kernel tells nobody); an fd that was closed and given out again never wakes those who waited for
  the old one.
- Several waiters may watch one fd: each of them is woken.
- A timeout of None, 0 or less means no timeout, as in uWSGI. Of several timeouts the earliest counts.
- After the wait nothing is watched any more, however it ended.
"""

from __future__ import annotations

import errno
import os
from weakref import WeakKeyDictionary

from uwsgi_async.fdwait.backend import Parker
from uwsgi_async.fdwait.poller import HANGUP, READ, WRITE, Poller, open_poller
from uwsgi_async.fdwait.timers import Timer

CHECK_INTERVAL = 1.0
"""Seconds between two looks whether a watched fd has been closed."""


_sources: WeakKeyDictionary[Poller, dict[int, FdSource]] = WeakKeyDictionary()


class FdSource:
    """One file descriptor of the app's and the `Watches` that watch it.

    ``_watched`` is the number that the epoll knows: a duplicate where the server itself has registered the fd, as
    with the connection of a request.
    """

    __slots__ = ("_check", "_events", "_fd", "_poller", "_waiters", "_watched")

    def __init__(self, poller: Poller, fd: int) -> None:
        self._poller = poller
        self._fd = self._watched = fd
        self._waiters: dict[Watches, int] = {}
        self._events = 0
        self._check: Timer | None = None

    def add(self, waiter: Watches, events: int) -> None:
        """Wake ``waiter`` on ``events``. Raises OSError when the fd cannot be watched."""
        wanted = self._events | events
        if self._events == 0:
            self._register(wanted)
        elif self._is_gone(wanted):
            # The number was closed and given out again: those who waited for the old file must not get the new one.
            self._fail_waiters()
            self._unregister()
            self._register(wanted := events)
        self._events = wanted
        self._waiters[waiter] = self._waiters.get(waiter, 0) | events
        if self._check is None:
            self._check = self._poller.timers.call_later(CHECK_INTERVAL, self._check_open)

    def remove(self, waiter: Watches) -> None:
        """Forget ``waiter``; with the last one the fd is no longer registered."""
        if self._waiters.pop(waiter, None) is not None and not self._waiters:
            self._close()

    def on_event(self, mask: int) -> None:
        for waiter, events in list(self._waiters.items()):
            if mask & (events | HANGUP):
                waiter.wake(self._fd)

    def _is_gone(self, events: int) -> bool:
        try:
            self._poller.modify(self._watched, events)
        except OSError:
            return True
        return False

    def _check_open(self) -> None:
        self._check = None
        if self._is_gone(self._events):
            self._fail_waiters()
            self._close()
        else:
            self._check = self._poller.timers.call_later(CHECK_INTERVAL, self._check_open)

    def _fail_waiters(self) -> None:
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            waiter.fail(OSError(errno.EBADF, f"fd {self._fd} was closed while it was waited for"))

    def _close(self) -> None:
        self._events = 0
        if self._check is not None:
            self._poller.timers.cancel(self._check)
            self._check = None
        self._unregister()
        _sources[self._poller].pop(self._fd, None)

    def _register(self, events: int) -> None:
        try:
            self._poller.register(self._fd, self, events)
        except FileExistsError:
            self._watched = os.dup(self._fd)
            self._poller.register(self._watched, self, events)

    def _unregister(self) -> None:
        self._poller.unregister(self._watched)
        if self._watched != self._fd:
            os.close(self._watched)
            self._watched = self._fd


class Watches:
    """What one waiter (a core, or any task) watches, and how its last wait ended.

    ``ready_fd``: the fd that ended the last wait; -1 after a timeout, and before the first wait.
    ``timed_out``: whether a timeout ended the last wait. ``active``: whether there is anything to wait for.
    """

    __slots__ = (
        "_error",
        "_fds",
        "_parker",
        "_parking",
        "_poller",
        "_timer",
        "_woken",
        "active",
        "ready_fd",
        "timed_out",
    )

    def __init__(self, poller: Poller, parker: Parker) -> None:
        self._poller = poller
        self._parker = parker
        self._fds: dict[int, FdSource | None] = {}
        self._timer: Timer | None = None
        self._parking = False
        self._woken = False
        self._error: OSError | None = None
        self.ready_fd = -1
        self.timed_out = self.active = False

    def __repr__(self) -> str:
        return f"<Watches fds={sorted(self._fds)} timer={self._timer} ready_fd={self.ready_fd}>"

    def add(self, fd: int, *, write: bool, timeout: float | None) -> None:
        """Watch ``fd`` until the next wait has ended.

        ``timeout``: seconds from now; None, 0 and less mean none. Raises OSError(EBADF) for a closed fd.
        """
        if fd < 0:
            raise OSError(errno.EBADF, f"fd {fd} cannot be watched: it must be an open file descriptor")
        sources = _sources.setdefault(self._poller, {})
        source = sources.get(fd) or FdSource(self._poller, fd)
        try:
            source.add(self, WRITE if write else READ)
        except PermissionError:  # epoll refuses regular files: they never block
            self._fds.setdefault(fd, None)
            self.wake(fd)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise OSError(error.errno, f"fd {fd} cannot be watched: {reason}; is it open?") from error
        else:
            sources[fd] = source
            self._fds[fd] = source
        self.active = True
        if timeout is not None and timeout > 0:
            self.set_timeout(timeout)

    def set_timeout(self, seconds: float) -> None:
        """End the next wait in ``seconds`` from now at the latest. An earlier timeout stays."""
        self.active = True
        timers = self._poller.timers
        if self._timer is not None:
            if self._timer.when <= self._poller.time() + seconds:
                return
            timers.cancel(self._timer)
        self._timer = timers.call_later(seconds, self._expire)

    async def wait(self) -> bool:
        """Wait for the first of what is watched; forget all of it, also when cancelled.

        Returns True when an fd is ready (`ready_fd`), False after a timeout. Raises OSError(EBADF) when a watched
        fd was closed meanwhile. Waits for ever when nothing is watched.
        """
        try:
            if not self._woken:
                self._parking = True
                self.ready_fd, self.timed_out = -1, False
                await self._parker.park()
            if self._error is not None:
                raise self._error
            return not self.timed_out
        finally:
            self.clear()

    def clear(self) -> None:
        """Watch nothing any more. `ready_fd` and `timed_out` stay."""
        self._parking = self._woken = self.active = False
        self._error = None
        fds, self._fds = self._fds, {}
        for source in fds.values():
            if source is not None:
                source.remove(self)
        if self._timer is not None:
            self._poller.timers.cancel(self._timer)
            self._timer = None

    def wake(self, fd: int) -> None:
        """Note that ``fd`` is ready. The first one counts."""
        if not self._woken:
            self.ready_fd, self.timed_out = fd, False
            self._end()

    def fail(self, error: OSError) -> None:
        """End the wait with ``error``."""
        if not self._woken:
            self._error = error
            self._end()

    def _expire(self) -> None:
        if not self._woken:
            self.ready_fd, self.timed_out = -1, True
            self._end()

    def _end(self) -> None:
        self._woken = True
        if self._parking:
            self._parking = False
            self._parker.unpark()


async def wait_for_fd(fd: int, *, read: bool = False, write: bool = False, timeout: float | None = None) -> bool:
    """Wait until ``fd`` can be read, or written, or either; False when ``timeout`` seconds are over first.

    In a core, too, it has nothing to do with what the core watches. ``timeout``: None, 0 and less mean none. Raises
    OSError(EBADF) for a closed fd.
    """
    poller = open_poller()
    try:
        watches = Watches(poller, poller.backend.parker())
        try:
            for wanted, is_write in ((read, False), (write, True)):
                if wanted:
                    watches.add(fd, write=is_write, timeout=timeout)
        except OSError:
            watches.clear()
            raise
        return await watches.wait()
    finally:
        poller.release()
