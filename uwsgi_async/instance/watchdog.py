"""A blocking call in the event loop, named with its file and line.

What lives here: `Watchdog`, a thread that looks whether the loop still turns. What does not: what the loop does.
The thread sleeps nearly always: it wakes twice in the limit and compares two numbers.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from types import FrameType

from uwsgi_async.fdwait.poller import Poller

logger = logging.getLogger("uwsgi_async")

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep


class Watchdog:
    """Logs the line that has held the event loop for longer than ``limit`` seconds, once each time.

    Start it on the loop's own thread. `stop` ends the thread and waits for it.
    """

    def __init__(self, poller: Poller, limit: float) -> None:
        self._poller = poller
        self._limit = limit
        self._loop_thread = threading.get_ident()
        self._stop = threading.Event()
        self._reported = -1.0
        self._thread = threading.Thread(target=self._watch, name="uwsgi_async watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self._limit / 2):
            beat = self._poller.heartbeat
            # The clock of the loop may be a test's; this thread only asks whether the beat goes on.
            if beat == self._reported:
                continue
            if self._stop.wait(self._limit):
                return
            if self._poller.heartbeat == beat:
                self._reported = beat
                self._report()

    def _report(self) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None:
            return
        line = _app_line(frame)
        if line is not None:
            logger.warning("the event loop has been blocked for %.1f s or more by %s", self._limit, line)


def _app_line(frame: FrameType) -> str | None:
    """Return where the app stands; None when the innermost frames are the event loop's, which just waits."""
    stack = traceback.extract_stack(frame)
    for entry in reversed(stack):
        if entry.filename.startswith(_OURS):
            return None
        if f"{os.sep}asyncio{os.sep}" in entry.filename or f"{os.sep}trio{os.sep}" in entry.filename:
            return None
        if not entry.filename.startswith("<") and entry.filename != __file__:
            return f"{entry.filename}:{entry.lineno} in {entry.name}(): {entry.line}"
    return None
