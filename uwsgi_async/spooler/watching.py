"""News of a spooler's directory, the moment they happen.

What lives here: `DirectoryWatch`. What does not: inotify's own calls (`fdwait.inotify`), looking at all of the
directory (`scanning`), which goes on beside, because a network file system tells no news.

A file that is linked or moved into the directory is whole. One that is created there is written by real uWSGI: it is
looked at, found locked or empty, and looked at again when it is closed. No other end of writing counts: each try to run
a task ends in one.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable

import anyio

from uwsgi_async.fdwait.inotify import (
    CLOSE_WRITE,
    CREATE,
    EXCL_UNLINK,
    IGNORED,
    ISDIR,
    MOVED_TO,
    OVERFLOW,
    FileEvent,
    Inotify,
)
from uwsgi_async.spooler.names import is_priority, is_task

logger = logging.getLogger("uwsgi_async")

_MASK = CLOSE_WRITE | CREATE | MOVED_TO | EXCL_UNLINK


class DirectoryWatch:
    """Tells which tasks have come. To be used in one event loop, in ``with``; raises OSError when it cannot be."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._inotify = Inotify()
        self._places: dict[int, str] = {}
        self._watched: set[str] = set()
        self._unfinished: set[str] = set()

    def __repr__(self) -> str:
        return f"<DirectoryWatch of {self._directory}>"

    def watch(self, levels: Iterable[str]) -> bool:
        """Watch the directory, and these sub-directories; return whether any was not watched. Raises OSError."""
        fresh = [place for place in (self._directory, *levels) if place not in self._watched]
        for place in fresh:
            self._places[self._inotify.add(place, _MASK)] = place
            self._watched.add(place)
        return bool(fresh)

    def close(self) -> None:
        self._inotify.close()

    def note_unfinished(self, path: str) -> None:
        """Tell of this file when it is closed: somebody writes it, or seems to."""
        self._unfinished.add(path)

    def forget_unfinished(self) -> None:
        """Wait for no file any more: the whole directory has been looked at."""
        self._unfinished.clear()

    async def news(self) -> tuple[list[str], bool]:
        """Wait until something happens; return the tasks, and whether the whole directory must be looked at."""
        while True:
            try:
                events = list(self._inotify.read())
            except BlockingIOError:
                await anyio.wait_readable(self._inotify.fd)
                continue
            tasks: dict[str, None] = {}
            other = False
            for event in events:
                if event.mask & IGNORED:
                    self._watched.discard(self._places.pop(event.watch, ""))
                path = self._task(event)
                if path:
                    tasks[path] = None
                else:
                    other = other or bool(event.mask & (OVERFLOW | IGNORED)) or self._is_new_level(event)
            if tasks or other:
                return list(tasks), other
            await anyio.lowlevel.checkpoint()

    def _task(self, event: FileEvent) -> str:
        """Return the path of the task that an event tells of; "" when it tells of none."""
        name = os.fsdecode(event.name)
        place = self._places.get(event.watch)
        if place is None or not is_task(name):
            return ""
        path = f"{place}/{name}"
        if event.mask & (CREATE | MOVED_TO):
            return path
        if path in self._unfinished:
            self._unfinished.discard(path)
            return path
        return ""

    def _is_new_level(self, event: FileEvent) -> bool:
        return bool(event.mask & ISDIR) and is_priority(os.fsdecode(event.name))
