"""A cache in a file: there again after any end of its processes, refused when the file is damaged or another's."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.state.cache.making import made, one
from uwsgi_async.errors import OptionError, StoreError, UwsgiAsyncError
from uwsgi_async.state.cache import memory as memory_module
from uwsgi_async.state.cache import store as store_module
from uwsgi_async.state.cache.local import LocalCache


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.store"


def fill(cache: LocalCache) -> None:
    for number in range(200):
        assert cache.put(f"k{number}", f"value {number}" * 30, 0, False)


def assert_filled(cache: LocalCache) -> None:
    assert cache.count() == 200
    for number in range(200):
        assert cache.get(f"k{number}") == f"value {number}".encode() * 30


def test_a_store_has_what_was_in_it_when_its_instance_ended(path: Path) -> None:
    with one(f"items=300,store={path}") as cache:
        fill(cache)
    with one(f"items=300,store={path}") as cache:
        assert_filled(cache)


def test_a_store_has_all_of_it_when_its_processes_were_killed(path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.state.cache.making import one; from tests.state.cache.test_store import fill\n"
        "with one(f'items=300,store={sys.argv[1]}') as cache: fill(cache); os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", program, path], cwd=ROOT, timeout=20, check=False)
    assert ended.returncode == -signal.SIGKILL
    with one(f"items=300,store={path}") as cache:
        assert_filled(cache)


def test_nothing_lies_beside_a_store(path: Path) -> None:
    with one(f"items=300,store={path}"):
        assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("words", ["purge_lru", "bitmap,blocks=9000,blocksize=64", "lazy_expire"])
def test_every_kind_of_cache_is_recovered_and_goes_on(path: Path, words: str) -> None:
    text = f"items=300,store={path},{words}"
    with one(text) as cache:
        fill(cache)
    with one(text) as cache:
        assert_filled(cache)
        blocks = cache.writer.blocks
        assert cache.put("new", "1", 0, False) is True
        assert blocks is None or sum(blocks.taken) >= 201
        assert cache.delete("k0") is True


def test_what_expired_while_nothing_ran_is_swept(path: Path) -> None:
    from uwsgi_async.state.cache.sweep import sweep

    with one(f"items=300,store={path}") as cache:
        cache.put("old", "1", -5, False)
        cache.put("young", "1", 1000, False)
    with one(f"items=300,store={path}") as cache:
        assert sum(sweep(cache, int(time.time()))) == 1
        assert cache.keys() == [b"young"]


def test_clear_leaves_a_store_that_is_recovered(path: Path) -> None:
    with one(f"items=300,store={path}") as cache:
        fill(cache)
        cache.clear()
        cache.put("a", "1", 0, False)
    with one(f"items=300,store={path}") as cache:
        assert cache.keys() == [b"a"]


# --- refused ----------------------------------------------------------------------------------------------------------


def make(path: Path) -> bytes:
    with one(f"items=300,store={path}") as cache:
        fill(cache)
    return path.read_bytes()


def used(content: bytes) -> int:
    """Where the pages end that hold anything."""
    return len(content.rstrip(b"\0"))


@pytest.mark.parametrize("number", [0, 62, 199])
def test_a_changed_byte_of_a_value_is_found(path: Path, number: int) -> None:
    content = make(path).replace(b"value %dv" % number, b"value %dV" % number)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"cannot be used: it is damaged \(the checksum of item"):
        with one(f"items=300,store={path}"):
            pass
    assert path.read_bytes() == content


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_refused(path: Path, part: float) -> None:
    content = make(path)
    path.write_bytes(content[: int(used(content) * part)])
    with pytest.raises(StoreError, match="it is damaged"), one(f"items=300,store={path}"):
        pass


def test_zeros_in_the_middle_are_found(path: Path) -> None:
    content = bytearray(make(path))
    middle = used(content) // 8192 * 4096
    content[middle : middle + 4096] = bytes(4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="it is damaged"), one(f"items=300,store={path}"):
        pass


@pytest.mark.parametrize("content", [b"not a store", b"x" * 100_000, bytes(8192)])
def test_a_file_of_something_else_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"no store of uwsgi_async.*move it away, or let store_delete=1"):
        with one(f"items=300,store={path}"):
            pass
    assert path.read_bytes() == content


@pytest.mark.parametrize("words", ["items=200", "items=300,blocksize=100", "items=300,keysize=20", "items=300,lru"])
def test_the_store_of_another_cache_is_refused(path: Path, words: str) -> None:
    make(path)
    with pytest.raises(StoreError, match="it was made for another cache"), one(f"{words},store={path}"):
        pass


def test_store_delete_replaces_what_cannot_be_used(path: Path) -> None:
    path.write_bytes(b"not a store")
    with one(f"items=300,store={path},store_delete") as cache:
        assert cache.keys() == []
        fill(cache)
    with one(f"items=300,store={path},store_delete") as cache:
        assert_filled(cache)


def test_two_instances_cannot_use_one_store(path: Path) -> None:
    with one(f"items=300,store={path}") as cache:
        with pytest.raises(OptionError, match="is used by another instance"), one(f"items=300,store={path}"):
            pass
        fill(cache)
        assert_filled(cache)


@pytest.mark.parametrize("words", ["", ",store_delete"])
def test_a_directory_is_no_store(tmp_path: Path, words: str) -> None:
    with pytest.raises(OptionError, match=r"cannot be opened|must be a regular file"):
        with one(f"items=300,store={tmp_path}{words}"):
            pass
    assert tmp_path.is_dir()


def test_a_store_that_was_never_finished_is_made_anew(path: Path) -> None:
    (path.parent / "cache.store.new").write_bytes(b"the first half")
    path.touch()
    with one(f"items=300,store={path}") as cache:
        fill(cache)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_an_error_of_one_cache_leaves_nothing_of_the_others_open(path: Path) -> None:
    path.write_bytes(b"not a store")
    with pytest.raises(UwsgiAsyncError), made("name=x,items=5", f"name=y,items=300,store={path}"):
        pass


# --- the disk ---------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_nothing_is_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_module, "_STEP", 64 << 10)
    monkeypatch.setattr(store_module, "_SLACK", 0)
    with one(f"items=300,store={path}") as cache:
        fill(cache)

        def full(_fd: int, _size: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(store_module, "reserve", full)
        stored = [cache.put(f"n{number}", "v" * 60_000, 0, False) for number in range(20)]
        assert stored[-1] is None
        assert f"nothing was stored: {path}: No space left on device" in caplog.text
        assert cache.get("k7") == b"value 7" * 30
        monkeypatch.setattr(store_module, "reserve", memory_module.reserve)
        assert cache.put("last", "1", 0, False) is True
    with one(f"items=300,store={path}") as cache:
        assert cache.count() == 200 + sum(each is True for each in stored) + 1


def test_what_is_reserved_on_the_disk_is_little_more_than_what_is_used(path: Path) -> None:
    with one(f"items=100000,store={path}") as cache:
        cache.put("a", "1", 0, False)
        assert path.stat().st_blocks * 512 < 16 << 20
        assert path.stat().st_size > 1 << 30
