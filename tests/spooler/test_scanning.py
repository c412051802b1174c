"""What is found in a directory, and in which order it is to be run."""

import os
import time
from pathlib import Path

import pytest

from uwsgi_async.spooler.backlog import Backlog
from uwsgi_async.spooler.names import temporary_name, version_key
from uwsgi_async.spooler.scanning import scan
from uwsgi_async.spooler.task import Task
from uwsgi_async.spooler.writing import write_task


def make(directory: Path, *names: str) -> None:
    for name in names:
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\x11\x00\x00\x00")


def names(paths: list[str]) -> list[str]:
    return [os.path.basename(path).removeprefix("uwsgi_spoolfile_on_") for path in paths]


def test_in_order_numbers_count_as_numbers(tmp_path: Path) -> None:
    make(tmp_path, *(f"uwsgi_spoolfile_on_{name}" for name in ("h_10_1", "h_9_2", "h_9_10", "a_99_1")))
    assert names(scan(str(tmp_path), ordered=True).tasks) == ["a_99_1", "h_9_2", "h_9_10", "h_10_1"]


def test_any_names_can_be_compared() -> None:
    strange = ["", "1", "a", "a1", "1a", "a01", "a1b", "uwsgi_spoolfile_on_", "é2"]
    assert len(sorted(strange, key=version_key)) == len(strange)


@pytest.mark.parametrize("ordered", [False, True])
def test_the_lowest_priority_comes_first_and_none_last(tmp_path: Path, ordered: bool) -> None:
    make(tmp_path, *(f"{level}/uwsgi_spoolfile_on_{level}" for level in (10, 9, 0)), "uwsgi_spoolfile_on_none")
    assert names(scan(str(tmp_path), ordered=ordered).tasks) == ["0", "9", "10", "none"]


def test_only_numbers_are_priorities(tmp_path: Path) -> None:
    make(tmp_path, "high/uwsgi_spoolfile_on_a", "1x/uwsgi_spoolfile_on_b")
    found = scan(str(tmp_path))
    assert (found.tasks, found.levels) == ([], [])


def test_what_is_for_later_is_not_found_but_its_time_is(tmp_path: Path) -> None:
    soon, later = int(time.time()) + 1000, int(time.time()) + 2000
    for when in (later, soon):
        write_task(str(tmp_path), Task({b"at": b"%d" % when}))
    found = scan(str(tmp_path))
    assert (found.tasks, found.due) == ([], soon)


def test_strangers_are_found_and_what_is_ours_is_none(tmp_path: Path) -> None:
    make(tmp_path, "README", ".uwsgi_spoolfile_on_x.history", "dead-letter/uwsgi_spoolfile_on_y", temporary_name("z"))
    found = scan(str(tmp_path))
    assert (found.tasks, found.strangers) == ([], [str(tmp_path / "README")])


def test_what_a_dead_writer_has_left_is_removed_after_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, temporary_name("x"))
    scan(str(tmp_path))
    assert os.listdir(tmp_path)
    later = time.time() + 3700
    monkeypatch.setattr(time, "time", lambda: later)
    scan(str(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.anyio
async def test_a_backlog_gives_each_task_once_until_it_is_done() -> None:
    backlog = Backlog("/d", ordered=False)
    backlog.add(["/d/b", "/d/a", "/d/b"])
    backlog.add(["/d/a"])
    assert [await backlog.next(), await backlog.next(), len(backlog)] == ["/d/b", "/d/a", 0]
    backlog.add(["/d/a"])
    assert len(backlog) == 0
    backlog.done("/d/a")
    backlog.add(["/d/a"])
    assert await backlog.next() == "/d/a"


@pytest.mark.anyio
async def test_several_processes_begin_at_different_parts_and_none_leaves_anything_out() -> None:
    paths = [f"/d/{number}" for number in range(6)]
    for begins, first in ((0.0, 0), (1 / 3, 2), (2 / 3, 4)):
        backlog = Backlog("/d", ordered=False, begins=begins)
        backlog.add(paths)
        assert [await backlog.next() for _ in paths] == paths[first:] + paths[:first]
        ordered = Backlog("/d", ordered=True, begins=begins)
        ordered.add(paths)
        assert [await ordered.next() for _ in paths] == paths


@pytest.mark.anyio
async def test_an_urgent_task_overtakes_the_backlog() -> None:
    for ordered in (False, True):
        backlog = Backlog("/d", ordered=ordered)
        backlog.add(["/d/x_2", "/d/x_10", "/d/3/x", "/d/1/x"])
        assert [await backlog.next() for _ in range(4)] == ["/d/1/x", "/d/3/x", "/d/x_2", "/d/x_10"]
