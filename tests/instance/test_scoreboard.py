"""The scoreboard, and what a worker writes there of its cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from uwsgi_async.instance.scoreboard import (
    MOST_APPS,
    MOUNTPOINT_SIZE,
    VARS_SIZE,
    AppField,
    CoreField,
    Field,
    Header,
    Scoreboard,
    State,
)
from uwsgi_async.instance.statistics.publish import CorePublisher, Detail, LagMeter, decode_vars, encode_vars


@pytest.fixture
def board() -> Iterator[Scoreboard]:
    board = Scoreboard.create(2, 3)
    yield board
    board.close()


@dataclass
class FakeRequest:
    started: float
    vars: dict[str, str]


@dataclass
class FakeCore:
    """What a publisher looks at of a core."""

    id: int
    request: FakeRequest | None = None
    requests: int = 0
    write_errors: int = 0
    read_errors: int = 0
    exceptions: int = 0
    harakiri: int = 0
    static_requests: int = 0
    offloaded_requests: int = 0


@dataclass
class FakePool:
    """What a publisher looks at of a pool, which is its own poller here: its clock stands at 100 seconds."""

    cores: list[FakeCore]
    poller: Any = field(init=False)

    def __post_init__(self) -> None:
        self.poller = self

    def time(self) -> float:
        return 100.0


def test_another_process_sees_the_same_tables(board: Scoreboard) -> None:
    board.row(2)[Field.REQUESTS] = 7
    board.write_core(2, 1, range(len(CoreField)))
    board.header[Header.STATE] = State.SERVING
    other = Scoreboard.attach(os.dup(board.fd))
    try:
        assert (other.rows, other.cores, other.state) == (2, 3, State.SERVING)
        assert other.row(2)[Field.REQUESTS] == 7
        assert other.core(2, 1) == list(range(len(CoreField)))
    finally:
        other.close()


def test_rows_and_cores_do_not_overlap(board: Scoreboard) -> None:
    for worker in (1, 2):
        row = board.row(worker)
        for column in range(len(row)):
            row[column] = worker
        row.release()
        for core in range(3):
            board.write_core(worker, core, [10 * worker + core] * len(CoreField))
            board.write_vars(worker, core, 5, bytes([worker, core]) * (VARS_SIZE // 2))
        for app in range(MOST_APPS):
            board.write_app(worker, app, [20 * worker + app] * AppField.LENGTH)
            board.write_mountpoint(worker, app, bytes([worker]) * MOUNTPOINT_SIZE)
    for worker in (1, 2):
        assert set(board.row(worker)) == {worker}
        for core in range(3):
            assert set(board.core(worker, core)) == {10 * worker + core}
            assert board.vars(worker, core, 5) == bytes([worker, core]) * (VARS_SIZE // 2)
        for app in range(MOST_APPS):
            assert set(board.app(worker, app)[: AppField.LENGTH]) == {20 * worker + app}
            assert board.mountpoint(worker, app) == bytes([worker]) * MOUNTPOINT_SIZE


@pytest.mark.parametrize(("worker", "core"), [(0, 0), (3, 0), (1, 3), (1, -1)])
def test_there_is_nothing_beyond_the_tables(board: Scoreboard, worker: int, core: int) -> None:
    with pytest.raises(IndexError, match="there is no"):
        board.core(worker, core)


def test_vars_are_those_of_the_request_that_runs_or_none(board: Scoreboard) -> None:
    board.write_vars(1, 0, 1000, b"of the first request")
    assert board.vars(1, 0, 1000) == b"of the first request"
    assert board.vars(1, 0, 2000) == b""
    board.write_vars(1, 0, 2000, b"of the next")
    assert board.vars(1, 0, 2000) == b"of the next"


def test_a_core_is_told_with_its_request(board: Scoreboard) -> None:
    request = FakeRequest(98.0, {"REQUEST_URI": "/x"})
    CorePublisher(board, 1).publish(FakePool([FakeCore(2, request, 5, 1, 2, 3, 4)]), Detail.VARS)
    numbers = board.core(1, 2)
    assert numbers[CoreField.REQUESTS] == 5
    assert (numbers[CoreField.WRITE_ERRORS], numbers[CoreField.READ_ERRORS]) == (1, 2)
    assert (numbers[CoreField.EXCEPTIONS], numbers[CoreField.HARAKIRIS]) == (3, 4)
    assert decode_vars(board.vars(1, 2, numbers[CoreField.STARTED])) == {"REQUEST_URI": "/x"}
    assert board.core(1, 0)[CoreField.STARTED] == 0


@pytest.mark.parametrize(("detail", "requests", "uri"), [(Detail.WORKERS, 0, b""), (Detail.CORES, 5, b"")])
def test_no_more_is_written_than_is_wanted(board: Scoreboard, detail: Detail, requests: int, uri: bytes) -> None:
    CorePublisher(board, 1).publish(FakePool([FakeCore(0, FakeRequest(98.0, {"REQUEST_URI": "/x"}), 5)]), detail)
    numbers = board.core(1, 0)
    assert numbers[CoreField.REQUESTS] == requests
    assert board.vars(1, 0, numbers[CoreField.STARTED]) == uri


def test_counts_go_on_in_the_next_process_and_requests_do_not(board: Scoreboard) -> None:
    CorePublisher(board, 1).publish(FakePool([FakeCore(0, FakeRequest(98.0, {}), 5)]), Detail.CORES)
    second = CorePublisher(board, 1)
    assert board.core(1, 0)[CoreField.STARTED] == 0
    second.publish(FakePool([FakeCore(0, None, 2)]), Detail.CORES)
    assert board.core(1, 0)[CoreField.REQUESTS] == 7


def test_many_cores_are_written_a_part_at_a_time() -> None:
    board = Scoreboard.create(1, 1200)
    try:
        publisher = CorePublisher(board, 1)
        pool = FakePool([FakeCore(number, None, 1) for number in range(1200)])
        written = []
        for _ in range(3):
            publisher.publish_some(pool)
            written.append(sum(board.core(1, number)[CoreField.REQUESTS] for number in range(1200)))
        assert written == [500, 1000, 1200]
        pool.cores[0].requests = 2
        publisher.publish_some(pool)
        assert board.core(1, 0)[CoreField.REQUESTS] == 2
    finally:
        board.close()


def test_secrets_are_hidden_and_nul_is_no_separator() -> None:
    vars = {"HTTP_COOKIE": "s", "HTTP_AUTHORIZATION": "s", "A": "x\0B=y", "E": "", "U": "caf\xc3\xa9"}
    assert decode_vars(encode_vars(vars)) == {
        "HTTP_COOKIE": "(hidden)", "HTTP_AUTHORIZATION": "(hidden)", "A": "x?B=y", "E": "", "U": "café",
    }  # fmt: skip


def test_vars_that_do_not_fit_are_left_out() -> None:
    data = encode_vars({"A": "1", "LONG": "x" * VARS_SIZE, "B": "2"})
    assert decode_vars(data) == {"A": "1", "B": "2"}
    assert len(encode_vars({str(number): "x" * 100 for number in range(100)})) <= VARS_SIZE


def test_the_longest_lag_is_forgotten_after_a_minute() -> None:
    meter = LagMeter()
    meter.note(2.0, 1000.0)
    meter.note(0.1, 1001.0)
    assert meter.longest == 2.0
    meter.note(0.1, 1031.0)
    assert meter.longest == 2.0
    meter.note(0.1, 1062.0)
    assert meter.longest == 0.1
