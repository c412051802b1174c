"""What has expired is deleted in time, and nothing else."""

from __future__ import annotations

import time

import anyio
import pytest

from tests.state.cache.making import made, one
from uwsgi_async.state.cache.layout import Cell
from uwsgi_async.state.cache.local import LocalCache
from uwsgi_async.state.cache.sweep import sweep


def swept(cache: LocalCache, later: int) -> int:
    """Sweep as if ``later`` seconds had passed; return how many items were deleted."""
    return sum(sweep(cache, int(time.time()) + later))


def test_items_go_at_their_second() -> None:
    with one("items=99") as cache:
        for key, expires in (("a", 0), ("b", 100), ("c", 1000), ("d" * 600, 100)):
            cache.put(key, "1", expires, False)
        assert swept(cache, 50) == 0
        assert swept(cache, 101) == 2
        assert sorted(cache.keys()) == [b"a", b"c"]
        assert swept(cache, 1001) == 1
        assert cache.keys() == [b"a"]


def test_without_a_reason_nothing_is_looked_at() -> None:
    with one("items=99") as cache:
        cache.put("a", "1", 0, False)
        assert list(sweep(cache, 1 << 40)) == []


def test_the_next_look_is_when_the_next_item_expires() -> None:
    with one("items=99") as cache:
        for expires in (100, 500, 300):
            cache.put(f"k{expires}", "1", expires, False)
        swept(cache, 200)
        assert abs(cache.memory.cells[Cell.NEXT_SCAN] - time.time() - 300) < 10


def test_an_item_that_is_renewed_during_the_sweep_stays() -> None:
    with one("items=2000") as cache:
        for number in range(1000):
            cache.put(f"k{number:04}", "1", 100, False)
        parts = sweep(cache, int(time.time()) + 200)
        assert next(parts) == 256
        cache.put("k0999", "1", 0, True)
        cache.put("new", "1", 100, True)
        assert sum(parts) == 1000 - 256 - 1 + 1
        assert cache.keys() == [b"k0999"]


def test_an_item_that_comes_during_the_sweep_is_not_forgotten() -> None:
    with one("items=2000") as cache:
        for number in range(1000):
            cache.put(f"k{number:04}", "1", 100, False)
        parts = sweep(cache, int(time.time()) + 200)
        next(parts)
        cache.put("a", "1", 300, True)  # before the place where the sweep is
        list(parts)
        assert cache.keys() == [b"a"]
        assert swept(cache, 400) == 1


def test_blocks_of_what_is_swept_are_free_again() -> None:
    with one("items=9,blocks=10,blocksize=4,bitmap") as cache:
        cache.put("a", "1" * 40, 100, False)
        swept(cache, 200)
        assert cache.put("b", "1" * 40, 0, False) is True


def test_a_remembered_value_goes_with_the_sweep() -> None:
    with one("items=9") as cache:
        cache.put("a", "1", 100, False)
        assert [cache.get("a") for _ in range(8)] == [b"1"] * 8
        swept(cache, 200)
        assert cache.get("a") is None


@pytest.mark.anyio
async def test_caches_are_swept_in_the_background_unless_they_expire_otherwise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    words = {"swept": "", "no": ",no_expire", "lazy": ",lazy_expire"}
    with made(
        *(f"name={name},items=9{word}" for name, word in words.items()),
        cache_expire_freq=0.01,
        cache_report_freed_items=True,
    ) as caches:
        for cache in caches.by_name.values():
            cache.put("k", "1", -5, False)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caches.maintain)
            with anyio.fail_after(10):
                while 'freed 1 items for cache "swept"' not in caplog.text:  # noqa: ASYNC110 - nobody else tells
                    await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        assert [cache.count() for cache in caches.by_name.values()] == [0, 1, 1]


@pytest.mark.anyio
async def test_cache_no_expire_sweeps_none() -> None:
    with made("name=x,items=9", cache_expire_freq=0.01, cache_no_expire=True) as caches:
        caches.by_name["x"].put("k", "1", -5, False)
        with anyio.move_on_after(0.05):
            await caches.maintain()
        assert caches.by_name["x"].count() == 1
