"""A mule takes messages in uWSGI's order, from threads and tasks at once, and none gets lost by a cancel or an end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

import anyio
import anyio.to_thread
import pytest

from uwsgi_async.mules.mule import BUFFER_SIZE, Mule
from uwsgi_async.mules.queues import MuleQueues
from uwsgi_async.options.mules import MuleOptions

T = TypeVar("T")


class Stable:
    """Mule 1 of an instance with two, its queues, and both sources."""

    def __init__(self) -> None:
        queues = MuleQueues.create(MuleOptions(farm=("web:1,2", "other:2")), 2)
        assert queues is not None
        self.queues = queues
        self.mule = Mule(1, queues)
        self.all = self.mule.source(mine=True, farms=True)
        self.own = self.mule.source(mine=True, farms=False)
        self.farms = self.mule.source(mine=False, farms=True)

    def fill(self) -> None:
        self.queues.farms["other"].send(b"other farm")
        self.queues.farms["web"].send(b"farm")
        self.queues.shared.send(b"shared")
        self.queues.own[0].send(b"own")
        self.queues.own[1].send(b"mule 2")


@pytest.fixture
def stable() -> Iterator[Stable]:
    made = Stable()
    yield made
    made.mule.close()
    made.queues.close()


def in_thread(function: Callable[[], T]) -> Future[T]:
    """Call a function in a thread of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - it is the result
            future.set_exception(error)

    threading.Thread(target=run).start()
    return future


def test_a_thread_takes_its_own_first_then_those_for_all_then_those_of_its_farms(stable: Stable) -> None:
    stable.fill()
    taken = [stable.mule.take_in_thread(stable.all, BUFFER_SIZE, 0) for _ in range(4)]
    assert taken == [b"own", b"shared", b"farm", b""]


@pytest.mark.anyio
async def test_a_task_takes_in_the_same_order(stable: Stable) -> None:
    stable.fill()
    taken = [await stable.mule.take(stable.all, BUFFER_SIZE, 0) for _ in range(4)]
    assert taken == [b"own", b"shared", b"farm", b""]


@pytest.mark.anyio
async def test_without_farms_their_messages_stay_and_of_farms_only_theirs_come(stable: Stable) -> None:
    stable.fill()
    assert [await stable.mule.take(stable.own, BUFFER_SIZE, 0) for _ in range(3)] == [b"own", b"shared", b""]
    assert [await stable.mule.take(stable.farms, BUFFER_SIZE, 0) for _ in range(2)] == [b"farm", b""]


def test_a_thread_waits_until_a_message_comes(stable: Stable) -> None:
    waiting = in_thread(lambda: stable.mule.take_in_thread(stable.all, BUFFER_SIZE, None))
    stable.queues.shared.send(b"late")
    assert waiting.result(10) == b"late"


@pytest.mark.anyio
async def test_a_task_waits_until_a_message_comes_and_others_run_meanwhile(stable: Stable) -> None:
    got = []

    async def take() -> None:
        got.append(await stable.mule.take(stable.all, BUFFER_SIZE, None))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        await anyio.wait_all_tasks_blocked()
        stable.queues.own[0].send(b"late")
    assert got == [b"late"]


@pytest.mark.anyio
async def test_tasks_and_threads_together_take_each_message_once(stable: Stable) -> None:
    count, got = 600, list[bytes]()

    async def take() -> None:
        while (message := await stable.mule.take(stable.all, BUFFER_SIZE, None)) != b"stop":
            assert message is not None
            got.append(message)

    def take_in_thread() -> None:
        while (message := stable.mule.take_in_thread(stable.all, BUFFER_SIZE, None)) != b"stop":
            assert message is not None
            got.append(message)

    async def send(message: bytes) -> None:
        while not stable.queues.shared.send(message):  # noqa: ASYNC110 - a queue has no event for the sender
            await anyio.sleep(0.001)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(take)
            tasks.start_soon(anyio.to_thread.run_sync, take_in_thread)
        for number in range(count):
            await send(b"%d" % number)
        for _ in range(6):
            await send(b"stop")
    assert sorted(got, key=int) == [b"%d" % number for number in range(count)]


@pytest.mark.anyio
async def test_a_cancelled_wait_takes_nothing(stable: Stable) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stable.mule.take, stable.all, BUFFER_SIZE, None)
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
        stable.queues.own[0].send(b"kept")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await stable.mule.take(stable.all, BUFFER_SIZE, None)
    assert await stable.mule.take(stable.all, BUFFER_SIZE, 0) == b"kept"


def test_when_time_is_over_the_result_is_empty(stable: Stable) -> None:
    assert stable.mule.take_in_thread(stable.all, BUFFER_SIZE, 0.01) == b""


@pytest.mark.anyio
async def test_a_handled_signal_ends_the_wait_of_those_who_asked_for_that(stable: Stable) -> None:
    got = list[bytes | None]()

    async def take(signals: bool) -> None:
        got.append(await stable.mule.take(stable.all, BUFFER_SIZE, None, signals=signals))

    thread = in_thread(lambda: stable.mule.take_in_thread(stable.farms, BUFFER_SIZE, None, signals=True))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take, True)
        tasks.start_soon(take, False)
        await anyio.wait_all_tasks_blocked()
        while not thread.done() or not got:
            stable.mule.note_signal()
            await anyio.sleep(0.001)
        stable.queues.own[0].send(b"message")
    assert got == [None, b"message"]
    assert thread.result(10) is None


@pytest.mark.anyio
async def test_a_signal_that_was_handled_before_the_wait_ends_it_too_once(stable: Stable) -> None:
    stable.mule.note_signal()
    assert await stable.mule.take(stable.all, BUFFER_SIZE, 10, signals=True) is None
    stable.mule.note_signal()
    assert (
        await anyio.to_thread.run_sync(lambda: stable.mule.take_in_thread(stable.all, BUFFER_SIZE, 10, signals=True))
        is None
    )
    assert await stable.mule.take(stable.all, BUFFER_SIZE, 0.01, signals=True) == b""


def test_the_end_is_systemexit_for_a_thread_that_waits_and_for_one_that_asks_later(stable: Stable) -> None:
    waiting = in_thread(lambda: stable.mule.take_in_thread(stable.all, BUFFER_SIZE, None))
    stable.mule.end()
    with pytest.raises(SystemExit):
        waiting.result(10)
    stable.queues.own[0].send(b"for the next one")
    with pytest.raises(SystemExit):
        stable.mule.take_in_thread(stable.all, BUFFER_SIZE, None)
    assert stable.queues.own[0].take(100) == b"for the next one"


@pytest.mark.anyio
async def test_a_task_gets_nothing_after_the_end(stable: Stable) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stable.mule.take, stable.all, BUFFER_SIZE, None)
        await anyio.wait_all_tasks_blocked()
        stable.mule.end()
        stable.queues.own[0].send(b"for the next one")
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert stable.queues.own[0].take(100) == b"for the next one"


@pytest.mark.anyio
async def test_a_mule_is_busy_while_somebody_who_lives_has_a_message(stable: Stable) -> None:
    async def take_and_wait(go_on: anyio.Event) -> None:
        await stable.mule.take(stable.all, BUFFER_SIZE, None)
        await go_on.wait()

    go_on = anyio.Event()
    assert not stable.mule.is_busy()
    stable.queues.own[0].send(b"work")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take_and_wait, go_on)
        await anyio.wait_all_tasks_blocked()
        assert stable.mule.is_busy()
        go_on.set()
    assert not stable.mule.is_busy()
