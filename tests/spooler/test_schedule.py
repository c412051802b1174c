"""What is due when: every task with a next run, the soonest first, and why."""

from __future__ import annotations

import pytest

from uwsgi_async.spooler.listing import Entry, State
from uwsgi_async.spooler.schedule import Due, Why, schedule
from uwsgi_async.spooler.task import Task


def entry(state: State, due: float = 0.0, path: str = "/d/t", runs: int = 0, **fields: bytes) -> Entry:
    task = Task({key.encode(): value for key, value in fields.items()})
    return Entry(path, state, task, 10, due, runs, "")


def test_the_soonest_comes_first_and_what_is_due_now_before_it_in_the_order_it_was_given() -> None:
    entries = [
        entry("running", path="a"),
        entry("waiting", 50.0, path="b"),
        entry("waiting", 20.0, path="c"),
        entry("later", 900.0, path="d"),
        entry("later", 800.0, path="e"),
    ]
    assert [due.entry.path for due in schedule(entries)] == ["a", "b", "c", "e", "d"]


@pytest.mark.parametrize("state", ["damaged", "dead"])
def test_what_is_never_run_again_is_not_in_it(state: State) -> None:
    assert schedule([entry(state, 900.0), Entry("/d/x", "running", None, 0, 0.0, 0, "it is empty")]) == []


@pytest.mark.parametrize(
    ("given", "when", "why"),
    [
        (entry("running", 5.0), 0.0, "running"),
        (entry("waiting", 5.0), 0.0, "waiting"),
        (entry("later", 900.0, at=b"900.7"), 900.0, "at"),
        (entry("later", 930.5, at=b"900"), 930.5, "again"),
        (entry("later", 930.5, runs=2), 930.5, "again"),
        (entry("later", 900.0, at=b"no time"), 900.0, "again"),
        (entry("later", 900.0, ud_spool_ret=b"-1"), 900.0, "forever"),
    ],
)
def test_each_run_has_its_time_and_its_reason(given: Entry, when: float, why: Why) -> None:
    assert schedule([given]) == [Due(given, when, why)]
