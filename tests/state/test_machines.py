"""Random operations of several processes at once, against plain models in this process.

Hypothesis chooses what is done and by whom: this process (0) or one of the actors. An operation ends before the next
one begins, but for waiting: an actor that waits for a lock stays waiting while the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.state.actors import PATIENCE, Actor, actors
from uwsgi_async.errors import DeadlockError
from uwsgi_async.options.settings import LockOptions, QueueOptions, SharedAreaOptions
from uwsgi_async.state.locks import Locks
from uwsgi_async.state.queue import Queue
from uwsgi_async.state.sharedarea import SharedAreas
from uwsgi_async.state.wrap import wrapped

SCALE = int(os.environ.get("STATE_MACHINES", "1"))
WHO = st.integers(0, 2)


def run(machine: type[RuleBasedStateMachine], examples: int = 25) -> None:
    chosen = settings(max_examples=examples * SCALE, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(machine, settings=chosen)  # type: ignore[no-untyped-call]


# --- queue ----------------------------------------------------------------------------------------------------------

SIZE, BLOCKSIZE = 8, 512
SLOT = st.integers(-1, SIZE)
MESSAGE = st.one_of(st.binary(max_size=5), st.sampled_from([b"x" * (BLOCKSIZE - 16), b"x" * (BLOCKSIZE - 15)]))


class QueueMachine(RuleBasedStateMachine):
    """The queue as uWSGI's page and C code tell it: a list and two numbers."""

    queue: ClassVar[Queue]
    others: ClassVar[Sequence[Actor]]

    def __init__(self) -> None:
        super().__init__()
        for slot in range(SIZE):  # there is no way to empty a slot but to take what is in it
            if self.queue.get(slot) is not None:
                while self.queue.position != (slot + 1) % SIZE:
                    self.queue.pop()
                self.queue.pop()
        self.slots: list[bytes | None] = [None] * SIZE
        self.position, self.pull_position = self.queue.position, self.queue.pull_position

    def do(self, who: int, method: str, *args: Any) -> Any:
        if who == 0:
            return getattr(self.queue, method)(*args)
        return self.others[who - 1].call(f"queue.{method}", *args)

    @rule(who=WHO, message=MESSAGE)
    def push(self, who: int, message: bytes) -> None:
        good = 0 < len(message) <= BLOCKSIZE - 16
        if good:
            self.slots[self.position] = message
            self.position = (self.position + 1) % SIZE
        assert self.do(who, "push", message) == good

    @rule(who=WHO)
    def pop(self, who: int) -> None:
        self.position = (self.position - 1) % SIZE
        expected, self.slots[self.position] = self.slots[self.position], None
        assert self.do(who, "pop") == expected

    @rule(who=WHO)
    def pull(self, who: int) -> None:
        expected = self.slots[self.pull_position]
        if expected is not None:
            self.slots[self.pull_position] = None
            self.pull_position = (self.pull_position + 1) % SIZE
        assert self.do(who, "pull") == expected

    @rule(who=WHO, slot=SLOT)
    def get(self, who: int, slot: int) -> None:
        assert self.do(who, "get", slot) == (self.slots[slot] if 0 <= slot < SIZE else None)

    @rule(who=WHO, slot=SLOT, message=MESSAGE)
    def set(self, who: int, slot: int, message: bytes) -> None:
        good = 0 <= slot < SIZE and 0 < len(message) <= BLOCKSIZE - 16
        if good:
            self.slots[slot] = message
        assert self.do(who, "set", slot, message) == good

    @rule(who=WHO, count=st.integers(1, SIZE + 2))
    def last(self, who: int, count: int) -> None:
        newest_first = [self.slots[(self.position - 1 - back) % SIZE] for back in range(min(count, SIZE))]
        assert self.do(who, "last", count) == newest_first

    @invariant()
    def positions(self) -> None:
        assert (self.queue.position, self.queue.pull_position) == (self.position, self.pull_position)


def test_the_queue_of_several_processes_is_the_models() -> None:
    queue = Queue.create(QueueOptions(queue=SIZE, queue_blocksize=BLOCKSIZE))
    assert queue is not None
    with actors(2, queue=queue) as others:
        QueueMachine.queue, QueueMachine.others = queue, others
        run(QueueMachine)
    queue.close()


# --- shared area ----------------------------------------------------------------------------------------------------

AREA = 40
POSITION = st.integers(-2, AREA + 2)
WIDTH = st.sampled_from([1, 2, 4, 8])
NUMBER = st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1))


class AreaMachine(RuleBasedStateMachine):
    """The area as bytes."""

    areas: ClassVar[SharedAreas]
    others: ClassVar[Sequence[Actor]]

    def __init__(self) -> None:
        super().__init__()
        self.bytes = bytearray(AREA)
        self.areas[0].write(0, bytes(AREA))
        self.updates = self.areas[0].statistics().updates

    def do(self, who: int, method: str, *args: Any) -> Any:
        """Return what a call gives; "outside" for a ValueError."""
        try:
            if who == 0:
                return getattr(self.areas[0], method)(*args)
            return self.others[who - 1].call("on_area", 0, False, method, *args)
        except ValueError:
            return "outside"

    def inside(self, position: int, length: int) -> bool:
        return 0 <= position < AREA and position + length <= AREA

    @rule(who=WHO, position=POSITION, data=st.binary(max_size=10))
    def write(self, who: int, position: int, data: bytes) -> None:
        expected: Any = "outside"
        if self.inside(position, len(data)):
            self.bytes[position : position + len(data)] = data
            self.updates += 1
            expected = len(data)
        assert self.do(who, "write", position, data) == expected

    @rule(who=WHO, position=POSITION, length=st.integers(0, AREA + 2))
    def read(self, who: int, position: int, length: int) -> None:
        expected = bytes(self.bytes[position : position + (length or AREA)])
        assert self.do(who, "read", position, length) == (expected if self.inside(position, length) else "outside")

    def number(self, width: int, position: int) -> int:
        return int.from_bytes(self.bytes[position : position + width], "little", signed=True)

    def put(self, width: int, position: int, value: int) -> int:
        value = wrapped(width, value)
        self.bytes[position : position + width] = value.to_bytes(width, "little", signed=True)
        self.updates += 1
        return value

    @rule(who=WHO, width=WIDTH, position=POSITION)
    def read_number(self, who: int, width: int, position: int) -> None:
        expected = self.number(width, position) if self.inside(position, width) else "outside"
        assert self.do(who, "read_number", width, position) == expected

    @rule(who=WHO, width=WIDTH, position=POSITION, value=NUMBER)
    def write_number(self, who: int, width: int, position: int, value: int) -> None:
        if self.inside(position, width):
            self.put(width, position, value)
        assert self.do(who, "write_number", width, position, value) in (None, "outside")

    @rule(who=WHO, width=WIDTH, position=POSITION, amount=NUMBER)
    def add(self, who: int, width: int, position: int, amount: int) -> None:
        expected: Any = "outside"
        if self.inside(position, width):
            expected = self.put(width, position, self.number(width, position) + amount)
        assert self.do(who, "add", width, position, amount) == expected

    @invariant()
    def same(self) -> None:
        assert self.areas[0].view() == self.bytes
        assert self.areas[0].statistics().updates == self.updates


def test_the_area_of_several_processes_is_the_models() -> None:
    areas = SharedAreas.create(SharedAreaOptions(py_sharedarea=(str(AREA),)))
    assert areas is not None
    with actors(2, areas=areas) as others:
        AreaMachine.areas, AreaMachine.others = areas, others
        run(AreaMachine)
    areas.close()


# --- locks ----------------------------------------------------------------------------------------------------------

NUMBERS = range(2)
ACTOR = st.integers(0, 2)
LOCK = st.sampled_from(NUMBERS)


class LockMachine(RuleBasedStateMachine):
    """Who holds each lock, and who waits for it. Locks are taken in their order, so that nobody waits in a circle."""

    locks: ClassVar[Locks]
    others: ClassVar[list[Actor]]

    def __init__(self) -> None:
        super().__init__()
        self.killed = False  # once is enough: a new process takes a while
        self.holder: dict[int, int] = {}
        self.waiting: dict[int, set[int]] = {number: set() for number in NUMBERS}

    def blocked(self, who: int) -> bool:
        return any(who in waiting for waiting in self.waiting.values())

    def may_wait(self, who: int, number: int) -> bool:
        return not self.blocked(who) and all(held < number for held, holder in self.holder.items() if holder == who)

    @rule(who=ACTOR, number=LOCK)
    def lock(self, who: int, number: int) -> None:
        if not self.may_wait(who, number):
            return
        self.others[who].begin("lock", number)
        if number in self.holder:
            self.waiting[number].add(who)
        else:
            self.others[who].end()
            self.holder[number] = who

    @rule(who=ACTOR, number=LOCK)
    def try_lock(self, who: int, number: int) -> None:
        if self.blocked(who) or self.holder.get(number) == who:
            return
        got = self.others[who].call("try_lock", number)
        assert got == (number not in self.holder)
        if got:
            self.holder[number] = who

    @rule(who=ACTOR, number=LOCK)
    def lock_again(self, who: int, number: int) -> None:
        if not self.blocked(who) and self.holder.get(number) == who:
            with pytest.raises(DeadlockError):
                self.others[who].call("lock", number)

    @rule(who=ACTOR, number=LOCK)
    def unlock(self, who: int, number: int) -> None:
        if self.blocked(who):
            return
        held = self.holder.get(number) == who
        assert self.others[who].call("unlock", number) == held
        if held:
            del self.holder[number]
            self.pass_on(number)

    @precondition(lambda self: not self.killed)
    @rule(who=ACTOR)
    def kill(self, who: int) -> None:
        self.killed = True
        self.others[who].kill()
        self.others[who] = Actor(locks=self.locks)
        for waiting in self.waiting.values():
            waiting.discard(who)
        for number in [number for number, holder in self.holder.items() if holder == who]:
            del self.holder[number]
            self.pass_on(number)

    def pass_on(self, number: int) -> None:
        """A lock was given back: one of those who wait has it now, and the others go on waiting."""
        if not self.waiting[number]:
            return
        connections = {self.others[who]._in: who for who in self.waiting[number]}
        ready = wait(list(connections), PATIENCE)
        assert len(ready) == 1
        (winner,) = (connections[each] for each in ready)  # type: ignore[index]
        self.others[winner].end()
        self.waiting[number].discard(winner)
        self.holder[number] = winner

    @invariant()
    def everybody_sees_who_holds(self) -> None:
        for number in NUMBERS:
            expected = self.others[self.holder[number]].pid if number in self.holder else None
            assert self.locks[number].holder() == expected

    def teardown(self) -> None:
        while self.holder:
            number, who = max(self.holder.items())
            free = [each for each in self.holder.items() if not self.blocked(each[1])]
            number, who = max(free)
            self.unlock(who, number)


@pytest.fixture
def locks() -> Iterator[Locks]:
    locks = Locks.create(LockOptions(locks=1))
    yield locks
    locks.close()


def test_the_locks_of_several_processes_are_the_models(locks: Locks) -> None:
    LockMachine.locks = locks
    LockMachine.others = [Actor(locks=locks) for _ in range(3)]
    try:
        run(LockMachine, 8)
    finally:
        for actor in LockMachine.others:
            actor.close()
