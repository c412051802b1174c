"""Who runs a task: whoever has the lock on its file.

What lives here: `claim`, `ClaimedTask`, and `peek` for those who only look. What does not: what is done with a claimed
task (`runner`), and which one is next (`scanning`, `decide`).

The lock is one of an open file (F_OFD_SETLK). It excludes the locks of processes that real uWSGI takes, and they it.
A lock of a process would be dropped when any descriptor of the file is closed in the process, by the app or by another
core, and would not hold between two cores. The kernel frees ours when the process dies, as long as no child has the
descriptor; so children that are forked close it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from dataclasses import dataclass
from typing import Final, Literal

from uwsgi_async.errors import StoreError
from uwsgi_async.spooler.task import UNIQUE, Task, decode_task

Why = Literal["busy", "gone", "early", "empty", "damaged", "foreign"]

_FLOCK: Final = "hhqqi0q"
_LOCK: Final = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_TO_CLAIM: Final = os.O_RDWR | _FLAGS
_YOUNG: Final = 60.0  # seconds in which real uWSGI may still write an empty file
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR})

_held: dict[str, ClaimedTask] = {}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file cannot be run now.

    ``why``: somebody else runs or writes it; it is gone; ``due`` (unix seconds) has not come; it is empty, perhaps for
    a moment; it is damaged; or it is no file of ours. ``reason``: in words, for the last two.
    """

    why: Why
    reason: str = ""
    due: float = 0.0


class ClaimedTask:
    """A task that nobody else runs, until `remove`, `release` or `move` is called; one of them must be."""

    __slots__ = ("_fd", "path", "task")

    def __init__(self, fd: int, path: str, task: Task) -> None:
        self._fd = fd
        self.path = path
        self.task = task
        _held[path] = self

    def __repr__(self) -> str:
        return f"<ClaimedTask {self.path}{'' if self._fd >= 0 else ', let go'}>"

    @property
    def name(self) -> str:
        """The name of its file."""
        return self.path.rpartition("/")[2]

    def remove(self) -> None:
        """Delete the task: it is done."""
        try:
            # A name that may come again may be another task's by now, if somebody has deleted this one.
            if UNIQUE not in self.task.fields or os.fstat(self._fd).st_nlink:
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        finally:
            self.abandon()

    def release(self, due: float | None = None) -> None:
        """Leave it to whoever comes next. ``due``: unix seconds; nobody runs it before. None: it stays as it is."""
        try:
            if due is not None:
                os.utime(self._fd, (due, due))
        finally:
            self.abandon()

    def move(self, path: str) -> None:
        """Give it another name, in the same file system, and let it go. Raises OSError; then it is let go, too."""
        try:
            os.rename(self.path, path)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let it go as it is; does nothing when it is let go already."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            _held.pop(self.path, None)
            os.close(fd)


def claim(path: str, *, early: bool = False) -> ClaimedTask | Refusal:
    """Take a task, or say why not. ``early``: also before its time.

    Raises OSError for what is the machine's fault, such as too many open files.
    """
    try:
        fd = os.open(path, _TO_CLAIM)
    except OSError as error:
        return _cannot_open(error)
    try:
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _LOCK)
        except BlockingIOError:
            os.close(fd)
            return Refusal("busy")
        content = _read(fd, early)
        if isinstance(content, Refusal):
            os.close(fd)
            return content
        return ClaimedTask(fd, path, decode_task(content))
    except StoreError as error:
        os.close(fd)
        return Refusal("damaged", str(error))
    except BaseException:
        os.close(fd)
        raise


def peek(path: str) -> Task | None:
    """Return a task without taking it; None when there is none, somebody else has it, or it is damaged."""
    held = _held.get(path)
    if held is not None:
        return held.task
    try:
        fd = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError:
        return None
    try:
        if is_locked(fd) or not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return decode_task(_whole(fd))
    except (OSError, StoreError):
        return None
    finally:
        os.close(fd)


def is_free(path: str) -> bool:
    """Return whether a file is there that has something in it and that nobody writes or runs; it is not changed.

    Nobody who waits for the end of writing is told of this look.
    """
    try:
        fd = os.open(path, os.O_RDONLY | _FLAGS)
    except OSError:
        return False
    try:
        return os.fstat(fd).st_size > 0 and not is_locked(fd)
    finally:
        os.close(fd)


def is_locked(fd: int) -> bool:
    """Return whether another open file has a lock on the file: somebody writes or runs it."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _LOCK)
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def _cannot_open(error: OSError) -> Refusal:
    if error.errno in _GONE:
        return Refusal("gone")
    if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
        return Refusal("foreign", "it is no regular file")
    if error.errno in (errno.EACCES, errno.EPERM):
        return Refusal("foreign", "this process may not read and write it")
    raise error


def _read(fd: int, early: bool) -> bytes | Refusal:
    """Return the content of a file that is locked, when its time has come; with ``early`` also before."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return Refusal("foreign", "it is no regular file")
    if not status.st_nlink:  # somebody has run it between our open and our lock
        return Refusal("gone")
    when, size = int(status.st_mtime), status.st_size
    if when > time.time() and not early:
        return Refusal("early", due=when)
    if not size:
        old = time.time() - status.st_mtime > _YOUNG
        return Refusal("damaged", "it is empty") if old else Refusal("empty")
    return _whole(fd, size)


def _whole(fd: int, size: int = 65536) -> bytes:
    content = os.read(fd, size + 1)
    if len(content) <= size:
        return content
    parts = [content]
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _after_fork() -> None:
    """In a child: the locks are the parent's alone."""
    for held in list(_held.values()):
        held.abandon()


os.register_at_fork(after_in_child=_after_fork)
