"""The file that keeps a queue between two runs (option ``queue-store``), and its journal beside it.

What lives here: `QueueStore`. What does not: what is in the files (`queue`, `journal`). The file is real uWSGI's own.
The journal is there while an instance runs, and after one that was killed; the next one finishes by it what was
begun, so that the file is whole whenever the instance ended. One instance at a time uses the file: it is locked with
flock(2), which also ends with the last process.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat

from uwsgi_async.errors import StoreError
from uwsgi_async.state.journal import Journal
from uwsgi_async.state.memory import Memory

logger = logging.getLogger("uwsgi_async")

_PIECE = 1 << 20  # bytes that are read at once
_BLOCK = 512  # bytes, the unit of st_blocks


class QueueStore:
    """The two open files. ``slots``, ``journal``: their memory, to be closed by the queue."""

    def __init__(self, path: str, slots: Memory, journal: Memory) -> None:
        self.path = path
        self.slots = slots
        self._journal = journal

    @classmethod
    def open(cls, path: str, length: int, journal_length: int) -> QueueStore:
        """Open the files, or make new ones of so many bytes. Raises `StoreError` when they cannot be used."""
        slots = _open(path, length)
        try:
            return cls(path, slots, _open(_journal_path(path), journal_length))
        except BaseException:
            slots.close()
            raise

    def __repr__(self) -> str:
        return f"<QueueStore {self.path}>"

    def prepare(self, slots: int, blocksize: int) -> Journal:
        """Return the journal, for a queue of this shape.

        Raises `StoreError` for one of another shape; the files are closed then.
        """
        journal = Journal(self._journal)
        if not journal.is_blank and not journal.is_of(slots, blocksize):
            journal.close()
            self.slots.close()
            raise StoreError(
                f"queue-store: {_journal_path(self.path)} is not the journal of a queue of {slots} slots of "
                f"{blocksize} bytes: give the sizes that it was made with (options queue and queue-blocksize), or "
                f"move it and {self.path} away"
            )
        journal.initialize(slots, blocksize)
        return journal

    def check(self, fault: str | None) -> None:
        """Raise `StoreError` when there is a fault, in words."""
        if fault is not None:
            raise StoreError(f"queue-store: {self.path} is damaged: {fault}; move it away to begin with an empty queue")

    def sync(self) -> None:
        """Write the queue to the disk. It blocks; an error is logged."""
        try:
            os.fdatasync(self.slots.fd)
        except OSError as error:
            logger.error("queue-store: %s cannot be written to the disk: %s", self.path, error.strerror)

    def finish(self, *, clean: bool) -> None:
        """The end of the instance. ``clean``: the journal is not needed any more."""
        self.sync()
        if clean:
            try:
                os.unlink(_journal_path(self.path))
            except FileNotFoundError:
                pass


def _journal_path(path: str) -> str:
    return f"{path}.journal"


def _open(path: str, length: int) -> Memory:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"queue-store: {path} cannot be opened: {error.strerror}") from error
    try:
        _lock(fd, path)
        _allocate(fd, path, length)
        return Memory(fd)
    except BaseException:
        os.close(fd)
        raise


def _lock(fd: int, path: str) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StoreError(
            f"queue-store: {path} is used by another instance, or by workers of one that was killed and that are still "
            f"finishing their requests: wait for its end, or give another file"
        ) from None


def _allocate(fd: int, path: str, length: int) -> None:
    """See to it that the file has its length, and its place on the disk: a full disk later would kill processes."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"queue-store: {path} is not a regular file")
    if status.st_size not in (0, length) and not (status.st_size < length and _is_blank(fd)):
        raise StoreError(
            f"queue-store: expected {path} to have {length} bytes, but it has {status.st_size}: give the sizes that it "
            f"was made with (options queue and queue-blocksize), or move it away"
        )
    disk = os.fstatvfs(fd)
    missing, free = length - status.st_blocks * _BLOCK, disk.f_bavail * disk.f_frsize
    try:
        if missing > free:  # asked first: the attempt would fill the disk before it fails
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.posix_fallocate(fd, 0, length)
    except OSError as error:
        os.ftruncate(fd, status.st_size)
        raise StoreError(
            f"queue-store: {path} needs {missing} more bytes on its disk, which has {free}: {error.strerror}"
        ) from error


def _is_blank(fd: int) -> bool:
    """Whether the file is nothing but zeros: a process was killed while it made it, and nothing was in it yet."""
    position = 0
    while data := os.pread(fd, _PIECE, position):
        if any(data):
            return False
        position += len(data)
    return True
