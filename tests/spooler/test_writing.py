"""A task is whole and under its name, or it is not there at all."""

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from uwsgi_async.errors import SpoolError
from uwsgi_async.spooler import writing
from uwsgi_async.spooler.claiming import Refusal, claim
from uwsgi_async.spooler.task import Task, decode_task, encode_task
from uwsgi_async.spooler.writing import write_plain, write_task

NAME = re.compile(r"uwsgi_spoolfile_on_.+_\d+_\d+_\d+_\d+_\d+")


@pytest.fixture(params=["anonymous", "named"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write as on a file system that has files without a name, and as on one that has none."""
    if request.param == "named":
        monkeypatch.setattr(writing, "_open_anonymous", lambda _place: None)


@pytest.mark.usefixtures("_way")
def test_a_task_is_one_private_file_with_a_name_as_uwsgi_makes_it(tmp_path: Path) -> None:
    path = write_task(str(tmp_path), Task({b"a": b"1"}, b"x" * 100_000))
    assert os.listdir(tmp_path) == [os.path.basename(path)]
    assert NAME.fullmatch(os.path.basename(path))
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert decode_task(Path(path).read_bytes()) == Task({b"a": b"1"}, b"x" * 100_000)


@pytest.mark.usefixtures("_way")
def test_at_is_the_time_of_the_file(tmp_path: Path) -> None:
    status = os.stat(write_task(str(tmp_path), Task({b"at": b"4102444800.5"})))
    assert (status.st_mtime, status.st_atime) == (4102444800, 4102444800)


@pytest.mark.usefixtures("_way")
def test_a_priority_is_a_directory(tmp_path: Path) -> None:
    paths = [write_task(str(tmp_path), Task({b"priority": b"7"})) for _ in range(2)]
    assert {os.path.dirname(path) for path in paths} == {str(tmp_path / "7")}


@pytest.mark.usefixtures("_way")
def test_of_unique_tasks_there_is_one(tmp_path: Path) -> None:
    first, again, other = (
        write_task(str(tmp_path), Task({b"spooler_unique": key, b"n": number}))
        for key, number in ((b"k", b"1"), (b"k", b"2"), (b"l", b"3"))
    )
    assert first == again != other
    assert decode_task(Path(first).read_bytes()).fields[b"n"] == b"1"
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.usefixtures("_way")
def test_tasks_of_one_process_have_different_names(tmp_path: Path) -> None:
    assert len({write_task(str(tmp_path), Task({}), sync=False) for _ in range(100)}) == 100


@pytest.mark.usefixtures("_way")
def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="No such file"):
        write_task(str(tmp_path / "none"), Task({}))


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("call", ["fsync", "link", "utime", "write"])
def test_what_the_system_refuses_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with pytest.raises(SpoolError, match="No space left"):
            write_task(str(tmp_path), Task({b"at": b"1"}))
    assert os.listdir(tmp_path) == []


def test_a_directory_that_cannot_be_synced_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_directory: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(writing, "_sync_directory", refuse)
    with pytest.raises(SpoolError, match="Input/output"):
        write_task(str(tmp_path), Task({}))
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(SpoolError, match="unable to spool job"):
            write_task(str(tmp_path), Task({}, b"x" * 100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


SMALL = Task({b"a": b"1"})
SHORT_WAYS = pytest.mark.parametrize(
    "write",
    [lambda place: write_task(place, SMALL, sync=False), lambda place: write_plain(place, {"a": b"1"})],
    ids=["task", "plain"],
)


@SHORT_WAYS
def test_without_sync_a_small_task_is_the_same_file_under_the_same_kind_of_name(
    tmp_path: Path, write: Callable[[str], str]
) -> None:
    path = write(str(tmp_path))
    assert os.listdir(tmp_path) == [os.path.basename(path)]
    assert NAME.fullmatch(os.path.basename(path))
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert Path(path).read_bytes() == encode_task(SMALL)


@SHORT_WAYS
def test_without_sync_a_small_task_is_written_by_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[str], str]
) -> None:
    calls: list[bytes] = []
    real = os.write

    def noted(fd: int, data: bytes) -> int:
        calls.append(bytes(data))
        return real(fd, data)

    monkeypatch.setattr(os, "write", noted)
    write(str(tmp_path))
    assert calls == [encode_task(SMALL)]


@SHORT_WAYS
@pytest.mark.parametrize("written", [None, 0, 5])
def test_without_sync_what_the_system_refuses_is_an_error_too_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[str], str], written: int | None
) -> None:
    real = os.write

    def refuse(fd: int, data: bytes) -> int:
        if written is None:
            raise OSError(28, "No space left on device")
        return real(fd, data[:written])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refuse)
        with pytest.raises(SpoolError, match="No space left"):
            write(str(tmp_path))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "task",
    [Task({}, b"x"), Task({b"a": b"x" * 5000}), Task({b"at": b"17"}), Task({b"spooler_unique": b"k"})],
    ids=["body", "large", "at", "unique"],
)
def test_what_could_be_mistaken_while_it_is_written_is_never_seen_before_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: Task
) -> None:
    real = os.write

    def noted(fd: int, data: bytes) -> int:
        assert os.listdir(tmp_path) == []
        return real(fd, data)

    monkeypatch.setattr(os, "write", noted)
    write_task(str(tmp_path), task, sync=False)
    assert len(os.listdir(tmp_path)) == 1


def test_a_large_plain_task_is_left_to_the_long_way(tmp_path: Path) -> None:
    assert write_plain(str(tmp_path), {f"key {number}": "x" * 200 for number in range(30)}) is None
    assert os.listdir(tmp_path) == []


def test_without_sync_a_writer_that_is_killed_leaves_nothing_that_is_run(tmp_path: Path) -> None:
    code = """
import os, sys
from uwsgi_async.spooler.writing import write_plain
os.write = lambda *args: os.kill(os.getpid(), 9)
write_plain(sys.argv[1], {b"a": b"1"})
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    (path,) = tmp_path.iterdir()
    assert claim(str(path)) == Refusal("empty")


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
def test_a_writer_that_is_killed_leaves_nothing(tmp_path: Path, call: str) -> None:
    code = f"""
import os, sys
from uwsgi_async.spooler.task import Task
from uwsgi_async.spooler.writing import write_task
os.{call} = lambda *args, **kwargs: os.kill(os.getpid(), 9)
write_task(sys.argv[1], Task({{b"a": b"1"}}))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == []


def test_it_is_synced_before_it_has_its_name_and_its_name_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def noted_fsync(fd: int) -> None:
        steps.append("sync directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "sync file")
        fsync(fd)

    def noted_link(*args: str, **kwargs: object) -> None:
        steps.append("link")
        link(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "link", noted_link)
    write_task(str(tmp_path), Task({}))
    assert steps == ["sync file", "link", "sync directory"]
    steps.clear()
    write_task(str(tmp_path), Task({}, b"body"), sync=False)
    assert steps == ["link"]
    steps.clear()
    write_task(str(tmp_path), Task({}), sync=False)
    assert steps == []
