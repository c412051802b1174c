"""The rules of waiting for file descriptors, as the head of `uwsgi_async.fdwait.watch` states them."""

from __future__ import annotations

import errno
import os
import socket
import tempfile
import time

import anyio
import pytest

import uwsgi_async
from tests.client import get
from uwsgi_async.fdwait import watch
from uwsgi_async.fdwait.poller import find_poller, open_poller

pytestmark = pytest.mark.anyio


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            pass  # closed by the test


async def test_a_readable_fd_ends_the_wait(pipe):
    reader, writer = pipe
    os.write(writer, b"x")
    with anyio.fail_after(5):
        assert await uwsgi_async.wait_fd_read(reader) is True


async def test_a_task_outside_any_server_may_wait_and_leaves_no_poller(pipe):
    reader, writer = pipe
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uwsgi_async.wait_fd_read(reader)._wait)
        await anyio.wait_all_tasks_blocked()
        os.write(writer, b"x")
    assert find_poller() is None


async def test_the_timeout_ends_the_wait_with_false(pipe):
    assert await uwsgi_async.wait_fd_read(pipe[0], 0.02) is False


async def test_a_writable_fd_ends_the_wait(pipe):
    with anyio.fail_after(5):
        assert await uwsgi_async.wait_fd_write(pipe[1]) is True


async def test_a_regular_file_is_always_ready():
    with tempfile.TemporaryFile() as file, anyio.fail_after(5):
        assert await uwsgi_async.wait_fd_read(file.fileno()) is True


@pytest.mark.parametrize("fd", [-1, 9999])
async def test_a_closed_or_negative_fd_is_refused_at_once(fd):
    with pytest.raises(OSError, match="cannot be watched") as caught:
        await uwsgi_async.wait_fd_read(fd)
    assert caught.value.errno == errno.EBADF


async def test_an_fd_closed_meanwhile_ends_the_wait_with_an_error(pipe, monkeypatch):
    monkeypatch.setattr(watch, "CHECK_INTERVAL", 0.05)
    reader, _writer = pipe
    caught = []

    async def wait():
        try:
            await uwsgi_async.wait_fd_read(reader)
        except OSError as error:
            caught.append(error.errno)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            os.close(reader)
    assert caught == [errno.EBADF]


async def test_a_reused_number_does_not_wake_those_who_waited_for_the_old_file():
    first, first_writer = os.pipe()
    results = []

    async def wait(name):
        try:
            results.append((name, await uwsgi_async.wait_fd_read(first)))
        except OSError as error:
            results.append((name, error.errno))

    poller = open_poller()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, "old")
            await anyio.wait_all_tasks_blocked()
            second, second_writer = os.pipe()
            os.dup2(second, first)  # the number now means another file
            tasks.start_soon(wait, "new")
            await anyio.wait_all_tasks_blocked()
            os.write(second_writer, b"x")
    poller.release()
    for fd in (first, first_writer, second, second_writer):
        os.close(fd)
    assert sorted(results) == [("new", True), ("old", errno.EBADF)]


async def test_all_waiters_of_one_fd_are_woken(pipe):
    reader, writer = pipe
    woken = []

    async def wait():
        woken.append(await uwsgi_async.wait_fd_read(reader))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            os.write(writer, b"x")
    assert woken == [True] * 3


async def test_a_cancelled_wait_watches_nothing_any_more(pipe):
    reader, _writer = pipe
    poller = open_poller()
    with anyio.move_on_after(0.02):
        await uwsgi_async.wait_fd_read(reader, 60)
    assert not watch._sources.get(poller)
    assert len(poller.timers) == 0
    poller.release()


async def test_several_fds_before_one_suspend_and_ready_fd_tells_which(pipe):
    reader, writer = pipe
    other, other_writer = os.pipe()
    told = []

    async def app(environ, start_response):
        uwsgi_async.wait_fd_read(other, 5)
        uwsgi_async.wait_fd_read(reader, 5)
        os.write(writer, b"x")
        await uwsgi_async.suspend()
        told.append(uwsgi_async.ready_fd())
        uwsgi_async.wait_fd_read(other, 0.05)
        uwsgi_async.wait_fd_read(other, 60)
        await uwsgi_async.suspend()
        told.append(uwsgi_async.ready_fd())
        start_response("200 OK", [])
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        assert (await get(server)).status == 200
    os.close(other)
    os.close(other_writer)
    assert told == [reader, -1]


async def test_what_a_request_watched_and_never_waited_for_is_forgotten(pipe):
    async def app(environ, start_response):
        uwsgi_async.wait_fd_read(pipe[0], 60)
        start_response("200 OK", [])
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        await get(server)
        poller = find_poller()
        assert not watch._sources.get(poller)


async def test_a_request_may_wait_for_its_own_connection():
    async def app(environ, start_response):
        ready = await uwsgi_async.wait_fd_write(uwsgi_async.connection_fd(), 5)
        start_response("200 OK", [])
        return [str(ready).encode()]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        assert (await get(server)).body == b"True"


async def test_async_sleep_sleeps_at_least_so_long():
    started = time.monotonic()
    poller = open_poller()
    await uwsgi_async.async_sleep(0.05)
    poller.release()
    assert time.monotonic() - started >= 0.045  # uvloop's clock has whole milliseconds and is read once a turn


async def test_async_connect_gives_a_connected_fd():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = await uwsgi_async.async_connect(f"127.0.0.1:{listener.getsockname()[1]}")
        assert uwsgi_async.is_connected(fd)
        os.close(fd)


async def test_async_connect_to_nobody_raises():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets this port
        with pytest.raises(OSError, match="cannot connect"):
            await uwsgi_async.async_connect(f"127.0.0.1:{bound.getsockname()[1]}")
