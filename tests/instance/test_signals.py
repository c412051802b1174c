"""Signals in an instance: each target, with several processes, and in one process alone."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.instance.harness import Client, change, instance
from tests.instance.signalling import APP, Instance, stats
from uwsgi_async.errors import NoInstanceError, OptionError, SignalError, WouldBlockLoopError
from uwsgi_async.options.build import build


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One instance of three workers for all tests that leave it as it was."""
    place = tmp_path_factory.mktemp("signals")
    (place / "app.py").write_text(APP)
    with instance(place, "--processes", "3") as process:
        yield Instance(process, place)


@pytest.fixture
def running(shared: Instance) -> Instance:
    shared.forget()
    return shared


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def test_the_default_target_is_one_worker(running: Instance) -> None:
    running.call("storm", 1, 1)
    running.call("storm", 8, 1)
    assert [line[0] for line in sorted(running.wait_for(2))] == [1, 8]


@pytest.mark.parametrize("number", [2, 4])
def test_workers_and_active_workers_are_each_worker_once(running: Instance, number: int) -> None:
    running.call("storm", number, 1)
    assert sorted(line[1] for line in running.wait_for(3)) == [1, 2, 3]


def test_a_worker_by_its_number_is_that_one(running: Instance) -> None:
    running.call("storm", 3, 20)
    assert {line[1] for line in running.wait_for(20)} == {2}


def test_a_worker_runs_the_handlers_in_the_order_in_which_the_signals_were_raised(running: Instance) -> None:
    numbers = [8, 9, 9, 8, 9, 8, 8, 8, 9] * 30
    running.call("order", *numbers)
    assert [line[0] for line in running.wait_for(len(numbers))] == numbers


def test_a_plain_handler_may_wait(running: Instance) -> None:
    running.call("storm", 7, 2)
    assert len(running.wait_for(2)) == 2


def test_an_error_of_a_handler_is_logged_with_its_signal_and_changes_nothing(running: Instance) -> None:
    running.call("storm", 6, 2)
    assert len(running.wait_for(2)) == 2
    running.process.wait_for("error managing signal 6 on worker [123]: RuntimeError: no luck")


def test_what_is_registered_while_running_is_run_by_the_one_that_has_registered_it(running: Instance) -> None:
    assert running.call("signal_registered", 50) is None
    answer = json.loads(running.process.post("/", b'["register", 50, ""]'))
    assert answer["answer"] is True
    for _ in range(5):
        running.call("signal", 50)
    assert {line[1] for line in running.wait_for(5)} == {answer["worker"]}


@pytest.mark.parametrize("lazy", [(), ("--lazy-apps",)], ids=["fork", "lazy"])
def test_what_is_registered_after_the_fork_is_run_by_each_worker(place: Path, lazy: tuple[str, ...]) -> None:
    hook = """
def forked():
    uwsgi.register_signal(60, 'workers', note)
    uwsgi.register_signal(60 + uwsgi.worker_id(), '', note)
uwsgi.post_fork_hook = forked
"""
    (place / "app.py").write_text(APP + hook)
    with instance(place, "--processes", "2", "--stats", str(place / "stats"), *lazy) as process:
        running = Instance(process, place)
        process.wait_until(lambda: {61, 62} <= {each["signal"] for each in stats(place)["signals"]["signals"]})
        running.call("order", 60, 61, 62)
        assert sorted(line[:2] for line in running.wait_for(4)) == [(60, 1), (60, 2), (61, 1), (62, 2)]


def test_many_cores_wait_for_one_signal_and_all_get_it(running: Instance) -> None:
    with_body = [Waiter(running, 2) for _ in range(4)]
    running.process.wait_until(lambda: running.process.output.count("a core waits") >= 4)
    running.call("signal", 2)
    for waiter in with_body:
        waiter.join()
    assert [waiter.answer for waiter in with_body] == [2] * 4


def test_an_unregistered_signal_comes_to_where_somebody_waits_for_it(running: Instance) -> None:
    waits = running.process.output.count("a core waits")
    waiter = Waiter(running, 77)
    running.process.wait_until(lambda: running.process.output.count("a core waits") > waits)
    running.process.wait_until(lambda: running.call("signal", 77) or not waiter.is_alive())
    waiter.join()
    assert waiter.answer == 77


class Waiter(Client):
    """A request that waits for a signal, in a thread."""

    def __init__(self, running: Instance, number: int) -> None:
        self._running, self._number = running, number
        super().__init__(running.process, "/")

    def run(self) -> None:
        self.answer = self._running.call("wait", self._number)


@pytest.mark.parametrize("target", [1, 3])
def test_no_signal_of_a_storm_is_lost(running: Instance, target: int) -> None:
    senders = [Storm(running, target, 2500) for _ in range(4)]
    for sender in senders:
        sender.join()
    running.wait_for(10_000)
    assert Counter(line[0] for line in running.lines()) == {target: 10_000}


def test_no_signal_of_a_storm_of_100000_is_lost(running: Instance) -> None:
    running.call("storm", 12, 100_000)
    assert [line[:2] for line in running.wait_for(100)] == [(12, 2)] * 100


def test_who_raises_into_a_full_queue_waits_and_none_is_lost(place: Path) -> None:
    with instance(place, "--processes", "2", "--signal-bufsize", "5", "--stats", str(place / "stats")) as process:
        running = Instance(process, place)
        senders = [Storm(running, 3, 500) for _ in range(3)]
        for sender in senders:
            sender.join()
        assert Counter(line[:2] for line in running.wait_for(1500)) == {(3, 2): 1500}
        assert stats(place)["signals"]["unrouted"] == 0


class Storm(Client):
    """A request that raises many signals, in a thread."""

    def __init__(self, running: Instance, number: int, count: int) -> None:
        self._running, self._number, self._count = running, number, count
        super().__init__(running.process, "/")

    def run(self) -> None:
        self._running.call("storm", self._number, self._count)


def test_a_timer_of_the_app_runs_once_though_each_worker_has_added_it(place: Path) -> None:
    source = APP + "\nuwsgi.register_signal(20, '', note)\nuwsgi.add_ms_timer(20, 50)\n"
    (place / "app.py").write_text(source)
    with instance(place, "--processes", "3", "--lazy-apps", "--stats", str(place / "stats")) as process:
        Instance(process, place).wait_for(1)
        assert len(stats(place)["signals"]["sources"]) == 1


def test_timers_come_from_options_too_and_survive_a_reload(place: Path) -> None:
    with instance(place, "--processes", "1", "--timer", "8 0.05") as process:
        running = Instance(process, place)
        running.wait_for(3)
        change(place, app=APP)
        process.popen.send_signal(signal.SIGHUP)
        process.wait_until(lambda: running.lines()[-1][3] == 20)


def test_a_file_monitor_of_the_options_raises_its_signal(place: Path) -> None:
    watched = place / "watched"
    with instance(place, "--processes", "1", "--fs-signal", f"{watched} 8") as process:
        running = Instance(process, place)
        watched.write_text("new")
        running.wait_for(1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("uwsgi.register_signal(30, 'bogus', note)", "expected a target for a signal"),
        ("uwsgi.register_signal(1, '', note)", "registered already"),
        ("uwsgi.add_cron(1, 60, 0, 1, 1, 1)", "expected a minute from 0 to 59"),
    ],
)
def test_what_cannot_be_registered_is_a_valueerror_that_says_why(place: Path, line: str, reason: str) -> None:
    guarded = f"\ntry:\n    {line}\nexcept ValueError as error:\n    print('refused:', error, flush=True)\n"
    (place / "app.py").write_text(APP + guarded)
    with instance(place, "--processes", "1") as process:
        process.wait_for(f"refused: .*{reason}")


def test_the_stats_server_lists_signals_timers_runs_and_errors(place: Path) -> None:
    options = ("--processes", "2", "--timer", "8 0.05", "--stats", str(place / "stats"))
    with instance(place, *options) as process:
        running = Instance(process, place)
        running.call("signal", 6)
        running.wait_for(3)
        process.wait_until(lambda: stats(place)["signals"]["sources"][0]["runs"] >= 2)
        told = stats(place)["signals"]
    signals = {each["signal"]: each for each in told["signals"]}
    assert signals[3]["target"] == "worker2"
    assert signals[8]["handled"] >= 1
    assert signals[8]["last"] > 0
    assert signals[6]["failure"]["error"] == "RuntimeError: no luck"
    assert told["sources"][0]["source"][0] == "Timer"
    assert told["routed"] >= 3


def test_an_app_may_ask_what_has_happened(place: Path) -> None:
    ask = """
async def application(environ, start_response):
    import dataclasses, uwsgi_async
    start_response("200 OK", [])
    return [json.dumps(dataclasses.asdict(await uwsgi_async.signal_statistics())).encode()]
uwsgi.add_cron(8, -1, 3, -1, -1, -1)
"""
    (place / "app.py").write_text(APP + ask)
    with instance(place, "--processes", "1") as process:
        told = json.loads(process.get())
    assert told["sources"][0]["source"]["hour"] == 3
    assert {each["signal"] for each in told["signals"]} >= {1, 2, 3}


# --- one process --------------------------------------------------------------------------------------------


class Ran(list[int]):
    """What a handler was called with, when it is ``append``."""

    def __init__(self) -> None:
        super().__init__()
        self._more = anyio.Event()

    def append(self, number: int) -> None:
        super().append(number)
        self._more.set()

    async def reach(self, count: int) -> None:
        with anyio.fail_after(10):
            while len(self) < count:
                self._more = anyio.Event()
                await self._more.wait()


async def nothing(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


@pytest.mark.anyio
async def test_in_one_process_signals_are_its_own() -> None:
    ran = Ran()
    async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
        for who in ("", "workers", "worker1", "active-workers"):
            uwsgi_async.register_signal(1, who, ran.append)
            await uwsgi_async.signal(1)
            await ran.reach(1)
            ran.clear()


@pytest.mark.anyio
async def test_in_one_process_waiting_works_and_gives_the_number() -> None:
    async with uwsgi_async.run(nothing, http="127.0.0.1:0"), anyio.create_task_group() as tasks:
        with anyio.fail_after(5):

            async def raise_it() -> None:
                await uwsgi_async.signal(300)

            tasks.start_soon(raise_it)
            assert await uwsgi_async.signal_wait(44) == 44
            assert uwsgi_async.signal_received() == 44


@pytest.mark.anyio
async def test_a_storm_in_one_process_waits_for_room_and_is_handled_before_the_end() -> None:
    ran = Ran()
    async with uwsgi_async.run(nothing, http="127.0.0.1:0", signal_bufsize=10):
        uwsgi_async.register_signal(1, "", ran.append)
        for _ in range(5000):
            await uwsgi_async.signal(1)
        await ran.reach(5000)
    assert len(ran) == 5000


@pytest.mark.anyio
async def test_a_signal_goes_to_another_instance_by_its_uwsgi_socket(tmp_path: Path) -> None:
    ran = Ran()
    path = str(tmp_path / "app.sock")
    async with uwsgi_async.run(nothing, socket=path):
        uwsgi_async.register_signal(9, "", ran.append)
        await uwsgi_async.signal(9, path)
        await ran.reach(1)
    assert ran == [9]


@pytest.mark.anyio
async def test_over_tcp_a_signal_must_be_allowed() -> None:
    ran = Ran()
    for allowed in ((), ("signals",)):
        async with uwsgi_async.run(nothing, socket="127.0.0.1:0", uwsgi_allow=allowed) as server:
            uwsgi_async.register_signal(9, "", ran.append)
            node = server.addresses[0].removeprefix("uwsgi://")
            if allowed:
                await uwsgi_async.signal(9, node)
            else:
                with pytest.raises(OSError, match="unable to deliver signal 9 to node"):
                    await uwsgi_async.signal(9, node)


@pytest.mark.anyio
async def test_threads_raise_signals_and_wait_for_room_and_for_signals() -> None:
    ran = Ran()

    def in_a_thread() -> int:
        import uwsgi  # type: ignore[import-not-found]

        uwsgi.register_signal(1, "", ran.append)
        for _ in range(300):
            uwsgi.signal(1)
        uwsgi.signal_wait(1)
        return int(uwsgi.signal_received())

    async with uwsgi_async.run(nothing, http="127.0.0.1:0", signal_bufsize=5), anyio.create_task_group() as tasks:
        done: list[int] = []

        async def run_it() -> None:
            done.append(await anyio.to_thread.run_sync(in_a_thread))
            tasks.cancel_scope.cancel()

        tasks.start_soon(run_it)
        await ran.reach(300)
        while not done:
            await uwsgi_async.signal(1)
            await anyio.lowlevel.checkpoint()
    assert done == [1]


@pytest.mark.anyio
async def test_a_blocking_call_in_async_code_that_would_wait_names_the_awaitable() -> None:
    async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
        import uwsgi

        uwsgi.signal(1)  # which needs not wait
        with pytest.raises(WouldBlockLoopError, match=r"await uwsgi_async\.signal_wait"):
            uwsgi.signal_wait(1)


@pytest.mark.anyio
async def test_outside_an_instance_there_are_no_signals() -> None:
    with pytest.raises(NoInstanceError, match="there are no signals"):
        await uwsgi_async.signal(1)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: uwsgi_async.add_timer(1, -1), "expected seconds from 0"),
        (lambda: uwsgi_async.add_ms_timer(1, -1), "expected milliseconds from 0"),
        (lambda: uwsgi_async.add_rb_timer(1, 1, -1), "expected iterations from 0"),
        (lambda: uwsgi_async.add_probe(1, "pg", ":5432"), "expected the kind connect"),
        (lambda: uwsgi_async.add_probe(1, "connect", "fd://0"), "expected an address to connect to"),
        (lambda: uwsgi_async.add_file_monitor(1, "/no/such/directory/file"), "the directory of .* is not there"),
    ],
)
async def test_what_cannot_be_raised_by_itself_is_refused(call: Callable[[], object], reason: str) -> None:
    async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
        with pytest.raises(SignalError, match=reason):
            call()


@pytest.mark.anyio
async def test_a_node_that_is_not_there_is_an_oserror_that_names_it(tmp_path: Path) -> None:
    async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
        with pytest.raises(OSError, match=f"unable to deliver signal 1 to node {tmp_path}/none"):
            await uwsgi_async.signal(1, f"{tmp_path}/none")


@pytest.mark.anyio
async def test_timers_run_in_one_process() -> None:
    ran = Ran()
    async with uwsgi_async.run(nothing, http="127.0.0.1:0"):
        uwsgi_async.register_signal(1, "", ran.append)
        uwsgi_async.add_ms_timer(1, 5)
        await ran.reach(3)


@pytest.mark.parametrize("text", ["17", "256 1", "1 0", "x 1", "1 -1"])
def test_a_timer_that_cannot_be_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(OptionError, match="17 3600"):
        build(http_socket="127.0.0.1:0", timer=(text,))
