"""How many workers there are: what each algorithm decides, and an instance that follows it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.command import Process
from tests.instance.harness import APP, Client, ask, gone, instance, starting
from uwsgi_async.errors import OptionError
from uwsgi_async.instance.adapting import backlog
from uwsgi_async.instance.cheaper import Cheaper, Load
from uwsgi_async.options.build import build

ALGORITHMS = ("spare", "backlog", "busyness", "manual")


def cheaper(most: int = 8, least: int = 2, **values: Any) -> Cheaper:
    return Cheaper(build(cheaper=least, processes=most, **values).cheaper, most)


class Farm:
    """Workers that do what is decided, one second after the other, each busy for its part of the second."""

    def __init__(self, cheaper: Cheaper) -> None:
        self.cheaper = cheaper
        self.active = cheaper.initial
        self.now = 0.0
        self.running = dict.fromkeys(range(1, cheaper.most + 1), 0.0)

    def second(self, demand: float, waiting: int = 0) -> int:
        """Let one second pass in which workers are asked for ``demand`` seconds of work; return what is decided."""
        self.now += 1
        busy = {}
        for number in range(1, self.active + 1):
            part = max(min(demand - (number - 1), 1.0), 0.0)
            self.running[number] += part
            busy[number] = part > 0.5
        change = self.cheaper.decide(Load(self.now, busy, dict(self.running), waiting))
        self.active += change
        return change

    def seconds(self, count: int, demand: float, waiting: int = 0) -> int:
        for _ in range(count):
            self.second(demand, waiting)
        return self.active


loads = st.builds(
    lambda busy, spent, waiting, rss: (busy, spent, waiting, rss),
    st.lists(st.booleans(), max_size=8),
    st.lists(st.floats(0, 10), min_size=8, max_size=8),
    st.integers(0, 200),
    st.integers(0, 2**34),
)


@given(st.sampled_from(ALGORITHMS), st.integers(1, 7), st.lists(loads, max_size=40), st.integers(1, 5))
def test_no_algorithm_ever_leaves_its_limits(algorithm: str, least: int, history: Sequence[Any], step: int) -> None:
    decide = cheaper(8, least, cheaper_algo=algorithm, cheaper_step=step, cheaper_rss_limit_soft=2**33).decide
    running = dict.fromkeys(range(1, 9), 0.0)
    for now, (busy, spent, waiting, rss) in enumerate(history):
        for number in running:
            running[number] += spent[number - 1]
        active = dict(enumerate(busy, 1))
        change = decide(Load(float(now), active, dict(running), waiting, rss))
        assert change <= 8 - len(active)
        assert change >= min(least - len(active), 0)
        assert -1 <= change <= step
        if rss >= 2**33:
            assert change <= 0


@pytest.mark.parametrize("algorithm", ["spare", "backlog", "busyness"])
def test_without_load_the_least_number_is_reached_and_kept(algorithm: str) -> None:
    farm = Farm(cheaper(8, 2, cheaper_initial=8, cheaper_algo=algorithm, cheaper_busyness_multiplier=1))
    assert farm.active == 8
    assert farm.seconds(100, demand=0) == 2
    assert {farm.second(demand=0) for _ in range(100)} == {0}


@pytest.mark.parametrize("algorithm", ["spare", "backlog", "busyness"])
def test_under_full_load_the_most_are_reached_and_kept(algorithm: str) -> None:
    farm = Farm(cheaper(8, 2, cheaper_algo=algorithm))
    assert farm.seconds(40, demand=100, waiting=50) == 8
    assert {farm.second(demand=100, waiting=50) for _ in range(100)} == {0}


def test_manual_changes_nothing() -> None:
    farm = Farm(cheaper(8, 2, cheaper_initial=5, cheaper_algo="manual"))
    assert farm.seconds(100, demand=100, waiting=100) == 5
    assert farm.seconds(100, demand=0) == 5


def test_spare_keeps_one_free_worker() -> None:
    farm = Farm(cheaper(8, 2))
    assert farm.seconds(60, demand=4) == 5
    assert {farm.second(demand=4) for _ in range(100)} == {0}


def test_spare_waits_for_the_overload_to_last() -> None:
    farm = Farm(cheaper(8, 2, cheaper_overload=3, cheaper_step=2))
    assert [farm.second(demand=8) for _ in range(3)] == [0, 0, 2]


def test_spare_takes_one_worker_away_each_time() -> None:
    farm = Farm(cheaper(8, 2, cheaper_initial=6, cheaper_overload=2))
    assert [farm.second(demand=0) for _ in range(9)] == [0, -1, 0, -1, 0, -1, 0, -1, 0]


def test_backlog_follows_the_queue() -> None:
    farm = Farm(cheaper(8, 1, cheaper_algo="backlog", cheaper_overload=10, cheaper_step=3))
    assert [farm.second(1, waiting) for waiting in (11, 11, 10, 9, 9)] == [3, 3, 0, -1, -1]


def test_busyness_grows_above_its_upper_bound_and_stays_between_the_bounds() -> None:
    farm = Farm(cheaper(8, 1, cheaper_algo="busyness", cheaper_overload=2))
    assert farm.seconds(20, demand=2) == 4
    assert {farm.second(demand=1.6) for _ in range(100)} == {0}


def test_busyness_takes_away_only_after_many_quiet_windows() -> None:
    farm = Farm(cheaper(8, 1, cheaper_initial=4, cheaper_algo="busyness", cheaper_overload=1))
    changes = [farm.second(demand=0) for _ in range(12)]
    assert changes[:10] == [0] * 10
    assert -1 in changes


def test_busyness_counts_a_request_that_lasts_through_the_window() -> None:
    decide = cheaper(8, 1, cheaper_algo="busyness", cheaper_overload=1).decide
    assert decide(Load(0.0, {1: True}, {1: 0.0})) == 0
    assert decide(Load(1.0, {1: True}, {1: 0.0})) == 1


def test_busyness_answers_a_full_queue_at_once() -> None:
    farm = Farm(cheaper(8, 1, cheaper_algo="busyness", cheaper_overload=30, cheaper_busyness_backlog_step=2))
    farm.second(demand=0)
    assert farm.second(demand=0, waiting=34) == 2


def test_busyness_answers_a_queue_that_does_not_get_empty() -> None:
    farm = Farm(cheaper(8, 1, cheaper_algo="busyness", cheaper_overload=300, cheaper_busyness_backlog_nonzero=5))
    assert [farm.second(demand=1, waiting=1) for _ in range(7)] == [0, 0, 0, 0, 0, 1, 0]


def test_busyness_keeps_longer_what_was_taken_away_too_early() -> None:
    def quiet_seconds(farm: Farm) -> int:
        count = 1
        while farm.second(demand=0.2) != -1:
            count += 1
        return count

    farm = Farm(
        cheaper(2, 1, cheaper_initial=2, cheaper_algo="busyness", cheaper_overload=1, cheaper_busyness_penalty=5)
    )
    first = quiet_seconds(farm)
    farm.seconds(2, demand=1)
    assert farm.active == 2
    assert quiet_seconds(farm) >= first + 4


def test_too_much_memory_of_all_takes_one_away_even_below_the_least_number() -> None:
    decide = cheaper(8, 4, cheaper_rss_limit_hard=1000).decide
    busy = dict.fromkeys(range(1, 5), True)
    assert decide(Load(0.0, busy, {}, rss=1000)) == -1
    assert decide(Load(1.0, {1: True}, {}, rss=1000)) == 0


@given(st.integers(0, 20), st.integers(1, 20), st.integers(2, 20))
def test_the_first_number_is_within_the_limits(initial: int, least: int, most: int) -> None:
    if least < most:
        assert least <= cheaper(most, least, cheaper_initial=initial).initial <= most


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"cheaper": 4, "processes": 4}, "4 must be less than 4"),
        ({"cheaper": 2, "cheaper_algo": "spare3"}, "expected spare, backlog, busyness or manual"),
    ],
)
def test_what_cannot_work_is_told(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        build(**values)


def test_the_backlog_is_what_nobody_has_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=10) as listener:
        assert backlog(listener) == 0
        clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        try:
            assert backlog(listener) == 3
        finally:
            for client in clients:
                client.close()


# --- an instance ----------------------------------------------------------------------------------------------


QUICK = ("--check-interval", "0.1", "--cheaper-overload", "1")


def workers(process: Process) -> int:
    """How many workers have a process: the master, the zygote and the fork server are the rest of the family."""
    return len(process.family()) - 3


def test_workers_come_with_the_load_and_go_with_it(place: Path) -> None:
    with instance(place, "--processes", "3", "--cheaper", "1", *QUICK) as process:
        assert workers(process) == 1
        slow = [Client(process, "/sleep/2") for _ in range(8)]
        process.wait_for("spawned worker 2")
        for client in slow:
            client.join()
            assert client.answer is not None
        process.wait_for("uwsgi-async worker .* cheaped")
        process.wait_until(lambda: workers(process) == 1)
        assert ask(process)["answer"] is None
        cheaped = [worker for worker in ask(process, "/workers")["answer"] if worker["pid"] == 0]
        assert len(cheaped) == 2
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))


def test_cheaper_needs_no_master_option(place: Path) -> None:
    with starting(place, "--processes", "2", "--cheaper", "1", "--cheaper-initial", "2") as process:
        process.wait_for("spawned worker 2")


def test_a_cheap_instance_starts_workers_for_the_first_connection(place: Path) -> None:
    with instance(place, "--cheap", "--processes", "2") as process:
        process.wait_for("cheap mode enabled")
        assert "spawned worker" not in process.output
        assert ask(process)["worker"] in (1, 2)
        process.wait_for("spawned worker 2")


def test_an_idle_instance_sends_its_workers_home_and_gets_them_back(place: Path) -> None:
    with instance(place, "--idle", "0.3", "--check-interval", "0.1") as process:
        before = ask(process)["pid"]
        process.wait_for("workers have been inactive for more than 0.3 seconds")
        process.wait_until(lambda: workers(process) == 0)
        assert ask(process)["pid"] != before


def test_a_worker_that_is_still_loading_is_not_idle(place: Path) -> None:
    (place / "app.py").write_text(f"import time\ntime.sleep(0.6)\n{APP}")
    with instance(place, "--idle", "0.2", "--check-interval", "0.05", "--lazy-apps") as process:
        process.wait_for("workers have been inactive")
        assert process.output.index("uwsgi-async serves") < process.output.index("workers have been inactive")


def test_an_idle_instance_can_be_stopped_while_it_sleeps(place: Path) -> None:
    with instance(place, "--cheap") as process:
        process.wait_for("cheap mode enabled")
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0


def test_die_on_idle_stops_the_instance(place: Path) -> None:
    with instance(place, "--idle", "0.3", "--die-on-idle", "--check-interval", "0.1") as process:
        ask(process)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))


def test_a_cheaped_worker_is_not_replaced_but_a_killed_one_is(place: Path) -> None:
    with instance(place, "--processes", "2", "--cheaper", "1", *QUICK) as process:
        before = ask(process)["pid"]
        os.kill(before, signal.SIGKILL)
        process.wait_for("Respawned worker 1")
        assert ask(process)["pid"] != before
        assert "spawned worker 2" not in process.output
