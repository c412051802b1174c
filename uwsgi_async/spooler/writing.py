"""How a task gets onto the disk: whole, synced, and only then under its name.

What lives here: `write_task`. What does not: its bytes (`task`), who reads it (`claiming`). The file has no name while
it is written (O_TMPFILE), so whoever dies in the middle leaves nothing, and no server ever sees a part of a task. Where
the file system has no such files it has a name that no server takes for a task's.

Without sync a small task is written under its name at once, by one write(2), which takes two thirds of the time. Who
reads it meanwhile finds it empty, and waits for its end; who dies between the two calls leaves an empty file, which is
no task.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import cache
from typing import Any, Final

from uwsgi_async.errors import SpoolError
from uwsgi_async.spooler.names import new_name, temporary_name, unique_name
from uwsgi_async.spooler.task import SPECIAL, UNIQUE, Task, check, due, encode_plain, encode_task, priority

_MODE: Final = 0o600
_NEW: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
_SMALL: Final = 4096  # bytes: of a page, of which everybody sees all or nothing
_OUR_FDS: Final = "/proc/self/fd"
_NO_ANONYMOUS_FILES: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})


def write_task(directory: str, task: Task, *, sync: bool = True) -> str:
    """Put a task into a spooler's directory and return the path of its file. Blocks for the disk.

    ``sync``: when False, it is not waited for the disk: a crash of the machine may lose the task. When a task of the
    same ``spooler_unique`` is there, nothing is written, and the path is that one's. Raises ValueError for what no task
    can hold, `SpoolError` when the system refuses; then nothing is left.
    """
    content = encode_task(task)
    try:
        if not SPECIAL.isdisjoint(task.fields):
            return _write_special(directory, task, content, sync)
        path = _join(directory, new_name())
        # A body's size is only told by the file's: a part of one would look like a task.
        if sync or task.body or len(content) > _SMALL:
            _put(path, content, 0, sync)
        else:
            _put_at_once(path, content)
    except OSError as error:
        raise _refused(directory, error) from error
    return path


def write_plain(directory: str, fields: dict[Any, Any]) -> str | None:
    """Do what `write_task` does without sync, in the short way of most tasks; None: it takes the long one.

    ``fields``: as an app gives them. Raises `SpoolError`.
    """
    content = encode_plain(fields)
    if content is None or len(content) > _SMALL:
        return None
    path = _join(directory, new_name())
    try:
        _put_at_once(path, content)
    except OSError as error:
        raise _refused(directory, error) from error
    return path


def _refused(directory: str, error: OSError) -> SpoolError:
    return SpoolError(f"unable to spool job in {directory}: {error.strerror}")


def _write_special(directory: str, task: Task, content: bytes, sync: bool) -> str:
    """Write a task that says itself when, where or how often it is to be run, and return its path."""
    check(task)
    when, level, unique = due(task), priority(task), task.fields.get(UNIQUE)
    name = new_name() if unique is None else unique_name(unique)
    path = _join(_sub_directory(directory, level, sync) if level else directory, name)
    try:
        _put(path, content, when, sync)
    except FileExistsError:
        if unique is None:
            raise
    return path


def _join(directory: str, name: str) -> str:
    """As os.path.join, in a tenth of the time."""
    return directory + name if directory.endswith("/") else f"{directory}/{name}"


def _put_at_once(path: str, content: bytes) -> None:
    """Write a file under its name. Raises OSError; then it is gone."""
    fd = os.open(path, _NEW, _MODE)
    try:
        if os.write(fd, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


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
        fd = os.open(temporary, _NEW, _MODE)
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
