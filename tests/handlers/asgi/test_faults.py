"""Apps that send anything in any order, and clients that stall, reset and leave: the next request is served as ever."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import h11
import pytest

from tests.client import connect, get
from tests.handlers.asgi.apps import answer, body, serving, start, wait_until

pytestmark = pytest.mark.anyio

Send = Callable[[Any], Awaitable[None]]

_EVENTS: list[dict[str, Any]] = [
    start(),
    start(),
    start(204),
    start(304),
    start(headers=[(b"content-length", b"3")]),
    start(headers=[[b"connection", b"close"]]),
    start(headers=[(b"transfer-encoding", b"gzip")]),
    start(100),
    {"type": "http.response.start"},
    {"type": "http.response.start", "status": 200, "headers": [(b"bad name", b"x")]},
    body(b"one", more=True),
    body(b"one", more=True),
    body(b"", more=True),
    body(b"two"),
    body(),
    {"type": "http.response.body", "body": "text"},
    {"type": "http.response.body", "body": bytearray(b"array"), "more_body": True},
    {"type": "http.response.pathsend", "path": __file__},
    {"type": "http.response.pathsend", "path": "relative"},
    {"type": "http.response.trailers", "headers": []},
    {"type": "http.disconnect"},
]
METHODS = ("GET", "HEAD", "POST")


def is_sound(data: bytes, method: str) -> bool:
    """Whether what a client got is one response, whole or cut short by the end of the connection, and nothing else."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "test")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    client.receive_data(b"")
    try:
        while not isinstance(client.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            pass
    except h11.RemoteProtocolError as error:
        return "without sending complete message body" in str(error)
    return client.trailing_data[0] == b""


async def test_whatever_an_app_sends_the_client_gets_one_sound_response() -> None:
    chosen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["path"] == "/next":
            await answer(send, b"served")
            return
        for event in chosen:
            await send(event)

    chance = random.Random(17)
    async with serving(app, cores=1) as server:
        for _ in range(150):
            chosen[:] = [
                *chance.choices([start()], k=chance.randrange(2)),
                *chance.choices(_EVENTS, k=chance.randrange(5)),
            ]
            method = chance.choice(METHODS)
            async with connect(server) as client:
                await client.send(f"{method} / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n".encode())
                with anyio.fail_after(20):
                    data = await client.rest()
                assert is_sound(data, method), (method, chosen, data[:300])
            assert (await get(server, "/next")).body == b"served"


async def test_a_client_that_takes_nothing_frees_the_core() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start())
        while scope["path"] == "/stalled":
            await send(body(b"x" * 100_000, more=True))
        await send(body(b"small"))

    async with serving(app, cores=1, socket_timeout=0.3) as server, connect(server) as client:
        await client.send(b"GET /stalled HTTP/1.1\r\nHost: a\r\n\r\n")
        with anyio.fail_after(20):
            assert (await get(server)).body == b"small"
        assert server.statistics().cores[0].exceptions == 0


@pytest.mark.parametrize("when", ["before the answer", "in the body", "in the answer"])
async def test_a_reset_at_any_moment_leaves_the_core_to_others(when: str, caplog: pytest.LogCaptureFixture) -> None:
    began = anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["path"] == "/":
            await answer(send, b"served")
            return
        began.set()
        if when == "in the answer":
            await send(start())
            while True:
                await send(body(b"x" * 10_000, more=True))
        while (await receive())["type"] != "http.disconnect":
            pass

    async with serving(app, cores=1) as server:
        async with connect(server) as client:
            length = b"Content-Length: 100\r\n\r\nhalf" if when == "in the body" else b"\r\n"
            await client.send(b"POST /reset HTTP/1.1\r\nHost: a\r\n" + length)
            await began.wait()
            if when == "in the answer":
                await client.stream.receive()
            raw = client.stream.extra(anyio.abc.SocketAttribute.raw_socket)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with anyio.fail_after(20):
            assert (await get(server)).body == b"served"
        assert server.statistics().cores[0].exceptions == 0
    assert "the app raised an error" not in caplog.text


async def test_a_core_that_was_cancelled_in_an_exchange_serves_the_next_one() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["path"] == "/":
            await answer(send, b"served")
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            tasks.start_soon(receive)
            await send(start())
            while True:
                await send(body(b"x" * 100_000, more=True))

    async with serving(app, cores=1, harakiri=0.3) as server:
        for _ in range(2):
            async with connect(server) as client:
                await client.send(b"POST /cancelled HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
                await wait_until(lambda: server.statistics().busy == 1)
                await wait_until(lambda: server.statistics().busy == 0)
        with anyio.fail_after(20):
            assert (await get(server)).body == b"served"
