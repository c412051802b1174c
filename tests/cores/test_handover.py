"""Idle connections go from a server that ends to one that goes on, and no request is lost on the way."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from typing import Any

import anyio
import h11
import pytest

from tests.client import Client
from uwsgi_async.compat.uwsgi_module import installed, make_module
from uwsgi_async.cores import handover as module
from uwsgi_async.cores.connection import Connection
from uwsgi_async.cores.handover import Handover
from uwsgi_async.instance.server import Server, information, open_listeners, serve_apps
from uwsgi_async.options.build import build
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio


@pytest.fixture
def handover() -> Iterator[Handover]:
    pair = Handover.create()
    yield pair
    pair.close()


class Place:
    """Listeners that several servers share, one after the other, as the workers of an instance do."""

    def __init__(self, handover: Handover, stack: ExitStack, **options: Any) -> None:
        self.options = build(http_socket=("127.0.0.1:0", "127.0.0.1:0"), socket="127.0.0.1:0", **options)
        self.listeners = open_listeners(self.options, stack)
        self._handover = handover

    @asynccontextmanager
    async def server(self, name: str, release: anyio.Event | None = None) -> AsyncIterator[Server]:
        """Serve an app that answers with ``name``, the port it was asked at and the client's address."""

        async def app(environ, start_response):
            start_response("200 OK", [])
            if environ["PATH_INFO"] == "/slow":
                yield b"slow "
                await release.wait()
            yield f"{name} {environ['SERVER_PORT']} {environ['REMOTE_ADDR']}".encode()

        with installed(make_module(information(self.options, self.listeners))):
            async with serve_apps({"": app}, self.options, self.listeners, handover=self._handover) as server:
                yield server


@pytest.fixture
def place(handover: Handover) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(handover, stack, grace=5.0)


@asynccontextmanager
async def connect_to(place: Place, listener: int) -> AsyncIterator[Client]:
    async with await anyio.connect_tcp(*place.listeners[listener].sock.getsockname()) as stream:
        yield Client(stream)


async def ask(client: Client) -> bytes:
    with anyio.fail_after(5):
        return (await client.get("/")).body


async def is_served(client: Client) -> bool:
    try:
        return (await ask(client)).startswith(b"new ")
    except (anyio.BrokenResourceError, h11.RemoteProtocolError):
        return False


async def wait_until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the server's state has no event to wait for
            await anyio.sleep(0.005)


class Ending:
    """A server that is told to hand over and end while the test goes on; ``ended`` is set when it has."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.may_end = anyio.Event()
        self.ended = anyio.Event()

    async def run(self, place: Place, *, task_status: anyio.abc.TaskStatus[None], **options: Any) -> None:
        async with place.server("old", **options) as self.server:
            self.server.hand_over()
            task_status.started()
            await self.may_end.wait()
        self.ended.set()


@pytest.mark.parametrize("listener", [0, 1])
async def test_a_connection_goes_on_at_the_other_server_as_the_same(place: Place, listener: int) -> None:
    port = place.listeners[listener].sock.getsockname()[1]
    async with connect_to(place, listener) as client:
        async with place.server("old") as old:
            assert await ask(client) == f"old {port} 127.0.0.1".encode()
            old.hand_over()
        async with place.server("new"):
            assert await ask(client) == f"new {port} 127.0.0.1".encode()
            assert await ask(client) == f"new {port} 127.0.0.1".encode()


async def test_a_request_that_is_sent_between_the_servers_is_answered(place: Place) -> None:
    async with connect_to(place, 0) as client:
        async with place.server("old") as old:
            await ask(client)
            old.hand_over()
        await client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        async with place.server("new"):
            with anyio.fail_after(5):
                assert (await client.answer()).body.startswith(b"new ")


async def test_connections_that_have_said_nothing_yet_go_too(place: Place) -> None:
    async with connect_to(place, 0) as client, connect_to(place, 2) as front:
        async with place.server("old") as old:
            await wait_until(lambda: sum(each.idle for each in old.pool.connections) == 2)
            old.hand_over()
        async with place.server("new"):
            assert (await ask(client)).startswith(b"new ")
            await front.send(
                encode_packet(0, 0, encode_vars({"PATH_INFO": "/", "SERVER_PORT": "1", "REMOTE_ADDR": "2"}))
            )
            with anyio.fail_after(5):
                assert (await front.rest()).endswith(b"\r\n\r\nnew 1 2")


async def test_what_has_begun_to_arrive_is_answered_by_the_old_server(place: Place) -> None:
    ending = Ending()
    async with connect_to(place, 0) as client, anyio.create_task_group() as tasks:
        await tasks.start(partial(ending.run, place))
        assert ending.server is not None
        await client.send(b"GET / HTTP/1.1\r\n")
        (connection,) = await one_connection(ending.server)
        await wait_until(lambda: connection.reader is not None)
        ending.may_end.set()
        await wait_until(lambda: ending.server is not None and ending.server.pool.closing)
        assert not ending.ended.is_set()
        await client.send(b"Host: test\r\n\r\n")
        with anyio.fail_after(5):
            answer = await client.answer()
            await ending.ended.wait()
    assert answer.body.startswith(b"old ")
    assert answer.headers["connection"] == "close"


async def one_connection(server: Server) -> list[Connection]:
    await wait_until(lambda: len(server.pool.connections) == 1)
    return list(server.pool.connections)


async def test_a_connection_whose_answer_had_begun_goes_when_it_is_through(place: Place) -> None:
    ending, release = Ending(), anyio.Event()
    async with connect_to(place, 0) as client, anyio.create_task_group() as tasks:
        await tasks.start(partial(ending.run, place, release=release))
        await client.send(b"GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
        data = await client.stream.receive(65536)
        assert b"Connection: close" not in data
        ending.may_end.set()
        await wait_until(lambda: ending.server is not None and ending.server.pool.closing)
        release.set()
        with anyio.fail_after(5):
            await ending.ended.wait()
            while not data.endswith(b"0\r\n\r\n"):
                data += await client.stream.receive(65536)
        async with place.server("new"):
            assert (await ask(client)).startswith(b"new ")


async def test_a_connection_has_the_time_that_was_left_to_it(place: Place) -> None:
    async with connect_to(place, 0) as client:
        async with place.server("old") as old:
            await ask(client)
            (connection,) = await one_connection(old)
            await wait_until(lambda: connection.idle)
            connection.deadline -= 35  # of 75, and the time for a head would be 30
            old.hand_over()
        async with place.server("new") as new:
            (connection,) = await one_connection(new)
            await wait_until(lambda: connection.idle)
            assert 30 < connection.deadline - new.pool.poller.time() <= 40


async def test_more_connections_go_than_the_queue_holds(place: Place, handover: Handover) -> None:
    handover.give_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that the kernel has
    ending = Ending()
    async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
        await tasks.start(partial(ending.run, place))
        clients = [await stack.enter_async_context(connect_to(place, 0)) for _ in range(40)]
        for client in clients:
            await ask(client)
        ending.may_end.set()
        given = 0
        with anyio.fail_after(10):
            while given < len(clients):
                await anyio.wait_readable(handover.take_end)
                _, fds, _, _ = socket.recv_fds(handover.take_end, 512, 1)
                os.close(fds[0])
                given += 1
            await ending.ended.wait()


async def test_a_queue_that_nobody_empties_does_not_hold_the_end_up(
    place: Place, handover: Handover, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    handover.give_end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that the kernel has
    async with AsyncExitStack() as stack:
        with anyio.fail_after(5):
            async with place.server("old") as old:
                clients = [await stack.enter_async_context(connect_to(place, 0)) for _ in range(40)]
                for client in clients:
                    await ask(client)
                old.hand_over()
        async with place.server("new"):
            served = [await is_served(client) for client in clients]
    assert 0 < sum(served) < len(clients)


async def test_without_being_told_to_hand_over_a_server_closes_its_idle_connections(place: Place) -> None:
    async with connect_to(place, 0) as client:
        async with place.server("old"):
            await ask(client)
        with anyio.fail_after(5):
            assert await client.rest() == b""


async def test_a_connection_that_finds_no_file_descriptor_free_is_named(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recv_fds(sock: socket.socket, size: int, _most: int) -> tuple[bytes, list[int], int, None]:
        return sock.recv(size), [], 0, None  # as the kernel does it

    async with connect_to(place, 0) as client:
        async with place.server("old") as old:
            await ask(client)
            old.hand_over()
        monkeypatch.setattr(socket, "recv_fds", recv_fds)
        async with place.server("new"):
            with anyio.fail_after(5):
                assert await client.rest() == b""
    assert "no file descriptor is free" in caplog.text
