"""A task is run by one at a time, whoever else opens its file."""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from uwsgi_async.spooler.claiming import ClaimedTask, Refusal, claim, peek
from uwsgi_async.spooler.task import Task
from uwsgi_async.spooler.writing import write_task

# What real uWSGI does: uwsgi_fcntl_is_locked in core/lock.c
AS_UWSGI = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+b'), fcntl.LOCK_EX | fcntl.LOCK_NB)"


def taken(path: str) -> ClaimedTask:
    claimed = claim(path)
    assert isinstance(claimed, ClaimedTask), claimed
    return claimed


def refused(path: str) -> Refusal:
    refusal = claim(path)
    assert isinstance(refusal, Refusal), refusal
    return refusal


def uwsgi_can_lock(path: str) -> bool:
    return subprocess.run([sys.executable, "-c", AS_UWSGI, path], stderr=subprocess.DEVNULL, timeout=60).returncode == 0


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_task(str(tmp_path), Task({b"a": b"1"}), sync=False)


def test_nobody_else_gets_a_claimed_task(path: str) -> None:
    claimed = taken(path)
    assert claimed.task.fields == {b"a": b"1"}
    assert refused(path).why == "busy"
    assert not uwsgi_can_lock(path)
    claimed.release()
    assert uwsgi_can_lock(path)
    taken(path).remove()


def test_opening_and_closing_the_file_in_the_same_process_frees_nothing(path: str) -> None:
    claimed = taken(path)
    with open(path, "r+b") as file:
        file.read()
    assert peek(path) is not None
    assert refused(path).why == "busy"
    assert not uwsgi_can_lock(path)
    claimed.remove()


def test_what_uwsgi_has_locked_is_busy(path: str) -> None:
    code = AS_UWSGI + "; print('locked', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code.replace("open(sys.argv[1], 'r+b')", "(f := open(sys.argv[1], 'r+b'))"), path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        assert refused(path).why == "busy"
        assert peek(path) is None
        other.stdin.close()
    taken(path).remove()


# The other thread is pytest-xdist's; the child does nothing that it could be in the way of.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_neither_frees_nor_keeps_the_lock(path: str) -> None:
    claimed = taken(path)
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.write(ready[1], b"!")
        os.read(go[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        assert refused(path).why == "busy"
        claimed.release()
        taken(path).remove()
    finally:
        os.write(go[1], b"!")
        os.waitpid(child, 0)
        for fd in (*ready, *go):
            os.close(fd)


def test_the_lock_of_a_dead_process_is_free(path: str) -> None:
    code = "import os, sys; from uwsgi_async.spooler.claiming import claim; x = claim(sys.argv[1]); os.abort()"
    subprocess.run([sys.executable, "-c", code, path], timeout=60)
    taken(path).remove()


def test_what_is_removed_is_gone(path: str) -> None:
    taken(path).remove()
    assert not os.path.exists(path)
    assert refused(path).why == "gone"


def test_a_new_task_of_the_same_name_is_not_removed_with_the_old_one(tmp_path: Path) -> None:
    task = Task({b"spooler_unique": b"k"})
    path = write_task(str(tmp_path), task)
    claimed = taken(path)
    os.unlink(path)
    assert write_task(str(tmp_path), task) == path
    claimed.remove()
    assert os.path.exists(path)


def test_what_was_run_between_opening_and_locking_is_gone(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = fcntl.fcntl

    def late(*args: object) -> object:
        os.unlink(path)
        return lock(*args)  # type: ignore[call-overload]

    monkeypatch.setattr(fcntl, "fcntl", late)
    assert refused(path).why == "gone"


def test_a_task_for_later_is_early(path: str) -> None:
    due = int(time.time()) + 1000
    os.utime(path, (due, due))
    assert refused(path) == Refusal("early", due=due)


def test_a_released_task_waits_for_its_time(path: str) -> None:
    due = int(time.time()) + 1000
    taken(path).release(due)
    assert refused(path).due == due


def test_an_empty_file_is_perhaps_still_written(path: str) -> None:
    os.truncate(path, 0)
    assert refused(path).why == "empty"
    os.utime(path, (1000, 1000))
    assert refused(path).why == "damaged"


def test_a_damaged_file_is_told_and_left_alone(path: str) -> None:
    Path(path).write_bytes(b"\x11\xff\xff\x00abc")
    assert refused(path).why == "damaged"
    assert Path(path).read_bytes() == b"\x11\xff\xff\x00abc"


@pytest.mark.parametrize("kind", ["directory", "link", "fifo"])
def test_what_is_no_regular_file_is_foreign(tmp_path: Path, path: str, kind: str) -> None:
    strange = str(tmp_path / "uwsgi_spoolfile_on_x")
    if kind == "directory":
        os.mkdir(strange)
    elif kind == "link":
        os.symlink(path, strange)
    else:
        os.mkfifo(strange)
    assert refused(strange).why == "foreign"
    assert peek(strange) is None


def test_looking_takes_nothing(path: str) -> None:
    before = os.stat(path).st_mtime_ns
    assert peek(path) == Task({b"a": b"1"})
    assert os.stat(path).st_mtime_ns == before
    assert peek(path + "x") is None
