"""Each piece goes out whole and in order, whatever the socket takes and whoever is cancelled."""

from __future__ import annotations

import anyio
import pytest

from uwsgi_async.cores.outbox import Outbox
from uwsgi_async.errors import DisconnectedError

pytestmark = pytest.mark.anyio


class Tap:
    """A connection that takes bytes when it is opened."""

    def __init__(self) -> None:
        self.taken = b""
        self.room = 0
        self.broken = False
        self._opened = anyio.Event()

    def open(self, room: int) -> None:
        self.room += room
        self._opened.set()
        self._opened = anyio.Event()

    def send_nowait(self, data) -> int:
        if self.broken:
            raise DisconnectedError("gone")
        size = min(self.room, len(data))
        self.taken += bytes(data[:size])
        self.room -= size
        return size

    async def wait_writable(self) -> None:
        await self._opened.wait()


async def test_what_the_socket_takes_goes_at_once():
    tap = Tap()
    tap.open(100)
    outbox = Outbox(tap)
    await outbox.send(b"hello")
    assert (tap.taken, outbox.unsent, outbox.sent) == (b"hello", 0, 5)


async def test_what_it_does_not_take_waits():
    tap = Tap()
    outbox = Outbox(tap)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.send, b"hello")
        await anyio.wait_all_tasks_blocked()
        assert outbox.unsent == 5
        for _ in range(5):
            tap.open(1)
            await anyio.wait_all_tasks_blocked()
    assert (tap.taken, outbox.unsent) == (b"hello", 0)


async def test_pieces_of_many_tasks_do_not_mix_and_keep_their_order():
    tap = Tap()
    outbox = Outbox(tap)
    async with anyio.create_task_group() as tasks:
        for piece in (b"one ", b"two ", b"three "):
            tasks.start_soon(outbox.send, piece)
            await anyio.wait_all_tasks_blocked()
        while len(tap.taken) < 14:
            tap.open(1)
            await anyio.wait_all_tasks_blocked()
    assert tap.taken == b"one two three "


async def test_a_piece_that_was_begun_is_finished_by_whoever_comes_next():
    tap = Tap()
    tap.open(2)
    outbox = Outbox(tap)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.send, b"begun ")
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert (tap.taken, outbox.unsent) == (b"be", 4)
    tap.open(100)
    await outbox.send(b"next")
    assert tap.taken == b"begun next"


async def test_a_piece_that_waits_behind_others_is_not_sent_when_it_is_cancelled():
    tap = Tap()
    outbox = Outbox(tap)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.send, b"first ")
        await anyio.wait_all_tasks_blocked()
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(outbox.send, b"never ")
            await anyio.wait_all_tasks_blocked()
            waiting.cancel_scope.cancel()
        tasks.start_soon(outbox.send, b"third")
        await anyio.wait_all_tasks_blocked()
        tap.open(100)
    assert tap.taken == b"first third"


async def test_what_is_posted_goes_behind_what_waits():
    tap = Tap()
    outbox = Outbox(tap)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outbox.send, b"long ")
        await anyio.wait_all_tasks_blocked()
        outbox.post(b"posted ")
        tap.open(100)
        await anyio.wait_all_tasks_blocked()
        outbox.post(b"at once")
    assert tap.taken == b"long posted at once"


async def test_what_is_posted_and_not_taken_is_sent_later():
    tap = Tap()
    outbox = Outbox(tap)
    outbox.post(b"a")
    outbox.post(b"b")
    assert outbox.unsent == 2
    tap.open(1)
    outbox.post(b"c")
    assert tap.taken == b"a"
    tap.open(100)
    await outbox.send(b"d")
    assert tap.taken == b"abcd"


async def test_a_broken_connection_is_told_to_all_who_wait():
    tap = Tap()
    outbox = Outbox(tap)
    failed = []

    async def send(piece):
        try:
            await outbox.send(piece)
        except DisconnectedError:
            failed.append(piece)

    async with anyio.create_task_group() as tasks:
        for piece in (b"a", b"b"):
            tasks.start_soon(send, piece)
            await anyio.wait_all_tasks_blocked()
        tap.broken = True
        tap.open(1)
    assert sorted(failed) == [b"a", b"b"]
