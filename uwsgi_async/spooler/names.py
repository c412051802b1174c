"""The names of task files and of what lies beside them. No I/O.

What lives here: how names are made, recognised and put into order. What does not: what is in a file (`task`).
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from functools import cache
from itertools import count
from random import Random
from typing import Final

PREFIX: Final = "uwsgi_spoolfile_on_"
DEAD: Final = "dead-letter"  # the directory of given up tasks, in the spooler's, unless an option says another one
_HISTORY: Final = ".history"
_TEMPORARY: Final = ".uwsgi_async_"

_counter = count(1)
_random = Random()  # of our own: an app may seed the module's
_PART = re.compile(r"(\d+)")


def new_name() -> str:
    """Return a name that no other task has: host, process, number in this process, a random one, the time."""
    now = time.time_ns() // 1000
    number, random = next(_counter), _random.getrandbits(31)
    return f"{_of_this_process()}{number}_{random}_{now // 1_000_000}_{now % 1_000_000}"


def unique_name(key: bytes) -> str:
    """Return the one name of the tasks that must be unique by ``key``."""
    return f"{PREFIX}unique_{hashlib.sha256(key).hexdigest()}"


def temporary_name(name: str) -> str:
    """Return what a file is called before it has its own name; no server takes it for a task."""
    return f"{_TEMPORARY}{name}"


def history_name(name: str) -> str:
    """Return the name of the file that remembers how a task's runs went. Real uWSGI takes no notice of it."""
    return f".{name}{_HISTORY}"


def is_task(name: str) -> bool:
    return name.startswith(PREFIX)


def is_priority(name: str) -> bool:
    """Return whether it is the name of a sub-directory for tasks of one priority."""
    return name.isascii() and name.isdigit()


def is_temporary(name: str) -> bool:
    """Return whether it is a file that is written, or whose writer died."""
    return name.startswith(_TEMPORARY)


def is_ours(name: str) -> bool:
    """Return whether it is something that we keep beside the tasks."""
    return name == DEAD or (name.startswith(".") and name.endswith(_HISTORY)) or is_temporary(name)


def version_key(name: str) -> tuple[str | int, ...]:
    """Return what names are ordered by with ``spooler-ordered``: numbers in them count as numbers (versionsort)."""
    return tuple(int(part) if index % 2 else part for index, part in enumerate(_PART.split(name)))


@cache
def _of_this_process() -> str:
    """Return what the names of all tasks that this process writes begin with."""
    host = socket.gethostname().replace("/", "_")
    return f"{PREFIX}{host}_{os.getpid()}_"


def _after_fork() -> None:
    """In a child: it is another process."""
    _of_this_process.cache_clear()
    _random.seed()


os.register_at_fork(after_in_child=_after_fork)
