"""How a task gets onto the disk: whole, synced, and only then under its name.

What lives here: `write_task`. What does not: its bytes (`task`), who reads it (`claiming`). The file has no name while
it is written (O_TMPFILE), so whoever dies in the middle leaves nothing, and no server ever sees a part of a task. Where
the file system has no such files it has a name that no server takes for a task's.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import cache
from typing import Final

from uwsgi_async.errors import SpoolError
from uwsgi_async.spooler.names import new_name, temporary_name, unique_name
from uwsgi_async.spooler.task import UNIQUE, Task, check, due, encode_task, priority

_MODE: Final = 0o600
_OUR_FDS: Final = "/proc/self/fd"
_NO_ANONYMOUS_FILES: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


def write_task(directory: str, task: Task, *, sync: bool = True) -> str:
    """Put a task into a spooler's directory and return the path of its file. Blocks for the disk.

    ``sync``: when False, it is not waited for the disk: a crash of the machine may lose the task. When a task of the
    same ``spooler_unique`` is there, nothing is written, and the path is that one's. Raises ValueError for what no task
    can hold, `SpoolError` when the system refuses; then nothing is left.
    """
    check(task)
    content, when, level = encode_task(task), due(task), priority(task)
    unique = task.fields.get(UNIQUE)
    name = new_name() if unique is None else unique_name(unique)
    try:
        place = _sub_directory(directory, level, sync) if level else directory
        path = os.path.join(place, name)
        _put(path, content, when, sync)
    except FileExistsError:
        if unique is None:
            raise
    except OSError as error:
        raise SpoolError(f"unable to spool job in {directory}: {error.strerror}") from error
    return path


def _sub_directory(directory: str, level: str, sync: bool) -> str:
    place = os.path.join(directory, level)
    try:
        os.mkdir(place)
    except FileExistsError:
        return place
    if sync:
        _sync_directory(directory)
    return place


def _put(path: str, content: bytes, when: int, sync: bool) -> None:
    """Write a file and give it its name. Raises FileExistsError when the name is taken."""
    place, name = os.path.split(path)
    fd = _open_anonymous(place)
    temporary = None
    if fd is None:
        temporary = os.path.join(place, temporary_name(name))
        fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _MODE)
    try:
        _write(fd, content)
        if when:
            os.utime(fd, (when, when))
        if sync:
            os.fsync(fd)
        if temporary is None:
            # With a dir_fd, which an absolute path does not need, Python calls linkat(2), which follows the link.
            os.link(f"{_OUR_FDS}/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
        else:
            os.link(temporary, path)
    finally:
        os.close(fd)
        if temporary is not None:
            os.unlink(temporary)
    if sync:
        _sync_name(path)


def _open_anonymous(place: str) -> int | None:
    """Return a file without a name; None where there are none."""
    if not _can_link():
        return None
    try:
        return os.open(place, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, _MODE)
    except OSError as error:
        if error.errno in _NO_ANONYMOUS_FILES and os.path.isdir(place):
            return None
        raise


@cache
def _can_link() -> bool:
    """Return whether a file without a name could get one."""
    return os.path.isdir(_OUR_FDS)


def _write(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def _sync_name(path: str) -> None:
    try:
        _sync_directory(os.path.dirname(path))
    except OSError:
        # The caller will be told that there is no task, so there must be none.
        with suppress(FileNotFoundError):
            os.unlink(path)
        raise


def _sync_directory(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
