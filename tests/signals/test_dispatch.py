"""The dispatcher: whatever happens in whatever order, each signal is in one place, and is handled."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from uwsgi_async.signals.dispatch import ANY, MOST_GIVEN, Dispatcher, Line, Receiver, Table
from uwsgi_async.signals.targets import AllOf, AnyOf, Numbered, Queue, Roster, Target, route

WORKERS = 3
CAPACITY = 20


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A dispatcher with workers 1 to N."""

    def __init__(self, workers: int = WORKERS, capacity: int = CAPACITY) -> None:
        self.lost: list[int] = []
        self.clock = Clock()
        self.table = Table(Roster(workers=workers))
        self.dispatcher = Dispatcher(capacity, self.clock, lambda signal, reason: self.lost.append(signal))
        self.workers = [self.start(number) for number in range(1, workers + 1)]

    def start(self, number: int) -> Receiver:
        worker = Receiver("worker", number, self.table)
        worker.open = True
        self.dispatcher.join(worker)
        return worker

    def raise_all(self, *signals: int, to: Target = AnyOf("worker")) -> None:  # noqa: B008 - frozen
        for signal in signals:
            assert self.dispatcher.raise_signal(signal, self.queues(to))

    def queues(self, target: Target) -> tuple[Queue, ...]:
        return route(target, self.table.roster, {worker.number for worker in self.workers})

    def give(self) -> dict[int, list[int]]:
        return {worker.number: list(signals) for worker, signals in self.dispatcher.give().items()}


def test_a_signal_for_any_worker_goes_to_one_that_is_free() -> None:
    bench = Bench()
    bench.raise_all(1, 2, 3)
    assert sorted(map(tuple, bench.give().values())) == [(1,), (2,), (3,)]


def test_two_signals_of_a_number_do_not_wait_for_the_same_worker_when_another_is_free() -> None:
    bench = Bench(workers=2)
    bench.raise_all(5, 5)
    assert bench.give() == {1: [5], 2: [5]}


def test_a_signal_waits_for_the_worker_that_is_done_first() -> None:
    bench = Bench(workers=2)
    bench.raise_all(5, 5, 5)
    bench.give()
    bench.dispatcher.handled(bench.workers[1], 5)
    assert bench.give() == {2: [5]}


def test_a_signal_does_not_wait_behind_another_number_whose_handler_takes_long() -> None:
    bench = Bench(workers=1)
    bench.raise_all(5, 5, 6)
    assert bench.give() == {1: [5, 6]}


def test_a_worker_that_is_quick_gets_several_at_once_and_one_that_is_slow_one() -> None:
    bench = Bench(workers=1, capacity=100)
    bench.raise_all(*[5] * 20)
    sizes = []
    for seconds in (0.0, 0.0, 0.0, 1.0, 0.0):
        given = bench.give()[1]
        sizes.append(len(given))
        bench.clock.now += seconds
        for signal in given:
            bench.dispatcher.handled(bench.workers[0], signal)
    assert sizes == [1, 2, 4, 8, 1]


def test_a_signal_for_any_worker_goes_to_one_that_has_a_handler() -> None:
    bench = Bench()
    bench.workers[2].handles.add(5)
    bench.raise_all(5)
    assert bench.give() == {3: [5]}


def test_a_signal_for_any_worker_does_not_go_to_one_whose_event_loop_stands_still() -> None:
    bench = Bench()
    bench.workers[0].stuck = bench.workers[2].stuck = lambda: True
    bench.raise_all(5, 6)
    assert bench.give() == {2: [5, 6]}


@pytest.mark.parametrize("number", [5, ANY])
def test_a_signal_for_any_worker_goes_to_one_where_somebody_waits_for_it(number: int) -> None:
    bench = Bench()
    bench.workers[2].handles.add(5)
    bench.workers[1].waits.add(number)
    bench.raise_all(5)
    assert bench.give() == {2: [5]}


def test_a_worker_gets_its_signals_in_the_order_in_which_they_were_raised() -> None:
    bench = Bench()
    bench.raise_all(3, 1, 2, 1, to=Numbered("worker", 2))
    assert bench.give() == {2: [3, 1, 2, 1]}


def test_a_worker_is_given_a_limited_number_at_once() -> None:
    bench = Bench(workers=1, capacity=1000)
    bench.raise_all(*[1] * 500, to=Numbered("worker", 1))
    assert len(bench.give()[1]) == MOST_GIVEN
    assert bench.give() == {}


def test_what_a_dead_worker_had_goes_to_its_successor_first_and_in_order() -> None:
    bench = Bench(workers=1)
    bench.raise_all(1, 2, 3, to=Numbered("worker", 1))
    bench.give()
    bench.raise_all(4, to=Numbered("worker", 1))
    bench.dispatcher.leave(bench.workers[0])
    assert bench.give() == {}
    bench.start(1)
    assert bench.give() == {1: [1, 2, 3, 4]}


def test_what_a_dead_worker_had_that_any_may_have_goes_to_another_one() -> None:
    bench = Bench(workers=2)
    bench.raise_all(1)
    bench.give()
    bench.dispatcher.leave(bench.workers[0])
    assert bench.give() == {2: [1]}


def test_a_signal_that_kills_whoever_has_it_is_given_up_after_three() -> None:
    bench = Bench(workers=1)
    bench.raise_all(9, to=Numbered("worker", 1))
    worker = bench.workers[0]
    for _ in range(3):
        assert bench.give() == {1: [9]}
        bench.dispatcher.leave(worker)
        worker = bench.start(1)
    assert bench.give() == {}
    assert bench.lost == [9]


def test_a_signal_behind_the_one_that_kills_is_not_given_up() -> None:
    bench = Bench(workers=1)
    bench.raise_all(9, 7, 7, to=Numbered("worker", 1))
    worker = bench.workers[0]
    for _ in range(3):
        bench.give()
        bench.dispatcher.leave(worker)
        worker = bench.start(1)
    assert 7 in bench.give()[1]


def test_of_two_processes_of_a_worker_only_the_newer_one_is_given_signals() -> None:
    bench = Bench(workers=1)
    newer = bench.start(1)
    bench.raise_all(1, to=Numbered("worker", 1))
    assert list(bench.dispatcher.give()) == [newer]


def test_who_raises_into_a_full_queue_is_told_when_there_is_room() -> None:
    bench = Bench(workers=1, capacity=2)
    sender, queues = bench.start(2), bench.queues(Numbered("worker", 1))
    bench.workers[0].open = False
    for _ in range(3):
        bench.dispatcher.raise_for(sender, 1, queues)
    assert list(bench.dispatcher.answers()) == [(sender, 2, True)]
    bench.workers[0].open = True
    bench.dispatcher.give()
    assert list(bench.dispatcher.answers()) == [(sender, 1, False)]


def test_what_could_not_be_sent_is_given_again_in_the_same_order() -> None:
    bench = Bench(workers=1)
    bench.raise_all(1, 2, 3, to=Numbered("worker", 1))
    bench.give()
    bench.dispatcher.take_back(bench.workers[0], 2)
    assert bench.give() == {1: [2, 3]}


def test_what_could_not_be_sent_to_a_dead_worker_comes_behind_what_it_had() -> None:
    bench = Bench(workers=1)
    bench.raise_all(1, to=Numbered("worker", 1))
    bench.give()
    bench.raise_all(2, 3, to=Numbered("worker", 1))
    bench.give()
    bench.dispatcher.take_back(bench.workers[0], 2)
    bench.dispatcher.leave(bench.workers[0])
    bench.start(1)
    assert bench.give() == {1: [1, 2, 3]}


def test_a_line_can_be_asked_for_the_oldest_but_of_some_numbers() -> None:
    line = Line()
    for signal in (5, 5, 6, 7):
        line.add(signal)
    assert line.first() == 5
    assert line.first({5}) == 6
    assert line.first({5, 6, 7}) is None


class Machine(RuleBasedStateMachine):
    """Processes that raise, handle, die and come back at random."""

    @initialize()
    def begin(self) -> None:
        self.bench = Bench()
        self.dispatcher = self.bench.dispatcher
        self.raised: Counter[int] = Counter()
        self.handled: Counter[int] = Counter()
        self.deaths = 0
        self.in_order: list[int] = []  # what was raised for worker 1 alone
        self.got: list[int] = []

    def take(self, worker: Receiver) -> None:
        signal = worker.given[0].signal
        if worker.given[0].queue == Numbered("worker", 1):
            self.got.append(signal)
        assert self.dispatcher.handled(worker, signal)
        self.handled[signal] += 1

    @rule(signal=st.integers(0, 5), sender=st.integers(0, WORKERS - 1), who=st.sampled_from([
        AnyOf("worker"), AllOf("worker"), AllOf("worker", active=True), Numbered("worker", 1), Numbered("worker", 2),
    ]))  # fmt: skip
    def raise_one(self, signal: int, sender: int, who: Target) -> None:
        signal += 10 * sender
        queues = self.bench.queues(who)
        self.dispatcher.raise_for(self.bench.workers[sender], signal, queues)
        self.raised[signal] += len(queues)
        self.in_order += [signal] * queues.count(Numbered("worker", 1))

    @rule()
    def give(self) -> None:
        self.dispatcher.give()

    @rule(deaf=st.integers(0, WORKERS - 1))
    def give_what_one_cannot_take(self, deaf: int) -> None:
        worker = self.bench.workers[deaf]
        gifts = self.dispatcher.give()
        self.dispatcher.take_back(worker, len(gifts.get(worker, b"")))

    @rule(worker=st.integers(0, WORKERS - 1), count=st.integers(1, 10))
    def handle(self, worker: int, count: int) -> None:
        for _ in range(min(count, len(self.bench.workers[worker].given))):
            self.take(self.bench.workers[worker])

    @precondition(lambda self: self.deaths < 2)  # so that none is given up
    @rule(worker=st.integers(0, WORKERS - 1))
    def die(self, worker: int) -> None:
        self.deaths += 1
        self.dispatcher.leave(self.bench.workers[worker])
        self.bench.workers[worker] = self.bench.start(worker + 1)

    @rule(worker=st.integers(0, WORKERS - 1))
    def open_or_close(self, worker: int) -> None:
        self.bench.workers[worker].open = not self.bench.workers[worker].open

    @rule(worker=st.integers(0, WORKERS - 1), number=st.integers(-1, 5))
    def wait(self, worker: int, number: int) -> None:
        self.bench.workers[worker].waits ^= {number}

    @invariant()
    def every_signal_is_in_one_place(self) -> None:
        given = sum(len(worker.given) for worker in self.bench.workers)
        owed = sum(len(queues) for worker in self.bench.workers for _, queues in worker.owed)
        pending = sum(self.raised.values()) - sum(self.handled.values())
        assert given + owed + len(self.dispatcher) == pending

    @invariant()
    def nobody_has_too_many(self) -> None:
        assert all(worker.room >= 0 for worker in self.bench.workers)

    def teardown(self) -> None:
        for worker in self.bench.workers:
            worker.open = True
        for _ in range(10_000):
            if self.raised == self.handled:
                break
            self.dispatcher.give()
            for worker in self.bench.workers:
                while worker.given:
                    self.take(worker)
        assert self.handled == self.raised
        assert not self.bench.lost
        for sender in range(WORKERS):
            raised, got = (
                [signal for signal in signals if signal // 10 == sender] for signals in (self.in_order, self.got)
            )
            assert raised == got, "what one process has raised for another comes in that order"


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=60, stateful_step_count=40)
