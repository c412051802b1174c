"""One process: handlers start in order, wait side by side, fail alone; whoever waits is woken."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import greenback
import pytest

from uwsgi_async.errors import SignalError, SignalQueueFullError
from uwsgi_async.signals.dispatch import MOST_RAISED
from uwsgi_async.signals.end import SignalEnd, collect, packed
from uwsgi_async.signals.messages import (
    Accepted,
    Declared,
    Deliver,
    FromProcess,
    Handled,
    HandlerFailed,
    Raise,
    Waiting,
)
from uwsgi_async.signals.targets import Roster

pytestmark = pytest.mark.anyio


class Ended:
    """An end, and what it has told the router."""

    def __init__(self, *, harakiri: float = 0.0, importing: bool = False) -> None:
        self.told: list[FromProcess] = []
        self.end = SignalEnd(collect(self.told), Roster(workers=2), "worker 1", harakiri=harakiri, importing=importing)
        self.ran: list[object] = []

    def deliver(self, *signals: int) -> None:
        self.end.receive(Deliver(bytes(signals)))

    @property
    def handled(self) -> list[int]:
        return [number for each in self.told if isinstance(each, Handled) for number in each.numbers]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.end.run)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(10):
                yield
            tasks.cancel_scope.cancel()


async def test_handlers_start_in_the_order_in_which_the_signals_came() -> None:
    ended = Ended()
    for number in range(5):
        ended.end.register(number, "", ended.ran.append)
    async with ended.running():
        signals = [3, 1, 4, 1, 2, 0] * 30
        ended.deliver(*signals)
        await ended.end.drained()
    assert ended.ran == signals
    assert ended.handled == signals


async def test_async_handlers_that_do_not_wait_start_in_order_too() -> None:
    ended = Ended()

    async def handler(number: int) -> None:
        ended.ran.append(number)

    for number in range(3):
        ended.end.register(number, "", handler)
    async with ended.running():
        ended.deliver(2, 0, 1, 1, 2)
        await ended.end.drained()
    assert ended.ran == [2, 0, 1, 1, 2]


async def test_a_handler_that_waits_holds_up_its_own_number_alone() -> None:
    ended = Ended()
    go_on = anyio.Event()

    async def slow(number: int) -> None:
        ended.ran.append("begin")
        await go_on.wait()
        ended.ran.append("end")

    ended.end.register(1, "", slow)
    ended.end.register(2, "", ended.ran.append)
    async with ended.running():
        ended.deliver(1, 1, 2, 2)
        while ended.handled != [2, 2]:
            await anyio.lowlevel.checkpoint()
        assert ended.ran == ["begin", 2, 2]
        go_on.set()
        await ended.end.drained()
    assert ended.ran == ["begin", 2, 2, "end", "begin", "end"]


async def test_what_is_handled_is_told_also_while_the_next_handler_waits() -> None:
    ended = Ended()
    ended.end.register(1, "", ended.ran.append)

    async def slow(number: int) -> None:
        await anyio.sleep_forever()

    ended.end.register(2, "", slow)
    async with ended.running():
        ended.deliver(1, 2)
        while ended.handled != [1]:
            await anyio.lowlevel.checkpoint()


async def test_a_plain_handler_may_wait() -> None:
    ended = Ended()

    def handler(number: int) -> None:
        greenback.await_(anyio.lowlevel.checkpoint())
        ended.ran.append(number)

    ended.end.register(7, "", handler)
    async with ended.running():
        ended.deliver(7)
        await ended.end.drained()
    assert ended.ran == [7]


async def test_at_the_end_what_takes_too_long_is_cancelled_and_not_told_as_handled(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended = Ended()

    async def endless(number: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.ran.append("cancelled")

    ended.end.register(1, "", endless)
    ended.end.register(2, "", ended.ran.append)
    async with ended.running():
        ended.deliver(1, 2)
        await ended.end.finish(0.01)
    assert ended.ran == [2, "cancelled"]
    assert ended.handled == [2]
    assert "worker 1: 1 signals were not handled within 0.01 s" in caplog.text


async def test_an_error_is_logged_with_its_signal_and_the_next_one_is_handled(caplog: pytest.LogCaptureFixture) -> None:
    ended = Ended()

    def handler(number: int) -> None:
        ended.ran.append(number)
        raise RuntimeError("no luck")

    ended.end.register(7, "", handler)
    async with ended.running():
        ended.deliver(7, 7)
        await ended.end.drained()
    assert ended.ran == [7, 7]
    assert "error managing signal 7 on worker 1: RuntimeError: no luck" in caplog.text
    assert HandlerFailed(7, "RuntimeError: no luck") in ended.told
    assert ended.handled == [7, 7]


async def test_a_handler_over_harakiri_is_cancelled_and_told() -> None:
    ended = Ended(harakiri=0.01)

    async def slow(number: int) -> None:
        await anyio.sleep_forever()

    ended.end.register(1, "", slow)
    async with ended.running():
        ended.deliver(1)
        await ended.end.drained()
    assert HandlerFailed(1, "it took more than 0.01 s (harakiri)") in ended.told


async def test_a_signal_without_a_handler_is_an_error_that_names_it(caplog: pytest.LogCaptureFixture) -> None:
    ended = Ended()
    async with ended.running():
        ended.deliver(9)
        await ended.end.drained()
    assert "error managing signal 9 on worker 1" in caplog.text
    assert ended.handled == [9]


async def test_all_who_wait_are_woken_when_the_handler_is_done(caplog: pytest.LogCaptureFixture) -> None:
    ended = Ended()
    got: list[tuple[object, int]] = []

    async def wait(number: int | None) -> None:
        got.append((number, await ended.end.waiters.wait(number)))

    async with ended.running(), anyio.create_task_group() as tasks:
        for number in (5, 5, None, 6):
            tasks.start_soon(wait, number)
        while Waiting(6, True) not in ended.told:
            await anyio.lowlevel.checkpoint()
        ended.deliver(5)
        await ended.end.drained()
        while len(got) < 3:
            await anyio.lowlevel.checkpoint()
        assert sorted(got, key=str) == [(5, 5), (5, 5), (None, 5)]
        ended.deliver(6)
    assert got[-1] == (6, 6)
    assert "error managing" not in caplog.text


async def test_the_router_knows_who_waits_until_nobody_does() -> None:
    ended = Ended()
    with anyio.move_on_after(0.01):
        await ended.end.waiters.wait(5)
    assert ended.told == [Waiting(5, True), Waiting(5, False)]


async def test_who_has_raised_too_many_waits_until_they_are_accepted() -> None:
    ended = Ended()
    async with ended.running():
        for _ in range(MOST_RAISED):
            await ended.end.raiser.raise_signal(1)
        assert not ended.end.raiser.raise_nowait(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ended.end.raiser.raise_signal, 2)
            await anyio.wait_all_tasks_blocked()
            assert Raise(b"\2") not in ended.told
            ended.end.receive(Accepted(bytes([1, 0])))
    assert Raise(b"\2") in ended.told


async def test_a_handler_is_told_that_a_queue_is_full_instead_of_waiting_for_itself() -> None:
    ended = Ended()

    async def handler(number: int) -> None:
        while True:
            await ended.end.raiser.raise_signal(1)

    ended.end.register(1, "", handler)
    async with ended.running():
        ended.end.receive(Accepted(bytes([0, 1])))
        ended.deliver(1)
        await ended.end.drained()
    errors = [each.error for each in ended.told if isinstance(each, HandlerFailed)]
    assert errors == [
        "SignalQueueFullError: signal 1 is not raised: the queue of its target is full (option signal-bufsize), and a "
        "handler may not wait for that"
    ]


async def test_while_the_app_is_imported_who_would_wait_is_told() -> None:
    ended = Ended(importing=True)
    for _ in range(MOST_RAISED):
        assert ended.end.raiser.raise_nowait(1)
    with pytest.raises(SignalQueueFullError, match="does not serve yet"):
        await ended.end.raiser.raise_signal(1)


async def test_no_waiter_is_left_behind_when_waiting_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    ended = Ended()
    async with ended.running():
        with anyio.move_on_after(0.01):
            await ended.end.waiters.wait(3)
        ended.deliver(3)
        await ended.end.drained()
    assert "signal 3" in caplog.text


async def test_a_target_that_the_instance_does_not_have_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    Ended().end.register(1, "worker3", print)
    assert "signal 1 will be lost: there is no worker 3: the instance has 2" in caplog.text


async def test_a_target_that_means_nobody_is_refused_and_nothing_is_registered() -> None:
    ended = Ended()
    with pytest.raises(SignalError, match="expected a target"):
        ended.end.register(1, "bogus", print)
    assert not ended.end.handlers
    assert not ended.told


async def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(SignalError, match="expected a function"):
        Ended().end.register(1, "", "handler")  # type: ignore[arg-type]


async def test_at_import_a_number_is_registered_once_and_later_again() -> None:
    ended = Ended(importing=True)
    ended.end.register(1, "", print)
    with pytest.raises(SignalError, match="registered already"):
        ended.end.register(1, "", print)
    ended.end.connect(ended.end._send, "worker 1")
    ended.end.register(1, "", print)


async def test_what_is_collected_at_import_fits_into_few_messages_declarations_first() -> None:
    messages: list[FromProcess] = []
    end = SignalEnd(collect(messages), Roster(workers=1), "the fork server", importing=True)
    end.raiser.raise_nowait(3)
    for number in range(30):
        end.register(number, "", print)
    end.raiser.raise_nowait(4)
    first, second, third = packed(messages)
    assert isinstance(first, Declared)
    assert isinstance(second, Declared)
    assert len(first.entries) + len(second.entries) == 30
    assert third == Raise(b"\3\4")


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uwsgi_async")
