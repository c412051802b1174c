"""What is due when: the tasks of a directory in the order of their next runs, and why each is run then. No I/O.

What lives here: `schedule` and `Due`. What does not: reading the directory (`listing`), when a task that fails is run
again (`decide`), how it is shown (`commands.schedule`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from uwsgi_async.spooler.listing import Entry
from uwsgi_async.spooler.task import due

Why = Literal["running", "waiting", "at", "again", "forever"]


@dataclass(frozen=True, slots=True)
class Due:
    """The next run of a task.

    ``when``: unix seconds, before which it is not run; 0.0 is now. ``why``: it runs; it waits for a free process; it
    was written with this time (``at``); it was run and is to be run again, because it asked for it, has failed, or was
    no task of any function; or it is to be run again and again (`spoolforever`).
    """

    entry: Entry
    when: float
    why: Why


def schedule(entries: Iterable[Entry]) -> list[Due]:
    """Return the next run of each task that has one, the soonest first.

    ``entries``: as `listing.look` gives them. What is damaged or was given up has no next run.
    """
    coming = [_due(entry) for entry in entries if entry.task is not None and entry.state in _SCHEDULED]
    return sorted(coming, key=lambda each: each.when)  # stable: of those that are due now, urgent ones come first


_SCHEDULED = ("running", "waiting", "later")


def _due(entry: Entry) -> Due:
    assert entry.task is not None
    if entry.state == "running":
        return Due(entry, 0.0, "running")
    if entry.state == "waiting":
        return Due(entry, 0.0, "waiting")
    if entry.task.forever:
        return Due(entry, entry.due, "forever")
    return Due(entry, entry.due, "at" if int(entry.due) == _asked_for(entry) else "again")


def _asked_for(entry: Entry) -> int:
    """Return the unix second that a task says itself; 0: none, or nothing that makes sense."""
    assert entry.task is not None
    try:
        return due(entry.task)
    except ValueError:
        return 0
