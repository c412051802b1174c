"""When a connection is watched, and when it does without."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import anyio
import pytest

import uwsgi_async
from uwsgi_async.fdwait.poller import Poller
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: a\r\n%b\r\n"


async def hello(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]


@pytest.fixture
def watched(monkeypatch):
    """The fds that connections have asked to be told of."""
    fds: list[int] = []
    watch = Poller.watch

    def note(self, fd, events):
        fds.append(fd)
        watch(self, fd, events)

    monkeypatch.setattr(Poller, "watch", note)
    return fds


def connected(address: str, data: bytes) -> socket.socket:
    """Connect and send before the server's loop can turn: its first receive gets all of it."""
    parts = urlsplit(address)
    client = socket.create_connection((parts.hostname, parts.port))
    client.sendall(data)
    client.setblocking(False)
    return client


async def everything(client: socket.socket) -> bytes:
    received = b""
    while True:
        await anyio.wait_readable(client)
        data = client.recv(65536)
        if not data:
            return received
        received += data


async def test_one_that_came_with_its_request_and_ends_with_the_answer_is_never_watched(watched):
    packet = encode_packet(0, 0, encode_vars({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}))
    async with uwsgi_async.run(hello, http="127.0.0.1:0", socket="127.0.0.1:0") as server:
        for address, data in zip(server.addresses, (GET % b"Connection: close\r\n", packet), strict=True):
            with connected(address, data) as client, anyio.fail_after(10):
                assert (await everything(client)).endswith(b"\r\n\r\nhello")
        assert watched == []
        assert server.statistics().connections == 0


async def test_one_that_is_kept_alive_is_watched_once(watched):
    async with uwsgi_async.run(hello, http="127.0.0.1:0") as server:
        with connected(server.url, GET % b"") as client, anyio.fail_after(10):
            for _ in range(3):
                await anyio.wait_readable(client)
                assert client.recv(65536).endswith(b"hello")
                client.sendall(GET % b"")
            assert len(watched) == 1


async def test_an_end_that_came_before_it_was_watched_is_not_missed():
    async with uwsgi_async.run(hello, http="127.0.0.1:0") as server:
        with connected(server.url, GET % b"") as client, anyio.fail_after(10):
            client.shutdown(socket.SHUT_WR)
            assert (await everything(client)).endswith(b"hello")


async def test_one_without_any_request_waits_without_a_core(watched):
    async with uwsgi_async.run(hello, http="127.0.0.1:0", cores=1) as server:
        with connected(server.url, b"") as silent, connected(server.url, GET % b"Connection: close\r\n") as client:
            with anyio.fail_after(10):
                assert (await everything(client)).endswith(b"hello")
            assert len(watched) == 1
            assert server.statistics().busy == 0
            silent.close()
