"""What becomes of a task after a run. No I/O, no clock.

What lives here: `next_step` and its words. What does not: carrying it out (`runner`), what is remembered from run to
run (`history`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

SPOOL_OK: Final = -2  # the task is done
SPOOL_RETRY: Final = -1  # run it again
SPOOL_IGNORE: Final = 0  # not mine: leave it to another spooler


class Outcome(Enum):
    """How a run went."""

    OK = "ok"
    RETRY = "retry"  # it asks for another run
    IGNORED = "ignored"
    FAILED = "failed"  # an exception, or it took too long


@dataclass(frozen=True, slots=True)
class Patience:
    """How long it is tried again. ``retries``: runs after the first one; None is no limit.

    ``delay``: seconds before the second run, doubled each time up to ``longest``. 0: at the next scan, as in uWSGI;
    ``frequency`` is the seconds until then.
    """

    frequency: float
    retries: int | None = None
    delay: float = 0.0
    longest: float = 3600.0

    @property
    def remembers(self) -> bool:
        """Whether it matters how often a task was run."""
        return self.retries is not None or self.delay > 0


@dataclass(frozen=True, slots=True)
class Done:
    """Delete it."""


@dataclass(frozen=True, slots=True)
class Again:
    """Leave it in the directory, and run it not before ``due`` (unix seconds)."""

    due: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Move it to the dead letters."""


Step = Done | Again | GiveUp


def outcome_of(result: object) -> Outcome:
    """Return what a spooler function's result means, as in uWSGI: whatever is unknown asks for another run."""
    if isinstance(result, int) and not isinstance(result, bool):
        if result == SPOOL_OK:
            return Outcome.OK
        if result == SPOOL_IGNORE:
            return Outcome.IGNORED
    return Outcome.RETRY


def next_step(outcome: Outcome, runs: int, patience: Patience, now: float, *, forever: bool = False) -> Step:
    """Return what to do. ``runs``: how often it has been run, this time included. ``forever``: it may ask for more."""
    if outcome is Outcome.OK:
        return Done()
    if outcome is Outcome.IGNORED or (outcome is Outcome.RETRY and forever):
        return Again(now + patience.frequency)
    if is_worn_out(runs, patience):
        return GiveUp()
    if not patience.delay:
        return Again(now + patience.frequency)
    # The exponent has a bound, so that no number gets too large to be a float.
    return Again(now + min(patience.delay * 2 ** min(runs - 1, 64), patience.longest))


def is_worn_out(runs: int, patience: Patience) -> bool:
    """Return whether a task that was run so often, and is not done, is not to be run again."""
    return patience.retries is not None and runs > patience.retries
