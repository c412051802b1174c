"""Signals: each target, with the same app and options, reaches the same processes in both servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parity.noted import Server, both_started

pytestmark = [pytest.mark.parity, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    with both_started("signals.py", tmp_path_factory.mktemp("signals")) as servers:
        yield servers


def test_registering_answers_the_same_in_each_form(both: tuple[Server, Server]) -> None:
    oracle, ours = (server.post("answers") for server in both)
    assert ours == oracle


@pytest.mark.parametrize(
    ("number", "count"), [(4, 2), (5, 2), (6, 1), (7, 1), (10, 1), (9, 2)], ids=lambda value: str(value)
)
def test_a_target_that_is_certain_is_the_same_process(both: tuple[Server, Server], number: int, count: int) -> None:
    for server in both:
        server.post([number])
    oracle, ours = (sorted(server.lines(count)) for server in both)
    assert ours == oracle


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_target_that_is_any_worker_runs_once(both: tuple[Server, Server], number: int) -> None:
    for server in both:
        server.post([number, 6])  # the second one is the sign that nothing more comes
        lines = server.lines(2)
        assert sorted(line.split()[0] for line in lines) == sorted([str(number), "6"])


def test_signals_for_one_worker_run_in_order(both: tuple[Server, Server]) -> None:
    numbers = [6, 10, 10, 6, 6, 10] * 10
    for server in both:
        server.post(numbers)
    oracle, ours = (server.lines(len(numbers)) for server in both)
    assert ours == oracle == [f"{number} worker1 mule0" for number in numbers]


def test_a_worker_that_is_not_there_gets_nothing_and_the_next_signal_goes_on(both: tuple[Server, Server]) -> None:
    for server in both[1:]:  # real uWSGI writes to a descriptor of memory behind its table of workers
        server.post([8, 6])
        assert server.lines(1) == ["6 worker1 mule0"]


def test_a_handler_that_fails_is_logged_with_its_signal(both: tuple[Server, Server]) -> None:
    for server in both:
        server.post([9])
        server.lines(2)
        server.running.log_until(lambda log: "error managing signal 9 on worker 1" in log or None)


def test_a_file_monitor_runs_its_handler(both: tuple[Server, Server]) -> None:
    for server in both:
        server.change_watched_file()
        assert server.lines(1) == ["21 worker1 mule0"]


@pytest.mark.parametrize("number", [6, 10])
def test_a_signal_over_the_uwsgi_socket_answers_the_same(both: tuple[Server, Server], number: int) -> None:
    oracle, ours = both
    packet = bytes([110, 0, 0, number])
    answer = oracle.running.raw(oracle.running.uwsgi, packet)
    assert answer == b"\xff\0\0\1"
    assert oracle.lines(1) == [f"{number} worker1 mule0"]
    assert ours.running.raw(ours.running.uwsgi, packet) == b""  # over TCP it must be allowed
