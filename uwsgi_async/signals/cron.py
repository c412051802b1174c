"""When a cron is due: uWSGI's rules as pure functions of a moment.

What lives here: `matches`, and `CronClock`, which knows the minutes that a clock has gone through. What does not: who
waits for the next minute (`sources`). Source: core/cron.c (uwsgi_cron_task_needs_execution), uWSGI's page "The uWSGI
cron-like interface".

The minutes are those of the local time. In the hour that daylight saving skips nothing is due, and what is due in the
hour that comes twice is due twice, as in uWSGI. When the clock is set, a minute that it jumps over is made up for, if
it is not long ago, and a cron of a fixed time does not run a second time for a minute that it has had; uWSGI keeps 60
seconds between two runs instead, and so stands still until a clock that was set back has caught up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Protocol

CATCH_UP = 60
"""Minutes of a jump or a standstill, at most, that are made up for."""


class Minute(Protocol):
    """When a cron is due. See `matches`."""

    @property
    def minute(self) -> int: ...
    @property
    def hour(self) -> int: ...
    @property
    def day(self) -> int: ...
    @property
    def month(self) -> int: ...
    @property
    def weekday(self) -> int: ...


def matches(cron: Minute, moment: time.struct_time) -> bool:
    """Whether ``cron`` is due in the minute of ``moment``.

    Of each field: -1 is any value, -n is each that n divides, and else the very value. Months are 1 to 12, days 1 to
    31, weekdays 0 to 7, where 0 and 7 are Sunday. With a day and a weekday that are both not negative, either is
    enough.
    """
    weekday = (moment.tm_wday + 1) % 7
    day, week = _fits(cron.day, moment.tm_mday), _fits(0 if cron.weekday == 7 else cron.weekday, weekday)
    either = cron.day >= 0 and cron.weekday >= 0
    return (
        _fits(cron.minute, moment.tm_min)
        and _fits(cron.hour, moment.tm_hour)
        and _fits(cron.month, moment.tm_mon)
        and (day or week if either else day and week)
    )


def check(cron: Minute) -> None:
    """Raise ValueError when ``cron`` could never be due, or a field is beyond what it can be."""
    for name, low, high in (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7)):
        value = getattr(cron, name)
        if value > high or 0 <= value < low:
            raise ValueError(
                f"expected a {name} from {low} to {high}, -1 for any or -n for each that n divides, but {value} came"
            )


def is_fixed(cron: Minute) -> bool:
    """Whether the time of the day is a certain one, so that twice the same minute would be a mistake."""
    return cron.minute >= 0 and cron.hour >= 0


class CronClock:
    """Goes through the minutes of a clock, each once. ``now``: unix seconds, of a minute that has been gone through."""

    def __init__(self, now: float) -> None:
        self._last = self._highest = int(now // 60)

    def __repr__(self) -> str:
        return f"<CronClock at {time.strftime('%F %H:%M', time.localtime(self._last * 60))}>"

    def seconds_left(self, now: float) -> float:
        """Return the seconds until the next minute, at most 60; 0.0 when there is one to go through."""
        minute = int(now // 60)
        return 0.0 if minute != self._last else (minute + 1) * 60 - now

    def due(self, now: float, crons: Sequence[Minute]) -> Iterator[int]:
        """Yield the indices of the crons that are due by ``now``, each once, and take these minutes as gone through."""
        minutes = self._minutes(int(now // 60))
        moments = [(minute > self._highest, time.localtime(minute * 60)) for minute in minutes]
        self._last = int(now // 60)
        # A clock that was set back by more than that was wrong before, not now.
        back = self._highest - self._last
        self._highest = max(self._last, self._highest) if back <= CATCH_UP else self._last
        for index, cron in enumerate(crons):
            if any(matches(cron, moment) and (first or not is_fixed(cron)) for first, moment in moments):
                yield index

    def _minutes(self, minute: int) -> range:
        gone = minute - self._last
        if gone == 0:
            return range(0)
        return range(self._last + 1, minute + 1) if 0 < gone <= CATCH_UP else range(minute, minute + 1)


def _fits(wanted: int, value: int) -> bool:
    return value % -wanted == 0 if wanted < 0 else value == wanted
