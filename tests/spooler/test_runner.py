"""Tasks are run as soon as they come, at least once, and what becomes of them is what their function says."""

import contextvars
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import greenback
import pytest

from uwsgi_async.fdwait.inotify import Inotify
from uwsgi_async.options.spooling import SpoolerOptions
from uwsgi_async.spooler.claiming import ClaimedTask, claim, peek
from uwsgi_async.spooler.decide import SPOOL_IGNORE, SPOOL_OK, SPOOL_RETRY
from uwsgi_async.spooler.history import History, read_letter, recall, remember
from uwsgi_async.spooler.runner import TaskRunner
from uwsgi_async.spooler.running import Arguments
from uwsgi_async.spooler.task import Task
from uwsgi_async.spooler.writing import write_task

pytestmark = pytest.mark.anyio

LIMIT = 20.0  # seconds for what takes milliseconds
NEVER = 1e6  # seconds between two looks
SOMETIME = pytest.mark.parametrize("kind", ["sync", "async"])


class Calls:
    """A spooler function that notes its calls, and does what it is told."""

    def __init__(self, result: Any = SPOOL_OK) -> None:
        self.result = result
        self.seen: list[Arguments] = []
        self._called = anyio.Event()

    def __call__(self, arguments: Arguments) -> Any:
        self.seen.append(arguments)
        self._called.set()
        self._called = anyio.Event()
        return self.result(arguments) if callable(self.result) else self.result

    async def wait(self, count: int) -> None:
        with anyio.fail_after(LIMIT):
            while len(self.seen) < count:
                await self._called.wait()

    @property
    def numbers(self) -> list[bytes]:
        return [arguments[b"n"] for arguments in self.seen]


@asynccontextmanager
async def running(
    directory: Path, function: Any, *, frequency: float = NEVER, **options: Any
) -> AsyncIterator[TaskRunner]:
    runner = TaskRunner(str(directory), SpoolerOptions(**options), lambda: function, lambda: frequency)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        yield runner
        runner.stop()


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(LIMIT):
        while not condition():  # noqa: ASYNC110 - what is waited for is in a file or a counter
            await anyio.sleep(0.002)


def spool(directory: Path, number: int = 0, body: bytes = b"", **fields: bytes) -> str:
    return write_task(
        str(directory), Task({b"n": b"%d" % number, **{k.encode(): v for k, v in fields.items()}}, body), sync=False
    )


async def test_a_task_gets_its_fields_its_name_and_its_body(tmp_path: Path) -> None:
    path = spool(tmp_path, 1, b"all of it", priority=b"3")
    calls = Calls()
    async with running(tmp_path, calls):
        await calls.wait(1)
    assert calls.seen == [
        {
            "spooler_task_name": os.fsencode(os.path.basename(path)),
            b"n": b"1",
            b"priority": b"3",
            "body": b"all of it",
        }
    ]
    assert os.listdir(tmp_path / "3") == []
    assert path.startswith(str(tmp_path / "3"))


async def test_tasks_run_when_they_come_and_not_at_the_next_look(tmp_path: Path) -> None:
    calls = Calls()
    async with running(tmp_path, calls):
        for number in range(20):
            spool(tmp_path, number)
            await calls.wait(number + 1)
    assert os.listdir(tmp_path) == []


async def test_a_task_of_a_new_priority_runs_when_it_comes(tmp_path: Path) -> None:
    calls = Calls()
    async with running(tmp_path, calls):
        spool(tmp_path)
        await calls.wait(1)
        for number in range(1, 4):
            spool(tmp_path, number, priority=b"%d" % (number % 2))
            await calls.wait(number + 1)


async def test_a_file_that_is_created_first_and_then_written_runs_when_it_is_closed(tmp_path: Path) -> None:
    calls = Calls()
    async with running(tmp_path, calls):
        fd = os.open(tmp_path / "uwsgi_spoolfile_on_x", os.O_CREAT | os.O_WRONLY)
        await anyio.sleep(0.05)  # time to be seen too early
        os.write(fd, b"\x11\x06\x00\x00\x01\x00n\x01\x001")
        assert calls.seen == []
        os.close(fd)
        await calls.wait(1)


async def test_a_task_for_later_runs_at_its_time(tmp_path: Path) -> None:
    calls = Calls()
    due = int(time.time()) + 1
    async with running(tmp_path, calls):
        spool(tmp_path, at=b"%d" % due)
        await calls.wait(1)
    assert time.time() >= due


async def test_ordered_tasks_run_by_priority_and_then_by_name(tmp_path: Path) -> None:
    for number in range(12):
        spool(tmp_path, number)
    spool(tmp_path, 100, priority=b"5")
    calls = Calls()
    async with running(tmp_path, calls, spooler_ordered=True):
        await calls.wait(13)
    assert calls.numbers == [b"100", *(b"%d" % number for number in range(12))]


async def test_an_async_function_runs_as_many_at_once_as_there_are_cores(tmp_path: Path) -> None:
    inside, most = 0, 0
    together = anyio.Event()

    async def function(_arguments: Arguments) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if inside == 5:
            together.set()
        await together.wait()
        inside -= 1
        return SPOOL_OK

    for number in range(10):
        spool(tmp_path, number)
    with anyio.fail_after(LIMIT):
        async with running(tmp_path, function, spooler_cores=5) as runner:
            await until(lambda: runner.statistics.done == 10)
    assert most == 5


async def test_a_sync_function_may_wait_while_other_tasks_run(tmp_path: Path) -> None:
    met = anyio.Event()

    def function(arguments: Arguments) -> int:
        if arguments[b"n"] == b"0":
            greenback.await_(met.wait())
        else:
            met.set()
        return SPOOL_OK

    spool(tmp_path, 0)
    async with running(tmp_path, function, spooler_cores=2) as runner:
        await until(lambda: runner.statistics.running == 1)
        spool(tmp_path, 1)
        await until(lambda: runner.statistics.done == 2)


async def test_a_task_that_asks_for_it_runs_again_at_the_next_look(tmp_path: Path) -> None:
    calls = Calls(lambda _: SPOOL_OK if len(calls.seen) > 1 else SPOOL_RETRY)
    spool(tmp_path)
    async with running(tmp_path, calls, frequency=1.0):
        await calls.wait(2)
    assert os.listdir(tmp_path) == []


async def test_a_task_that_failed_does_not_run_again_because_another_one_comes(tmp_path: Path) -> None:
    calls = Calls(lambda arguments: SPOOL_RETRY if arguments[b"n"] == b"0" else SPOOL_OK)
    spool(tmp_path, 0)
    async with running(tmp_path, calls):
        for number in range(1, 6):
            await calls.wait(number)
            spool(tmp_path, number)
        await calls.wait(6)
    assert calls.numbers.count(b"0") == 1
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.parametrize("function", [None, lambda _: SPOOL_IGNORE])
async def test_what_is_nobodys_stays(tmp_path: Path, function: Any) -> None:
    path = spool(tmp_path)
    async with running(tmp_path, function) as runner:
        await until(lambda: os.stat(path).st_mtime > time.time())
    task = peek(path)
    assert task is not None
    assert task.fields == {b"n": b"0"}
    assert runner.statistics.tasks == 0


@SOMETIME
async def test_a_task_that_raises_stays_and_the_log_tells_where(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    def sync(_arguments: Arguments) -> int:
        raise LookupError("the reason")

    async def other(_arguments: Arguments) -> int:
        await anyio.lowlevel.checkpoint()
        raise LookupError("the reason")

    spool(tmp_path)
    async with running(tmp_path, sync if kind == "sync" else other) as runner:
        await until(lambda: runner.statistics.failed == 1)
    assert "LookupError: the reason" in caplog.text
    assert len(os.listdir(tmp_path)) == 1


async def test_after_its_retries_a_task_goes_to_the_dead_letters_with_the_traceback(tmp_path: Path) -> None:
    spool(tmp_path, body=b"precious")

    def function(_arguments: Arguments) -> int:
        raise LookupError("the reason")

    async with running(tmp_path, function, spooler_retries=2, spooler_retry_delay=0.01) as runner:
        await until(lambda: runner.statistics.given_up == 1)
    assert runner.statistics.tasks == 3
    assert os.listdir(tmp_path) == ["dead-letter"]
    (letter,) = (path for path in (tmp_path / "dead-letter").iterdir() if path.suffix != ".txt")
    assert letter.read_bytes().endswith(b"precious")
    assert read_letter(str(letter)).startswith("runs: 3\n\nTraceback")
    assert "LookupError: the reason" in read_letter(str(letter))


async def test_a_task_may_say_itself_how_often_it_is_tried(tmp_path: Path) -> None:
    spool(tmp_path, spooler_retries=b"0")
    async with running(tmp_path, lambda _: SPOOL_RETRY) as runner:
        await until(lambda: runner.statistics.given_up == 1)
    assert runner.statistics.tasks == 1


async def test_a_task_that_kills_its_process_counts_as_run(tmp_path: Path) -> None:
    path = spool(tmp_path)
    remember(path, History(3, "the process that ran it ended before the task did"))
    calls = Calls()
    async with running(tmp_path, calls, spooler_retries=2) as runner:
        await until(lambda: runner.statistics.given_up == 1)
    assert calls.seen == []
    assert "ended before the task did" in read_letter(str(tmp_path / "dead-letter" / os.path.basename(path)))


async def test_what_is_run_for_ever_is_not_given_up(tmp_path: Path) -> None:
    path = spool(tmp_path, ud_spool_ret=b"-1")
    calls = Calls(SPOOL_RETRY)
    async with running(tmp_path, calls, spooler_retries=0):
        await calls.wait(1)
        await until(lambda: os.stat(path).st_mtime > time.time())
    assert recall(path).runs == 1


async def test_nothing_is_left_beside_a_task_that_is_done(tmp_path: Path) -> None:
    calls = Calls(lambda _: SPOOL_OK if len(calls.seen) > 1 else SPOOL_RETRY)
    spool(tmp_path)
    async with running(tmp_path, calls, spooler_retries=5, spooler_retry_delay=0.01) as runner:
        await until(lambda: runner.statistics.done == 1)
    assert os.listdir(tmp_path) == []


@SOMETIME
async def test_a_task_that_takes_too_long_is_cancelled_and_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    cleaned = []

    async def other(_arguments: Arguments) -> int:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned.append(True)

    def sync(arguments: Arguments) -> int:
        return greenback.await_(other(arguments))

    spool(tmp_path, spooler_timeout=b"0.02")
    async with running(tmp_path, sync if kind == "sync" else other, spooler_harakiri=NEVER) as runner:
        await until(lambda: runner.statistics.failed == 1)
    assert cleaned == [True]
    assert "it took more than 0.02 seconds" in caplog.text
    assert len(os.listdir(tmp_path)) == 1


async def test_harakiri_is_for_every_task(tmp_path: Path) -> None:
    async def function(_arguments: Arguments) -> int:
        await anyio.sleep_forever()
        return SPOOL_OK

    spool(tmp_path)
    async with running(tmp_path, function, spooler_harakiri=0.02) as runner:
        await until(lambda: runner.statistics.failed == 1)


async def test_who_is_cancelled_lets_the_task_go_at_once(tmp_path: Path) -> None:
    path = spool(tmp_path)
    begun = anyio.Event()

    async def function(_arguments: Arguments) -> int:
        begun.set()
        await anyio.sleep_forever()
        return SPOOL_OK

    runner = TaskRunner(str(tmp_path), SpoolerOptions(), lambda: function, lambda: NEVER)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        await begun.wait()
        tasks.cancel_scope.cancel()
    claimed = claim(path)
    assert isinstance(claimed, ClaimedTask)
    claimed.remove()


async def test_stopping_waits_for_the_tasks_that_run_and_begins_none(tmp_path: Path) -> None:
    begun, go = anyio.Event(), anyio.Event()

    async def function(_arguments: Arguments) -> int:
        begun.set()
        await go.wait()
        return SPOOL_OK

    spool(tmp_path)
    async with running(tmp_path, function) as runner:
        await begun.wait()
        spool(tmp_path)
        runner.stop()
        go.set()
    assert runner.statistics.done == 1
    assert len(os.listdir(tmp_path)) == 1


async def test_a_process_is_worn_out_after_its_tasks(tmp_path: Path) -> None:
    for number in range(5):
        spool(tmp_path, number)
    runner = TaskRunner(str(tmp_path), SpoolerOptions(spooler_max_tasks=3), lambda: Calls(), lambda: NEVER)
    with anyio.fail_after(LIMIT):
        await runner.run()
    assert runner.worn
    assert len(os.listdir(tmp_path)) == 2


async def test_a_task_that_calls_exit_ends_the_process_and_is_not_lost(tmp_path: Path) -> None:
    spool(tmp_path)
    runner = TaskRunner(str(tmp_path), SpoolerOptions(), lambda: lambda _: sys.exit(1), lambda: NEVER)
    with anyio.fail_after(LIMIT):
        await runner.run()
    assert runner.worn
    assert len(os.listdir(tmp_path)) == 1


async def test_strangers_and_damaged_files_are_named_once_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "notes.txt").write_bytes(b"mine")
    (tmp_path / "uwsgi_spoolfile_on_bad").write_bytes(b"\x11\xff\xff\x00")
    calls = Calls()
    async with running(tmp_path, calls, frequency=0.01):
        for number in range(3):
            spool(tmp_path, number)
            await calls.wait(number + 1)
            await anyio.sleep(0.03)  # some more looks
    for name in ("notes.txt", "uwsgi_spoolfile_on_bad"):
        assert [record for record in caplog.records if name in record.getMessage()].__len__() == 1
    assert sorted(os.listdir(tmp_path)) == ["notes.txt", "uwsgi_spoolfile_on_bad"]


async def test_two_spoolers_never_run_the_same_task(tmp_path: Path) -> None:
    inside: set[bytes] = set()
    done: list[bytes] = []

    async def function(arguments: Arguments) -> int:
        number = arguments[b"n"]
        assert number not in inside
        inside.add(number)
        await anyio.sleep(0.001)
        inside.remove(number)
        done.append(number)
        return SPOOL_OK

    for number in range(50):
        spool(tmp_path, number)
    async with running(tmp_path, function, spooler_cores=7), running(tmp_path, function, spooler_cores=7):
        for number in range(50, 100):
            spool(tmp_path, number)
        await until(lambda: len(done) == 100)
    assert sorted(done, key=int) == [b"%d" % number for number in range(100)]


async def test_who_waits_for_the_task_of_another_one_tries_it_once_and_not_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[str] = []
    go = anyio.Event()

    def counted(path: str) -> Any:
        tries.append(path)
        return claim(path)

    async def function(_arguments: Arguments) -> int:
        await go.wait()
        return SPOOL_OK

    monkeypatch.setattr("uwsgi_async.spooler.runner.claim", counted)
    async with running(tmp_path, function) as one, running(tmp_path, function) as other:
        spool(tmp_path)
        await until(lambda: len(tries) == 2)
        await anyio.sleep(0.05)  # time for a thousand of tries
        assert len(tries) == 2
        go.set()
        await until(lambda: one.statistics.done + other.statistics.done == 1)


async def test_a_task_that_another_one_has_let_go_is_taken_over_at_once(tmp_path: Path) -> None:
    path = spool(tmp_path)
    claimed = claim(path)
    assert isinstance(claimed, ClaimedTask)
    calls = Calls()
    async with running(tmp_path, calls, spooler_cores=2) as runner:
        spool(tmp_path, 1)
        await calls.wait(1)
        claimed.release()
        await calls.wait(2)
        await until(lambda: runner.statistics.done == 2)
    assert calls.numbers == [b"1", b"0"]


async def test_what_is_let_go_while_it_is_tried_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = spool(tmp_path)
    claimed = claim(path)
    assert isinstance(claimed, ClaimedTask)

    def late(tried: str) -> Any:
        answer = claim(tried)
        claimed.release()  # after the try, and before anybody listens
        return answer

    monkeypatch.setattr("uwsgi_async.spooler.runner.claim", late)
    calls = Calls()
    async with running(tmp_path, calls):
        await calls.wait(1)


async def test_much_news_lets_tasks_run_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    def function(_arguments: Arguments) -> int:
        return SPOOL_OK

    async with running(tmp_path, function) as runner:
        read = Inotify.read

        def busy(inotify: Inotify) -> Any:
            nonlocal written
            written += 1
            spool(tmp_path, written)  # there is always more
            return read(inotify)

        with monkeypatch.context() as patch:
            patch.setattr(Inotify, "read", busy)
            await until(lambda: runner.statistics.done > 10)
        await until(lambda: not os.listdir(tmp_path))


async def test_context_variables_of_a_task_are_not_the_next_ones(tmp_path: Path) -> None:
    variable: contextvars.ContextVar[bytes] = contextvars.ContextVar("variable")
    seen = []

    def function(arguments: Arguments) -> int:
        seen.append(variable.get(b"none"))
        variable.set(arguments[b"n"])
        return SPOOL_OK

    for number in range(3):
        spool(tmp_path, number)
    async with running(tmp_path, function) as runner:
        await until(lambda: runner.statistics.done == 3)
    assert seen == [b"none"] * 3


async def test_without_inotify_tasks_are_found_at_each_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_self: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("uwsgi_async.spooler.watching.Inotify.__init__", refuse)
    calls = Calls()
    async with running(tmp_path, calls, frequency=0.01):
        spool(tmp_path)
        await calls.wait(1)
    assert "Too many open files" in caplog.text


async def test_a_quiet_spooler_logs_no_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uwsgi_async")
    for quiet in (True, False):
        spool(tmp_path)
        async with running(tmp_path, Calls(), spooler_quiet=quiet) as runner:
            await until(lambda: runner.statistics.done == 1)
        assert ("managing request" in caplog.text, "done with task" in caplog.text) == (not quiet, not quiet)


async def test_a_directory_that_is_removed_and_made_again_is_watched_again(tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    calls = Calls()
    async with running(directory, calls, frequency=0.02):
        spool(directory, 1)
        await calls.wait(1)
        await until(lambda: not os.listdir(directory))
        directory.rmdir()
        await anyio.sleep(0.05)
        directory.mkdir()
        spool(directory, 2)
        await calls.wait(2)


async def test_tasks_are_found_also_when_the_directory_cannot_be_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_self: object, _path: str, _mask: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("uwsgi_async.spooler.watching.Inotify.add", refuse)
    calls = Calls()
    async with running(tmp_path, calls, frequency=0.01):
        spool(tmp_path)
        await calls.wait(1)
    assert "tells no news" in caplog.text
