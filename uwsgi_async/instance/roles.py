"""What the processes of an instance are for, besides serving: who has which row of the scoreboard.

What lives here: `Role` and `roles`. What does not: what a process does (`worker`, `spoolerprocess`), who keeps it
(`keeper`), which treats all of them alike.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from uwsgi_async.options.mules import programs
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

    @property
    def alone(self) -> bool:
        """Whether one process of it ends before the next one begins: a mule often is what there may be only one of."""
        return self.kind == "mule"


def workers(options: Options) -> list[Role]:
    """Return the roles of the workers."""
    return [Role("worker", number, number) for number in range(1, options.process.processes + 1)]


def others(options: Options) -> list[Role]:
    """Return the roles of all processes that are no workers; they sit behind those."""
    mules = [("mule", number, "") for number in range(1, len(mule_programs(options)) + 1)]
    spoolers = [("spooler", number, path) for number, path in enumerate(spooler_paths(options), 1)]
    first = options.process.processes + 1
    both: list[tuple[Kind, int, str]] = [*mules, *spoolers]  # type: ignore[list-item]
    return [Role(kind, number, seat, path) for seat, (kind, number, path) in enumerate(both, first)]


def role_at(options: Options, seat: int) -> Role:
    """Return who has a row of the scoreboard."""
    return [*workers(options), *others(options)][seat - 1]


def mule_programs(options: Options) -> tuple[str, ...]:
    """Return what each mule runs; "" is the hook for messages."""
    return programs(options.mules, options.configuration.read)


def spooler_paths(options: Options) -> Sequence[str]:
    """Return the directory of each spooler's process."""
    spooling = options.spooler
    return [os.path.realpath(path) for path in spooling.spooler for _ in range(spooling.spooler_processes)]


def cores_of(options: Options, role: Role) -> int:
    """Return how much one process of a role does at once."""
    match role.kind:
        case "spooler":
            return options.spooler.spooler_cores
        case "mule":
            return 1
    return options.cores.cores


def mercy_of(options: Options, role: Role) -> tuple[float, str]:
    """Return the seconds after which a process of a role that was told to end is killed, and the option's name."""
    return (
        (options.mules.mule_reload_mercy, "mule-reload-mercy")
        if role.kind == "mule"
        else (options.mercy, "reload-mercy")
    )


def is_cheap(options: Options, role: Role) -> bool:
    """Return whether a process of a role only runs when there is something to do."""
    return role.kind == "spooler" and options.spooler.spooler_cheap
