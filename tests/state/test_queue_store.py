"""The queue's file: real uWSGI's layout, whole after any death, refused when it is damaged."""

from __future__ import annotations

import errno
import os
import struct
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.state.actors import actors
from uwsgi_async.errors import StoreError
from uwsgi_async.options.settings import QueueOptions
from uwsgi_async.state.journal import STATE
from uwsgi_async.state.queue import Queue

SIZE, BLOCKSIZE = 4, 1024
LENGTH = 16 + SIZE * BLOCKSIZE


def make(path: Path, size: int = SIZE, blocksize: int = BLOCKSIZE, **options: Any) -> Queue:
    queue = Queue.create(QueueOptions(queue=size, queue_blocksize=blocksize, queue_store=str(path), **options))
    assert queue is not None
    return queue


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.store"


def journal_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")


def test_the_layout_is_uwsgis(path: Path) -> None:
    queue = make(path)
    queue.push(b"first")
    queue.push(b"second")
    queue.pull()
    queue.close()
    data = path.read_bytes()
    assert len(data) == LENGTH
    assert struct.unpack_from("QQ", data) == (2, 1)
    size, when = struct.unpack_from("QQ", data, 16 + BLOCKSIZE)
    assert size == 6
    assert abs(when - time.time()) < 10
    assert data[32 + BLOCKSIZE : 38 + BLOCKSIZE] == b"second"
    assert struct.unpack_from("Q", data, 16) == (0,)


def test_the_next_instance_goes_on_where_the_last_one_ended(path: Path) -> None:
    queue = make(path)
    queue.push(b"a")
    queue.push(b"b")
    queue.close()
    queue = make(path)
    assert (queue.position, queue.pull(), queue.pull(), queue.pull()) == (2, b"a", b"b", None)
    queue.close()


def test_a_clean_end_leaves_nothing_but_the_file(path: Path) -> None:
    make(path).close()
    assert os.listdir(path.parent) == [path.name]


def test_other_users_cannot_read_the_file(path: Path) -> None:
    make(path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_files_place_on_the_disk_is_taken_at_once(path: Path) -> None:
    """So that a full disk is told at the start, and does not kill a process in the middle of a push."""
    path.touch()
    os.truncate(path, LENGTH)  # a file of uWSGI's: it has its length, but no place yet
    make(path).close()
    assert path.stat().st_blocks * 512 >= LENGTH


def test_a_file_of_another_size_is_refused(path: Path) -> None:
    queue = make(path)
    queue.push(b"item")
    queue.close()
    with pytest.raises(StoreError, match=rf"to have {16 + 8 * BLOCKSIZE} bytes, but it has {LENGTH}"):
        make(path, size=8)
    os.truncate(path, LENGTH - 1)
    with pytest.raises(StoreError, match="give the sizes that it was made with"):
        make(path)


def test_a_file_that_was_never_finished_is_no_hindrance(path: Path) -> None:
    path.write_bytes(b"\0" * 100)
    make(path).close()
    assert path.stat().st_size == LENGTH


@pytest.mark.parametrize(
    ("position", "value", "reason"),
    [
        (0, SIZE, "its position is 4, beyond the last slot, 3"),
        (8, 2**63, "its pull position is"),
        (16 + 2 * BLOCKSIZE, BLOCKSIZE - 15, "slot 2 says that it holds 1009 bytes"),
        (16, 2**64 - 1, "slot 0 says"),
    ],
)
def test_a_damaged_file_is_refused_and_left_alone(path: Path, position: int, value: int, reason: str) -> None:
    make(path).close()
    data = bytearray(path.read_bytes())
    struct.pack_into("Q", data, position, value)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=reason):
        make(path)
    assert path.read_bytes() == data


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened: Is a directory"):
        make(tmp_path)
    with pytest.raises(StoreError, match="not a regular file"):
        make(Path("/dev/null"))
    with pytest.raises(StoreError, match="No such file"):
        make(tmp_path / "nowhere" / "store")


def test_two_instances_cannot_use_one_file(path: Path) -> None:
    queue = make(path)
    with pytest.raises(StoreError, match="used by another instance"):
        make(path)
    queue.close()
    make(path).close()


def test_a_disk_without_room_is_told_at_the_start_and_not_filled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(os, "posix_fallocate", lambda *args: asked.append(args))
    with pytest.raises(StoreError, match=r"on its disk, which has .*No space left"):
        make(path, size=2**20, blocksize=2**30)
    assert not asked
    assert path.stat().st_size == 0


def test_a_disk_that_turns_out_to_be_full_is_told_at_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(fd: int, offset: int, length: int) -> None:
        os.ftruncate(fd, length // 2)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", allocate)
    with pytest.raises(StoreError, match="No space left on device"):
        make(path)
    assert path.stat().st_size == 0


@pytest.mark.parametrize("method", ["push", "pull"])
def test_an_instance_killed_at_any_line_leaves_a_file_as_before_or_as_after(path: Path, method: str) -> None:
    """Every process of it is killed, so that only the files are left."""
    options = {"queue": SIZE, "queue_blocksize": BLOCKSIZE, "queue_store": str(path)}
    results = set()
    with actors(1) as (other,):
        for line in range(1, 1000):
            queue = make(path)
            while queue.pull() is not None:
                pass
            queue.push(b"old")
            before = [queue.position, queue.pull_position, *queue.last(SIZE)]
            queue.close()
            killed = other.call("die_with_store", options, line, method, *([b"new"] if method == "push" else []))
            queue = make(path)
            after = [queue.position, queue.pull_position, *queue.last(SIZE)]
            results.add(before == after)
            assert queue.last(SIZE).count(b"new") == (before != after and method == "push")
            assert (queue.pull() is None) == (before != after and method == "pull")
            queue.close()
            if not killed:
                break
    assert results == {True, False}
    assert line > 15


def abandon(queue: Queue) -> None:
    """Close what this process holds, as if it was killed: nothing is put in order."""
    queue.store = None
    queue.close()


def test_a_journal_of_another_shape_is_refused(path: Path) -> None:
    queue = make(path)
    abandon(queue)
    with pytest.raises(StoreError, match="give the sizes that it was made with"):
        make(path, size=2 * SIZE, blocksize=BLOCKSIZE // 2)
    make(path).close()


def test_a_journal_that_was_never_written_is_no_hindrance(path: Path) -> None:
    make(path).close()
    journal_of(path).write_bytes(b"\0" * 100)
    make(path).close()


def test_a_journal_with_an_impossible_change_is_refused(path: Path) -> None:
    queue = make(path)
    queue._journal.write_down(SIZE, b"x", 0, 0, 0)
    queue._journal.words[STATE] |= 1
    abandon(queue)
    with pytest.raises(StoreError, match="impossible change"):
        make(path)


@pytest.mark.anyio
async def test_the_file_is_synced_now_and_then(path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: Any) -> None:
    queue = make(path, queue_store_sync=0.001)
    synced = anyio.Event()
    token = anyio.lowlevel.current_token()

    def fdatasync(fd: int) -> None:
        anyio.from_thread.run_sync(synced.set, token=token)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(queue.maintain)
        await synced.wait()
        tasks.cancel_scope.cancel()
    monkeypatch.undo()
    queue.close()
