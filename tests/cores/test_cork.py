"""When answers that came together are sent together, and that nothing is lost or late because of it."""

from __future__ import annotations

import socket
import struct
import time
from urllib.parse import urlsplit

import anyio
import anyio.lowlevel
import pytest

import uwsgi_async
from tests.cores.test_connection import GET, connected
from uwsgi_async.cores import cork
from uwsgi_async.cores.connection import Connection
from uwsgi_async.cores.cork import LONG, Cork, Rest

pytestmark = pytest.mark.anyio


async def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]


@pytest.fixture
def flushed(monkeypatch):
    """How many answers each flush had to send."""
    sizes: list[int] = []
    flush = Cork.flush

    def note(self):
        if self:
            sizes.append(len(self))
        flush(self)

    monkeypatch.setattr(Cork, "flush", note)
    return sizes


@pytest.fixture
def patient(monkeypatch):
    """No request takes too long, on however slow a machine."""
    monkeypatch.setattr(cork, "LONG", 60.0)
    monkeypatch.setattr("uwsgi_async.cores.http.LONG", 60.0)


async def receive(client: socket.socket, end: bytes) -> bytes:
    received = b""
    with anyio.fail_after(10):
        while not received.endswith(end):
            await anyio.wait_readable(client)
            data = client.recv(65536)
            assert data, received
            received += data
    return received


async def test_requests_that_come_together_are_answered_together(patient, flushed):
    async with uwsgi_async.run(hello, http="127.0.0.1:0", cores=4) as server:
        clients = [connected(server.url, GET % b"") for _ in range(8)]
        for client in clients:
            assert await receive(client, b"hello")
            client.sendall(GET % b"")
        for client in clients:
            assert await receive(client, b"hello")
            client.close()
    assert sum(flushed) == 15  # the very first one's bytes had to be parsed
    assert max(flushed) > 1


async def test_an_answer_goes_out_though_the_next_request_waits(patient):
    answered = anyio.Event()

    async def app(environ, start_response):
        if environ["PATH_INFO"] == "/waits":
            await answered.wait()
        return await hello(environ, start_response)

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1) as server:
        with connected(server.url, GET % b"") as first:
            assert await receive(first, b"hello")  # from now on its bytes are known
            first.sendall(GET % b"")
            with connected(server.url, GET.replace(b"/", b"/waits", 1) % b"") as second:
                assert await receive(first, b"hello")
                answered.set()
                assert await receive(second, b"hello")


async def test_the_rest_of_an_answer_is_sent_as_its_client_reads(patient, monkeypatch):
    rests: list[Rest] = []
    made = Rest.__init__

    def note(self, *args):
        rests.append(self)
        made(self, *args)

    def small(self, sock, *args):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        opened(self, sock, *args)

    opened = Connection.__init__
    monkeypatch.setattr(Rest, "__init__", note)
    monkeypatch.setattr(Connection, "__init__", small)
    body = bytes(range(250)) * 64

    async def app(environ, start_response):
        start_response("200 OK", [])
        return [body]

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1) as server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            client.connect(("127.0.0.1", urlsplit(server.url).port))
            client.setblocking(False)
            for _ in range(3):  # the connection lives on behind it; the first request's bytes have to be parsed
                client.sendall(GET % b"")
                assert body in await receive(client, body[-500:])
    assert len(rests) == 2


async def test_a_client_that_has_gone_away_costs_the_others_nothing(patient):
    async with uwsgi_async.run(hello, http="127.0.0.1:0", cores=1) as server:
        gone, stays = (connected(server.url, GET % b"") for _ in range(2))
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()  # a reset
        assert await receive(stays, b"hello")
        stays.close()
        with anyio.fail_after(10):
            while server.statistics().connections:
                await anyio.lowlevel.checkpoint()


async def test_what_waits_is_sent_before_the_server_ends():
    async with uwsgi_async.run(hello, http="127.0.0.1:0") as server:
        client = connected(server.url, GET % b"")
        assert await receive(client, b"hello")
        (connection,) = server.pool.connections
        connection.parked = False
        server.pool.cork.put(connection, b"the last words", server.pool.cores[0], server.pool.poller.time())
    with client:
        assert await receive(client, b"the last words")


async def test_an_app_that_blocks_has_its_answers_sent_at_once(monkeypatch, flushed):
    monkeypatch.setattr(Cork, "sweep", lambda self: None)

    async def app(environ, start_response):
        time.sleep(2 * LONG)  # noqa: ASYNC251 - that is the point
        return await hello(environ, start_response)

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1, blocking_limit=0.0) as server:
        with connected(server.url, GET % b"") as client:
            assert await receive(client, b"hello")
            flushed.clear()
            for _ in range(3):
                client.sendall(GET % b"")
                assert await receive(client, b"hello")
    assert flushed == []


async def test_answers_may_wait_again_when_the_app_has_not_blocked_for_a_while():
    class Poller:
        heartbeat = 5.0

    class Slow:
        started = 5.0

    cork_ = Cork(Poller())  # type: ignore[arg-type]
    cork_.note(Slow(), 5.0 + 2 * LONG)  # type: ignore[arg-type]
    assert not cork_.holds
    cork_.sweep()
    assert not cork_.holds
    cork_.sweep()
    assert cork_.holds


async def test_a_request_that_waits_does_not_block():
    class Poller:
        heartbeat = 8.0  # the loop has turned since

    class Waiting:
        started = 5.0

    cork_ = Cork(Poller())  # type: ignore[arg-type]
    cork_.note(Waiting(), 8.0 + LONG / 2)  # type: ignore[arg-type]
    assert cork_.holds
