"""How long to wait before a process that has died is started again: not at all, or ever longer.

What lives here: `Backoff`, which decides and does nothing. What does not: the processes (`keeper`, `spawning`).
"""

from __future__ import annotations

SHORT_LIFE = 1.0
"""Seconds; a process that dies sooner is not replaced at once."""

_FIRST = 0.1  # seconds; doubled each time


class Backoff:
    """Counts the short lives in a row. ``longest``: the pause that it comes to in the end, in seconds; 0 = no pause."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._pause = 0.0

    def __repr__(self) -> str:
        return f"<Backoff {self._pause:g} s of {self._longest:g} s>"

    def next(self, lived: float) -> float:
        """Return the seconds to wait after a life of ``lived`` seconds."""
        self._pause = 0.0 if lived > SHORT_LIFE else min(max(2 * self._pause, _FIRST), self._longest)
        return self._pause
