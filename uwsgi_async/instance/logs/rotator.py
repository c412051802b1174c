"""When the log is rotated and reopened: by its size, by files that are touched, when somebody has moved it.

What lives here: `Rotator`, which looks twice a second, where uWSGI's master does once. What does not: how (`logfile`),
on whose word besides (`instance.master`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Final

import anyio

from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.options.loggers import LoggerOptions

_LOOK: Final = 0.5  # seconds


class Touches:
    """Tells when one of some files was made, changed or removed."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._seen = {path: _changed(path) for path in paths}

    def any(self) -> bool:
        """Whether there was anything since the last call."""
        now = {path: _changed(path) for path in self._seen}
        touched, self._seen = now != self._seen, now
        return touched


class Rotator:
    """Looks after the log of an instance."""

    def __init__(self, logs: ProcessLogs, options: LoggerOptions) -> None:
        self._logs = logs
        self._rotate = Touches(options.touch_logrotate)
        self._reopen = Touches(options.touch_logreopen)
        self._reopened: Callable[[], None] = lambda: None

    async def run(self, reopened: Callable[[], None] | None = None) -> None:
        """Look until cancelled. ``reopened``: called when the other processes have to open the log again."""
        if reopened is not None:
            self._reopened = reopened
        while True:
            await anyio.sleep(_LOOK)
            self.look()

    def look(self) -> None:
        """Do what is due."""
        rotate, reopen = self._rotate.any(), self._reopen.any()
        if rotate or self._logs.is_full():
            self.rotate()
        elif reopen:
            self.reopen()
        elif self._logs.follow():
            self._reopened()

    def rotate(self) -> None:
        """Rename the log file and begin another."""
        self._logs.rotate()
        self._reopened()

    def reopen(self) -> None:
        """Open the log file again."""
        self._logs.reopen()
        self._reopened()


def _changed(path: str) -> int | None:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None
