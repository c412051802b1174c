"""uWSGI's decorators for plain functions and coroutine functions, before there is an instance and in one."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import uwsgi_async
from tests.client import get
from tests.command import server
from uwsgi_async import decorators
from uwsgi_async.api.process import controlled
from uwsgi_async.decorators import (
    cron,
    filemon,
    forks,
    get_free_signal,
    harakiri,
    lock,
    mstimer,
    postfork,
    rbtimer,
    signal,
    thread,
    timer,
)
from uwsgi_async.decorators.signals import before
from uwsgi_async.errors import SignalError

PATIENCE = 10.0  # seconds


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(before, "calls", [])
    monkeypatch.setattr(before, "numbers", set())
    monkeypatch.setattr(forks, "postfork_chain", chain := [])
    monkeypatch.setattr(decorators, "postfork_chain", chain)


class Ran(list[Any]):
    """What functions have noted."""

    def __init__(self) -> None:
        super().__init__()
        self._more = anyio.Event()

    def append(self, what: Any) -> None:
        super().append(what)
        self._more.set()

    async def until(self, condition: Callable[[Ran], object]) -> None:
        with anyio.fail_after(PATIENCE):
            while not condition(self):
                self._more = anyio.Event()
                await self._more.wait()


async def nothing(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


# --- signals --------------------------------------------------------------------------------------------------------


def handlers(ran: Ran) -> tuple[Callable[[int], Any], Callable[[int], Any]]:
    async def in_the_loop(number: int) -> None:
        await anyio.lowlevel.checkpoint()
        ran.append(("async", number))

    return lambda number: ran.append(("plain", number)), in_the_loop


@pytest.mark.anyio
async def test_what_was_decorated_before_runs_in_each_instance_that_begins(tmp_path: Path) -> None:
    ran = Ran()
    plain, in_the_loop = handlers(ran)
    signal(7)(plain)
    signal(300)(in_the_loop)
    for _ in range(2):
        async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
            await uwsgi_async.signal(7)
            await uwsgi_async.signal(300)
            await ran.until(lambda ran: len(ran) == 2)
        assert sorted(ran) == [("async", 44), ("plain", 7)]
        ran.clear()


@pytest.mark.anyio
async def test_each_source_calls_its_function_whether_plain_or_not(tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    sources = [
        mstimer(5),
        timer(1),
        rbtimer(1, iterations=1),
        cron(-1, -1, -1, -1, -1),
        filemon(str(watched)),
    ]
    ran = Ran()
    for index, source in enumerate(sources):
        plain, in_the_loop = handlers(ran)
        source(plain if index % 2 else in_the_loop)
    async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
        with anyio.fail_after(PATIENCE):
            while {number for _, number in ran} != {0, 1, 2, 3, 4}:
                watched.write_text("changed")
                await anyio.sleep(0.01)
    assert {number for kind, number in ran if kind == "async"} == {0, 2, 4}


def test_numbers_that_are_taken_before_an_instance_begins_are_not_given_twice() -> None:
    signal(0)(print)
    timer(1)(print)
    timer(1, signum=2)(print)
    timer(1, signum=256 + 3)(print)
    assert get_free_signal() == 4


@pytest.mark.anyio
async def test_one_function_may_have_several_decorators() -> None:
    async with uwsgi_async.run(nothing, http="127.0.0.1:0"):

        @timer(60)
        @cron(0, 3, -1, -1, -1)
        @signal(9)
        def function(number: int) -> None: ...

        assert [number for number in range(256) if uwsgi_async.signal_registered(number)] == [0, 1, 9]


@pytest.mark.anyio
async def test_when_all_numbers_are_taken_there_is_no_free_signal() -> None:
    async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
        for number in range(256):
            signal(number)(print)
        with pytest.raises(SignalError, match="No free uwsgi signal available"):
            get_free_signal()


def test_a_word_that_no_decorator_knows_is_an_error() -> None:
    with pytest.raises(TypeError, match="tarhet"):
        timer(5, tarhet="workers")  # type: ignore[call-arg]


# --- after a fork ---------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_postfork_runs_plain_functions_in_order_then_coroutine_functions_before_the_server_serves() -> None:
    ran: list[str] = []

    @postfork
    async def second() -> None:
        await anyio.lowlevel.checkpoint()
        ran.append("second")

    @postfork(1)
    async def third() -> None:
        ran.append("third")

    @postfork(2)
    async def elsewhere() -> None:
        ran.append("elsewhere")

    @postfork
    def fails() -> None:
        raise RuntimeError("no luck")

    @postfork(1)
    def first() -> None:
        ran.append("first")

    async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
        assert ran == ["first", "second", "third"]
    first()
    assert ran[3:] == ["first"]


def test_whose_hook_is_set_by_the_app_is_told_that_the_chain_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("""
import uwsgi
from uwsgi_async.decorators import postfork, postfork_chain_hook

@postfork
def early(): print("early runs")

def mine():
    postfork_chain_hook()
    print("mine runs", flush=True)
uwsgi.post_fork_hook = mine

@postfork
def late(): print("late runs")

def application(environ, start_response): ...
""")
    with server("app.py", "--master", cwd=tmp_path) as process:
        process.wait_for("late will not run after a fork: uwsgi.post_fork_hook is mine")
        process.wait_for("(?s)early runs.*late runs.*mine runs")


# --- around a call --------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_lock_lets_one_coroutine_after_the_other_run() -> None:
    inside, most = 0, 0

    @lock
    async def alone(word: str) -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await anyio.lowlevel.checkpoint()
        assert uwsgi_async.is_locked()
        inside -= 1
        return word

    async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(alone, "word")
        assert await alone("word") == "word"
        assert most == 1
        assert not uwsgi_async.is_locked()


@pytest.mark.anyio
async def test_a_lock_around_plain_functions_lets_other_cores_go_on() -> None:
    ran: list[str] = []

    @lock
    def alone(path: str) -> None:
        import uwsgi  # type: ignore[import-untyped]

        ran.append("in")
        uwsgi.async_sleep(0.001)
        ran.append("out")
        if path == "/fail":
            raise RuntimeError("no luck")

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            alone(environ["PATH_INFO"])
        except RuntimeError:
            pass
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=5) as running:
        async with anyio.create_task_group() as tasks:
            for path in ("/", "/fail", "/", "/"):
                tasks.start_soon(get, running, path)
    assert ran == ["in", "out"] * 4


class Started:
    """What a function in a thread has noted."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.words: tuple[object, ...] = ()

    def note(self, *words: object) -> None:
        self.words = words
        self.thread = threading.current_thread()
        self.done.set()

    def join(self) -> None:
        assert self.done.wait(PATIENCE)
        self.thread.join(PATIENCE)


@pytest.mark.anyio
async def test_a_thread_runs_the_function_with_its_arguments_and_the_call_returns_it() -> None:
    started = Started()

    def plain(*args: int, **kwargs: int) -> None:
        started.note(args, kwargs)

    assert thread(plain)(1, two=2) is plain
    await anyio.to_thread.run_sync(started.join)
    assert started.words == ((1,), {"two": 2})
    assert started.thread.daemon


@pytest.mark.anyio
async def test_a_thread_gives_a_coroutine_function_a_loop_of_its_own() -> None:
    started = Started()

    async def in_the_loop(word: str) -> None:
        await anyio.lowlevel.checkpoint()
        started.note(word)

    assert thread(in_the_loop)("word") is in_the_loop
    await anyio.to_thread.run_sync(started.join)
    assert started.words == ("word",)
    assert started.thread is not threading.current_thread()


@pytest.mark.anyio
async def test_a_coroutine_function_over_its_harakiri_is_cancelled_alone() -> None:
    @harakiri(0)
    async def slow() -> None:
        await anyio.sleep_forever()

    @harakiri(60)
    async def quick() -> str:
        return "done"

    with pytest.raises(TimeoutError, match=r"slow took more than 0 s \(@harakiri\)"):
        await slow()
    assert await quick() == "done"


class Control:
    """As much of a process as `set_user_harakiri` needs."""

    worker = master = 1

    def __init__(self) -> None:
        self.set: list[int] = []

    def set_deadline(self, seconds: int) -> None:
        self.set.append(seconds)


@pytest.fixture
def control() -> Iterator[Control]:
    control = Control()
    with controlled(control):  # type: ignore[arg-type]
        yield control


def test_of_several_calls_the_one_that_must_end_first_counts_and_none_takes_back_anothers_time(
    control: Control,
) -> None:
    @harakiri(100)
    def outer() -> None:
        inner()

    @harakiri(1000)
    def inner() -> None: ...

    outer()
    assert control.set == [100, 100, 100, 0]


def test_the_time_of_a_call_that_fails_is_taken_back(control: Control) -> None:
    @harakiri(100)
    def fails() -> None:
        raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        fails()
    assert control.set == [100, 0]


# --- the module that a served app imports ---------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_name_of_uwsgis_module_can_be_imported_while_an_instance_runs() -> None:
    for _ in range(2):
        async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
            module = importlib.import_module("uwsgidecorators")
            assert module.timer is timer
            assert sys.modules["uwsgi"].post_fork_hook is forks.postfork_chain_hook
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("uwsgidecorators")


def test_what_was_never_a_name_is_none() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'tick'"):
        _ = decorators.tick


ASYNC_APP = """
import anyio, os
from {module} import lock, mstimer, postfork

@postfork
async def begin():
    await anyio.sleep(0)
    print("begun in", os.getpid(), flush=True)

@mstimer(20, target="workers")
async def tick(number):
    await anyio.sleep(0)
    print("tick in", os.getpid(), flush=True)

@lock
async def alone(word):
    return word

async def application(environ, start_response):
    start_response("200 OK", [])
    return [await alone(b"%d" % os.getpid())]
"""


@pytest.mark.parametrize("module", ["uwsgidecorators", "uwsgi_async.decorators"])
@pytest.mark.parametrize("how", [(), ("--master", "--lazy-apps"), ("--master", "--trio")], ids=" ".join)
def test_coroutine_functions_work_in_a_served_app(tmp_path: Path, how: tuple[str, ...], module: str) -> None:
    (tmp_path / "app.py").write_text(ASYNC_APP.format(module=module))
    with server("app.py", *how, cwd=tmp_path) as process:
        pid = os.fsdecode(process.get())
        process.wait_for(f"begun in {pid}")
        process.wait_for(f"tick in {pid}")
