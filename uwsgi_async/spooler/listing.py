"""What is in a spooler's directory, for people: tasks that wait, run, are for later, are damaged, or were given up.

What lives here: `look` and `Entry`. What does not: what a spooler runs next (`scanning`), how it is shown
(`commands.spool`). Nothing is taken or changed by looking.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from uwsgi_async.errors import StoreError
from uwsgi_async.spooler.claiming import is_locked
from uwsgi_async.spooler.history import LETTER, read_letter, recall
from uwsgi_async.spooler.names import DEAD, is_priority, is_task
from uwsgi_async.spooler.task import Task, decode_task

State = Literal["running", "waiting", "later", "damaged", "dead"]
_ORDER = ("running", "waiting", "later", "damaged", "dead")


@dataclass(frozen=True, slots=True)
class Entry:
    """A task, or what looks like one. ``task``: None when it is damaged or empty. ``size``: bytes of the file.

    ``due``: unix seconds before which it is not run. ``runs``: how many were begun, as far as that is remembered.
    ``error``: what went wrong the last time, or what is wrong with the file; "" is nothing. ``level``: its priority;
    "" is none.
    """

    path: str
    state: State
    task: Task | None
    size: int
    due: float
    runs: int
    error: str
    level: str = ""


def look(directory: str, dead: str | None = None) -> list[Entry]:
    """Return what is there: what runs first, then in the order of its time. ``dead``: where the dead letters are.

    Raises OSError when the directory cannot be read.
    """
    entries = [entry for path, level in _paths(directory) if (entry := _entry(path, level)) is not None]
    place = dead or os.path.join(directory, DEAD)
    if os.path.isdir(place):
        entries += [entry for name in os.listdir(place) if (entry := letter(os.path.join(place, name))) is not None]
    return sorted(entries, key=lambda entry: (_ORDER.index(entry.state), _level(entry), entry.due, entry.path))


def letter(path: str) -> Entry | None:
    """Return a task that was given up; None when there is none at ``path``."""
    if not is_task(os.path.basename(path)) or path.endswith(LETTER):
        return None
    entry = _entry(path, "")
    if entry is None:
        return None
    told = read_letter(path)
    runs = told.partition("\n")[0].removeprefix("runs: ")
    error = told.partition("\n\n")[2].strip() or entry.error
    return Entry(path, "dead", entry.task, entry.size, entry.due, int(runs) if runs.isdigit() else 0, error)


def _level(entry: Entry) -> float:
    return int(entry.level) if entry.level else float("inf")


def _paths(directory: str) -> Iterator[tuple[str, str]]:
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if is_task(name):
            yield path, ""
        elif is_priority(name) and os.path.isdir(path):
            yield from ((os.path.join(path, each), name) for each in os.listdir(path) if is_task(each))


def _entry(path: str, level: str) -> Entry | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        with os.fdopen(os.dup(fd), "rb") as file:
            content = file.read()
        locked = is_locked(fd)
    finally:
        os.close(fd)
    history = recall(path)
    try:
        task = decode_task(content)
    except StoreError as error:
        state: State = "running" if locked else "damaged"
        return Entry(path, state, None, status.st_size, status.st_mtime, history.runs, str(error), level)
    state = "running" if locked else "later" if int(status.st_mtime) > time.time() else "waiting"
    return Entry(path, state, task, status.st_size, status.st_mtime, history.runs, history.error, level)
