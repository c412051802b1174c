"""One cache in one process: what is full, what is counted, what is remembered, what is kept through forks."""

from __future__ import annotations

import logging
import operator
import os
import threading
from typing import Any

import pytest

from tests.state.cache.making import made, one
from uwsgi_async.errors import BrokenError
from uwsgi_async.state.cache import caches as caches_module
from uwsgi_async.state.cache import memory as memory_module
from uwsgi_async.state.cache import reading, writing
from uwsgi_async.state.cache.layout import META_KEY, Cell
from uwsgi_async.state.cache.local import LocalCache


def fill(cache: LocalCache, *keys: str) -> list[bool | None]:
    return [cache.put(key, key, 0, False) for key in keys]


# --- full -------------------------------------------------------------------------------------------------------------


def test_a_full_cache_says_so_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with one("items=3") as cache:
        assert fill(cache, "a", "b", "c") == [True, True, None]
        assert cache.statistics().full == 1
    assert '*** DANGER cache "c" is FULL !!! ***' in caplog.text


def test_ignore_full_keeps_the_log_quiet(caplog: pytest.LogCaptureFixture) -> None:
    with one("items=3,ignore_full") as cache:
        fill(cache, "a", "b", "c")
        assert cache.statistics().full == 1
    assert "FULL" not in caplog.text


def test_lru_drops_what_was_used_least_recently() -> None:
    with one("items=4,purge_lru,ignore_full") as cache:
        fill(cache, "a", "b", "c")
        cache.get("a")
        cache.put("b", "again", 0, True)
        cache.exists("c")  # no use
        fill(cache, "d", "e")
        assert sorted(cache.keys()) == [b"b", b"d", b"e"]


def test_lru_is_exact_over_many_rounds() -> None:
    with one("items=40,purge_lru,ignore_full") as cache:
        order: list[str] = []
        for number in range(2000):
            key = f"k{number * 7919 % 97}"
            if key in order:
                order.remove(key)
                assert cache.get(key) == b"v"
            else:
                assert cache.put(key, "v", 0, False)
                del order[: max(0, len(order) - 38)]
            order.append(key)
        assert sorted(cache.keys()) == sorted(key.encode() for key in order)


def test_an_lru_cache_ignores_expiry() -> None:
    with one("items=4,purge_lru,lazy_expire") as cache:
        cache.put("a", "1", -5, False)
        assert cache.get("a") == b"1"


def test_a_full_bitmap_with_lru_makes_room_and_stores() -> None:
    with one("items=9,blocks=10,blocksize=4,bitmap,purge_lru,ignore_full") as cache:
        assert [cache.put(key, "v" * 16, 0, False) for key in "abc"] == [True] * 3
        assert sorted(cache.keys()) == [b"b", b"c"]
        assert cache.put("c", "v" * 24, 0, True) is True
        assert (cache.keys(), cache.get("c")) == ([b"c"], b"v" * 24)


def test_a_full_bitmap_with_clear_on_full_makes_room_and_stores() -> None:
    with one("items=9,blocks=10,blocksize=4,bitmap,clear_on_full,ignore_full") as cache:
        assert [cache.put(key, "v" * 16, 0, False) for key in "abc"] == [True] * 3
        assert cache.keys() == [b"c"]


def test_an_update_that_finds_no_blocks_leaves_the_item_as_it_was() -> None:
    with one("items=9,blocks=10,blocksize=4,bitmap,lazy_expire,ignore_full") as cache:
        cache.put("a", "1" * 24, 1000, False)
        before = cache.get_with_expiry("a")
        assert cache.put("a", "2" * 20, -5, True) is None
        assert cache.get_with_expiry("a") == before


def test_blocks_that_a_dead_process_has_changed_are_put_in_order() -> None:
    with one("items=9,blocks=10,blocksize=4,bitmap,ignore_full") as cache:
        blocks = cache.writer.blocks
        assert blocks is not None
        cache.put("a", "1" * 8, 0, False)
        txn = cache.memory.begin(None, None, True)
        blocks.begin(txn.id())
        assert blocks.place(32) is not None  # all that are left, and then its process is killed
        txn.abort()
        assert cache.put("b", "2" * 32, 0, False) is True
        assert sum(blocks.taken) == 10


# --- counted ----------------------------------------------------------------------------------------------------------


def test_hits_and_misses_are_counted() -> None:
    with one("items=9") as cache:
        fill(cache, "a")
        for key in ("a", "a", "a", "a", "a", "a", "b"):
            cache.get(key)
        cache.num("a")
        cache.exists("a")
        seen = cache.statistics()
        assert (seen.hits, seen.misses, seen.items, seen.max_items) == (7, 1, 1, 9)


def test_last_modified_is_noted_if_asked_for() -> None:
    with made("name=x,items=5", "name=y,items=5,lastmod") as caches:
        for cache in caches.by_name.values():
            fill(cache, "a")
        assert [cache.statistics().last_modified > 0 for cache in caches.by_name.values()] == [False, True]


def test_math_begins_at_math_initial() -> None:
    with one("items=9,math_initial=-10") as cache:
        cache.calculate("n", operator.add, 3, 0)
        assert cache.num("n") == -7


def test_a_short_value_counts_as_if_filled_up_with_zeros() -> None:
    with one("items=9") as cache:
        cache.put("n", b"\x02", 0, False)
        cache.calculate("n", operator.mul, 5, 0)
        assert cache.num("n") == 10


def test_an_expiry_of_the_cache_is_for_items_without_one() -> None:
    with one("items=9,expires=100") as cache:
        fill(cache, "a")
        cache.put("b", "1", 1000, False)
        (_, first), (_, second) = cache.get_with_expiry("a") or ("", 0), cache.get_with_expiry("b") or ("", 0)
        assert 890 <= second - first <= 910


def test_the_repr_is_live() -> None:
    with one("items=9") as cache:
        fill(cache, "a")
        assert repr(cache) == "<LocalCache 'c': 1 of 8 items>"


def test_no_key_is_taken_for_what_the_cache_keeps_for_itself() -> None:
    with one("items=9") as cache:
        fill(cache, META_KEY.decode(), "k" * 600)
        assert sorted(cache.keys()) == [b"k" * 600, META_KEY]
        assert cache.get(META_KEY) == META_KEY


# --- remembered -------------------------------------------------------------------------------------------------------


def remembered(cache: LocalCache) -> int:
    return int(repr(cache.reader).split()[3])


def test_what_is_read_often_is_remembered_and_forgotten_when_it_changes() -> None:
    with one("items=9") as cache:
        fill(cache, "a")
        for _ in range(8):
            cache.get("a")
        assert remembered(cache) == 1
        cache.put("a", "2", 0, True)
        assert cache.get("a") == b"2"
        cache.delete("a")
        assert cache.get("a") is None
        cache.put("a", "3", 0, False)
        assert cache.get("a") == b"3"
        cache.clear()
        assert cache.get("a") is None


def absent(cache: LocalCache) -> int:
    return len(cache.reader._absent)


@pytest.mark.parametrize(
    "store",
    [
        lambda cache: cache.put("a", "1", 0, False),
        lambda cache: cache.put("a", "1", 0, True),
        lambda cache: cache.put("a", "1", 100, False),
        lambda cache: cache.calculate("a", operator.add, 1, 0),
    ],
)
@pytest.mark.parametrize("options", ["items=9", "items=9,bitmap=1,blocks=9"])
def test_that_a_key_is_not_there_is_remembered_until_it_is_stored(store: Any, options: str) -> None:
    with one(options) as cache:
        for _ in range(8):
            assert cache.get("a") is None
        assert absent(cache) == 1
        assert store(cache)
        assert cache.get("a") is not None
        assert cache.delete("a")
        assert cache.get("a") is None


def test_keys_that_are_not_there_do_not_push_out_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_REMEMBERED", 10)
    with one("items=99") as cache:
        fill(cache, "a")
        for number in range(100):
            cache.get("a")
            cache.get(f"none{number}")
        assert remembered(cache) == 1
        assert absent(cache) <= 10


def test_a_change_that_was_begun_and_never_committed_is_not_seen() -> None:
    with one("items=9") as cache:
        fill(cache, "a")
        for _ in range(8):
            cache.get("a")
        txn = cache.memory.begin(None, None, True)
        cache.writer.replace(txn, txn.id(), b"a", b"a", b"new", 0, txn.get(b"a", b""), True)
        assert cache.get("a") == b"a"
        txn.abort()
        assert [cache.get("a") for _ in range(8)] == [b"a"] * 8


def test_no_more_is_remembered_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_REMEMBERED", 10)
    with one("items=99,blocksize=5000") as cache:
        cache.put("large", "v" * 5000, 0, False)
        for number in range(90):
            fill(cache, f"k{number}")
            for _ in range(4):
                cache.get(f"k{number}")
                assert cache.get("large") is not None
        assert remembered(cache) <= 10


def test_a_writer_waits_for_a_reader_that_was_held_up_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    with one("items=9,blocksize=60000") as cache:
        reader = cache.memory.begin()
        reader.get(b"a")
        pauses = []

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                reader.abort()

        monkeypatch.setattr(writing.time, "sleep", sleep)
        while not pauses:
            assert cache.put("a", os.urandom(60000), 0, True)
        assert pauses == [0.001, 0.002]


def test_a_reader_that_never_goes_on_makes_writing_fail_and_not_hang(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with one("items=9,blocksize=60000") as cache:
        reader = cache.memory.begin()
        reader.get(b"a")
        monkeypatch.setattr(writing.time, "sleep", lambda _seconds: None)
        while cache.put("a", os.urandom(60000), 0, True):
            pass
        reader.abort()
        assert cache.put("a", b"1", 0, True)
    assert "nothing was stored" in caplog.text


# --- forks and ends ---------------------------------------------------------------------------------------------------


def test_threads_that_read_and_write_while_another_forks_see_no_error() -> None:
    with one("items=9") as cache:
        fill(cache, "a")
        errors: list[Exception] = []
        stop = threading.Event()

        def work() -> None:
            try:
                while not stop.is_set():
                    cache.put("a", "a", 0, True)
                    assert cache.get("a") == b"a"
                    assert cache.get("b") is None
                    cache.keys()
            except Exception as error:  # noqa: BLE001 - whatever it is, there must be none
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            for _ in range(20):
                # What a fork does before and after; a real one would copy a process with threads.
                memory_module._before_fork()
                memory_module._after_fork()
        finally:
            stop.set()
            thread.join()
        assert errors == []


def test_a_closed_cache_says_that_it_is_closed() -> None:
    with one("items=9") as cache:
        pass
    for call in (lambda: cache.get("a"), lambda: cache.put("a", "1", 0, True), cache.keys):
        with pytest.raises(BrokenError, match="closed: its instance has ended"):
            call()  # type: ignore[operator]


def test_a_cache_without_room_in_its_memory_says_so_and_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches_module, "size_for", lambda _spec: 1 << 20)
    with one("items=90") as cache:
        stored = [cache.put(f"k{number}", "v" * 60_000, 0, False) for number in range(30)]
        assert stored[0] is True
        assert stored[-1] is None
        assert "nothing was stored" in caplog.text
        assert cache.get("k0") == b"v" * 60_000
        cache.clear()
        fill(cache, "a")  # LMDB uses pages again from the next transaction but one
        assert cache.put("k0", "v" * 60_000, 0, False) is True


def test_the_first_look_at_expiry_comes_with_the_first_item_that_expires() -> None:
    with one("items=9") as cache:
        fill(cache, "a")
        assert cache.memory.cells[Cell.NEXT_SCAN] == 0
        cache.put("b", "1", 100, False)
        assert cache.memory.cells[Cell.NEXT_SCAN] > 0


def test_what_the_options_ask_for_is_there_from_the_start(
    tmp_path: os.PathLike[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = os.path.join(tmp_path, "file")
    with open(path, "w") as file:
        file.write("content")
    caplog.set_level(logging.INFO)
    with made(
        "name=x,items=9",
        "name=y,items=9",
        add_cache_item=("a=1", "y b=2=3", "broken"),
        load_file_in_cache=(path, f"x {path}.not"),
        load_file_in_cache_gzip=(f"z {path}",),
    ) as caches:
        x, y = caches.by_name["x"], caches.by_name["y"]
        assert (x.get("a"), x.get("b"), x.get(path)) == (b"1", None, b"content")
        assert (y.get("a"), y.get("b"), y.get(path)) == (b"1", b"2=3", b"content")
    assert "unable to store item broken" in caplog.text
    assert f'unable to read file "{path}.not"' in caplog.text
