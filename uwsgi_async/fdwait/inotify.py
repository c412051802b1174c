"""inotify(7) through ctypes: what happens to files and in directories, as one file descriptor.

What lives here: `Inotify`. What does not: what is made of the events. Why not a library: this is two calls of libc and
a structure; watchfiles brings a thread for each use and waits to collect changes.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

MODIFY: Final = 0x2
ATTRIB: Final = 0x4
CLOSE_WRITE: Final = 0x8
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
OVERFLOW: Final = 0x4000  # events were lost
IGNORED: Final = 0x8000  # the watch is no more
EXCL_UNLINK: Final = 0x4000000  # nothing of files that are deleted already
ISDIR: Final = 0x40000000

_HEAD = struct.Struct("iIII")  # inotify_event without its name
_READ = 256 * 1024  # bytes


class FileEvent(NamedTuple):
    """``watch``: the number that `Inotify.add` gave. ``mask``: bits of this module. ``name``: in the directory."""

    watch: int
    mask: int
    name: bytes


class Inotify:
    """One instance of inotify. Wait with `anyio.wait_readable` on `fd`, then `read`. Close it.

    Raises OSError when the machine has no more of them.
    """

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self._check(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def __repr__(self) -> str:
        return f"<Inotify fd={self.fd}>"

    def add(self, path: str, mask: int) -> int:
        """Watch a path, and return the watch's number. Raises OSError."""
        return self._check(self._libc.inotify_add_watch(self.fd, os.fsencode(path), mask))

    def read(self) -> Iterator[FileEvent]:
        """Return the events that are there; raises BlockingIOError when there is none."""
        return _events(os.read(self.fd, _READ))

    def close(self) -> None:
        os.close(self.fd)

    def _check(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


def _events(data: bytes) -> Iterator[FileEvent]:
    at = 0
    while at < len(data):
        watch, mask, _, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        yield FileEvent(watch, mask, data[at : at + length].rstrip(b"\0"))
        at += length
