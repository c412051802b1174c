"""What is remembered of a task from run to run."""

import os
from pathlib import Path

import pytest

from uwsgi_async.spooler.history import History, forget, read_letter, recall, remember, write_letter


def test_what_is_remembered_is_recalled_until_it_is_forgotten(tmp_path: Path) -> None:
    path = str(tmp_path / "uwsgi_spoolfile_on_x")
    assert recall(path) == History()
    remember(path, History(3, "é\n"))
    assert recall(path) == History(3, "é\n")
    forget(path)
    forget(path)
    assert recall(path) == History()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"runs": "x", "error": ""}', b"\xff", b"3"])
def test_a_damaged_history_is_a_new_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "uwsgi_spoolfile_on_x"
    remember(str(path), History(1))
    (tmp_path / os.listdir(tmp_path)[0]).write_bytes(content)
    assert recall(str(path)) == History()


def test_a_letter_tells_people_why(tmp_path: Path) -> None:
    path = str(tmp_path / "task")
    assert read_letter(path) == ""
    write_letter(path, History(4, "Traceback"))
    assert read_letter(path) == "runs: 4\n\nTraceback\n"
