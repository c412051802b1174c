"""``uwsgi-async spool schedule``: what is due when, for people and as JSON."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.test_spool import bury, said, spool
from uwsgi_async.commands import schedule
from uwsgi_async.commands.schedule import render
from uwsgi_async.options.spooling import SpoolerOptions
from uwsgi_async.spooler.claiming import ClaimedTask, claim
from uwsgi_async.spooler.decide import SPOOL_RETRY
from uwsgi_async.spooler.listing import Entry
from uwsgi_async.spooler.runner import TaskRunner
from uwsgi_async.spooler.task import Task


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_tasks_stand_in_the_order_of_their_times_with_the_reason(tmp_path: Path) -> None:
    late, soon = str(int(time.time()) + 90_000), str(int(time.time()) + 600)
    spool(tmp_path, n="late", at=late)
    spool(tmp_path, n="soon", at=soon, priority="4")
    spool(tmp_path, n="waits")
    bury(tmp_path, n="dead")
    claimed = claim(spool(tmp_path, n="runs"))
    assert isinstance(claimed, ClaimedTask)
    head, columns, *lines = render([str(tmp_path)], time.time()).splitlines()
    claimed.release()
    assert head == str(tmp_path)
    assert re.split(r"\s{2,}", columns) == ["NEXT RUN", "IN", "WHY", "RUNS", "PRIO", "TASK"]
    cells = [re.split(r"\s{2,}", line) for line in lines]
    assert [(line[2], line[4], line[-1].split()[0]) for line in cells] == [
        ("runs now", "-", "n=runs"),
        ("waits for its turn", "-", "n=waits"),
        ("at this time", "4", "n=soon"),
        ("at this time", "-", "n=late"),
    ]
    assert [line[0] for line in cells] == ["now", "now", _clock(soon), _clock(late)]
    assert re.fullmatch(r"(10m00|9m5\d)s", cells[2][1])
    assert re.fullmatch(r"1d0[01]h", cells[3][1])


def _clock(seconds: str) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(seconds)))


@pytest.mark.anyio
async def test_a_task_that_fails_shows_its_next_run_and_what_went_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def function(arguments: dict[object, bytes]) -> int:
        if arguments[b"n"] == b"fails":
            raise LookupError("the reason")
        return SPOOL_RETRY

    spool(tmp_path, n="fails")
    spool(tmp_path, n="asks", spooler_retries="5")
    options = SpoolerOptions(spooler_retry_delay=1000, spooler_retry_delay_max=1e6, spooler_max_tasks=2)
    before = time.time()
    await TaskRunner(str(tmp_path), options, lambda: function, lambda: 30.0).run()
    fails, asks = sorted(json.loads("\n".join(said(capsys, "schedule", tmp_path, "--json"))), key=_failed, reverse=True)
    assert (fails["fields"]["n"], fails["runs"], fails["why"]) == ("fails", 1, "again")
    assert fails["error"].splitlines()[-1] == "LookupError: the reason"
    assert before + 990 < fails["when"] < time.time() + 1010
    assert (asks["runs"], asks["why"], asks["error"]) == (1, "again", "")
    (line,) = (line for line in said(capsys, "schedule", tmp_path) if "n=fails" in line)
    assert "tried again" in line
    assert line.endswith("(LookupError: the reason)")


def _failed(told: dict[str, str]) -> bool:
    return bool(told["error"])


def test_each_spooler_has_its_table_and_json_has_one_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two, empty = (tmp_path / name for name in ("one", "two", "empty"))
    for directory in (one, two, empty):
        directory.mkdir()
    spool(one, n="1", at="4102444800")
    path = spool(two, n="2", at="4102444000", priority="7")
    lines = said(capsys, "schedule", one, two, empty)
    assert [line for line in lines if line.startswith(str(tmp_path))] == [str(one), str(two), str(empty)]
    assert lines[-1] == "no tasks"
    first, second = json.loads("\n".join(said(capsys, "schedule", one, two, empty, "--json")))
    assert [first["spooler"], second["spooler"]] == [str(two), str(one)]
    assert first.pop("seconds") > 1e9
    assert first == {
        "spooler": str(two), "task": path, "why": "at", "when": 4102444000.0, "runs": 0, "priority": 7, "error": "",
        "fields": {"n": "2", "at": "4102444000", "priority": "7"},
    }  # fmt: skip


def test_a_task_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool(tmp_path, evil="\x1b[2J\nx")
    assert "evil=?[2J?x" in said(capsys, "schedule", tmp_path)[-1]


def test_a_time_that_no_clock_shows_is_told_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = Entry(str(tmp_path / "t"), "later", Task({}), 4, 1e17, 0, "")
    monkeypatch.setattr(schedule, "look", lambda _directory: [far])
    assert str(10**17) in render([str(tmp_path)], time.time())
