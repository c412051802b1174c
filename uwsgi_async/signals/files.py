"""What happens to files and directories, from inotify(7).

What lives here: `FileMonitors`. What does not: what is raised then (`sources`). Why inotify itself, through ctypes: it
is what uWSGI uses, so a directory tells of its files and nothing is asked again and again; it is one file descriptor
for any event loop, where watchfiles brings a thread for each call and waits to collect changes.

Each path has two watches. The one of its directory tells when it is made, removed or renamed, also when it was not
there at first; the one of the path itself, followed through links, tells what is written to it, and is made again when
another file takes its place. Real uWSGI has only the second, and so goes blind when an editor replaces a file.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from uwsgi_async.signals.sources import Running

logger = logging.getLogger("uwsgi_async")

_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x4, 0x40, 0x80, 0x100, 0x200
_OVERFLOW, _IGNORED = 0x4000, 0x8000
_MASK = _MODIFY | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_PLACE = _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE  # what a directory tells of a monitored name in it
_ANOTHER = _MOVED_TO | _CREATE
_HEAD = struct.Struct("iIII")  # inotify_event without its name
_READ = 64 * 1024


class FileMonitors:
    """Watches paths. To be used in one event loop."""

    def __init__(self) -> None:
        self._fd = -1
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._own: dict[int, list[tuple[str, Running]]] = {}
        self._names: dict[int, list[tuple[bytes, str, Running]]] = {}
        self._added = anyio.Event()

    def __repr__(self) -> str:
        return f"<FileMonitors: {sum(map(len, self._names.values()))}>"

    def add(self, path: str, running: Running) -> None:
        """Watch a path. When that cannot be, it is logged."""
        try:
            path = os.path.abspath(path)
            if self._fd < 0:
                self._fd = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
            parent, name = os.path.split(path)
            if name:
                self._names.setdefault(self._watch(parent), []).append((os.fsencode(name), path, running))
            self._watch_itself(path, running)
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
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._added.set()
            anyio.notify_closing(fd)
            os.close(fd)

    async def changed(self) -> list[Running]:
        """Wait until something has happened; return whom it concerns, each once."""
        while True:
            if self._fd < 0:
                self._added = anyio.Event()
                await self._added.wait()
                continue
            try:
                await anyio.wait_readable(self._fd)
                data = os.read(self._fd, _READ)
            except BlockingIOError:
                continue
            except (anyio.ClosedResourceError, OSError):
                await anyio.lowlevel.checkpoint()
                continue
            return list(dict.fromkeys(self._concerned(data)))

    def _concerned(self, data: bytes) -> Iterator[Running]:
        at = 0
        while at < len(data):
            watch, mask, _, length = _HEAD.unpack_from(data, at)
            name = data[at + _HEAD.size : at + _HEAD.size + length].rstrip(b"\0")
            at += _HEAD.size + length
            if mask & _OVERFLOW:
                yield from (running for named in self._names.values() for _, _, running in named)
            elif mask & _IGNORED:
                self._own.pop(watch, None)
                self._names.pop(watch, None)
            else:
                yield from self._of_event(watch, mask, name)

    def _of_event(self, watch: int, mask: int, name: bytes) -> Iterator[Running]:
        for _, running in self._own.get(watch, ()):
            yield running
        for wanted, path, running in list(self._names.get(watch, ())):
            if wanted == name and mask & _PLACE:
                if mask & _ANOTHER:
                    self._watch_itself(path, running)
                yield running

    def _watch_itself(self, path: str, running: Running) -> None:
        try:
            watch = self._watch(path)
        except FileNotFoundError:  # its directory will tell
            return
        watches = self._own.setdefault(watch, [])
        if (path, running) not in watches:
            watches.append((path, running))

    def _watch(self, path: str) -> int:
        return self._check(self._libc.inotify_add_watch(self._fd, os.fsencode(path), _MASK))

    def _check(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
