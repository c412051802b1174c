"""Whose process has ended, and how: for all descendants of the master.

What lives here: `Reaper`, `Child`, `Exit`. What does not: what is done about it (`keeper`, `spawning`). The master is
the reaper of its descendants by the kernel's word, so a worker whose fork server has died is still its child, and as
process 1 of a container it also takes care of the orphans of others.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
from dataclasses import dataclass

import anyio

logger = logging.getLogger("uwsgi_async")

_PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>
_MOST_STRANGERS = 1000


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process has ended. ``status``: as of `os.waitstatus_to_exitcode`, negative for a signal."""

    status: int
    words: str = ""

    @property
    def orderly(self) -> bool:
        """Whether it ended by itself and without an error."""
        return self.status == 0 and not self.words

    def __str__(self) -> str:
        if self.words:
            return self.words
        if self.status < 0:
            return f"was killed by signal {-self.status} ({_signal_name(-self.status)})"
        return f"ended with status {self.status}"


class Child:
    """One process that was adopted. ``exit``: None as long as it lives."""

    def __init__(self, pid: int, reaper: Reaper) -> None:
        self.pid = pid
        self.exit: Exit | None = None
        self._reaper = reaper
        self._ended = anyio.Event()

    def __repr__(self) -> str:
        return f"<Child {self.pid} {self.exit or 'lives'}>"

    async def wait(self) -> Exit:
        """Wait for its end; several may wait."""
        self._reaper.collect()
        if self.exit is None:
            await self._ended.wait()
        assert self.exit is not None
        return self.exit

    def kill(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended: its number may belong to a stranger by now."""
        self._reaper.collect()
        if self.exit is None:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def end(self, end: Exit) -> None:
        """Note its end. For the reaper."""
        self.exit = end
        self._ended.set()


class Reaper:
    """Collects the ends of processes. `collect` is to be called whenever SIGCHLD has come.

    A process that has ended is forgotten at once, because the kernel gives its number to others. Only of strangers the
    last ends are kept: a worker may be dead before its first message is read.
    """

    def __init__(self) -> None:
        self._children: dict[int, Child] = {}
        self._strangers: dict[int, Exit] = {}

    def __repr__(self) -> str:
        return f"<Reaper, {len(self._children)} processes waited for>"

    def adopt(self, pid: int) -> Child:
        """Return the child with this process id, which may have ended already."""
        self.collect()
        child = self._children.get(pid)
        if child is None:
            child = Child(pid, self)
            end = self._strangers.pop(pid, None)
            if end is not None and not _exists(pid):  # else the number is in use again, by the one that is meant
                child.end(end)
            else:
                self._children[pid] = child
        return child

    def collect(self) -> None:
        """Note every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            end = Exit(os.waitstatus_to_exitcode(status))
            child = self._children.pop(pid, None)
            if child is not None:
                child.end(end)
                continue
            self._strangers[pid] = end
            while len(self._strangers) > _MOST_STRANGERS:
                del self._strangers[next(iter(self._strangers))]


def adopt_descendants() -> None:
    """Make this process the parent of its descendants' orphans (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        logger.warning("cannot become the reaper of descendants: %s", os.strerror(ctypes.get_errno()))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a realtime signal
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number >= signal.SIGRTMIN else "unknown"
