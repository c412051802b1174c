"""A log file is moved, truncated and rotated under those who write to it, and no line is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from uwsgi_async.instance.logs.logfile import Logfile, Rotation
from uwsgi_async.instance.logs.rotator import Touches


@contextmanager
def opened(path: Path, rotation: Rotation = Rotation(), **how: bool) -> Iterator[Logfile]:  # noqa: B008 - frozen
    logfile = Logfile(str(path), rotation, **how)
    try:
        yield logfile
    finally:
        logfile.close()


def test_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"old\n")
    with opened(tmp_path / "log") as log:
        log.write(b"new\n")
        assert log.size() == 8
    assert (tmp_path / "log").read_bytes() == b"old\nnew\n"


def test_a_new_file_is_not_for_everybody(tmp_path: Path) -> None:
    with opened(tmp_path / "log"):
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o640 & ~_umask()


def test_the_mode_that_was_asked_for_is_set_on_old_files_and_new_ones(tmp_path: Path) -> None:
    (tmp_path / "log").touch(0o600)
    with opened(tmp_path / "log", Rotation(mode=0o644)) as log:
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o644
        log.rotate()
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o644


def test_a_directory_that_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Logfile(str(tmp_path / "no" / "log"), Rotation())


def test_lines_go_to_the_moved_file_until_it_is_reopened(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        log.write(b"one\n")
        os.rename(tmp_path / "log", tmp_path / "log.1")
        log.write(b"two\n")
        log.reopen()
        log.write(b"three\n")
    assert (tmp_path / "log.1").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "log").read_bytes() == b"three\n"


def test_it_follows_to_a_file_that_another_process_has_made(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        assert not log.follow()
        os.rename(tmp_path / "log", tmp_path / "log.1")
        assert not log.follow()  # logrotate is about to make it, with the owner that it knows
        assert not (tmp_path / "log").exists()
        (tmp_path / "log").touch()
        assert log.follow()
        log.write(b"new\n")
    assert (tmp_path / "log").read_bytes() == b"new\n"


def test_a_file_that_was_truncated_goes_on_from_its_beginning(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        log.write(b"x" * 1000 + b"\n")
        os.truncate(tmp_path / "log", 0)
        log.write(b"new\n")
    assert (tmp_path / "log").read_bytes() == b"new\n"


def test_a_file_that_cannot_be_reopened_goes_on_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with opened(tmp_path / "logs" / "log") as log:
        os.rename(tmp_path / "logs", tmp_path / "moved")
        with pytest.raises(FileNotFoundError):
            log.reopen()
        log.write(b"kept\n")
    assert (tmp_path / "moved" / "log").read_bytes() == b"kept\n"


def test_a_rotated_file_says_so_and_has_the_time_in_its_name(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        log.write(b"old\n")
        log.rotate()
        log.write(b"new\n")
    (rotated,) = tmp_path.glob("log.*")
    assert rotated.suffix[1:].isdigit()
    assert rotated.read_text().startswith("old\n")
    assert f"logsize: 4, triggering rotation to {rotated}...\n" in rotated.read_text()
    assert (tmp_path / "log").read_bytes() == b"new\n"


def test_two_rotations_in_a_second_keep_both_files(tmp_path: Path) -> None:
    with opened(tmp_path / "log") as log:
        for number in range(3):
            log.write(b"%d\n" % number)
            log.rotate()
    assert sorted(each.read_text()[0] for each in tmp_path.glob("log.*")) == ["0", "1", "2"]


def test_the_backup_has_the_name_that_was_asked_for(tmp_path: Path) -> None:
    with opened(tmp_path / "log", Rotation(backupname=str(tmp_path / "before"))) as log:
        log.write(b"old\n")
        log.rotate()
    assert (tmp_path / "before").read_text().startswith("old\n")


def test_a_file_is_rotated_when_it_has_grown(tmp_path: Path) -> None:
    with opened(tmp_path / "log", Rotation(maxsize=100, backupname=str(tmp_path / "before")), check=True) as log:
        log.write(b"x" * 100 + b"\n")
        log.write(b"new\n")
    assert (tmp_path / "log").read_bytes() == b"new\n"


def test_a_backup_that_cannot_be_made_lets_the_file_grow_and_is_told_once(tmp_path: Path) -> None:
    complaints: list[str] = []
    rotation = Rotation(maxsize=10, backupname=str(tmp_path / "no" / "before"))
    log = Logfile(str(tmp_path / "log"), rotation, complaints.append, check=True)
    for _ in range(3):
        log.write(b"x" * 20 + b"\n")
    log.close()
    assert len(complaints) == 1
    assert (tmp_path / "log").read_text().count("x\n") == 3


def test_a_pipe_is_not_rotated(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with opened(tmp_path / "fifo") as log:
        log.rotate()
    assert list(tmp_path.iterdir()) == [tmp_path / "fifo"]


WRITER = """
import os, sys
from uwsgi_async.instance.logs.logfile import Logfile, Rotation

log = Logfile(sys.argv[1], Rotation(maxsize=20_000), check=True)
child = os.fork()
for number in range(1500):
    log.write(f"{'parent' if child else 'child'} {os.getpid()} {number}\\n".encode())
if child:
    os.waitpid(child, 0)
"""


def test_no_line_is_lost_when_several_processes_rotate_one_file(tmp_path: Path) -> None:
    """Also those that were forked with the file open, and share one lock with it."""
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "log")]) for _ in range(2)]
    assert [writer.wait(30) for writer in writers] == [0, 0]
    files = list(tmp_path.glob("log*"))
    lines = [line for file in files for line in file.read_text().splitlines() if "triggering" not in line]
    assert len(lines) == len(set(lines)) == 2 * 2 * 1500
    assert all(len(line.split()) == 3 for line in lines)
    assert len(files) > 4


def test_a_file_is_touched_when_it_is_made_changed_or_removed(tmp_path: Path) -> None:
    file = tmp_path / "touch"
    touches = Touches([str(file)])
    assert not touches.any()
    file.touch()
    assert touches.any()
    assert not touches.any()
    os.utime(file, (1, 1))
    assert touches.any()
    file.unlink()
    assert touches.any()
    assert not touches.any()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
