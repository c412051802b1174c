"""What the processes of an instance are for, besides serving: who has which row of the scoreboard.

What lives here: `Role` and `roles`. What does not: what a process does (`worker`, `spoolerprocess`), who keeps it
(`keeper`), which treats all of them alike.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from uwsgi_async.options.settings import Options
from uwsgi_async.signals.targets import Kind


@dataclass(frozen=True, slots=True)
class Role:
    """What one process is for. ``number``: from 1 among those of its ``kind``. ``seat``: its row of the scoreboard.

    ``path``: a spooler's directory, absolute and without links; "" of all others.
    """

    kind: Kind
    number: int
    seat: int
    path: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.number}"


def workers(options: Options) -> list[Role]:
    """Return the roles of the workers."""
    return [Role("worker", number, number) for number in range(1, options.process.processes + 1)]


def others(options: Options) -> list[Role]:
    """Return the roles of all processes that are no workers; they sit behind those."""
    first = options.process.processes + 1
    return [Role("spooler", index + 1, first + index, path) for index, path in enumerate(spooler_paths(options))]


def role_at(options: Options, seat: int) -> Role:
    """Return who has a row of the scoreboard."""
    return [*workers(options), *others(options)][seat - 1]


def spooler_paths(options: Options) -> Sequence[str]:
    """Return the directory of each spooler's process."""
    spooling = options.spooler
    return [os.path.realpath(path) for path in spooling.spooler for _ in range(spooling.spooler_processes)]


def cores_of(options: Options, role: Role) -> int:
    """Return how much one process of a role does at once."""
    return options.spooler.spooler_cores if role.kind == "spooler" else options.cores.cores


def is_cheap(options: Options, role: Role) -> bool:
    """Return whether a process of a role only runs when there is something to do."""
    return role.kind == "spooler" and options.spooler.spooler_cheap
