"""The chapter of the spooler: tasks that are files, run later by a process of their own (option ``spooler``).

What lives here: the functions that need a spooler. What does not: those that are always there (`spooling`), the
directory (`spooler`). Source: plugins/python/uwsgi_pymodule.c; uWSGI's page "The uWSGI Spooler".
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio.to_thread

from uwsgi_async.cores.portal import in_event_loop, wait_for
from uwsgi_async.errors import NotConfiguredError
from uwsgi_async.spooler.claiming import peek
from uwsgi_async.spooler.names import is_task
from uwsgi_async.spooler.running import Arguments, arguments
from uwsgi_async.spooler.table import Spoolers
from uwsgi_async.spooler.task import BODY, SPOOLER, Task
from uwsgi_async.spooler.writing import write_plain, write_task

__all__ = [
    "send_to_spooler",
    "set_spooler_frequency",
    "spool",
    "spooler_get_task",
    "spooler_jobs",
    "spooler_pid",
    "spooler_pids",
]

OPTION = "spooler"
"""The option without which the functions are not in the `uwsgi` module."""

_spoolers: Spoolers | None = None


@contextmanager
def using(spoolers: Spoolers) -> Iterator[None]:
    """Let the functions of this chapter use ``spoolers`` while the block runs."""
    global _spoolers
    before, _spoolers = _spoolers, spoolers
    try:
        yield
    finally:
        _spoolers = before


def is_configured() -> bool:
    """Return whether the instance that runs has a spooler, or writes for one."""
    return _spoolers is not None


def current() -> Spoolers | None:
    """Return the spoolers of the instance that runs; None when it has none, and where none runs."""
    return _spoolers


def directories() -> tuple[bytes, ...] | None:
    """Return ``uwsgi.spoolers``: the directory of each spooler's process; None when the instance has no spooler."""
    return None if _spoolers is None else tuple(map(os.fsencode, _spoolers.directories))


async def spool(task: Mapping[Any, Any] | None = None, /, **fields: Any) -> bytes:
    """Write a task, and return the path of its file, when it is on the disk, whole.

    ``task`` and ``fields`` are what its function gets: keys and values are str (as UTF-8), bytes, or numbers. Special
    are ``body`` (any size; all others together have 65535 bytes), ``spooler`` (a directory, or the number of one in
    ``uwsgi.spoolers``), ``at`` (unix seconds), ``priority`` (a whole number, 0 is the most urgent); and, only here,
    ``spooler_unique`` (only one task of this value waits or runs), ``spooler_timeout`` (seconds) and
    ``spooler_retries``. Outside of an instance ``spooler`` is needed. Raises ValueError for what cannot be a task,
    `SpoolError` when the system refuses; then nothing is left. Cancelled, it may have written the task.
    """
    if path := _write_plain(task, fields):
        return os.fsencode(path)
    directory, made, sync = _prepare(task, fields)
    if not sync:
        return os.fsencode(write_task(directory, made, sync=False))
    return os.fsencode(await anyio.to_thread.run_sync(partial(write_task, directory, made)))


send_to_spooler = spool


def _spool_blocking(task: Mapping[Any, Any] | None = None, /, **fields: Any) -> bytes:
    if path := _write_plain(task, fields):
        return os.fsencode(path)
    directory, made, sync = _prepare(task, fields)
    if sync and in_event_loop():
        return wait_for(partial(spool, task, **fields), name="spool")
    return os.fsencode(write_task(directory, made, sync=sync))


BLOCKING: dict[str, Callable[..., Any]] = {"spool": _spool_blocking, "send_to_spooler": _spool_blocking}
"""The functions that sync code calls in another form, by their names."""


def spooler_jobs() -> list[bytes]:
    """Return the paths of the tasks of the first spooler, also those for later, but none that has a priority."""
    directory = _the_spoolers().directories[0]
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if is_task(entry.name) and entry.is_file(follow_symlinks=False)]
    paths = (os.path.join(directory, name) for name in names)
    return [os.fsencode(path) for path in paths if os.access(path, os.R_OK | os.W_OK)]


def spooler_get_task(path: str | bytes, /) -> Arguments | None:
    """Return what the function of a task gets, with the path as its name.

    None when there is no such file, another process has it, or it is no task.
    """
    text = os.fsdecode(path)
    task = peek(text)
    return None if task is None else arguments(task, text)


def spooler_pid() -> int:
    """Return the process id of the first spooler; 0 when it does not run."""
    return next(iter(_the_spoolers().pids()), 0)


def spooler_pids() -> list[int]:
    """Return the process ids of the spoolers, in the order of their numbers; 0 for one that does not run."""
    return _the_spoolers().pids()


def set_spooler_frequency(seconds: int, /) -> bool:
    """Let all spoolers look at their whole directory every so many seconds, from their next look on. Always True.

    0: as the option says. New tasks are run at once in any case. Raises ValueError for a negative number.
    """
    seconds = operator.index(seconds)
    if not 0 <= seconds < 1 << 31:
        raise ValueError(f"set_spooler_frequency: expected seconds from 0, but {seconds} came")
    _the_spoolers().set_frequency(seconds)
    return True


def _write_plain(task: Mapping[Any, Any] | None, fields: Mapping[str, Any]) -> str | None:
    """Go the short way of most tasks that are not synced; None: this one takes the long way."""
    if _spoolers is None or _spoolers.options.spooler_sync or fields or type(task) is not dict:
        return None
    return write_plain(_spoolers.directories[0], task)


def _prepare(task: Mapping[Any, Any] | None, fields: Mapping[str, Any]) -> tuple[str, Task, bool]:
    """Return the directory, the task, and whether to wait for the disk."""
    if fields or type(task) is not dict:
        if task is not None and not isinstance(task, Mapping):
            raise ValueError("The argument of spooler callable must be a dictionary")
        task = {**fields, **(task or {})}
    made = make_task(task)
    if _spoolers is not None:
        return _spoolers.directory_of(made), made, _spoolers.options.spooler_sync
    directory = os.fsdecode(made.fields.get(SPOOLER, b""))
    if not directory:
        raise NotConfiguredError(
            "this instance has no spooler: give it one with the option spooler, such as spooler = /var/spool/app; "
            "outside of an instance say which one: spooler='/var/spool/app'"
        )
    return directory, made, True


def make_task(fields: Mapping[Any, Any]) -> Task:
    """Return a task of what a caller has handed in. Raises ValueError for what cannot be in one."""
    made = {
        key if type(key) is bytes else _bytes(key, key): value if type(value) is bytes else _bytes(value, key)
        for key, value in fields.items()
    }
    return Task(made, made.pop(BODY, b""))


def _bytes(value: Any, key: object) -> bytes:
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value).encode()
    try:
        if value is not None and not isinstance(value, bool):
            return bytes(value)
    except TypeError:
        pass
    raise ValueError(
        f"spooler callable dictionary must contains only bytes: {key!r} has {type(value).__name__}; "
        "str, bytes and numbers can be in a task, anything else must be encoded before, such as by json.dumps"
    )


def _the_spoolers() -> Spoolers:
    if _spoolers is None:
        raise NotConfiguredError(
            "this instance has no spooler: give it one with the option spooler, such as spooler = /var/spool/app"
        )
    return _spoolers
