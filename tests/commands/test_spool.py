"""``uwsgi-async spool``: a spooler's directory for people, without a running instance."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.command import COMMAND
from tests.command import run as run_command
from tests.terminal import in_terminal
from uwsgi_async.commands.main import run
from uwsgi_async.errors import UsageError
from uwsgi_async.spooler.claiming import ClaimedTask, claim
from uwsgi_async.spooler.history import History, remember, write_letter
from uwsgi_async.spooler.task import Task
from uwsgi_async.spooler.writing import write_task

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path


def spool(directory: Path, body: bytes = b"", **fields: str) -> str:
    return write_task(str(directory), Task({k.encode(): v.encode() for k, v in fields.items()}, body), sync=False)


def bury(directory: Path, **fields: str) -> Path:
    path = spool(directory, **fields)
    (directory / "dead-letter").mkdir(exist_ok=True)
    place = directory / "dead-letter" / os.path.basename(path)
    os.rename(path, place)
    write_letter(str(place), History(3, "Traceback\nLookupError: the reason"))
    return place


def said(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    assert run(["spool", *map(str, words)]) == 0
    return capsys.readouterr().out.splitlines()


def test_ls_shows_what_runs_waits_and_is_for_later(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool(directory, n="later", at=str(int(time.time()) + 7300))
    waiting = spool(directory, b"x" * 2048, n="waiting")
    spool(directory, n="urgent", priority="2")
    running = spool(directory, n="running")
    remember(waiting, History(4, "the reason"))
    (directory / "uwsgi_spoolfile_on_bad").write_bytes(b"\x11")
    bury(directory, n="dead")
    claimed = claim(running)
    assert isinstance(claimed, ClaimedTask)
    lines = said(capsys, "ls", directory)
    claimed.release()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["running", "-", "-"],
        ["waiting", "2", "-"],
        ["waiting", "-", "4"],
        ["later", "-", "-"],
        ["damaged", "-", "-"],
        ["dead", "-", "3"],
    ]
    assert "n=waiting body=2.0K" in lines[3]
    assert "in 2h01m" in lines[4]


def test_ls_of_an_empty_directory_says_so(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "ls", directory) == ["no tasks"]


def test_show_tells_what_went_wrong(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spool(directory, n="1", evil="\x1b[2J")
    remember(path, History(2, "LookupError: the reason"))
    lines = said(capsys, "show", path)
    assert lines[0] == path
    assert "  waiting" in lines[1]
    assert "runs: 2" in lines[1]
    assert lines[2:] == ["  n = 1", "  evil = ?[2J", "  LookupError: the reason"]


def test_show_of_the_dead_letters_tells_why_each_was_given_up(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letters = sorted(str(bury(directory, n=number)) for number in ("1", "2"))
    lines = said(capsys, "show", directory / "dead-letter")
    assert [line for line in lines if line.startswith("/")] == letters
    assert lines.count("  LookupError: the reason") == 2


def test_retry_puts_all_dead_letters_of_a_directory_back(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bury(directory, n="1")
    bury(directory, n="2", priority="5")
    assert said(capsys, "retry", directory) == ["2 put back"]
    assert os.listdir(directory / "dead-letter") == []
    assert len(os.listdir(directory / "5")) == 1
    assert len(os.listdir(directory)) == 3


def test_retry_puts_one_letter_back_into_another_directory(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = bury(directory, n="1")
    bury(directory, n="2")
    other = tmp_path / "other"
    other.mkdir()
    assert said(capsys, "retry", letter, "--to", other) == ["1 put back"]
    assert len(os.listdir(other)) == 1
    assert len(os.listdir(directory / "dead-letter")) == 2  # the other one, and why


def test_rm_deletes_a_task_and_what_is_remembered_of_it(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = spool(directory, at=str(int(time.time()) + 1000))
    remember(path, History(1, ""))
    assert said(capsys, "rm", path) == ["1 deleted"]
    assert os.listdir(directory) == []


def test_what_runs_is_not_deleted(directory: Path) -> None:
    path = spool(directory)
    claimed = claim(path)
    assert isinstance(claimed, ClaimedTask)
    with pytest.raises(UsageError, match="runs now"):
        run(["spool", "rm", path])
    claimed.release()
    assert os.path.exists(path)


def test_what_is_no_task_is_not_deleted(directory: Path) -> None:
    (directory / "precious").touch()
    with pytest.raises(UsageError, match="is no task"):
        run(["spool", "rm", str(directory / "precious")])
    assert (directory / "precious").exists()


def test_purge_asks_and_deletes_what_waits(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool(directory)
    spool(directory, priority="1")
    bury(directory)
    with pytest.raises(UsageError, match="nothing was deleted"):
        run(["spool", "purge", str(directory)])
    assert said(capsys, "purge", directory, "--yes") == ["2 of 2 tasks deleted"]
    assert said(capsys, "purge", directory, "--dead", "--yes") == ["1 of 1 dead letters deleted"]
    assert os.listdir(directory / "dead-letter") == []


def test_watch_ends_when_nothing_waits(
    directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [spool(directory) for _ in range(3)]
    spool(directory, at=str(int(time.time()) + 1000))
    monkeypatch.setattr(time, "sleep", lambda _seconds: os.unlink(paths.pop()))
    run(["spool", "watch", str(directory)])
    told = capsys.readouterr()
    assert told.err.splitlines() == ["1 of 3", "2 of 3", "3 of 3"]
    assert told.out == "3 tasks were run or put off\n"


def test_a_directory_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    status, output = run_command("spool", "ls", str(tmp_path / "none"))
    assert status == 2
    assert output == f"uwsgi-async: {tmp_path / 'none'}: No such file or directory\n"


# --- in a terminal --------------------------------------------------------------------------------------------------


def test_in_a_terminal_watch_shows_a_bar_that_grows_and_leaves_a_sentence(directory: Path) -> None:
    paths = [spool(directory) for _ in range(4)]
    with in_terminal(*COMMAND, "spool", "watch", str(directory)) as terminal:
        terminal.wait_for("0/4")
        for path in paths[:3]:
            os.unlink(path)
        terminal.wait_for("3/4")
        spool(directory)  # more comes: the whole grows
        terminal.wait_for("3/5")
        for left in directory.iterdir():
            left.unlink()
        assert terminal.end() == 0
    assert terminal.shown.endswith("5 tasks were run or put off\r\n")
    assert HIDE_CURSOR in terminal.shown
    assert terminal.shown.rindex(SHOW_CURSOR) > terminal.shown.rindex(HIDE_CURSOR)


def test_whoever_has_watched_enough_gets_the_terminal_back(directory: Path) -> None:
    spool(directory)
    with in_terminal(*COMMAND, "spool", "watch", str(directory)) as terminal:
        terminal.wait_for("0/1")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
    assert terminal.shown.endswith("0 of 1 tasks were run or put off\r\n")
    assert "Traceback" not in terminal.shown
    assert terminal.shown.rindex(SHOW_CURSOR) > terminal.shown.rindex(HIDE_CURSOR)


@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("\n", 1)])
def test_in_a_terminal_purge_does_what_is_answered(directory: Path, answer: str, left: int) -> None:
    spool(directory)
    with in_terminal(*COMMAND, "spool", "purge", str(directory)) as terminal:
        terminal.wait_for(r"delete 1 tasks in .*\? \[y/N\] ")
        terminal.press(answer)
        assert terminal.end() == (2 if left else 0)
    assert len(os.listdir(directory)) == left
