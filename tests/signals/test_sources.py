"""Timers, crons, file monitors and probes: when each raises its signal, by a clock of the test's own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.signals.declare import Cron, FileMonitor, Probe, Timer
from uwsgi_async.signals.probes import connect
from uwsgi_async.signals.sources import Running, Schedule, Sources

pytestmark = pytest.mark.anyio

START = 1_700_000_000 // 3600 * 3600.0


class Bench:
    """Sources by a clock that the test moves."""

    def __init__(self) -> None:
        self.raised: list[int] = []
        self.now = 100.0
        self.offset = START - self.now  # between the two clocks
        self.sources = Sources(self.raised.append, lambda: self.now + self.offset, lambda: self.now)

    def after(self, seconds: float) -> list[int]:
        """What is raised when one looks so many seconds later."""
        self.now += seconds
        self.raised.clear()
        self.sources.look()
        return list(self.raised)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    bench.sources.close()


async def test_a_timer_is_due_after_each_interval(bench: Bench) -> None:
    bench.sources.add(Timer(1, 2.0))
    assert [bench.after(1.0) for _ in range(6)] == [[], [1], [], [1], [], [1]]


async def test_a_timer_does_not_drift_however_late_it_is_noticed(bench: Bench) -> None:
    bench.sources.add(Timer(1, 1.0))
    assert bench.after(1.9) == [1]
    assert bench.after(0.1) == [1]


async def test_a_timer_that_was_slept_through_is_due_once(bench: Bench) -> None:
    bench.sources.add(Timer(1, 1.0))
    assert bench.after(10.5) == [1]
    assert bench.after(0.4) == []
    assert bench.after(0.1) == [1]


async def test_a_timer_does_not_care_about_the_clock_on_the_wall(bench: Bench) -> None:
    bench.sources.add(Timer(1, 10.0))
    bench.offset += 86400
    assert bench.after(9.0) == []
    bench.offset -= 3 * 86400
    assert bench.after(1.0) == [1]


async def test_a_timer_with_iterations_ends(bench: Bench) -> None:
    bench.sources.add(Timer(1, 1.0, 2, "rb_timer"))
    assert [bench.after(1.0) for _ in range(4)] == [[1], [1], [], []]


async def test_a_timer_of_no_seconds_is_never_due(bench: Bench) -> None:
    bench.sources.add(Timer(1, 0.0))
    assert bench.after(1e6) == []


async def test_timers_are_due_in_the_order_of_their_times(bench: Bench) -> None:
    for number, seconds in enumerate((3.0, 1.0, 2.0)):
        bench.sources.add(Timer(number, seconds))
    assert bench.after(3.0) == [1, 2, 0]


async def test_a_reload_does_not_begin_a_timer_anew(bench: Bench) -> None:
    bench.sources.add(Timer(1, 10.0))
    bench.after(6.0)
    bench.sources.restart()
    bench.sources.add(Timer(1, 10.0))
    assert bench.after(4.0) == [1]


async def test_a_reload_ends_a_timer_that_is_no_longer_there_and_begins_a_changed_one(bench: Bench) -> None:
    bench.sources.add(Timer(1, 10.0))
    bench.after(6.0)
    bench.sources.restart()
    bench.sources.add(Timer(1, 5.0))
    assert bench.after(4.5) == []
    assert bench.after(0.5) == [1]


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=5), st.lists(st.floats(0.01, 25.0), max_size=30))
def test_whenever_one_looks_a_timer_has_run_at_most_as_often_as_its_intervals_have_passed(
    intervals: list[float], steps: list[float]
) -> None:
    schedule, now = Schedule(), 0.0
    timers = [Running(Timer(number, seconds)) for number, seconds in enumerate(intervals)]
    for running, seconds in zip(timers, intervals, strict=True):
        schedule.add(running, Timer(running.source.signal, seconds), now)
    for step in steps:
        now += step
        due = schedule.due(now)
        assert len(due) == len(set(map(id, due)))
        for running in due:
            running.runs += 1
        assert schedule.next > now
        assert all(running.runs <= now / seconds + 1e-6 for running, seconds in zip(timers, intervals, strict=True))


# --- crons --------------------------------------------------------------------------------------------------


def every_minute(signal: int = 1) -> Cron:
    return Cron(signal, -1, -1, -1, -1, -1)


async def test_a_cron_that_matches_when_it_is_added_is_due_at_once_and_then_at_each_minute(bench: Bench) -> None:
    bench.after(20.0)
    bench.sources.add(every_minute())
    assert bench.raised == [1]
    assert [bench.after(20.0) for _ in range(6)] == [[], [1], [], [], [1], []]


async def test_a_reload_does_not_run_a_cron_again_in_the_same_minute(bench: Bench) -> None:
    bench.sources.add(every_minute())
    bench.raised.clear()
    bench.sources.restart()
    bench.sources.add(every_minute())
    assert bench.raised == []
    assert bench.after(60.0) == [1]


async def test_a_cron_that_is_added_later_does_not_disturb_the_others(bench: Bench) -> None:
    bench.sources.add(every_minute(1))
    bench.after(59.0)
    bench.now += 1.0
    bench.raised.clear()
    bench.sources.add(every_minute(2))
    assert sorted(bench.raised) == [1, 2]
    assert bench.after(0.5) == []


async def test_what_has_run_is_known(bench: Bench) -> None:
    bench.sources.add(Timer(1, 1.0))
    bench.after(1.0)
    bench.after(1.0)
    (running,) = bench.sources.running
    assert (running.runs, running.last) == (2, START + 2)


# --- files --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def watching(path: Path) -> AsyncIterator[Callable[[], object]]:
    """Monitor a path; the value waits for the next signal and forgets it."""
    raised = anyio.create_memory_object_stream[int](1000)
    sources = Sources(raised[0].send_nowait)
    sources.add(FileMonitor(7, str(path)))

    async def next_signal() -> None:
        with anyio.fail_after(5):
            assert await raised[1].receive() == 7
        await anyio.wait_all_tasks_blocked()
        while raised[1].statistics().current_buffer_used:
            raised[1].receive_nowait()

    with raised[0], raised[1]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sources.run)
            yield next_signal
            tasks.cancel_scope.cancel()
    sources.close()


def write(path: Path) -> None:
    path.write_text("changed")


def touch(path: Path) -> None:
    os.utime(path)


def rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replace(path: Path) -> None:
    other = path.with_name("new")
    other.write_text("new")
    other.replace(path)


@pytest.mark.parametrize("change", [write, touch, rename, replace, Path.unlink])
async def test_whatever_happens_to_a_file_raises_the_signal(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    path.write_text("")
    async with watching(path) as next_signal:
        change(path)
        await next_signal()  # type: ignore[misc]


async def test_a_file_that_is_not_there_yet_raises_the_signal_when_it_comes(tmp_path: Path) -> None:
    async with watching(tmp_path / "file") as next_signal:
        write(tmp_path / "file")
        await next_signal()  # type: ignore[misc]


async def test_a_file_that_was_replaced_is_still_monitored(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    async with watching(path) as next_signal:
        for change in (replace, write, replace, write, Path.unlink, write):
            change(path)
            await next_signal()  # type: ignore[misc]


async def test_a_file_behind_a_link_is_monitored(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "file"
    target.write_text("")
    (tmp_path / "link").symlink_to(target)
    async with watching(tmp_path / "link") as next_signal:
        write(target)
        await next_signal()  # type: ignore[misc]


@pytest.mark.parametrize("change", [write, touch, rename, replace, Path.unlink])
async def test_whatever_happens_in_a_directory_raises_the_signal(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    (directory / "file").write_text("")
    async with watching(directory) as next_signal:
        change(directory / "file")
        await next_signal()  # type: ignore[misc]


async def test_another_file_of_the_directory_raises_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    async with watching(path) as next_signal:
        write(tmp_path / "other")
        write(path)
        await next_signal()  # type: ignore[misc]
    raised: list[int] = []
    sources = Sources(raised.append)
    sources.add(FileMonitor(7, str(path)))
    write(tmp_path / "other")
    with anyio.move_on_after(0.1):
        await sources.run()
    sources.close()
    assert raised == []


async def test_a_path_that_cannot_be_monitored_is_told(caplog: pytest.LogCaptureFixture) -> None:
    sources = Sources(print)
    sources.add(FileMonitor(7, "/no/such/directory/file"))
    sources.close()
    assert "signal 7: /no/such/directory/file cannot be monitored: No such file or directory" in caplog.text


async def test_a_restart_watches_the_new_paths(tmp_path: Path) -> None:
    raised: list[int] = []
    sources = Sources(raised.append)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sources.run)
        sources.add(FileMonitor(7, str(tmp_path / "one")))
        await anyio.wait_all_tasks_blocked()
        sources.restart()
        sources.add(FileMonitor(8, str(tmp_path / "two")))
        await anyio.wait_all_tasks_blocked()
        write(tmp_path / "one")
        write(tmp_path / "two")
        with anyio.fail_after(5):
            while 8 not in raised:
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()
    sources.close()
    assert set(raised) == {8}


# --- probes -------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "sock")


async def test_what_listens_is_good_and_what_does_not_is_bad(path: str) -> None:
    probe = Probe(1, path, 1.0, 0.01)
    assert await connect(probe) == "No such file or directory"
    async with await anyio.create_unix_listener(path):
        assert await connect(probe) is None
    assert await connect(probe) == "Connection refused"


async def test_a_probe_raises_its_signal_at_each_change_and_good_is_the_beginning(path: str) -> None:
    send, receive = anyio.create_memory_object_stream[int](10)
    sources = Sources(send.send_nowait)

    async def until(count: int) -> None:
        with anyio.fail_after(5):
            assert await receive.receive() == 5
        with anyio.move_on_after(0.02):  # nothing more comes
            pytest.fail(f"change {count} has raised it twice: {await receive.receive()}")

    async with send, receive, anyio.create_task_group() as tasks:
        tasks.start_soon(sources.run)
        sources.add(Probe(5, path, 1.0, 0.005))
        await until(1)  # bad
        async with await anyio.create_unix_listener(path):
            await until(2)  # good
        await until(3)
        tasks.cancel_scope.cancel()
    sources.close()
