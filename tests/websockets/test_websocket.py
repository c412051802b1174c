"""`WebSocket`, which everything that speaks websockets stands on: handshake, messages, the end."""

from __future__ import annotations

import functools
import logging
from contextlib import AsyncExitStack

import anyio
import pytest

import uwsgi_async
from tests.client import connect, get
from tests.cores.test_serving import wait_until
from tests.websockets.client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    TOKEN,
    Frame,
    close_payload,
    frame,
    handshake,
    websocket,
)
from uwsgi_async import WebSocketClosedError
from uwsgi_async.errors import AppError, WebSocketHandshakeError

pytestmark = pytest.mark.anyio


async def echo(environ, start_response):
    ws = uwsgi_async.websocket()
    await ws.accept()
    async for message in ws:
        await ws.send(message)


def running(app=echo, **options):
    return uwsgi_async.run(app, http="127.0.0.1:0", **options)


# --- the handshake --------------------------------------------------------------------------------------------------


async def test_the_handshake_is_that_of_the_rfc():
    async with running() as server, websocket(server) as ws:
        assert ws.head[0] == "HTTP/1.1 101 Switching Protocols"
        assert {"Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {TOKEN}"} <= set(ws.head)


async def test_a_subprotocol_and_headers_are_the_apps():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept("chat", [("X-Room", "7")])
        await ws.send(ws.subprotocol)

    async with running(app) as server, websocket(server, more="Sec-WebSocket-Protocol: super, chat\r\n") as ws:
        assert {"Sec-WebSocket-Protocol: chat", "X-Room: 7"} <= set(ws.head)
        assert await ws.message() == "chat"


async def test_a_request_without_upgrade_has_no_websocket():
    seen = []

    async def app(environ, start_response):
        try:
            uwsgi_async.websocket()
        except WebSocketHandshakeError as error:
            seen.append(str(error))
            raise

    async with running(app) as server:
        assert (await get(server)).status == 400
    assert seen == ["unable to complete websocket handshake: the request asks for no websocket"]


@pytest.mark.parametrize("line", ["Upgrade: h2c", "Upgrade: websockets"])
async def test_another_protocol_is_no_websocket(line):
    async with running() as server, connect(server) as client:
        answer = await client.get(headers=f"{line}\r\nConnection: Upgrade\r\n")
    assert answer.status == 400


async def test_an_upgrade_may_name_several_protocols():
    async with running() as server, connect(server) as client:
        await client.send(handshake().replace(b"Upgrade: websocket", b"Upgrade: h2c, WebSocket"))
        assert (await client.stream.receive()).startswith(b"HTTP/1.1 101 ")


async def test_a_wrong_version_is_told_the_right_one():
    async with running() as server, connect(server) as client:
        await client.send(handshake(version="8"))
        answer = await client.rest()
    assert answer.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in answer


@pytest.mark.parametrize("key", ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSE=", "\xff" * 24])
async def test_a_key_that_is_not_16_bytes_in_base64_is_refused(key):
    async with running() as server, connect(server) as client:
        await client.send(handshake(key="K").replace(b"Key: K", b"Key: " + key.encode("latin-1")))
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")


async def test_the_app_may_refuse():
    async def app(environ, start_response):
        await uwsgi_async.websocket().refuse("403 Forbidden", [("X-Why", "closed")], b"not you")

    async with running(app) as server, connect(server) as client:
        await client.send(handshake())
        answer = await client.answer()
    assert (answer.status, answer.headers["x-why"], answer.body) == (403, "closed", b"not you")


async def test_the_app_may_answer_as_to_any_request():
    async def app(environ, start_response):
        start_response("200 OK", [])
        return [b"a page"]

    async with running(app) as server, connect(server) as client:
        await client.send(handshake() + b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.answer()).body == b"a page"
        assert (await client.answer()).body == b"a page"


async def test_frames_that_came_with_the_handshake_are_not_lost():
    async with running() as server, websocket(server, behind=frame(TEXT, b"early") + frame(TEXT, b"bird")) as ws:
        assert [await ws.message(), await ws.message()] == ["early", "bird"]


async def test_nothing_goes_before_the_handshake():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        for call in (ws.receive, ws.close, functools.partial(ws.send, "x")):
            with pytest.raises(AppError, match="accept"):
                await call()
        with pytest.raises(AppError, match="accept"):
            ws.receive_nowait()
        await ws.accept()
        await ws.send("now")

    async with running(app) as server, websocket(server) as ws:
        assert await ws.message() == "now"


async def test_a_second_handshake_is_an_error():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        with pytest.raises(AppError, match="once"):
            await ws.accept()
        await ws.send("still open")

    async with running(app) as server, websocket(server) as ws:
        assert await ws.message() == "still open"


# --- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 300_000])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_messages_of_every_size_come_back(opcode, size):
    async with running() as server, websocket(server) as ws:
        await ws.send(frame(opcode, b"x" * size))
        assert await ws.next() == Frame(0x80 | opcode, b"x" * size)


async def test_text_is_str_and_binary_is_bytes():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        await ws.send(repr([await ws.receive(), await ws.receive()]))

    async with running(app) as server, websocket(server) as ws:
        await ws.send(frame(TEXT, "ä".encode()), frame(BINARY, b"\xff"))
        assert await ws.message() == repr(["ä", b"\xff"])


async def test_a_message_in_fragments_is_one_message_with_pings_between():
    async with running() as server, websocket(server) as ws:
        await ws.send(frame(TEXT, b"one ", fin=False), frame(PING, b"?"), frame(CONTINUATION, b"two ", fin=False))
        assert await ws.next() == Frame(0x80 | PONG, b"?")
        await ws.send(frame(CONTINUATION, b"three"))
        assert await ws.message() == "one two three"


async def test_a_frame_that_comes_byte_by_byte_is_one_frame():
    async with running() as server, websocket(server) as ws:
        for byte in frame(TEXT, "Grüße".encode()):
            await ws.send(bytes([byte]))
        assert await ws.message() == "Grüße"


async def test_many_tasks_send_and_every_message_is_whole_and_in_order():
    begun = []

    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        async with anyio.create_task_group() as tasks:

            async def send(letter):
                begun.append(letter * 400_000)
                await ws.send(letter * 400_000)

            for letter in "abcdefgh":
                tasks.start_soon(send, letter)

    async with running(app) as server, websocket(server) as ws:
        messages = [await ws.message() for _ in range(8)]
        assert await ws.until_close() == (1000, "")
    assert messages == begun


async def test_one_task_at_a_time_receives():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ws.receive)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(AppError, match="another task receives"):
                await ws.receive()
            tasks.cancel_scope.cancel()
        await ws.send("both have ended")

    async with running(app) as server, websocket(server) as ws:
        assert await ws.message() == "both have ended"


async def test_a_client_that_never_pauses_does_not_hold_the_loop():
    ticks = 0

    async def app(environ, start_response):
        nonlocal ticks
        ws = uwsgi_async.websocket()
        await ws.accept()

        async def tick():
            nonlocal ticks
            while True:
                await anyio.lowlevel.checkpoint()
                ticks += 1

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tick)
            await ws.receive()
            before = ticks
            for _ in range(999):
                await ws.receive()
            tasks.cancel_scope.cancel()
        await ws.send(str(ticks - before))

    async with running(app) as server, websocket(server) as ws:
        await ws.send(*[frame(TEXT, b"x")] * 1000)
        assert int(await ws.message()) >= 10


async def test_a_cancelled_receive_loses_nothing():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        for _ in range(3):
            with anyio.move_on_after(0):
                await ws.receive()
        await ws.send("cancelled")
        await ws.send(await ws.receive())
        await ws.send(await ws.receive())

    async with running(app) as server, websocket(server) as ws:
        await ws.send(frame(TEXT, b"half")[:3])
        assert await ws.message() == "cancelled"
        await ws.send(frame(TEXT, b"half")[3:], frame(TEXT, b"whole"))
        assert [await ws.message(), await ws.message()] == ["half", "whole"]


async def test_a_cancelled_send_leaves_no_half_frame():
    cancelled = anyio.Event()

    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        for message in ("x" * 8_000_000, "never sent"):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ws.send, message)
                await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
        cancelled.set()
        await ws.send("next")

    async with running(app) as server, websocket(server) as ws:
        with anyio.fail_after(10):
            await cancelled.wait()
        assert await ws.message() == "x" * 8_000_000
        assert await ws.message() == "next"


# --- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"", (1005, "")),
        (close_payload(1000), (1000, "")),
        (close_payload(1001, b"leaving"), (1001, "leaving")),
        (close_payload(4242, "ä".encode()), (4242, "ä")),
    ],
)
async def test_the_clients_close_is_answered_and_told(sent, answered):
    told = []

    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        try:
            await ws.receive()
        except WebSocketClosedError as error:
            told.append((error.code, error.reason))
        with pytest.raises(WebSocketClosedError):
            await ws.receive()
        with pytest.raises(WebSocketClosedError):
            await ws.send("too late")

    async with running(app) as server, websocket(server) as ws:
        await ws.send(frame(CLOSE, sent))
        assert await ws.until_close() == answered
    assert told == [answered]


async def test_messages_before_the_close_are_received():
    seen = []

    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        seen.extend([message async for message in ws])

    async with running(app) as server, websocket(server) as ws:
        await ws.send(frame(TEXT, b"a"), frame(TEXT, b"b"), frame(CLOSE, close_payload(1000)), frame(TEXT, b"c"))
        assert await ws.until_close() == (1000, "")
    assert seen == ["a", "b"]


async def test_the_app_closes_with_a_code_and_a_reason():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        await ws.close(4000, "enough")
        await ws.close(4001, "a second time is nothing")

    async with running(app) as server, websocket(server) as ws:
        assert await ws.until_close() == (4000, "enough")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2999, 5000])
async def test_a_code_that_may_not_be_sent_is_an_error(code):
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        with pytest.raises(ValueError, match=str(code)):
            await ws.close(code)
        await ws.send("open")

    async with running(app) as server, websocket(server) as ws:
        assert await ws.message() == "open"


async def test_a_long_reason_is_cut_between_characters():
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        await ws.close(1000, "ä" * 100)

    async with running(app) as server, websocket(server) as ws:
        assert await ws.until_close() == (1000, "ä" * 61)


async def test_an_app_that_returns_closes_its_websocket():
    async def app(environ, start_response):
        await uwsgi_async.websocket().accept()

    async with running(app) as server, websocket(server) as ws:
        assert await ws.until_close() == (1000, "")


async def test_an_app_that_fails_closes_with_1011(caplog):
    async def app(environ, start_response):
        await uwsgi_async.websocket().accept()
        raise RuntimeError("the app's")

    async with running(app) as server, websocket(server) as ws:
        assert await ws.until_close() == (1011, "")
    assert "the app raised an error" in caplog.text


async def test_an_app_that_receives_for_ever_ends_without_an_error(caplog):
    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        while True:
            await ws.receive()

    with caplog.at_level(logging.INFO, "uwsgi_async"):
        async with running(app) as server, websocket(server) as ws:
            await ws.send(frame(CLOSE, close_payload(1001)))
            assert await ws.until_close() == (1001, "")
            await wait_until(lambda: server.statistics().busy == 0)
            assert server.statistics().cores[0].exceptions == 0
    assert "raised" not in caplog.text
    assert "1001" not in caplog.text


async def test_a_server_that_ends_closes_with_1012():
    async with AsyncExitStack() as clients:
        async with running(grace=0) as server:
            ws = await clients.enter_async_context(websocket(server))
            await ws.send(frame(TEXT, b"x"))
            assert await ws.message() == "x"
        assert await ws.until_close() == (1012, "")


async def test_a_waiting_receive_ends_when_another_task_closes_though_the_client_does_not_answer():
    ended = anyio.Event()

    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()

        async def close():
            await anyio.wait_all_tasks_blocked()
            await ws.close(4321, "")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(close)
            with pytest.raises(WebSocketClosedError) as caught:
                await ws.receive()
        assert caught.value.code == 4321
        ended.set()

    async with running(app) as server, websocket(server) as ws:
        assert (await ws.next()).payload == close_payload(4321)
        with anyio.fail_after(10):
            await ended.wait()
            assert await ws.client.rest() == b""


async def test_the_log_counts_what_was_sent():
    seen = []

    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        await ws.send("x" * 100)

    async with running(app) as server:
        server._service.log = lambda request: seen.append((request.response.status, request.response.body_bytes))
        server._service.log_all = True
        async with websocket(server) as ws:
            await ws.until_close()
        await wait_until(lambda: seen)
    assert seen == [("101 Switching Protocols", 102 + 4)]
