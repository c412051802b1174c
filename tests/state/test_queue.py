"""The queue's rules, case by case as real uWSGI's (tests/parity/test_state.py compares the two), and its waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import pytest

from tests.state.actors import Actor, actors
from uwsgi_async.errors import NoInstanceError, OptionError
from uwsgi_async.options.settings import QueueOptions
from uwsgi_async.state.queue import Queue
from uwsgi_async.state.queue_quick import QuickFunctions

SIZE, BLOCKSIZE = 4, 1024


def make(size: int = SIZE, blocksize: int = BLOCKSIZE, **options: Any) -> Queue:
    queue = Queue.create(QueueOptions(queue=size, queue_blocksize=blocksize, **options))
    assert queue is not None
    return queue


@pytest.fixture(params=["short way", "long way"])
def queue(request: pytest.FixtureRequest) -> Iterator[Queue]:
    """The rules are the same for both; the long way is that of slots of odd sizes, and of machines of other kinds."""
    queue = make()
    if request.param == "long way":
        long_way(queue)
    yield queue
    queue.close()


def long_way(queue: Queue) -> None:
    for name in QuickFunctions._fields:
        setattr(queue, name, partial(queue._mutex.run, getattr(queue._ring, name)))


def pushed(queue: Queue, *items: str) -> None:
    for item in items:
        assert queue.push(item.encode())


def slots(queue: Queue) -> list[bytes | None]:
    return [queue.get(slot) for slot in range(queue.size)]


def test_no_slots_no_queue() -> None:
    assert Queue.create(QueueOptions()) is None


def test_slots_must_fill_whole_pages() -> None:
    with pytest.raises(OptionError, match="multiple of the memory's page size, 4096"):
        make(3, 1000)


def test_a_queue_larger_than_the_memory_is_refused() -> None:
    with pytest.raises(OptionError, match="the machine has only"):
        make(2**30, 2**20)


def test_slots_may_be_of_odd_sizes() -> None:
    queue = make(4096, 27)
    assert queue.limit == 11
    for number in range(5000):
        assert queue.push(b"item %d" % number)
    assert queue.get(0) == b"item 4096"
    assert queue.last(2) == [b"item 4999", b"item 4998"]
    queue.close()


def test_pull_returns_what_was_pushed_first(queue: Queue) -> None:
    pushed(queue, "a", "b")
    assert [queue.pull(), queue.pull(), queue.pull()] == [b"a", b"b", None]


def test_pop_returns_what_was_pushed_last(queue: Queue) -> None:
    pushed(queue, "a", "b")
    assert [queue.pop(), queue.pop()] == [b"b", b"a"]


def test_pop_of_an_empty_slot_moves_all_the_same(queue: Queue) -> None:
    assert queue.pop() is None
    assert queue.position == SIZE - 1


def test_pull_of_an_empty_slot_does_not_move(queue: Queue) -> None:
    assert queue.pull() is None
    assert queue.pull_position == 0


def test_push_overwrites_the_oldest_and_pull_does_not_notice(queue: Queue) -> None:
    pushed(queue, *"abcdef")
    assert slots(queue) == [b"e", b"f", b"c", b"d"]
    assert (queue.position, queue.pull_position) == (2, 0)
    assert queue.pull() == b"e"


def test_pull_wraps_around(queue: Queue) -> None:
    for item in "abcdefghij":
        pushed(queue, item)
        assert queue.pull() == item.encode()
    assert queue.pull_position == 10 % SIZE


def test_get_leaves_the_item_and_is_none_beyond_the_slots(queue: Queue) -> None:
    pushed(queue, "a")
    assert [queue.get(0), queue.get(0), queue.get(1), queue.get(SIZE), queue.get(-1)] == [b"a", b"a", None, None, None]


def test_set_moves_no_position(queue: Queue) -> None:
    assert queue.set(2, b"x")
    assert slots(queue) == [None, None, b"x", None]
    assert (queue.position, queue.pull_position) == (0, 0)
    assert not queue.set(SIZE, b"x")
    assert not queue.set(-1, b"x")


def test_last_walks_backwards_from_what_was_pushed_last_and_removes_nothing(queue: Queue) -> None:
    pushed(queue, "a", "b", "c")
    assert queue.last(2) == [b"c", b"b"]
    assert queue.last(100) == [b"c", b"b", b"a", None]
    assert slots(queue) == [b"a", b"b", b"c", None]


def test_a_message_may_fill_its_slot_and_no_more(queue: Queue) -> None:
    longest = b"x" * (BLOCKSIZE - 16)
    assert queue.push(longest)
    assert queue.set(1, longest)
    assert not queue.push(longest + b"x")
    assert not queue.set(1, longest + b"x")
    assert slots(queue) == [longest, longest, None, None]


def test_an_empty_message_is_refused(queue: Queue) -> None:
    assert not queue.push(b"")
    assert not queue.set(0, b"")


def test_statistics(queue: Queue) -> None:
    pushed(queue, "a", "b")
    queue.pull()
    statistics = queue.statistics()
    assert (statistics.size, statistics.items, statistics.position, statistics.pull_position) == (SIZE, 1, 2, 1)


def test_a_closed_queue_says_so() -> None:
    queue = make()
    queue.close()
    with pytest.raises(NoInstanceError):
        queue.push(b"x")
    queue.close()


# --- waiting --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Queue, list[Actor]]]:
    queue = make()
    with actors(2, queue=queue) as others:
        yield queue, list(others)
    queue.close()


@pytest.mark.anyio
async def test_pull_wait_returns_at_once_what_is_there(queue: Queue, anyio_backend: Any) -> None:
    pushed(queue, "a")
    assert await queue.pull_wait() == b"a"


@pytest.mark.anyio
async def test_waiting_tasks_are_served_in_the_order_they_came(queue: Queue, anyio_backend: Any) -> None:
    got: list[tuple[int, bytes]] = []

    async def pull(number: int) -> None:
        got.append((number, await queue.pull_wait()))

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(pull, number)
            await anyio.wait_all_tasks_blocked()
        pushed(queue, "a", "b", "c")
    assert got == [(0, b"a"), (1, b"b"), (2, b"c")]


@pytest.mark.anyio
async def test_a_cancelled_wait_takes_nothing_and_lets_the_next_one_wait(queue: Queue, anyio_backend: Any) -> None:
    got = []

    async def pull() -> None:
        got.append(await queue.pull_wait())

    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(0.01):
            tasks.start_soon(pull)
            await queue.pull_wait()
        pushed(queue, "a")
    assert got == [b"a"]
    assert queue.pull() is None


@pytest.mark.anyio
async def test_set_wakes_who_waits_for_that_slot(queue: Queue, anyio_backend: Any) -> None:
    async def set_it() -> None:
        await anyio.wait_all_tasks_blocked()
        queue.set(1, b"too early")
        await anyio.wait_all_tasks_blocked()
        queue.set(0, b"now")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(set_it)
        assert await queue.pull_wait() == b"now"
    assert await queue.pull_wait() == b"too early"


@pytest.mark.anyio
async def test_a_push_of_another_process_wakes(shared: tuple[Queue, list[Actor]], anyio_backend: Any) -> None:
    queue, others = shared

    async def push() -> None:
        await anyio.wait_all_tasks_blocked()
        assert others[0].call("queue.push", b"from afar")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push)
        assert await queue.pull_wait() == b"from afar"


def test_other_processes_wait_too_and_each_item_goes_to_one(shared: tuple[Queue, list[Actor]]) -> None:
    queue, others = shared
    for other in others:
        other.begin("pull_wait")
        assert not other.answers(0.02)
    pushed(queue, "a", "b")
    assert {other.end() for other in others} == {b"a", b"b"}


def test_a_killed_waiter_takes_nothing_with_it(shared: tuple[Queue, list[Actor]]) -> None:
    queue, others = shared
    victim = Actor(queue=queue)
    for each in (victim, others[0]):
        each.begin("pull_wait")
        assert not each.answers(0.02)
    victim.kill()
    pushed(queue, "a")
    assert others[0].end() == b"a"


@pytest.mark.anyio
async def test_a_thread_without_a_loop_pushes_to_a_waiting_task(queue: Queue, anyio_backend: Any) -> None:
    thread = threading.Timer(0.01, queue.push, (b"x",))
    thread.start()
    assert await queue.pull_wait() == b"x"
    thread.join()


# --- death ----------------------------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "push into an empty slot": ("push", (b"new",)),
    "push over an item": ("push", (b"longer than before",)),
    "pop": ("pop", ()),
    "pull": ("pull", ()),
    "set over an item": ("set", (2, b"s")),
}


@pytest.mark.parametrize("way", ["short", "long"])
@pytest.mark.parametrize("case", CHANGES)
def test_a_process_killed_at_any_line_leaves_the_queue_as_before_or_as_after(
    shared: tuple[Queue, list[Actor]], case: str, way: str
) -> None:
    queue, others = shared
    method, args = CHANGES[case]

    def fill() -> None:
        while queue.position != queue.pull_position:
            queue.push(b"_")
        for slot in range(SIZE):
            queue.push(b"%d" % slot)
        if case == "push into an empty slot":
            queue.pull()

    def state() -> tuple[Any, ...]:
        return *slots(queue), queue.position, queue.pull_position

    results = set()
    for line in range(1, 1000):
        fill()
        before = state()
        killed = others[0].call("die_at" if way == "short" else "die_in_ring", line, method, *args)
        # Whoever comes next finds the queue whole, and free.
        after = state()
        changed = sum(old != new for old, new in zip(before, after, strict=True))
        results.add(changed)
        if not killed:
            break
    everything = {"push": 2, "pop": 2, "pull": 2, "set": 1}[method]
    assert results == {0, everything}
    assert line > 15
