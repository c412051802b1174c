"""What an app may rely on with locks: inside a process, between processes, and when a holder dies."""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.state.actors import Actor, AreaLocks, actors
from uwsgi_async.errors import DeadlockError
from uwsgi_async.options.settings import LockOptions, SharedAreaOptions
from uwsgi_async.state.locks import Lock, Locks

AnyLocks = Locks | AreaLocks


def make(kind: str) -> AnyLocks:
    """Locks 0 to 2."""
    if kind == "locks":
        return Locks.create(LockOptions(locks=2))
    areas = AreaLocks.create(SharedAreaOptions(py_sharedarea=("8", "8", "8")))
    assert isinstance(areas, AreaLocks)
    return areas


@pytest.fixture(scope="module", params=["locks", "area_locks"])
def shared(request: pytest.FixtureRequest) -> Iterator[tuple[AnyLocks, list[Actor], str]]:
    """Locks 0 to 2, and two other processes that share them. The rules are the same for both kinds of claims."""
    locks = make(request.param)
    with actors(2, **{request.param: locks}) as others:
        yield locks, list(others), request.param
    locks.close()


@pytest.fixture
def locks(shared: tuple[AnyLocks, list[Actor], str]) -> Iterator[AnyLocks]:
    """All free before and after the test."""
    yield shared[0]
    assert [shared[0][number].holder() for number in range(3)] == [None] * 3


@pytest.fixture
def others(shared: tuple[AnyLocks, list[Actor], str]) -> list[Actor]:
    return shared[1]


@pytest.fixture
def victim(shared: tuple[AnyLocks, list[Actor], str]) -> Iterator[Actor]:
    """One more process, to be killed."""
    victim = Actor(**{shared[2]: shared[0]})
    yield victim
    victim.close()


@pytest.fixture
def sharable() -> Iterator[Lock]:
    """A lock that may be shared: not all may."""
    areas = make("area_locks")
    yield areas[1]
    areas.close()


def test_numbers_go_from_0_to_the_option_included() -> None:
    locks = Locks.create(LockOptions(locks=2))
    assert len(locks) == 3
    for number in (-1, 3):
        with pytest.raises(ValueError, match="Invalid lock number"):
            locks[number]
    locks.close()


def test_a_numbered_lock_cannot_be_shared() -> None:
    locks = Locks.create(LockOptions())
    with pytest.raises(ValueError, match="cannot be shared"):
        locks[0].acquire_nowait("me", shared=True)
    locks.close()


def test_unlocking_a_free_lock_does_nothing(locks: AnyLocks) -> None:
    assert not locks[1].release("me")


def test_an_owner_who_locks_twice_is_told(locks: AnyLocks) -> None:
    assert locks[1].acquire_nowait("me")
    with pytest.raises(DeadlockError, match="1 is held by"):
        locks[1].acquire_nowait("me")
    locks[1].release("me")


def test_locks_are_independent(locks: AnyLocks) -> None:
    assert locks[0].acquire_nowait("me")
    assert locks[1].acquire_nowait("me")
    assert not locks[1].acquire_nowait("you")
    locks[0].release("me")
    locks[1].release("me")


def test_any_owner_of_the_process_may_unlock(locks: AnyLocks) -> None:
    assert locks[0].acquire_nowait("me")
    assert locks[0].release("you")
    assert locks[0].holder() is None


def test_only_its_owner_unlocks_when_that_is_asked_for(locks: AnyLocks) -> None:
    assert locks[0].acquire_nowait("me")
    assert not locks[0].release("you", only_owner=True)
    assert locks[0].release("me", only_owner=True)


def test_those_who_share_hold_it_together_and_nobody_else(sharable: Lock) -> None:
    assert sharable.acquire_nowait("me", shared=True)
    assert sharable.acquire_nowait("you", shared=True)
    assert sharable.acquire_nowait("me", shared=True)
    assert not sharable.acquire_nowait("she")
    with pytest.raises(DeadlockError):
        sharable.acquire_nowait("me")
    for owner in ("me", "you", "me"):
        assert sharable.release(owner)


@pytest.mark.anyio
async def test_tasks_get_it_one_at_a_time_in_the_order_they_came(locks: AnyLocks, anyio_backend: Any) -> None:
    order: list[int] = []
    inside = 0

    async def use(number: int) -> None:
        nonlocal inside
        await locks[1].acquire(number)
        inside += 1
        assert inside == 1
        order.append(number)
        await checkpoint()
        inside -= 1
        locks[1].release(number)

    async with anyio.create_task_group() as tasks:
        assert locks[1].acquire_nowait("first")
        for number in range(5):
            tasks.start_soon(use, number)
            await anyio.wait_all_tasks_blocked()
        locks[1].release("first")
    assert order == [0, 1, 2, 3, 4]


@pytest.mark.anyio
async def test_those_who_share_enter_together_behind_one_who_does_not(sharable: Lock, anyio_backend: Any) -> None:
    assert sharable.acquire_nowait("writer")
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(lambda number=number: sharable.acquire(number, shared=True))
        await anyio.wait_all_tasks_blocked()
        sharable.release("writer")
    for number in range(3):
        assert sharable.release(number, only_owner=True)


@pytest.mark.anyio
async def test_who_shares_waits_behind_one_who_waits(sharable: Lock, anyio_backend: Any) -> None:
    assert sharable.acquire_nowait("reader", shared=True)
    order: list[str] = []

    async def get(owner: str, shared: bool) -> None:
        await sharable.acquire(owner, shared=shared)
        order.append(owner)
        sharable.release(owner)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(get, "writer", False)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(get, "late reader", True)
        await anyio.wait_all_tasks_blocked()
        assert order == []
        sharable.release("reader")
    assert order == ["writer", "late reader"]


@pytest.mark.anyio
@pytest.mark.parametrize("place", [0, 1])
async def test_a_cancelled_wait_lets_the_next_one_through(locks: AnyLocks, place: int, anyio_backend: Any) -> None:
    assert locks[1].acquire_nowait("first")
    got: list[int] = []

    async def get(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            await locks[1].acquire(number)
            got.append(number)
            locks[1].release(number)

    scopes = [anyio.CancelScope() for _ in range(3)]
    async with anyio.create_task_group() as tasks:
        for number, scope in enumerate(scopes):
            tasks.start_soon(get, number, scope)
            await anyio.wait_all_tasks_blocked()
        scopes[place].cancel()
        await anyio.wait_all_tasks_blocked()
        locks[1].release("first")
    assert got == [number for number in range(3) if number != place]


@pytest.mark.anyio
async def test_who_is_cancelled_in_the_moment_it_is_let_in_holds_nothing(locks: AnyLocks, anyio_backend: Any) -> None:
    assert locks[1].acquire_nowait("first")
    scope = anyio.CancelScope()

    async def get() -> None:
        with scope:
            await locks[1].acquire("second")
            locks[1].release("second")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(get)
        await anyio.wait_all_tasks_blocked()
        locks[1].release("first")
        scope.cancel()
    assert locks[1].holder() is None


@pytest.mark.anyio
async def test_a_lock_of_another_process_is_waited_for_while_other_tasks_run(
    locks: AnyLocks, others: list[Actor], anyio_backend: Any
) -> None:
    others[0].call("lock", 1)
    assert locks[1].holder() == others[0].pid
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while locks[1].holder() == others[0].pid:
            turns += 1
            if turns == 10:
                others[0].call("unlock", 1)
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(turn)
        await locks[1].acquire("me")
    assert turns == 10
    assert others[0].call("holder", 1) == os.getpid()
    locks[1].release("me")


@pytest.mark.anyio
async def test_a_wait_for_another_process_can_be_cancelled(
    locks: AnyLocks, others: list[Actor], anyio_backend: Any
) -> None:
    others[0].call("lock", 1)
    with anyio.move_on_after(0.01) as scope:
        await locks[1].acquire("me")
    assert scope.cancelled_caught
    others[0].call("unlock", 1)
    assert locks[1].holder() is None
    assert locks[1].acquire_nowait("you")
    locks[1].release("you")


def test_a_lock_taken_while_an_app_is_imported_waits_without_a_loop(locks: AnyLocks, others: list[Actor]) -> None:
    assert locks[1].acquire_nowait("me")
    others[0].begin("lock", 1)
    assert not others[0].answers(0.05)
    locks[1].release("me")
    others[0].end()
    others[0].call("unlock", 1)


def test_a_killed_holder_frees_its_lock_and_wakes_who_waits(
    locks: AnyLocks, others: list[Actor], victim: Actor
) -> None:
    victim.call("lock", 1)
    others[0].begin("lock", 1)
    assert not others[0].answers(0.05)
    victim.kill()
    others[0].end()
    assert locks[1].holder() == others[0].pid
    others[0].call("unlock", 1)


def test_a_killed_waiter_is_in_nobodys_way(locks: AnyLocks, others: list[Actor], victim: Actor) -> None:
    others[0].call("lock", 1)
    victim.begin("lock", 1)
    assert not victim.answers(0.05)
    others[1].begin("lock", 1)
    victim.kill()
    others[0].call("unlock", 1)
    others[1].end()
    others[1].call("unlock", 1)


@pytest.mark.parametrize("method", ["acquire_nowait", "release"])
def test_a_process_killed_at_any_line_of_locking_and_unlocking_leaves_it_free(
    locks: AnyLocks, others: list[Actor], method: str
) -> None:
    for line in range(1, 1000):
        killed = others[0].call("die_in_lock", 1, line, method)
        assert locks[1].acquire_nowait("me")
        locks[1].release("me")
        if not killed:
            break
    assert line > 10


def test_what_a_dead_process_of_the_same_number_has_left_is_free() -> None:
    locks = Locks.create(LockOptions(locks=1))
    for number in range(2):
        locks[number]._words[:] = memoryview(struct.pack("8Q", *[os.getpid()] * 2, *[0] * 6)).cast("Q")
    assert locks[1].acquire_nowait("me")
    assert [locks[number].holder() for number in range(2)] == [None, os.getpid()]
    assert locks[0].acquire_nowait("me")
    locks.close()


def test_who_unlocks_and_locks_again_stands_behind_other_processes(locks: AnyLocks, others: list[Actor]) -> None:
    assert locks[1].acquire_nowait("me")
    others[0].begin("lock", 1)
    deadline = time.monotonic() + 20
    while locks[1]._turnstile.holder() != others[0].pid:
        assert time.monotonic() < deadline
    locks[1].release("me")
    assert not locks[1].acquire_nowait("me")
    others[0].end()
    others[0].call("unlock", 1)
    anyio.run(locks[1].acquire, "me")
    locks[1].release("me")


def test_a_forked_child_holds_nothing_of_its_parents(locks: AnyLocks, others: list[Actor]) -> None:
    others[0].call("lock", 2)
    assert others[0].call("forked", 2) == others[0].pid
    others[0].call("unlock", 2)
    assert others[0].call("forked", 2) is None


def test_the_end_of_a_child_frees_nothing_of_its_parents(locks: AnyLocks, others: list[Actor]) -> None:
    others[0].call("lock", 2)
    others[0].call("forked", 2)
    assert locks[2].holder() == others[0].pid
    others[0].call("unlock", 2)


@pytest.mark.anyio
async def test_a_thread_without_a_loop_and_a_task_wait_for_each_other(locks: AnyLocks, anyio_backend: Any) -> None:
    assert locks[1].acquire_nowait("task")
    entered = threading.Event()

    def use() -> None:
        anyio.run(locks[1].acquire, "thread")
        entered.set()
        locks[1].release("thread")

    thread = threading.Thread(target=use)
    thread.start()
    while not (locks[1]._line.head or locks[1]._line.waiters):
        await checkpoint()
    assert not entered.is_set()
    locks[1].release("task")
    await locks[1].acquire("task")
    assert entered.is_set()
    locks[1].release("task")
    thread.join()
