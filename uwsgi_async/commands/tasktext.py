"""What a task holds, as text in a line that no task can break or use to steer a terminal. Nothing else lives here."""

from __future__ import annotations

from typing import Final

from uwsgi_async.commands.table import printable, size
from uwsgi_async.spooler.task import BODY, Task

_LONGEST: Final = 60  # characters of one key, value or error


def fields_of(task: Task) -> str:
    """Return keys and values in a row, and the size of the body."""
    pairs = [f"{text_of(key)}={text_of(value)}" for key, value in task.fields.items()]
    if task.body:
        pairs.append(f"{text_of(BODY)}={size(len(task.body))}")
    return " ".join(pairs)


def text_of(data: bytes) -> str:
    """Return a key or a value; of a long one the beginning."""
    return _shortened(printable(data.decode("utf-8", "replace")))


def last_line_of(error: str) -> str:
    """Return the line of a traceback that tells the error; "" when there is none."""
    lines = error.strip().splitlines()
    return _shortened(printable(lines[-1].strip())) if lines else ""


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
