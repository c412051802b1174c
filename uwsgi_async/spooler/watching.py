"""News of a spooler's directory, the moment they happen.

What lives here: `DirectoryWatch`. What does not: inotify's own calls (`fdwait.inotify`), looking at all of the
directory (`scanning`), which goes on beside, because a network file system tells no news.

A file that is linked or moved into the directory is whole. One that is created there is not yet: it is looked at, and
when it is found locked or empty, looked at again when somebody has closed it. The same holds for a task that somebody
else runs, so that it is taken over at once when he dies. Ends of writing are only heard of while there is such a file:
each try to run a task ends in one, also our own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress

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
from uwsgi_async.spooler.claiming import is_free
from uwsgi_async.spooler.names import PREFIX, is_priority

logger = logging.getLogger("uwsgi_async")

_MASK = CREATE | MOVED_TO | EXCL_UNLINK
_TASK = PREFIX.encode()


class DirectoryWatch:
    """Tells which tasks have come. To be used in one event loop, in ``with``; raises OSError when it cannot be."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._inotify = Inotify()
        self._places: dict[int, str] = {}
        self._watched: set[str] = set()
        self._unfinished: set[str] = set()
        self._listening: set[str] = set()  # the places where ends of writing are heard of

    def __repr__(self) -> str:
        return f"<DirectoryWatch of {self._directory}>"

    def watch(self, levels: Iterable[str]) -> bool:
        """Watch the directory, and these sub-directories; return whether any was not watched. Raises OSError."""
        fresh = [place for place in (self._directory, *levels) if place not in self._watched]
        for place in fresh:
            self._hear(place, _MASK)
            self._watched.add(place)
        return bool(fresh)

    def close(self) -> None:
        self._inotify.close()

    def note_unfinished(self, path: str) -> bool:
        """Tell of this file when it is closed by whoever writes or runs it; return whether that has happened already.

        Raises OSError.
        """
        place = os.path.dirname(path)
        if place not in self._listening:
            self._hear(place, _MASK | CLOSE_WRITE)
            self._listening.add(place)
        if is_free(path):
            return True
        self._unfinished.add(path)
        return False

    def forget_unfinished(self) -> None:
        """Wait for no file any more: the whole directory has been looked at. Raises OSError."""
        self._unfinished.clear()
        while self._listening:
            with suppress(FileNotFoundError):
                self._hear(self._listening.pop(), _MASK)

    def _hear(self, place: str, mask: int) -> None:
        """Watch a directory, or hear of something else in one that is watched."""
        self._places[self._inotify.add(place, mask)] = place

    async def news(self) -> tuple[list[str], bool]:
        """Wait until something happens; return the tasks, and whether the whole directory must be looked at.

        A checkpoint also when much has happened already, so that tasks are run while others are written.
        """
        while True:
            await anyio.lowlevel.checkpoint()
            try:
                events = self._inotify.read()
            except BlockingIOError:
                await anyio.wait_readable(self._inotify.fd)
                continue
            tasks, look = self._sort(events)
            if tasks or look:
                return list(tasks), look

    def _sort(self, events: Iterable[FileEvent]) -> tuple[dict[str, None], bool]:
        """Return the tasks that have come, in their order, and whether something else has happened."""
        tasks: dict[str, None] = {}
        look = False
        for watch, mask, name in events:
            if mask & (OVERFLOW | IGNORED):
                look = True
                place = self._places.pop(watch, "")
                self._watched.discard(place)
                self._listening.discard(place)
            elif name.startswith(_TASK):
                path = f"{self._places[watch]}/{os.fsdecode(name)}"
                if mask & (CREATE | MOVED_TO):
                    tasks[path] = None
                elif path in self._unfinished and is_free(path):
                    self._unfinished.discard(path)
                    tasks[path] = None
            elif mask & ISDIR and is_priority(os.fsdecode(name)):
                look = True
        return tasks, look
