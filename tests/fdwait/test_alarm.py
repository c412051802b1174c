"""The alarm of the poller: when it comes, and whose clock counts."""

from __future__ import annotations

import os
import select
import time

import pytest
import trio
import trio.testing

import uwsgi_async
from uwsgi_async.fdwait.alarm import TimerAlarm
from uwsgi_async.fdwait.poller import open_poller

LONG = 20.0  # seconds: a wait that must not be over by itself


class Watched:
    """An alarm, how often it has come, and a way to wait for it without an event loop."""

    def __init__(self) -> None:
        self.came: list[float] = []
        self.alarm = TimerAlarm(time.monotonic, lambda: self.came.append(time.monotonic()))

    def ready(self, seconds: float) -> bool:
        return bool(select.select([self.alarm.fd], [], [], seconds)[0])


@pytest.fixture
def watched():
    watched = Watched()
    yield watched
    watched.alarm.close()


def test_it_comes_when_its_time_has_come_and_not_before(watched):
    when = time.monotonic() + 0.01
    watched.alarm.set(when)
    assert watched.ready(LONG)
    watched.alarm.on_event(select.EPOLLIN)
    assert len(watched.came) == 1
    assert watched.came[0] >= when


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_a_time_that_has_gone_by_comes_at_once(watched, seconds):
    watched.alarm.set(time.monotonic() + seconds)
    assert watched.ready(LONG)


def test_the_last_time_given_counts(watched):
    watched.alarm.set(time.monotonic())
    watched.alarm.set(time.monotonic() + 1000)
    assert not watched.ready(0)


def test_none_takes_it_back(watched):
    watched.alarm.set(time.monotonic() + 0.001)
    watched.alarm.set(None)
    assert not watched.ready(0.01)


def test_an_alarm_that_was_set_anew_in_the_same_batch_of_events_does_not_come(watched):
    watched.alarm.set(time.monotonic())
    assert watched.ready(LONG)
    watched.alarm.set(time.monotonic() + 1000)
    watched.alarm.on_event(select.EPOLLIN)
    assert watched.came == []


@pytest.mark.anyio
async def test_the_poller_closes_it():
    poller = open_poller()
    fd = poller._alarm.fd
    os.fstat(fd)
    poller.release()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_under_a_clock_of_a_test_it_is_that_clock_which_counts():
    async def main() -> float:
        poller = open_poller()
        try:
            began = trio.current_time()
            await uwsgi_async.async_sleep(3600)
            return trio.current_time() - began
        finally:
            poller.release()

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == pytest.approx(3600)
