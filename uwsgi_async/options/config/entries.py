"""`Entry`: one option as somebody wrote it, and where: what all sources give and all later steps take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an entry stands. ``line`` counts from 1; 0 where lines mean nothing, as on a command line.

    ``flag``: how it was typed on a command line, with its dashes; "" anywhere else.
    """

    source: str
    line: int = 0
    flag: str = ""

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


COMMAND_LINE = Origin("the command line")


def of_flag(flag: str) -> Origin:
    """Return the origin of an option that was typed as ``flag``."""
    return Origin(COMMAND_LINE.source, flag=flag)


def of_environment(name: str) -> Origin:
    """Return the origin of what the environment variable ``name`` says."""
    return Origin(f"the environment's {name}")


@dataclass(frozen=True, slots=True)
class Entry:
    """``key`` as written, without dashes; ``value``: None when there was none at all, as of ``--master``."""

    key: str
    value: str | None
    origin: Origin
