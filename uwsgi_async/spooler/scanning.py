"""What is in a spooler's directory now, and in which order it is to be run.

What lives here: `scan`, and `Found`, its answer. What does not: whether a task may be run (`claiming`). Only
sub-directories whose name is a number are looked into, the lowest first, and before what has no priority. In real uWSGI
that needs ``spooler-ordered``, and without it such tasks are never run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import Final

from uwsgi_async.spooler.names import is_ours, is_priority, is_task, is_temporary, version_key

_ABANDONED: Final = 3600.0  # seconds after which a file without its name belongs to a writer that has died


@dataclass(slots=True)
class Found:
    """``tasks``: paths in the order to be run. ``due``: when the first of those that wait for their time is to be run,
    in unix seconds. ``levels``: the sub-directories. ``strangers``: names of what is no task."""

    tasks: list[str] = field(default_factory=list)
    due: float = inf
    levels: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)


def scan(directory: str, *, ordered: bool = False) -> Found:
    """Look at a spooler's directory. ``ordered``: as ``spooler-ordered`` has it; else as the file system tells.

    Raises OSError when it cannot be read.
    """
    found = Found()
    levels: list[str] = []
    tasks = list(_look(directory, found, levels))
    for level in sorted(levels, key=int):
        path = os.path.join(directory, level)
        found.levels.append(path)
        with suppress(FileNotFoundError):
            found.tasks += _in_order(path, list(_look(path, found)), ordered)
    found.tasks += _in_order(directory, tasks, ordered)
    return found


def level_of(directory: str, path: str) -> float:
    """Return the priority of a task by its path; infinity is none."""
    place = os.path.dirname(path)
    return inf if place == directory else int(os.path.basename(place))


def _in_order(place: str, names: list[str], ordered: bool) -> list[str]:
    if ordered:
        names.sort(key=version_key)
    return [f"{place}/{name}" for name in names]


def _look(place: str, found: Found, levels: list[str] | None = None) -> Iterator[str]:
    """Yield the names of the tasks that may be run now. ``levels``: gets the names of sub-directories."""
    now = time.time()
    with os.scandir(place) as entries:
        for entry in entries:
            name = entry.name
            if is_task(name):
                with suppress(FileNotFoundError):
                    when = int(entry.stat(follow_symlinks=False).st_mtime)
                    if when <= now:
                        yield name
                    elif when < found.due:
                        found.due = when
            elif levels is not None and is_priority(name) and entry.is_dir(follow_symlinks=False):
                levels.append(name)
            elif is_temporary(name):
                _remove_abandoned(entry, now)
            elif not is_ours(name):
                found.strangers.append(os.path.join(place, name))


def _remove_abandoned(entry: os.DirEntry[str], now: float) -> None:
    with suppress(FileNotFoundError):
        if entry.stat(follow_symlinks=False).st_ctime < now - _ABANDONED:
            os.unlink(entry.path)
