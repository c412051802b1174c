"""What happens to files and directories, from inotify(7).

What lives here: `FileMonitors`. What does not: what is raised then (`sources`), the calls of inotify, and why it is
that (`fdwait.inotify`). It is what uWSGI uses, so a directory tells of its files.

Each path has two watches. The one of its directory tells when it is made, removed or renamed, also when it was not
there at first; the one of the path itself, followed through links, tells what is written to it, and is made again when
another file takes its place. Real uWSGI has only the second, and so goes blind when an editor replaces a file.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import anyio

from uwsgi_async.fdwait.inotify import (
    ATTRIB,
    CREATE,
    DELETE,
    IGNORED,
    MODIFY,
    MOVED_FROM,
    MOVED_TO,
    OVERFLOW,
    FileEvent,
    Inotify,
)

if TYPE_CHECKING:
    from uwsgi_async.signals.sources import Running

logger = logging.getLogger("uwsgi_async")

_MASK = MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE
_PLACE = MOVED_FROM | MOVED_TO | CREATE | DELETE  # what a directory tells of a monitored name in it
_ANOTHER = MOVED_TO | CREATE


class FileMonitors:
    """Watches paths. To be used in one event loop."""

    def __init__(self) -> None:
        self._inotify: Inotify | None = None
        self._own: dict[int, list[tuple[str, Running]]] = {}
        self._names: dict[int, list[tuple[bytes, str, Running]]] = {}
        self._added = anyio.Event()

    def __repr__(self) -> str:
        return f"<FileMonitors: {sum(map(len, self._names.values()))}>"

    def add(self, path: str, running: Running) -> None:
        """Watch a path. When that cannot be, it is logged."""
        try:
            path = os.path.abspath(path)
            if self._inotify is None:
                self._inotify = Inotify()
            parent, name = os.path.split(path)
            if name:
                watch = self._inotify.add(parent, _MASK)
                self._names.setdefault(watch, []).append((os.fsencode(name), path, running))
            self._watch_itself(self._inotify, path, running)
        except ValueError:
            logger.error("signal %d: %r is no path", running.source.signal, path)
        except OSError as error:
            hint = "; raise fs.inotify.max_user_watches" if error.errno == errno.ENOSPC else ""
            logger.error("signal %d: %s cannot be monitored: %s%s", running.source.signal, path, error.strerror, hint)
        self._added.set()

    def clear(self) -> None:
        """Watch nothing any more."""
        self.close()
        self._own, self._names = {}, {}

    def close(self) -> None:
        if self._inotify is not None:
            inotify, self._inotify = self._inotify, None
            self._added.set()
            anyio.notify_closing(inotify.fd)
            inotify.close()

    async def changed(self) -> list[Running]:
        """Wait until something has happened; return whom it concerns, each once."""
        while True:
            inotify = self._inotify
            if inotify is None:
                self._added = anyio.Event()
                await self._added.wait()
                continue
            try:
                await anyio.wait_readable(inotify.fd)
                events = inotify.read()
            except BlockingIOError:
                continue
            except (anyio.ClosedResourceError, OSError):
                await anyio.lowlevel.checkpoint()
                continue
            return list(dict.fromkeys(self._concerned(inotify, events)))

    def _concerned(self, inotify: Inotify, events: Iterable[FileEvent]) -> Iterator[Running]:
        for event in events:
            if event.mask & OVERFLOW:
                yield from (running for named in self._names.values() for _, _, running in named)
            elif event.mask & IGNORED:
                self._own.pop(event.watch, None)
                self._names.pop(event.watch, None)
            else:
                yield from self._of_event(inotify, event)

    def _of_event(self, inotify: Inotify, event: FileEvent) -> Iterator[Running]:
        for _, running in self._own.get(event.watch, ()):
            yield running
        for wanted, path, running in list(self._names.get(event.watch, ())):
            if wanted == event.name and event.mask & _PLACE:
                if event.mask & _ANOTHER:
                    self._watch_itself(inotify, path, running)
                yield running

    def _watch_itself(self, inotify: Inotify, path: str, running: Running) -> None:
        try:
            watch = inotify.add(path, _MASK)
        except FileNotFoundError:  # its directory will tell
            return
        watches = self._own.setdefault(watch, [])
        if (path, running) not in watches:
            watches.append((path, running))
