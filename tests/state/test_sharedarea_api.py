"""The functions of shared areas as apps call them: both forms of the arguments, results, errors, waiting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import uwsgi_async
from tests.client import get
from uwsgi_async.api import sharedarea
from uwsgi_async.errors import DeadlockError, NotConfiguredError
from uwsgi_async.options.settings import SharedAreaOptions
from uwsgi_async.state.sharedarea import SharedAreas

FUNCTIONS = sharedarea.__all__


async def an_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


@pytest.fixture
def areas() -> Iterator[SharedAreas]:
    """Areas 0 and 1 of 16 and 32 bytes, for the functions to use."""
    areas = SharedAreas.create(SharedAreaOptions(py_sharedarea=("16", "32")))
    assert areas is not None
    with sharedarea.using(areas):
        yield areas
    areas.close()


def call(name: str, *args: Any) -> Any:
    """Call a function as sync code does."""
    function = sharedarea.BLOCKING.get(name) or getattr(sharedarea, name)
    return function(*args)


# --- the two forms --------------------------------------------------------------------------------------------------


def test_with_an_area_the_form_is_that_of_uwsgi_2(areas: SharedAreas) -> None:
    assert call("sharedarea_write", 1, 0, b"hello") is None
    assert call("sharedarea_read", 1, 0, 5) == b"hello"
    assert call("sharedarea_read", 1, 1, 0) == b"ello" + bytes(27)
    assert call("sharedarea_writebyte", 1, 0, 200) is None
    assert call("sharedarea_readbyte", 1, 0) == -56
    assert call("sharedarea_writelong", 1, 8, -5) is None
    assert call("sharedarea_readlong", 1, 8) == -5
    assert call("sharedarea_inclong", 1, 8) is None
    assert call("sharedarea_inclong", 1, 8, 10) is None
    assert call("sharedarea_readlong", 1, 8) == 6
    assert areas[0].read(0, 0) == bytes(16)


def test_without_an_area_the_form_is_that_of_uwsgi_1(areas: SharedAreas) -> None:
    assert call("sharedarea_write", 2, b"hello") == 5
    assert call("sharedarea_write", 2, "") == 0
    assert call("sharedarea_read", 2, 5) == b"hello"
    assert call("sharedarea_read", 10, 0) == bytes(6)
    assert call("sharedarea_writebyte", 0, 200) == -56
    assert call("sharedarea_readbyte", 0) == -56
    assert call("sharedarea_writelong", 8, -5) == -5
    assert call("sharedarea_readlong", 8) == -5
    assert call("sharedarea_inclong", 8) == -4
    assert areas[1].read(0, 0) == bytes(32)


def test_an_invalid_position_is_none_in_the_form_without_an_area(areas: SharedAreas) -> None:
    for name, args in {
        "sharedarea_read": (12, 5),
        "sharedarea_write": (12, b"hello"),
        "sharedarea_readbyte": (16,),
        "sharedarea_writebyte": (-1, 1),
        "sharedarea_readlong": (9,),
        "sharedarea_writelong": (9, 1),
        "sharedarea_inclong": (9,),
    }.items():
        assert call(name, *args) is None
    assert areas[0].read(0, 0) == bytes(16)


CALLS_BEYOND = {
    "sharedarea_read": (0, 12, 5),
    "sharedarea_write": (0, 12, b"hello"),
    "sharedarea_readbyte": (0, 16),
    "sharedarea_writebyte": (0, -1, 1),
    "sharedarea_readlong": (0, 9),
    "sharedarea_writelong": (0, 9, 1),
    "sharedarea_inclong": (0, 9),
    "sharedarea_read8": (0, 16),
    "sharedarea_read16": (0, 15),
    "sharedarea_read32": (0, 13),
    "sharedarea_read64": (0, 9),
    "sharedarea_write8": (0, 16, 1),
    "sharedarea_write16": (0, 15, 1),
    "sharedarea_write32": (0, 13, 1),
    "sharedarea_write64": (0, 9, 1),
    "sharedarea_inc32": (0, 13),
    "sharedarea_dec32": (0, 13),
    "sharedarea_inc64": (0, 9),
    "sharedarea_dec64": (0, 9),
}


@pytest.mark.parametrize("name", CALLS_BEYOND)
def test_an_invalid_position_or_area_is_a_value_error_in_the_form_with_an_area(areas: SharedAreas, name: str) -> None:
    _, position, *rest = CALLS_BEYOND[name]
    with pytest.raises(ValueError, match="not all inside of sharedarea 0"):
        call(name, 0, position, *rest)
    for number in (2, -1):
        with pytest.raises(ValueError, match="there is no sharedarea"):
            call(name, number, 0, *rest)
    assert areas[0].read(0, 0) == bytes(16)


def test_numbers_of_all_widths(areas: SharedAreas) -> None:
    for bits in (8, 16, 32, 64):
        assert call(f"sharedarea_write{bits}", 1, 0, 100) is None
        assert call(f"sharedarea_read{bits}", 1, 0) == 100
    assert call("sharedarea_inc32", 1, 0) is None
    assert call("sharedarea_inc32", 1, 0, 5) is None
    assert call("sharedarea_dec32", 1, 0, 2) is None
    assert call("sharedarea_read32", 1, 0) == 104
    assert call("sharedarea_inc64", 1, 0, -4) is None
    assert call("sharedarea_dec64", 1, 0) is None
    assert call("sharedarea_read64", 1, 0) == 99
    call("sharedarea_write32", 1, 0, 2**32 - 1)
    assert call("sharedarea_read32", 1, 0) == -1
    call("sharedarea_write16", 1, 0, 2**16 + 7)
    assert call("sharedarea_read16", 1, 0) == 7


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("sharedarea_write8", (0, 0, 256)),
        ("sharedarea_write8", (0, 0, -1)),
        ("sharedarea_writebyte", (0, 256)),
        ("sharedarea_write64", (0, 0, 2**63)),
        ("sharedarea_writelong", (0, 2**63)),
        ("sharedarea_inc64", (0, 0, 2**63)),
        ("sharedarea_inc32", (0, 0, 2**31)),
    ],
)
def test_a_number_that_is_too_large_is_an_overflow_error(areas: SharedAreas, name: str, args: tuple[int, ...]) -> None:
    with pytest.raises(OverflowError, match="expected a number from"):
        call(name, *args)
    assert areas[0].read(0, 0) == bytes(16)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("sharedarea_read", (0,)),
        ("sharedarea_read", (0, 0, 1, 1)),
        ("sharedarea_read", (0.0, 1)),
        ("sharedarea_write", (0,)),
        ("sharedarea_write", (0, 5)),
        ("sharedarea_readbyte", ()),
        ("sharedarea_writelong", (1,)),
        ("sharedarea_read8", (0,)),
        ("sharedarea_inclong", ()),
    ],
)
def test_wrong_arguments_are_type_errors(areas: SharedAreas, name: str, args: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        call(name, *args)


def test_views_are_the_memory(areas: SharedAreas) -> None:
    view, other = call("sharedarea_memoryview", 1), call("sharedarea_object", 1)
    view[0] = 7
    assert other[0] == call("sharedarea_read8", 1, 0) == 7
    assert len(view) == 32


# --- in an instance -------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_uwsgi_module_has_them_only_with_the_option(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0"):
        import uwsgi

        assert not any(hasattr(uwsgi, name) for name in FUNCTIONS)
        with pytest.raises(NotConfiguredError, match="option sharedarea"):
            await uwsgi_async.sharedarea_read(0, 1)
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", sharedarea="1"):
        import uwsgi

        assert all(callable(getattr(uwsgi, name)) for name in FUNCTIONS)
        assert all(callable(getattr(uwsgi_async, name)) for name in FUNCTIONS)
        assert uwsgi.sharedarea_write(0, b"x") == 1


@pytest.mark.anyio
async def test_operations_are_awaited_and_wait_for_the_lock_of_another_task(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", sharedarea="1"):
        order: list[str] = []

        async def write() -> None:
            await uwsgi_async.sharedarea_write(0, 0, b"theirs")
            order.append("they")

        async with anyio.create_task_group() as tasks:
            async with uwsgi_async.sharedarea_wlock(0):
                tasks.start_soon(write)
                await anyio.wait_all_tasks_blocked()
                await uwsgi_async.sharedarea_write(0, 0, b"mine")
                assert await uwsgi_async.sharedarea_read(0, 0, 4) == b"mine"
                order.append("me")
                with pytest.raises(DeadlockError, match="sharedarea 0"):
                    await uwsgi_async.sharedarea_wlock(0)
        assert order == ["me", "they"]
        assert await uwsgi_async.sharedarea_read(0, 6) == b"theirs"


@pytest.mark.anyio
async def test_readers_share_the_area(anyio_backend: Any) -> None:
    async def read() -> None:
        async with uwsgi_async.sharedarea_rlock(0):
            assert await uwsgi_async.sharedarea_read8(0, 0) == 0

    async with uwsgi_async.run(an_app, http="127.0.0.1:0", sharedarea="1"):
        await uwsgi_async.sharedarea_rlock(0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
        uwsgi_async.sharedarea_unlock(0)
        uwsgi_async.sharedarea_unlock(0)


@pytest.mark.anyio
async def test_sharedarea_wait_tells_an_update_from_a_timeout(anyio_backend: Any) -> None:
    async def touch() -> None:
        uwsgi_async.sharedarea_memoryview(0)[5] = 1
        uwsgi_async.sharedarea_update(0)

    async with uwsgi_async.run(an_app, http="127.0.0.1:0", sharedarea="1"):
        assert await uwsgi_async.sharedarea_wait(0, 100, 0.001) is False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(touch)
            assert await uwsgi_async.sharedarea_wait(0) is True


@pytest.mark.anyio
@pytest.mark.parametrize("threads", [0, 2])
async def test_sync_requests_wait_for_each_others_lock(threads: int, anyio_backend: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        import uwsgi

        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/add":
            return [json.dumps(uwsgi.sharedarea_inc64(0, 0)).encode()]
        uwsgi.sharedarea_wlock(0)
        before = uwsgi.sharedarea_read64(0, 0)
        uwsgi.async_sleep(0.02)
        uwsgi.sharedarea_write64(0, 0, before + 10)
        uwsgi.sharedarea_unlock(0)
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0", sharedarea="1", threads=threads) as server:
        async with anyio.create_task_group() as tasks:
            for path in ("/slow", "/add", "/slow", "/add"):
                tasks.start_soon(get, server, path)
        assert await uwsgi_async.sharedarea_read64(0, 0) == 22


# --- the short way ----------------------------------------------------------------------------------------------------

SHORT = [
    name for name, call in sharedarea.BLOCKING.items() if hasattr(getattr(call, "__wrapped__", None), "__wrapped__")
]
WHATEVER = st.one_of(
    st.integers(-3, 35), st.sampled_from([2**7, 2**15, 2**31, 2**63, -(2**63), 2**64]), st.just(1.0), st.just(True)
)
ARGUMENTS = st.lists(st.one_of(WHATEVER, st.binary(max_size=20), st.text(max_size=3)), max_size=4)


def test_what_is_called_most_has_a_short_way() -> None:
    assert {"sharedarea_read64", "sharedarea_write8", "sharedarea_dec32", "sharedarea_read"} <= set(SHORT)


@pytest.mark.parametrize("name", SHORT)
def test_the_short_way_and_the_long_one_do_the_same(name: str) -> None:
    made = [SharedAreas.create(SharedAreaOptions(py_sharedarea=("16", "32"))) for _ in range(2)]

    def outcome(areas: SharedAreas | None, function: Any, args: list[Any]) -> list[Any]:
        assert areas is not None
        with sharedarea.using(areas):
            try:
                result = function(*args)
            except (TypeError, ValueError, OverflowError) as error:
                result = type(error)
        return [result, *(areas[number].read(0, 0) for number in range(2)), areas[0].statistics().updates]

    @given(st.one_of(st.tuples(st.integers(0, 1), st.integers(0, 24), st.integers(-9, 9)).map(list), ARGUMENTS))
    @settings(max_examples=50, deadline=None)
    def compare(args: list[Any]) -> None:
        short = sharedarea.BLOCKING[name]
        assert outcome(made[0], short, args) == outcome(made[1], short.__wrapped__.__wrapped__, args)

    compare()
    for areas in made:
        assert areas is not None
        areas.close()
