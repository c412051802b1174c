"""A log file that several processes append to, which is renamed and opened again while they do.

What lives here: `Logfile`. What does not: when it is rotated (`rotator`), other loggers (`loggers`).

Nothing is lost on the way, because every process has the file open for appending and writes whole lines: a line is in
the file before it was renamed or in the one after. Each process opens the new file itself, when it is told to or when
it sees that the path leads to another file (`follow`). One that is late writes to the renamed file until then.
After a truncation (logrotate's copytruncate) appending goes on at the new end.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from dataclasses import dataclass, replace

from uwsgi_async.instance.logs.loggers import STREAMS, Complain, FdLogger, no_complaint

_MODE = 0o640  # uWSGI's


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What becomes of a file that has grown.

    ``maxsize``: bytes beyond which it is renamed; 0 = never. ``backupname``: the new name; None: the old one with the
    time in unix seconds behind it. ``mode``: of the files; None: 0640 for new ones, others keep theirs.
    """

    maxsize: int = 0
    backupname: str | None = None
    mode: int | None = None


class Logfile(FdLogger):
    """A file at ``path``, opened for appending, made if it is not there.

    ``inherited``: a descriptor of the log as it is up to now, which is used while the path cannot be opened; None: then
    OSError is raised. ``late``: do not even try before
    `reopen`. ``check``: look at the size after each line; without,
    somebody calls `rotate`.
    """

    __slots__ = ("_check", "_rotation", "_streams", "is_late", "path")

    def __init__(
        self,
        path: str,
        rotation: Rotation,
        complain: Complain = no_complaint,
        *,
        inherited: int | None = None,
        late: bool = False,
        check: bool = False,
    ) -> None:
        self.path = os.path.abspath(path)
        self._rotation = rotation
        self._check = check
        self._streams: tuple[int, ...] = ()
        self.is_late = late
        try:
            fd = os.dup(inherited) if late and inherited is not None else self._open()
        except OSError:
            if inherited is None:
                raise
            fd = os.dup(inherited)
        super().__init__(fd, complain, owned=True)

    def __repr__(self) -> str:
        return f"<Logfile {self.path!r} fd={self.fd}, {self.lost} lines lost>"

    def write(self, line: bytes, /) -> None:
        super().write(line)
        if self._check and self.is_full():
            try:
                self.rotate()
            except OSError as error:
                self._complain(f"the log file {self.path!r} cannot be renamed and grows on: {error.strerror}")

    def take_streams(self) -> None:
        """Let standard output and error be this file, now and when it is reopened."""
        super().take_streams()
        self._streams = STREAMS

    def size(self) -> int:
        """Return the bytes in the file; 0 for what is no file on a disk."""
        found = os.fstat(self.fd)
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def truncate(self) -> None:
        """Throw away what is in the file."""
        if stat.S_ISREG(os.fstat(self.fd).st_mode):
            os.ftruncate(self.fd, 0)

    def chown(self, uid: int, gid: int) -> None:
        """Give the file to a user and a group; -1 is whoever has it. Raises OSError."""
        os.fchown(self.fd, uid, gid)

    def reopen(self) -> None:
        """Open the path again; lines go there from now on. Raises OSError, and then goes on with what is open."""
        fresh = self._open()
        try:
            os.dup2(fresh, self.fd, inheritable=False)
            for stream in self._streams:
                os.dup2(fresh, stream, inheritable=True)
        finally:
            os.close(fresh)

    def follow(self) -> bool:
        """Reopen if another process has put a new file at the path; return whether it did. Raises OSError.

        A path that leads nowhere is left alone: whoever has renamed the file may be about to make the next one.
        """
        if self._is_here() or not os.path.exists(self.path):
            return False
        self.reopen()
        return True

    def is_full(self) -> bool:
        """Whether it has grown beyond the limit."""
        return 0 < self._rotation.maxsize < self.size()

    def rotate(self) -> None:
        """Rename the file and begin another; if another process was faster, only go to its new file.

        Raises OSError when that cannot be; then the file grows, and is not `is_full` any more.
        """
        if not stat.S_ISREG(os.fstat(self.fd).st_mode):
            return
        rotation, self._rotation = self._rotation, replace(self._rotation, maxsize=0)
        # Locked through a description of its own: processes that were forked share that of ``self.fd``.
        lock = os.open(self.path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._is_here():
                name = rotation.backupname or _free_name(f"{self.path}.{int(time.time())}")
                line = f"{time.ctime()} - logsize: {self.size()}, triggering rotation to {name}...\n"
                super().write(line.encode())
                os.rename(self.path, name)
            self.reopen()
        finally:
            os.close(lock)
        self._rotation = rotation

    def _is_here(self) -> bool:
        """Whether the path leads to the file that is open."""
        try:
            found = os.stat(self.path)
        except OSError:
            return False
        ours = os.fstat(self.fd)
        return (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino)

    def _open(self) -> int:
        mode = self._rotation.mode
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY, _MODE)
        if mode is not None and stat.S_IMODE(os.fstat(fd).st_mode) != mode:
            try:
                os.fchmod(fd, mode)
            except OSError:
                os.close(fd)
                raise
        return fd


def _free_name(path: str) -> str:
    """Return ``path``, or with a number behind it when there is such a file: two rotations within a second."""
    name, number = path, 0
    while os.path.lexists(name):
        number += 1
        name = f"{path}.{number}"
    return name
