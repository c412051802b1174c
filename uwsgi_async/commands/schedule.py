"""``uwsgi-async spool schedule``: what is due when, of one or several spoolers, for people or as JSON.

What lives here: how it is shown. What does not: what is due (`spooler.schedule`), the other subcommands (`spool`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from typing import Any, Final

from uwsgi_async.commands.table import age, columns, printable
from uwsgi_async.commands.tasktext import fields_of, last_line_of
from uwsgi_async.spooler.listing import look
from uwsgi_async.spooler.schedule import Due, Why, schedule

_HEAD: Final = ("NEXT RUN", "IN", "WHY", "RUNS", "PRIO", "TASK")
_REASONS: Final[dict[Why, str]] = {
    "running": "runs now",
    "waiting": "waits for its turn",
    "at": "at this time",
    "again": "tried again",
    "forever": "again and again",
}
_CLOCK: Final = "%Y-%m-%d %H:%M:%S"


def render(directories: Sequence[str], now: float) -> str:
    """Return a table for each directory, in local time. ``now``: unix seconds. Raises OSError."""
    return "\n\n".join(_of_directory(directory, schedule(look(directory)), now) for directory in directories)


def render_json(directories: Sequence[str], now: float) -> str:
    """Return one list for all directories, the soonest first. Raises OSError."""
    coming = [(directory, due) for directory in directories for due in schedule(look(directory))]
    coming.sort(key=lambda each: each[1].when)
    return json.dumps([_told(directory, due, now) for directory, due in coming], indent=2)


def _of_directory(directory: str, coming: Sequence[Due], now: float) -> str:
    rows = columns([_HEAD, *(_cells(due, now) for due in coming)]) if coming else "no tasks"
    return f"{printable(directory)}\n{rows}"


def _cells(due: Due, now: float) -> tuple[str, ...]:
    entry = due.entry
    when = _clock(due.when) if due.when else "now"
    left = age(due.when - now) if due.when else "-"
    parts = [os.path.basename(entry.path), "" if entry.task is None else fields_of(entry.task)]
    if error := last_line_of(entry.error):
        parts.append(f"({error})")
    return when, left, _REASONS[due.why], str(entry.runs or "-"), entry.level or "-", "  ".join(filter(None, parts))


def _clock(when: float) -> str:
    """Return local time; of a time that no clock shows its seconds."""
    try:
        return time.strftime(_CLOCK, time.localtime(when))
    except (OverflowError, ValueError, OSError):
        return str(int(when))


def _told(directory: str, due: Due, now: float) -> dict[str, Any]:
    entry = due.entry
    fields = {} if entry.task is None else entry.task.fields
    return {
        "spooler": directory,
        "task": entry.path,
        "why": due.why,
        "when": due.when or None,
        "seconds": max(due.when - now, 0.0) if due.when else 0.0,
        "runs": entry.runs,
        "priority": int(entry.level) if entry.level else None,
        "error": entry.error,
        "fields": {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in fields.items()},
    }
