"""Clients that stall, reset, send half a frame, or take nothing; and what is silent for too long."""

from __future__ import annotations

import logging
import socket
import struct

import anyio
import pytest

import uwsgi_async
from tests.cores.test_serving import wait_until
from tests.websockets.client import BINARY, PING, PONG, TEXT, Frame, frame, handshake, websocket
from uwsgi_async import WebSocketClosedError

pytestmark = pytest.mark.anyio

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds


class Told:
    """An app that receives until the end, and notes it."""

    def __init__(self) -> None:
        self.ends: list[tuple[int, str]] = []
        self.messages: list[str | bytes] = []

    async def __call__(self, environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        try:
            while True:
                self.messages.append(await ws.receive())
        except WebSocketClosedError as error:
            self.ends.append((error.code, error.reason))


def reset(ws) -> None:
    """Let the client's connection end with a reset."""
    sock = ws.client.stream.extra(anyio.abc.SocketAttribute.raw_socket)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


async def test_a_client_that_vanishes_is_1006():
    told = Told()
    async with uwsgi_async.run(told, http="127.0.0.1:0") as server:
        async with websocket(server):
            pass
        await wait_until(lambda: told.ends)
        await wait_until(lambda: server.statistics().connections == 0)
    assert told.ends == [(1006, "the client closed the connection without a close frame")]


@pytest.mark.parametrize("size", range(1, 13))
async def test_half_a_frame_and_the_end_is_1006(size):
    told = Told()
    async with uwsgi_async.run(told, http="127.0.0.1:0") as server:
        async with websocket(server) as ws:
            await ws.send(frame(TEXT, b"x" * 200)[:size])
        await wait_until(lambda: told.ends)
    assert [code for code, _ in told.ends] == [1006]
    assert told.messages == []


async def test_a_reset_is_1006():
    told = Told()
    async with uwsgi_async.run(told, http="127.0.0.1:0") as server:
        async with websocket(server) as ws:
            await ws.send(frame(TEXT, b"x"))
            await wait_until(lambda: told.messages)
            reset(ws)
        await wait_until(lambda: told.ends)
        await wait_until(lambda: server.statistics().busy == 0)
    assert [code for code, _ in told.ends] == [1006]


async def test_a_reset_in_the_handshake_ends_the_request():
    begun, gone = anyio.Event(), anyio.Event()

    async def app(environ, start_response):
        begun.set()
        await gone.wait()
        await uwsgi_async.websocket().accept()
        await uwsgi_async.websocket().receive()

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        host, port = server.url.split("/")[2].split(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.sendall(handshake())
            await begun.wait()
        gone.set()
        await wait_until(lambda: server.statistics().busy == 0 and server.statistics().connections == 0)


async def test_a_client_that_takes_nothing_is_given_up():
    ended = []

    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        try:
            while True:
                await ws.send(b"x" * 100_000)
        except WebSocketClosedError as error:
            ended.append((error.code, error.reason))

    async with uwsgi_async.run(app, http="127.0.0.1:0", socket_timeout=0.2) as server, websocket(server):
        await wait_until(lambda: ended)
        await wait_until(lambda: server.statistics().connections == 0)
    assert ended == [(1006, "the client took nothing for 0.2 s (option socket-timeout)")]


async def test_an_app_that_does_not_catch_it_ends_with_a_line_in_the_log(caplog):
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        await ws.receive()

    with caplog.at_level(logging.INFO, "uwsgi_async"):
        async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
            async with websocket(server, "/chat"):
                pass
            await wait_until(lambda: server.statistics().busy == 0 and server.statistics().requests == 1)
            assert server.statistics().cores[0].exceptions == 0
    assert "GET '/chat': the websocket is closed with 1006: the client closed the connection" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_slow_client_gets_every_message():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        for number in range(50):
            await ws.send(bytes([number]) * 100_000)

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, websocket(server) as ws:
        for number in range(50):
            assert await ws.next() == Frame(0x80 | BINARY, bytes([number]) * 100_000)
            await anyio.lowlevel.checkpoint()
        assert await ws.until_close() == (1000, "")


async def test_a_client_that_pings_and_takes_nothing_costs_no_memory():
    """Its pings are not read any more once the pongs do not go out."""
    told = Told()
    options = {"socket_timeout": 0.2, "websockets_ping_freq": 0.0}
    async with uwsgi_async.run(told, http="127.0.0.1:0", **options) as server, websocket(server) as ws:
        pings = frame(PING, b"x" * 125) * 500
        with anyio.move_on_after(10):
            try:
                while not told.ends:
                    await ws.send(pings)
            except anyio.BrokenResourceError:
                pass
        await wait_until(lambda: told.ends)
    assert told.ends == [(1006, "the client took nothing for 0.2 s (option socket-timeout)")]


# --- silence --------------------------------------------------------------------------------------------------------


async def test_a_silent_client_is_pinged_and_lives_if_it_answers():
    told = Told()
    options = {"websockets_ping_freq": 0.02, "websockets_pong_tolerance": 30.0}
    async with uwsgi_async.run(told, http="127.0.0.1:0", **options) as server, websocket(server) as ws:
        for _ in range(5):
            assert await ws.next() == Frame(0x80 | PING, b"")
            await ws.send(frame(PONG))
        await ws.send(frame(TEXT, b"here"))
        await wait_until(lambda: told.messages == ["here"])
        assert not told.ends


@pytest.mark.parametrize("part", [b"", frame(TEXT, b"x" * 100)[:50]], ids=["nothing", "half a frame"])
async def test_a_client_that_does_not_answer_is_given_up(part):
    told = Told()
    options = {"websockets_ping_freq": 0.02, "websockets_pong_tolerance": 0.05}
    async with uwsgi_async.run(told, http="127.0.0.1:0", **options) as server, websocket(server) as ws:
        await ws.send(part)
        assert await ws.next() == Frame(0x80 | PING, b"")
        await wait_until(lambda: told.ends)
        await wait_until(lambda: server.statistics().connections == 0)
    assert told.ends == [(1006, "the client answered no ping for 0.05 s (option websockets-pong-tolerance)")]


async def test_a_client_that_sends_is_not_pinged():
    told = Told()
    options = {"websockets_ping_freq": 30.0, "websockets_pong_tolerance": 0.05}
    async with uwsgi_async.run(told, http="127.0.0.1:0", **options) as server, websocket(server) as ws:
        await ws.send(frame(TEXT, b"x"))
        await wait_until(lambda: told.messages)
        with pytest.raises(TimeoutError), anyio.fail_after(0.1):
            await ws.client.stream.receive()
        assert not told.ends


async def test_an_app_that_asks_now_and_then_pings_and_gives_up():
    ended = []

    async def app(environ, start_response):
        await uwsgi_async.websocket_handshake()
        try:
            while True:
                uwsgi_async.websocket_recv_nb()
                await anyio.sleep(0.01)
        except OSError as error:
            ended.append((error.code, error.reason))

    options = {"websockets_ping_freq": 0.02, "websockets_pong_tolerance": 0.05}
    async with uwsgi_async.run(app, http="127.0.0.1:0", **options) as server, websocket(server) as ws:
        assert await ws.next() == Frame(0x80 | PING, b"")
        await wait_until(lambda: ended)
    assert ended == [(1006, "the client answered no ping for 0.05 s (option websockets-pong-tolerance)")]


async def test_an_app_that_is_busy_elsewhere_does_not_lose_its_client():
    received = []

    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        await anyio.sleep(0.3)  # many times the client's patience: nobody may be judged by it
        received.append(await ws.receive())

    options = {"websockets_ping_freq": 0.02, "websockets_pong_tolerance": 0.02}
    async with uwsgi_async.run(app, http="127.0.0.1:0", **options) as server, websocket(server) as ws:
        await ws.send(frame(TEXT, b"waited"))
        await wait_until(lambda: received)
    assert received == ["waited"]


async def test_without_a_frequency_nobody_is_pinged():
    told = Told()
    options = {"websockets_ping_freq": 0.0, "websockets_pong_tolerance": 0.01}
    async with uwsgi_async.run(told, http="127.0.0.1:0", **options) as server, websocket(server) as ws:
        with pytest.raises(TimeoutError), anyio.fail_after(0.1):
            await ws.client.stream.receive()
        assert not told.ends


# --- the end from outside -------------------------------------------------------------------------------------------


async def test_harakiri_closes_with_1011():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        await ws.receive()

    async with uwsgi_async.run(app, http="127.0.0.1:0", harakiri=1.0) as server, websocket(server) as ws:
        assert await ws.until_close() == (1011, "")
        await wait_until(lambda: server.statistics().busy == 0)
        assert server.statistics().cores[0].harakiri == 1


async def test_disconnect_drops_it_at_once():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        await ws.send("last")
        uwsgi_async.disconnect()
        with pytest.raises(WebSocketClosedError):
            await ws.receive()

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, websocket(server) as ws:
        assert await ws.message() == "last"
        assert await ws.client.rest() == b""
        await wait_until(lambda: server.statistics().busy == 0)
