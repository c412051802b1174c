"""What every way to a cache must do alike."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.state.cache.engines import ENGINES, Engine

pytestmark = pytest.mark.anyio


@pytest.fixture(params=ENGINES)
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    async with ENGINES[request.param](tmp_path) as engine:
        yield engine


@pytest.fixture(params=[name for name in ENGINES if name != "real uWSGI"])  # which cannot count for others
async def counting(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Engine]:
    async with ENGINES[request.param](tmp_path) as engine:
        yield engine


async def test_a_value_comes_back_as_bytes(engine: Engine) -> None:
    assert await engine.set("k", "é") is True
    assert await engine.get(b"k") == "é".encode()


async def test_values_and_keys_are_any_bytes(engine: Engine) -> None:
    key, value = bytes(range(256)), bytes(reversed(range(156, 256)))
    assert await engine.set(key, value) is True
    assert await engine.get(key) == value


async def test_what_is_not_there_is_none(engine: Engine) -> None:
    assert await engine.get("k") is None
    assert await engine.exists("k") is None
    assert await engine.delete("k") is None
    assert await engine.num("k") == 0


async def test_set_does_not_replace(engine: Engine) -> None:
    await engine.set("k", "1")
    assert await engine.set("k", "2") is None
    assert await engine.get("k") == b"1"


async def test_update_stores_and_replaces(engine: Engine) -> None:
    assert await engine.update("k", "1") is True
    assert await engine.update("k", "22") is True
    assert await engine.get("k") == b"22"


async def test_delete_and_exists(engine: Engine) -> None:
    await engine.set("k", "1")
    assert await engine.exists("k") is True
    assert await engine.delete("k") is True
    assert await engine.exists("k") is None


async def test_clear_empties_and_what_is_stored_then_stays(engine: Engine) -> None:
    await engine.set("k", "1")
    assert await engine.clear() is True
    assert await engine.get("k") is None
    await engine.set("k", "2")
    assert await engine.get("k") == b"2"


async def test_empty_keys_and_values_are_refused(engine: Engine) -> None:
    assert await engine.set("", "1") is None
    assert await engine.update("k", "") is None
    assert await engine.get("") is None


async def test_the_largest_value_fits_and_one_byte_more_does_not(engine: Engine) -> None:
    assert await engine.set("k", "v" * 100) is True
    assert await engine.set("l", "v" * 101) is None
    assert await engine.get("k") == b"v" * 100


@pytest.mark.parametrize("size", [509, 510, 511, 512, 600])
async def test_long_keys_are_keys_like_others(engine: Engine, size: int) -> None:
    key, other = "k" * size, "k" * (size - 1) + "l"
    assert await engine.set(key, "1") is True
    assert await engine.set(other, "2") is True
    assert await engine.update(key, "3") is True
    assert (await engine.get(key), await engine.get(other)) == (b"3", b"2")
    assert await engine.delete(key) is True
    assert (await engine.exists(key), await engine.exists(other)) == (None, True)


async def test_a_key_longer_than_keysize_is_never_there(engine: Engine) -> None:
    assert await engine.set("k" * 601, "1") is None
    assert await engine.get("k" * 601) is None
    assert await engine.get("k" * 70_000) is None


async def test_one_item_less_than_configured_fits(engine: Engine) -> None:
    assert [await engine.set(f"k{number}", "1") for number in range(20)] == [True] * 19 + [None]
    assert await engine.update("k0", "2") is True
    assert await engine.delete("k1") is True
    assert await engine.update("new", "1") is True
    assert await engine.update("newer", "1") is None


async def test_an_expiry_is_told_in_unix_seconds(engine: Engine) -> None:
    before = int(time.time())
    await engine.set("k", "1", 100)
    expiry = await engine.expiry("k")
    assert expiry is not None
    assert before + 100 <= expiry <= int(time.time()) + 100


async def test_update_renews_the_expiry_and_without_one_ends_it(engine: Engine) -> None:
    await engine.set("k", "1", 100)
    await engine.update("k", "1", 1000)
    expiry = await engine.expiry("k")
    assert expiry is not None
    assert expiry > time.time() + 500
    await engine.update("k", "1")
    assert await engine.expiry("k") == 0


async def test_num_reads_signed_little_endian(engine: Engine) -> None:
    await engine.set("n", (-5).to_bytes(8, "little", signed=True))
    await engine.set("seven", "1234567")
    assert (await engine.num("n"), await engine.num("seven")) == (-5, 0)


async def test_counting_begins_at_zero_and_wraps_around(counting: Engine) -> None:
    assert await counting.count("dec", "n") is True
    assert await counting.num("n") == -1
    await counting.update("n", (2**63 - 1).to_bytes(8, "little"))
    await counting.count("inc", "n", 2)
    assert await counting.num("n") == -(2**63) + 1


async def test_division_is_toward_zero_and_by_zero_gives_zero(counting: Engine) -> None:
    await counting.count("dec", "n", 7)
    await counting.count("div", "n", 2)
    assert await counting.num("n") == -3
    assert await counting.count("div", "n", 0) is True
    assert await counting.num("n") == 0
    assert await counting.exists("n") is True


async def test_counting_keeps_the_expiry_of_what_is_there(counting: Engine) -> None:
    await counting.count("inc", "n", 1, 100)
    first = await counting.expiry("n")
    await counting.count("mul", "n", 5, 10_000)
    assert await counting.expiry("n") == first
    assert await counting.num("n") == 5


async def test_wrong_types_raise_type_error(engine: Engine) -> None:
    for key, value in ((1, "v"), ("k", 1), ("k", None), ("k", bytearray(b"v")), (None, "v")):
        with pytest.raises(TypeError):
            await engine.update(key, value)  # type: ignore[arg-type]
