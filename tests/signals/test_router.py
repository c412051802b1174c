"""The router: generations, what is registered by whom, and what is told of it."""

from __future__ import annotations

import json
import logging
from typing import Any

import anyio
import pytest

from uwsgi_async.errors import BrokenError
from uwsgi_async.signals.declare import (
    Cron,
    Declaration,
    FileMonitor,
    Probe,
    Registration,
    Timer,
    decode,
    encode,
)
from uwsgi_async.signals.messages import (
    Accepted,
    Ask,
    Declared,
    Deliver,
    Handled,
    HandlerFailed,
    Raise,
    Told,
    ToProcess,
    Waiting,
)
from uwsgi_async.signals.router import Generation, Port, SignalRouter
from uwsgi_async.signals.targets import Roster
from uwsgi_async.signals.values import document, statistics_of

pytestmark = pytest.mark.anyio


class Process:
    """A process that is connected to a router. ``deaf``: its channel is full."""

    def __init__(self, generation: Generation, number: int) -> None:
        self.got: list[ToProcess] = []
        self.deaf = False
        self.port: Port = generation.connect("worker", number, self.take)
        self.port.open()

    def take(self, message: ToProcess) -> bool:
        if not self.deaf:
            self.got.append(message)
        return not self.deaf

    @property
    def signals(self) -> list[int]:
        return [number for each in self.got if isinstance(each, Deliver) for number in each.numbers]

    def declare(self, *declarations: Declaration) -> None:
        self.port.take(Declared(encode(declarations)))


@pytest.fixture
async def router() -> SignalRouter:
    return SignalRouter(100, lambda: 1000.0)


def begin(router: SignalRouter, workers: int = 2) -> tuple[Generation, list[Process]]:
    generation = router.begin(Roster(workers=workers))
    return generation, [Process(generation, number) for number in range(1, workers + 1)]


async def test_what_is_raised_is_delivered_and_the_raiser_is_told_that_it_has_a_place(router: SignalRouter) -> None:
    generation, (one, two) = begin(router)
    generation.load([Declared(encode([Registration(5, "worker2")]))])
    one.port.take(Raise(b"\5\5"))
    router.flush()
    assert two.signals == [5, 5]
    assert one.got == [Accepted(b"\2\0")]


async def test_signals_are_routed_by_what_the_generation_of_the_raiser_has_registered(router: SignalRouter) -> None:
    old, (one, _) = begin(router)
    new, (newer, _) = begin(router)
    old.load([Declared(encode([Registration(5, "worker1")]))])
    new.load([Declared(encode([Registration(5, "worker2")]))])
    one.port.retire()
    newer.port.take(Raise(b"\5"))
    one.port.take(Raise(b"\5"))
    router.flush()
    assert newer.signals == [5]


async def test_timers_of_a_new_generation_run_when_it_is_adopted_and_those_of_the_old_one_do_not(
    router: SignalRouter,
) -> None:
    old, _ = begin(router)
    new, _ = begin(router)
    old.load([Declared(encode([Timer(1, 5.0)]))])
    router.adopt(old)
    new.load([Declared(encode([Timer(2, 5.0)]))])
    assert [each.source for each in router.sources.running] == [Timer(1, 5.0)]
    router.adopt(new)
    assert [each.source for each in router.sources.running] == [Timer(2, 5.0)]


async def test_what_several_workers_register_in_the_same_words_is_one_timer(router: SignalRouter) -> None:
    generation, (one, two) = begin(router)
    router.adopt(generation)
    for process in (one, two):
        process.declare(Timer(1, 5.0), Timer(1, 5.0))
    one.port.close()
    Process(generation, 1).declare(Timer(1, 5.0), Timer(1, 5.0))
    assert [each.source for each in router.sources.running] == [Timer(1, 5.0)] * 2


async def test_a_fork_server_that_comes_again_registers_nothing_twice(router: SignalRouter) -> None:
    generation, _ = begin(router)
    router.adopt(generation)
    for _ in range(2):
        generation.load([Declared(encode([Timer(1, 5.0), Cron(2, 0, 3, -1, -1, -1)]))])
    assert len(router.sources.running) == 2


async def test_a_channel_that_is_full_delays_signals_and_loses_none(router: SignalRouter) -> None:
    _, (one, _) = begin(router)
    one.declare(Registration(5, "worker1"))
    one.deaf = True
    one.port.take(Raise(b"\5\5"))
    assert router.flush() is False
    one.deaf = False
    assert router.flush() is True
    assert one.signals == [5, 5]
    assert Accepted(b"\2\0") in one.got


async def test_a_full_queue_is_logged_with_the_option_and_counted(
    router: SignalRouter, caplog: pytest.LogCaptureFixture
) -> None:
    generation = router.begin(Roster(workers=1))
    raised = [router.raise_signal(1, generation.table) for _ in range(102)]
    assert raised == [True] * 100 + [False] * 2
    assert caplog.text.count("--signal-bufsize") == 1
    assert router.statistics().unrouted == 2


async def test_a_target_that_is_gone_is_logged_and_counted(
    router: SignalRouter, caplog: pytest.LogCaptureFixture
) -> None:
    _, (one, _) = begin(router)
    one.declare(Registration(5, "worker9"))
    one.port.take(Raise(b"\5"))
    router.flush()
    assert "could not deliver signal 5: there is nobody for its target 'worker9' now" in caplog.text
    assert one.got == [Accepted(b"\1\0")]


async def test_statistics_tell_targets_runs_and_errors_and_survive_json(router: SignalRouter) -> None:
    generation, (one, _) = begin(router)
    router.adopt(generation)
    one.declare(Registration(5, "worker1"), Timer(5, 60.0), Cron(6, 0, 3, -1, -1, -1), Probe(7, "/none", 1.0, 1.0))
    one.port.take(Raise(b"\5\5"))
    router.flush()
    one.port.take(Handled(b"\5"))
    one.port.take(HandlerFailed(5, "RuntimeError: no luck"))
    told = router.statistics()
    (signal,) = told.signals
    assert (signal.signal, signal.target, signal.handled, signal.last) == (5, "worker1", 1, 1000.0)
    assert signal.failed == 1
    assert signal.failure is not None
    assert signal.failure.error == "RuntimeError: no luck"
    assert [type(each.source) for each in told.sources] == [Timer, Cron, Probe]
    assert statistics_of(json.loads(json.dumps(document(told)))) == told


async def test_a_process_that_asks_is_told(router: SignalRouter) -> None:
    generation, (one, _) = begin(router)
    router.adopt(generation)
    one.port.take(Ask())
    (told,) = one.got
    assert isinstance(told, Told)
    assert statistics_of(told.statistics) == router.statistics()


async def test_who_waits_is_known_until_nobody_does(router: SignalRouter) -> None:
    _, (one, two) = begin(router)
    for yes, expected in ((True, [0, 1]), (False, None)):
        two.port.take(Waiting(5, yes))
        if expected:
            one.port.take(Raise(b"\5"))
            router.flush()
            assert [len(one.signals), len(two.signals)] == expected
    assert two.port.receiver.waits == set()


async def test_what_still_waits_at_the_end_is_told(router: SignalRouter, caplog: pytest.LogCaptureFixture) -> None:
    generation = router.begin(Roster(workers=1))
    for _ in range(3):
        router.raise_signal(1, generation.table)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(router.run)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert "3 signals were waiting for a process when the instance ended" in caplog.text


EVERY = [
    Registration(1, "workers"),
    Timer(2, 0.5, 3, "rb_timer"),
    Cron(3, 1, 2, 3, 4, 5),
    FileMonitor(4, "/etc"),
    Probe(5, ":80", 4.0, 1.0),
]


def test_declarations_survive_json() -> None:
    assert decode(json.loads(json.dumps(encode(EVERY)))) == EVERY


@pytest.mark.parametrize(
    "entries",
    [
        [["Nonsense", {}]],
        [["Timer", {"signal": 1}]],
        [["Timer", {"signal": 1, "seconds": "soon"}]],
        [["Timer", {"signal": 1, "seconds": 1.0, "kind": "other"}]],
        [["Cron", {"signal": 1, "minute": None, "hour": 1, "day": 1, "month": 1, "weekday": 1}]],
        [["FileMonitor", {"signal": 1, "path": 5}]],
        ["Timer"],
        [1],
    ],
)
def test_nonsense_of_a_process_is_an_error_and_reaches_nothing(entries: list[Any]) -> None:
    with pytest.raises(BrokenError, match="expected what a process of this instance has registered"):
        decode(entries)


NO_SIGNALS = {"routed": 0, "unrouted": 0, "waiting": 0, "queues": {}, "signals": [], "sources": []}


@pytest.mark.parametrize(
    "told", [{}, {"signals": 1}, {"signals": [{}]}, {"queues": []}, {"routed": "many"}, {"sources": [["Timer"]]}]
)
def test_nonsense_is_no_statistics(told: dict[str, Any]) -> None:
    told = {**NO_SIGNALS, **told} if told else told
    with pytest.raises(BrokenError, match="expected statistics of signals"):
        statistics_of(told)


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uwsgi_async")
