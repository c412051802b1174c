"""`Entry`: one option as somebody wrote it, and where: what all sources give and all later steps take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an entry stands. ``line`` counts from 1; 0 where lines mean nothing, as on a command line."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


COMMAND_LINE = Origin("the command line")
ENVIRONMENT = Origin("the environment")


@dataclass(frozen=True, slots=True)
class Entry:
    """``key`` as written, without dashes; ``value``: None when there was none at all, as of ``--master``."""

    key: str
    value: str | None
    origin: Origin
