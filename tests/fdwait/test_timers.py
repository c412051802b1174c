"""Timers: order, cancellation, and the one alarm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.fdwait.timers import Timers


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.alarm: float | None = None

    def set_alarm(self, when: float | None) -> None:
        self.alarm = when


def make() -> tuple[Timers, Clock]:
    clock = Clock()
    return Timers(lambda: clock.now, clock.set_alarm), clock


@given(st.lists(st.tuples(st.integers(0, 50), st.booleans())))
def test_what_is_due_fires_in_order_and_what_is_cancelled_never(entries):
    timers, clock = make()
    fired: list[int] = []
    made = [timers.call_later(when, lambda n=n: fired.append(n)) for n, (when, _) in enumerate(entries)]
    for timer, (_, cancelled) in zip(made, entries, strict=True):
        if cancelled:
            timers.cancel(timer)
    while clock.alarm is not None and len(timers):
        clock.now = clock.alarm
        timers.fire()
    expected = sorted((when, n) for n, (when, cancelled) in enumerate(entries) if not cancelled)
    assert fired == [n for _, n in expected]


def test_the_alarm_stands_at_the_earliest_deadline():
    timers, clock = make()
    timers.call_later(5, lambda: None)
    timers.call_later(2, lambda: None)
    timers.call_later(9, lambda: None)
    assert clock.alarm == 2


def test_cancelled_timers_do_not_pile_up():
    timers, _clock = make()
    for _ in range(10_000):
        timers.cancel(timers.call_later(1000, lambda: None))
    assert len(timers._heap) < 200


def test_cancelling_twice_counts_once():
    timers, _clock = make()
    timer = timers.call_later(1, lambda: None)
    timers.cancel(timer)
    timers.cancel(timer)
    assert len(timers) == 0
