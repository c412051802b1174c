"""Whose process has ended, and how: for all descendants of the master.

What lives here: `Reaper`. What does not: what is done about it (`generation`). The master is the reaper of its
descendants by the kernel's word, so a worker whose fork server has died is still its child, and as process 1 of a
container it also takes care of the orphans of others.
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
            return f"was killed by signal {-self.status} ({signal.Signals(-self.status).name})"
        return f"ended with status {self.status}"


class Reaper:
    """Collects the ends of processes. `collect` is to be called whenever SIGCHLD has come."""

    def __init__(self) -> None:
        self._exits: dict[int, Exit] = {}
        self._waiting: dict[int, anyio.Event] = {}

    def __repr__(self) -> str:
        return f"<Reaper, {len(self._waiting)} processes waited for>"

    def collect(self) -> None:
        """Note every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._exits[pid] = Exit(os.waitstatus_to_exitcode(status))
            if pid in self._waiting:
                self._waiting.pop(pid).set()

    async def wait(self, pid: int) -> Exit:
        """Wait for the end of ``pid``, a descendant; several may wait for the same."""
        self.collect()
        while pid not in self._exits:
            await self._waiting.setdefault(pid, anyio.Event()).wait()
        return self._exits[pid]

    def kill(self, pid: int, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended: its number may belong to a stranger by now."""
        self.collect()
        if pid not in self._exits:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass


def adopt_descendants() -> None:
    """Make this process the parent of its descendants' orphans (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        logger.warning("cannot become the reaper of descendants: %s", os.strerror(ctypes.get_errno()))
