"""Shared areas: what an operation reads, writes and refuses; waiting for updates; the lock for apps; deaths."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.state.actors import Actor, actors
from uwsgi_async.errors import DeadlockError, NoInstanceError, OptionError
from uwsgi_async.options.settings import SharedAreaOptions
from uwsgi_async.state.areamemory import AreaLockedError
from uwsgi_async.state.sharedarea import SharedArea, SharedAreas

PAGE = os.sysconf("SC_PAGE_SIZE")


def make(*texts: str, py: tuple[str, ...] = ()) -> SharedAreas:
    areas = SharedAreas.create(SharedAreaOptions(sharedarea=texts, py_sharedarea=py))
    assert areas is not None
    return areas


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[SharedAreas, list[Actor]]]:
    """Areas of 64 bytes and of a page, and two other processes that share them."""
    areas = make(py=("64", str(PAGE)))
    with actors(2, areas=areas) as others:
        yield areas, list(others)
    areas.close()


@pytest.fixture
def area(shared: tuple[SharedAreas, list[Actor]]) -> Iterator[SharedArea]:
    """The one of 64 bytes, all zero, not locked before and after the test."""
    area = shared[0][0]
    area.view()[:] = bytes(64)
    yield area
    assert area.lock.holder() is None


@pytest.fixture
def others(shared: tuple[SharedAreas, list[Actor]]) -> list[Actor]:
    return shared[1]


# --- operations -----------------------------------------------------------------------------------------------------


def test_no_option_no_areas() -> None:
    assert SharedAreas.create(SharedAreaOptions()) is None


def test_areas_have_numbers_from_0(shared: tuple[SharedAreas, list[Actor]]) -> None:
    areas, _ = shared
    assert [(areas[number].id, areas[number].size) for number in range(2)] == [(0, 64), (1, PAGE)]
    for number in (-1, 2):
        with pytest.raises(ValueError, match="numbered 0 to 1"):
            areas[number]


def test_what_is_written_is_read(area: SharedArea) -> None:
    assert area.write(10, b"hello") == 5
    assert area.read(9, 7) == b"\0hello\0"
    assert area.read(60, 0) == bytes(4)
    assert area.write(63, b"") == 0


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_numbers_are_signed_and_in_the_machines_order(area: SharedArea, width: int) -> None:
    area.write_number(width, 3, -2)
    assert area.read_number(width, 3) == -2
    assert area.read(3, width) == struct.pack({1: "b", 2: "h", 4: "i", 8: "q"}[width], -2)


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_numbers_wrap_around(area: SharedArea, width: int) -> None:
    largest = 2 ** (8 * width - 1) - 1
    area.write_number(width, 0, largest)
    assert area.add(width, 0, 1) == -largest - 1
    assert area.add(width, 0, -1) == largest
    area.write_number(width, 0, 2 ** (8 * width) + 5)
    assert area.read_number(width, 0) == 5


@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_a_number_must_be_all_inside(area: SharedArea, width: int) -> None:
    last = 64 - width
    area.write_number(width, last, 1)
    for position in (last + 1, 64, 2**63, -1):
        for call in (area.read_number, lambda *args: area.write_number(*args, 1), lambda *args: area.add(*args, 1)):
            with pytest.raises(ValueError, match="not all inside of sharedarea 0"):
                call(width, position)


@pytest.mark.parametrize(("position", "length"), [(64, 0), (64, 1), (60, 5), (0, 65), (-1, 1), (0, -1), (2**64, 1)])
def test_bytes_must_be_all_inside(area: SharedArea, position: int, length: int) -> None:
    with pytest.raises(ValueError, match="not all inside"):
        area.read(position, length)
    if length >= 0:
        with pytest.raises(ValueError, match="not all inside"):
            area.write(position, b"x" * length)
    assert area.read(0, 0) == bytes(64)


@given(position=st.integers(-70, 140), length=st.integers(0, 140))
def test_a_write_is_made_whole_or_not_at_all(
    shared: tuple[SharedAreas, list[Actor]], position: int, length: int
) -> None:
    area = shared[0][0]
    area.view()[:] = before = bytes(range(64))
    try:
        area.write(position, b"y" * length)
    except ValueError:
        assert not (0 <= position < 64 and position + length <= 64)
        assert area.read(0, 0) == before
    else:
        assert area.read(0, 0) == before[:position] + b"y" * length + before[position + length :]


def test_a_view_is_the_memory_itself_and_outlives_the_area() -> None:
    areas = make("1")
    view = areas[0].view()
    areas[0].write(5, b"abc")
    view[6] = ord("x")
    assert areas[0].read(5, 3) == b"axc"
    assert (len(view), view.format, view.readonly, view.ndim) == (PAGE, "B", False, 1)
    areas.close()
    assert bytes(view[5:8]) == b"axc"
    with pytest.raises(NoInstanceError):
        areas[0].write(0, b"x")


def test_a_file_is_read_and_written_in_place(tmp_path: Path) -> None:
    path = tmp_path / "area"
    path.write_bytes(b"a" * PAGE + b"b" * PAGE)
    areas = make(f"file={path},offset={PAGE},size=10")
    assert areas[0].read(0, 0) == b"b" * 10
    areas[0].write(0, b"new")
    areas.close()
    assert path.read_bytes() == b"a" * PAGE + b"new" + b"b" * (PAGE - 3)


def test_what_cannot_be_mapped_is_refused() -> None:
    with pytest.raises(OptionError, match="area 0 cannot be mapped"):
        make("file=/dev/full,size=10", "1")


def test_an_area_larger_than_the_memory_is_refused() -> None:
    with pytest.raises(OptionError, match="the machine has only"):
        make("size=0x10000000000")


def test_statistics(area: SharedArea) -> None:
    before = area.statistics().updates
    area.write(0, b"x")
    area.add(8, 8, 1)
    area.read(0, 1)
    statistics = area.statistics()
    assert (statistics.id, statistics.size, statistics.updates, statistics.holder) == (0, 64, before + 2, None)


# --- several processes ----------------------------------------------------------------------------------------------


def test_processes_see_each_others_writes(area: SharedArea, others: list[Actor]) -> None:
    area.write(0, b"from here")
    assert others[0].call("on_area", 0, True, "read", 0, 9) == b"from here"
    others[1].call("on_area", 0, False, "write", 0, b"from 1")
    assert area.read(0, 6) == b"from 1"


def test_counting_in_several_processes_loses_nothing(area: SharedArea, others: list[Actor]) -> None:
    for other in others:
        other.begin("add_often", 5000, 8)
    for _ in range(5000):
        area.add(8, 8, 1)
    for other in others:
        other.end()
    assert area.read_number(8, 8) == 15000


def test_a_read_never_sees_half_of_a_write(shared: tuple[SharedAreas, list[Actor]], others: list[Actor]) -> None:
    areas, _ = shared
    stop = threading.Event()

    def write() -> None:
        letter = 0
        while not stop.is_set():
            letter = (letter + 1) % 256
            areas[1].write(0, bytes([letter]) * PAGE)

    thread = threading.Thread(target=write)
    thread.start()
    others[0].begin("reads_that_are_mixed", 1, 2000)
    mixed = sum(len(set(areas[1].read(0, PAGE))) != 1 for _ in range(2000))
    assert others[0].end() == 0
    assert mixed == 0
    stop.set()
    thread.join()


@pytest.mark.parametrize("case", [("write", 0, b"n" * 8), ("add", 8, 0, 1), ("write_number", 8, 0, 7)])
def test_a_process_killed_at_any_line_leaves_the_area_free(
    area: SharedArea, others: list[Actor], case: tuple[Any, ...]
) -> None:
    results = set()
    for line in range(1, 100):
        area.write(0, b"o" * 8)
        killed = others[0].call("die_in_area", 0, line, *case)
        results.add(area.read(0, 8))
        area.write(0, b"o" * 8)
        assert others[1].call("on_area", 0, True, "read", 0, 8) == b"o" * 8
        if not killed:
            break
    assert len(results) == 2
    assert line > 10


@pytest.mark.parametrize(
    "case",
    [("sharedarea_write", 0, 0, b"n" * 8), ("sharedarea_inc64", 0, 0), ("sharedarea_write64", 0, 0, 7)],
    ids=lambda case: case[0],
)
def test_a_process_killed_at_any_line_of_the_short_way_leaves_the_area_free(
    area: SharedArea, others: list[Actor], case: tuple[Any, ...]
) -> None:
    results = set()
    for line in range(1, 100):
        area.write(0, b"o" * 8)
        killed = others[0].call("die_in_short_way", line, *case)
        results.add(area.read(0, 8))
        area.write(0, b"o" * 8)
        assert others[1].call("on_area", 0, True, "read", 0, 8) == b"o" * 8
        if not killed:
            break
    assert len(results) == 2
    assert line > 10


# --- waiting for updates --------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_wait_ends_with_the_next_write_of_any_kind(area: SharedArea, anyio_backend: Any) -> None:
    for write in (
        lambda: area.write(0, b"x"),
        lambda: area.add(4, 0, 1),
        lambda: area.write_number(1, 0, 1),
        area.update,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(area.wait)
            tasks.start_soon(area.wait)
            await anyio.wait_all_tasks_blocked()
            write()


@pytest.mark.anyio
async def test_reading_ends_no_wait(area: SharedArea, anyio_backend: Any) -> None:
    with anyio.move_on_after(0.02) as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(area.wait)
            await anyio.wait_all_tasks_blocked()
            area.read(0, 1)
            area.read_number(8, 0)
    assert scope.cancelled_caught


def test_a_wait_ends_with_a_write_of_another_process(area: SharedArea, others: list[Actor]) -> None:
    for other in others:
        other.begin("wait_for_update", 0)
        assert not other.answers(0.05)
    area.write(0, b"x")
    for other in others:
        other.end()


# --- the lock for apps ----------------------------------------------------------------------------------------------


def test_the_holder_goes_on_and_nobody_else(area: SharedArea) -> None:
    assert area.lock.acquire_nowait("me")
    for operation, args in ((area.write, (0, b"x")), (area.add, (8, 0, 1)), (area.write_number, (1, 0, 1))):
        with pytest.raises(AreaLockedError):
            operation(*args)
        with pytest.raises(AreaLockedError):
            area.call_nowait("you", False, operation, args)
        area.call_nowait("me", False, operation, args)
    with pytest.raises(AreaLockedError):
        area.read(0, 1)
    with pytest.raises(AreaLockedError):
        area.read_number(1, 0)
    assert area.call_nowait("me", True, area.read, (0, 1)) == b"\1"
    area.lock.release("me")
    assert area.read_number(1, 0) == 1


def test_readers_lock_out_writers_only(area: SharedArea) -> None:
    assert area.lock.acquire_nowait("me", shared=True)
    assert area.call_nowait("you", True, area.read, (0, 1)) == b"\0"
    with pytest.raises(AreaLockedError):
        area.call_nowait("you", False, area.write, (0, b"x"))
    with pytest.raises(DeadlockError):
        area.call_nowait("me", False, area.write, (0, b"x"))
    area.lock.release("me")


def test_an_unlocked_area_is_fast_again(area: SharedArea) -> None:
    area.lock.acquire_nowait("me")
    area.lock.release("me")
    area.write(0, b"x")


@pytest.mark.anyio
async def test_who_waits_goes_on_when_it_is_unlocked(area: SharedArea, anyio_backend: Any) -> None:
    assert area.lock.acquire_nowait("me")
    order: list[object] = []

    async def write() -> None:
        order.append(await area.wait_and_call("you", False, area.write, (0, b"x")))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        order.append("unlocked")
        area.lock.release("me")
    assert order == ["unlocked", 1]
    area.write(0, b"y")


def test_a_lock_holds_between_processes(area: SharedArea, others: list[Actor]) -> None:
    others[0].call("lock_area", 0, False)
    with pytest.raises(AreaLockedError):
        area.read(0, 1)
    others[1].begin("on_area", 0, True, "read", 0, 1)
    assert not others[1].answers(0.05)
    others[0].call("on_area_as_holder", 0, "write", 0, b"x")
    others[0].call("unlock_area", 0)
    assert others[1].end() == b"x"
    assert area.read(0, 1) == b"x"


def test_several_processes_share_a_lock_for_reading(area: SharedArea, others: list[Actor]) -> None:
    for other in others:
        other.call("lock_area", 0, True)
    assert area.call_nowait("me", True, area.read, (0, 1)) == b"\0"
    others[0].call("unlock_area", 0)
    with pytest.raises(AreaLockedError):
        area.call_nowait("me", False, area.write, (0, b"x"))
    others[1].call("unlock_area", 0)
    area.write(0, b"x")


def test_the_lock_of_a_killed_process_is_free(
    shared: tuple[SharedAreas, list[Actor]], area: SharedArea, others: list[Actor]
) -> None:
    victim = Actor(areas=shared[0])
    victim.call("lock_area", 0, False)
    others[0].begin("on_area", 0, False, "write", 0, b"x")
    assert not others[0].answers(0.05)
    victim.kill()
    others[0].end()
    assert area.call_nowait("me", True, area.read, (0, 1)) == b"x"
    area.write(0, b"y")
