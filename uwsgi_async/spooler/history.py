"""What is remembered of a task from run to run: how often it was run, and what went wrong the last time.

What lives here: `History`, a small file beside the task; and the letter beside a task that was given up. What does not:
what is decided by it (`decide`). The file is written before a run, too, so that a task which kills its process counts.
Real uWSGI takes no notice of it. It is not synced: a crash of the machine may forget a count, and no task.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

from uwsgi_async.spooler.names import history_name, temporary_name

LETTER: Final = ".txt"
_LONGEST: Final = 64 * 1024  # characters of a traceback


@dataclass(frozen=True, slots=True)
class History:
    """``runs``: how many were begun. ``error``: of the last one that ended; "" is none."""

    runs: int = 0
    error: str = ""


def recall(path: str) -> History:
    """Return the history of the task at ``path``; a new one when there is none, or it is damaged."""
    try:
        with open(_beside(path), encoding="utf-8") as file:
            values = json.load(file)
        return History(int(values["runs"]), str(values["error"]))
    except (OSError, ValueError, KeyError, TypeError):
        return History()


def remember(path: str, history: History) -> None:
    """Write the history of the task at ``path``. Raises OSError."""
    _replace(_beside(path), json.dumps(asdict(history)))


def forget(path: str) -> None:
    """Remove the history of the task at ``path``, if there is one."""
    with suppress(FileNotFoundError):
        os.unlink(_beside(path))


def write_letter(path: str, history: History) -> None:
    """Say beside a task that is given up why it is, for people. ``path``: where the task will be. Raises OSError."""
    _replace(path + LETTER, f"runs: {history.runs}\n\n{history.error[-_LONGEST:]}\n")


def read_letter(path: str) -> str:
    """Return why the task at ``path`` was given up; "" when nobody has said so."""
    try:
        with open(path + LETTER, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _beside(path: str) -> str:
    place, name = os.path.split(path)
    return os.path.join(place, history_name(name))


def _replace(path: str, text: str) -> None:
    place, name = os.path.split(path)
    temporary = os.path.join(place, temporary_name(name))
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.rename(temporary, path)
