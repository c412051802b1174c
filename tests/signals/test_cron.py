"""Cron: uWSGI's rules against a model, against cronsim, and against clocks that are set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from cronsim import CronSim
from hypothesis import assume, given
from hypothesis import strategies as st

from uwsgi_async.signals.cron import CATCH_UP, CronClock, check, matches
from uwsgi_async.signals.declare import Cron

START = 1_700_000_000 // 3600 * 3600
HOUR = 60


def cron(minute: int = -1, hour: int = -1, day: int = -1, month: int = -1, weekday: int = -1) -> Cron:
    return Cron(1, minute, hour, day, month, weekday)


def field(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high) | st.integers(-high, -1)


crons = st.builds(cron, field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
moments = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1))


def due_by_the_source(c: Cron, moment: datetime) -> bool:
    """A model: core/cron.c in words of a datetime, each field alone."""
    values = {
        "minute": moment.minute, "hour": moment.hour, "day": moment.day, "month": moment.month,
        "weekday": moment.isoweekday() % 7,
    }  # fmt: skip

    def good(name: str) -> bool:
        wanted = getattr(c, name)
        if wanted < 0:
            return values[name] in range(0, 61, -wanted)
        return values[name] == (wanted % 7 if name == "weekday" else wanted)

    if not (good("minute") and good("hour") and good("month")):
        return False
    if c.day < 0 or c.weekday < 0:
        return good("day") and good("weekday")
    return good("day") or good("weekday")


@given(crons, moments)
def test_a_cron_is_due_as_the_model_says(c: Cron, moment: datetime) -> None:
    assert matches(c, moment.timetuple()) == due_by_the_source(c, moment)


@given(crons)
def test_what_can_be_is_not_refused(c: Cron) -> None:
    check(c)


@pytest.mark.parametrize(
    "c", [cron(minute=60), cron(hour=24), cron(day=0), cron(day=32), cron(month=0), cron(month=13), cron(weekday=8)]
)
def test_what_no_clock_shows_is_refused(c: Cron) -> None:
    with pytest.raises(ValueError, match="expected a"):
        check(c)


def same_words(low: int, high: int) -> st.SearchStrategy[tuple[int, str]]:
    """A number of uWSGI's and the word of crontab(5) that means the same: the very value, or any."""
    return st.integers(low, high).map(lambda value: (value, str(value))) | st.just((-1, "*"))


def steps(low: int, high: int) -> st.SearchStrategy[tuple[int, str]]:
    """For fields that begin at 0 a step means the same in both."""
    return same_words(low, high) | st.integers(2, 30).map(lambda step: (-step, f"*/{step}"))


@given(steps(0, 59), steps(0, 23), same_words(1, 31), same_words(1, 12), same_words(0, 7), moments)
def test_where_crontab_can_say_the_same_cronsim_says_the_same(
    minute: tuple[int, str],
    hour: tuple[int, str],
    day: tuple[int, str],
    month: tuple[int, str],
    weekday: tuple[int, str],
    moment: datetime,
) -> None:
    fields = (minute, hour, day, month, weekday)
    assume(day[0] <= 28 or month[0] < 0)  # cronsim refuses days that a month does not have
    moment = moment.replace(second=0, microsecond=0)
    c = cron(*(number for number, _ in fields))
    sim = CronSim(" ".join(word for _, word in fields), moment - timedelta(minutes=1))
    assert matches(c, moment.timetuple()) == (next(sim) == moment)


# --- a clock ------------------------------------------------------------------------------------------------


def fired(clock: CronClock, minutes: list[int], c: Cron) -> list[int]:
    """Return at which of the minutes the cron was due, once for each time."""
    return [minute for minute in minutes for _ in clock.due(START + minute * 60, [c])]


def test_each_minute_is_gone_through_once_however_often_one_looks() -> None:
    clock = CronClock(START)
    assert [len(list(clock.due(START + second, [cron()]))) for second in (0, 59, 60, 60.5, 119, 120)] == [
        0,
        0,
        1,
        0,
        0,
        1,
    ]


@contextmanager
def local_time(zone: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


def test_a_minute_that_was_slept_through_is_made_up_for_once() -> None:
    with local_time("UTC"):
        assert fired(CronClock(START), [1, 5], cron(minute=3, hour=START // 3600 % 24)) == [5]
        assert fired(CronClock(START), [1, 5], cron()) == [1, 5]


def test_what_is_long_ago_is_not_made_up_for() -> None:
    with local_time("UTC"):
        assert fired(CronClock(START), [1, CATCH_UP + 2], cron(minute=3, hour=START // 3600 % 24)) == []


def test_a_clock_that_is_set_back_does_not_run_a_fixed_time_twice() -> None:
    with local_time("UTC"):
        fixed = cron(minute=10, hour=START // 3600 % 24)
        assert fired(CronClock(START), [*range(1, 20), *range(5, 30)], fixed) == [10]


def test_a_clock_that_is_set_back_does_not_stop_what_runs_every_minute() -> None:
    minutes = [1, 2, 3, -40, -39, -38]
    assert fired(CronClock(START), minutes, cron()) == minutes


def test_a_clock_that_was_wrong_by_hours_is_right_afterwards() -> None:
    with local_time("UTC"):
        hour = START // 3600 % 24
        assert fired(CronClock(START), [10 * HOUR, 0, 1, 2, 3], cron(minute=2, hour=hour)) == [2]


BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"


def unix(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp())  # type: ignore[misc]


def times_due(first: int, hours: int, c: Cron) -> int:
    clock = CronClock(first - 60)
    return sum(len(list(clock.due(first + minute * 60, [c]))) for minute in range(hours * 60))


def test_the_hour_that_daylight_saving_skips_has_nothing() -> None:
    with local_time(BERLIN):
        assert times_due(unix(2026, 3, 28, 23), 24, cron(minute=30, hour=2)) == 0
        assert times_due(unix(2026, 3, 28, 23), 24, cron(minute=30, hour=3)) == 1


def test_the_hour_that_comes_twice_is_due_twice_as_in_uwsgi() -> None:
    with local_time(BERLIN):
        assert times_due(unix(2026, 10, 24, 22), 25, cron(minute=30, hour=2)) == 2
        assert times_due(unix(2026, 10, 24, 22), 25, cron(minute=30, hour=4)) == 1


@given(crons, st.lists(st.integers(-200, 200), max_size=30))
def test_whatever_the_clock_does_a_cron_is_only_due_when_a_minute_matches_and_once_a_look(
    c: Cron, jumps: list[int]
) -> None:
    clock, now = CronClock(START), START
    for jump in jumps:
        before, now = now, now + jump * 45
        due = list(clock.due(now, [c]))
        minutes = range(min(before, now) // 60, now // 60 + 1)
        assert due in ([], [0])
        assert not due or any(matches(c, time.localtime(minute * 60)) for minute in minutes)
