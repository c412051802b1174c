"""Websockets of ASGI apps, as a client sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.client import connect
from tests.handlers.asgi.apps import wait_until
from tests.websockets.client import BINARY, CLOSE, CONTINUATION, TEXT, close_payload, frame, handshake, websocket
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio

Send = Callable[[Any], Awaitable[None]]
ACCEPT = {"type": "websocket.accept"}


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[uwsgi_async.Server]:
    async def only(scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] != "websocket":
            raise RuntimeError(f"unknown scope {scope['type']}")
        assert await receive() == {"type": "websocket.connect"}
        await app(scope, receive, send)

    async with uwsgi_async.run(only, http="127.0.0.1:0", **options) as server:
        yield server


async def echo(scope: Any, receive: Any, send: Send) -> None:
    await send(ACCEPT)
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


async def test_messages_go_both_ways() -> None:
    async with serving(echo) as server, websocket(server) as ws:
        await ws.send(frame(TEXT, "é".encode()), frame(BINARY, b"\xff"))
        assert await ws.message() == "é"
        assert await ws.message() == b"\xff"
        await ws.send(frame(TEXT, b"in ", fin=False), frame(CONTINUATION, b"parts"))
        assert await ws.message() == "in parts"


async def test_messages_that_came_with_the_handshake_are_not_lost() -> None:
    async with serving(echo) as server, websocket(server, behind=frame(TEXT, b"early")) as ws:
        assert await ws.message() == "early"


async def test_a_scope_has_what_the_specification_says() -> None:
    scopes = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        scopes.append(scope)
        await send({**ACCEPT, "subprotocol": "chat", "headers": [(b"x-room", b"7")]})

    async with serving(app) as server:
        async with websocket(server, "/caf%C3%A9?a=1", "Sec-WebSocket-Protocol: chat, superchat\r\n") as ws:
            local = ws.client.stream.extra(anyio.abc.SocketAttribute.local_address)
            assert {"Sec-WebSocket-Protocol: chat", "x-room: 7"} <= set(ws.head)
    (scope,) = scopes
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("websocket", "ws", "1.1")
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/café", b"/caf%C3%A9", b"a=1")
    assert scope["subprotocols"] == ["chat", "superchat"]
    assert scope["client"] == local
    assert (b"upgrade", b"websocket") in scope["headers"]
    assert "method" not in scope
    assert scope["extensions"] == {"websocket.http.response": {}}


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (frame(CLOSE, close_payload(4000, b"bye")), 4000, "bye"),
        (frame(CLOSE), 1005, ""),
        (frame(7), 1002, None),
        (None, 1006, None),
    ],
    ids=["with a code", "without a code", "nonsense", "without a close frame"],
)
async def test_the_clients_end_is_a_disconnect_with_its_code(
    sent: bytes | None, code: int, reason: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    messages = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(ACCEPT)
        messages.extend([await receive(), await receive()])
        with pytest.raises(OSError, match="closed with"):
            await send({"type": "websocket.send", "text": "too late"})
        raise RuntimeError("as a framework's own")

    async with serving(app) as server:
        async with websocket(server) as ws:
            if sent is not None:
                await ws.send(sent)
                assert (await ws.until_close())[0] == (code if sent != frame(7) else 1002)
        await wait_until(lambda: len(messages) == 2)
        await wait_until(lambda: server.statistics().busy == 0)
        assert sum(core.exceptions for core in server.statistics().cores) == 0
    assert messages[0] == messages[1]
    assert (messages[0]["type"], messages[0]["code"]) == ("websocket.disconnect", code)
    if reason is not None:
        assert messages[0]["reason"] == reason
    assert "the app raised an error" not in caplog.text


async def test_the_app_closes_with_its_code() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(ACCEPT)
        await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
        assert (await receive())["type"] == "websocket.disconnect"

    async with serving(app) as server, websocket(server) as ws:
        assert await ws.until_close() == (4001, "enough")


@pytest.mark.parametrize("fails", [False, True])
async def test_the_end_of_the_app_is_the_end_of_the_websocket(fails: bool) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(ACCEPT)
        if fails:
            raise RuntimeError("the app's own")

    async with serving(app) as server, websocket(server) as ws:
        assert (await ws.until_close())[0] == (1011 if fails else 1000)


async def test_one_that_is_closed_before_it_is_accepted_is_forbidden() -> None:
    told = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send({"type": "websocket.close"})
        told.append(await receive())

    async with serving(app) as server, connect(server) as client:
        await client.send(handshake())
        assert (await client.rest()).startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert told[0]["type"] == "websocket.disconnect"


async def test_one_can_be_refused_with_the_apps_own_answer() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        assert "websocket.http.response" in scope["extensions"]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"x-one", b"1")]})
        await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"are you"})

    async with serving(app) as server, connect(server) as client:
        await client.send(handshake())
        answer = await client.answer()
    assert (answer.status, answer.headers["x-one"], answer.body) == (401, "1", b"who are you")


async def test_who_waits_for_messages_is_woken_when_another_task_accepts() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        async def listen() -> None:
            message = await receive()
            await send({"type": "websocket.send", "text": message["text"]})

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await anyio.wait_all_tasks_blocked()
            await send(ACCEPT)

    async with serving(app) as server, websocket(server) as ws:
        await ws.send(frame(TEXT, b"heard"))
        assert await ws.message() == "heard"


async def test_a_client_that_does_not_wait_for_the_answer_is_a_disconnect() -> None:
    told = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        told.append(await receive())

    async with serving(app) as server:
        async with connect(server) as client:
            await client.send(handshake())
            await wait_until(lambda: server.statistics().busy == 1)
        await wait_until(lambda: told)
        await wait_until(lambda: server.statistics().busy == 0)
    assert told[0]["code"] == 1006


async def test_several_tasks_may_send_while_one_receives() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(ACCEPT)
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(send, {"type": "websocket.send", "text": str(number) * 100_000})
            assert (await receive())["text"] == "enough"

    async with serving(app) as server, websocket(server) as ws:
        found = {await ws.message() for _ in range(10)}
        await ws.send(frame(TEXT, b"enough"))
    assert found == {str(number) * 100_000 for number in range(10)}


async def says_nothing(send: Send) -> None:
    pass


async def raises(send: Send) -> None:
    raise RuntimeError("secret")


async def sends_before_it_accepts(send: Send) -> None:
    await send({"type": "websocket.send", "text": "early"})


async def sends_nothing(send: Send) -> None:
    await send(ACCEPT)
    await send({"type": "websocket.send"})


async def sends_both(send: Send) -> None:
    await send(ACCEPT)
    await send({"type": "websocket.send", "text": "a", "bytes": b"b"})


async def sends_text_as_bytes(send: Send) -> None:
    await send(ACCEPT)
    await send({"type": "websocket.send", "bytes": "text"})


async def accepts_twice(send: Send) -> None:
    await send(ACCEPT)
    await send(ACCEPT)


async def names_the_subprotocol_in_a_header(send: Send) -> None:
    await send({**ACCEPT, "headers": [(b"sec-websocket-protocol", b"chat")]})


async def answers_by_http(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})


async def stops_in_its_answer(send: Send) -> None:
    await send({"type": "websocket.http.response.start", "status": 200})
    await send({"type": "websocket.http.response.body", "body": b"a", "more_body": True})


REFUSED = (b"HTTP/1.1 500 ", b"Internal Server Error\n")
CLOSED = (b"HTTP/1.1 101 ", b"\x88\x02\x03\xf3")
CUT = (b"HTTP/1.1 200 ", b"1\r\na\r\n")
"""How what the client gets begins and ends: an error page; a close frame with 1011; a body without its last chunk."""


@pytest.mark.parametrize(
    ("act", "said", "got"),
    [
        (says_nothing, "returned without sending websocket.accept or websocket.close", REFUSED),
        (raises, "RuntimeError: secret", REFUSED),
        (sends_before_it_accepts, "must be accepted first", REFUSED),
        (sends_nothing, "expected either bytes or text", CLOSED),
        (sends_both, "expected either bytes or text", CLOSED),
        (sends_text_as_bytes, "expected bytes as the bytes of websocket.send, got str", CLOSED),
        (accepts_twice, "a websocket can be accepted once", CLOSED),
        (names_the_subprotocol_in_a_header, "expected the subprotocol under its own key", REFUSED),
        (answers_by_http, "got 'http.response.start'", REFUSED),
        (stops_in_its_answer, "returned before its answer was complete", CUT),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_an_error_of_the_app_is_told_in_the_log_and_ends_the_connection(
    act: Any, said: str, got: tuple[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await act(send)

    async with serving(app) as server, connect(server) as client:
        await client.send(handshake())
        answer = await client.rest()
        assert sum(core.exceptions for core in server.statistics().cores) == 1
    assert answer.startswith(got[0])
    assert answer.endswith(got[1])
    assert b"secret" not in answer
    assert said in caplog.text


async def test_a_malformed_handshake_is_no_error_of_the_app(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(echo) as server, connect(server) as client:
        await client.send(handshake(version="12"))
        assert (await client.rest()).startswith(b"HTTP/1.1 426 ")
        assert sum(core.exceptions for core in server.statistics().cores) == 0
    assert "the app raised an error" not in caplog.text


async def test_harakiri_ends_a_websocket(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(ACCEPT)
        await anyio.sleep_forever()

    async with serving(app, harakiri=0.2) as server, websocket(server) as ws:
        assert (await ws.until_close())[0] == 1011
    assert "HARAKIRI" in caplog.text


async def test_a_front_end_may_hand_a_websocket_on_by_the_uwsgi_protocol(tmp_path: Path) -> None:
    path = str(tmp_path / "uwsgi.sock")

    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] != "websocket":
            raise RuntimeError("unknown")
        await receive()
        await send(ACCEPT)
        await send({"type": "websocket.send", "text": scope["scheme"]})

    variables = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "HTTPS": "on",
        "HTTP_UPGRADE": "websocket",
        "HTTP_CONNECTION": "upgrade",
        "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ==",
        "HTTP_SEC_WEBSOCKET_VERSION": "13",
    }
    async with uwsgi_async.run(app, socket=path), await anyio.connect_unix(path) as stream:
        await stream.send(encode_packet(0, 0, encode_vars(variables)))
        received = b""
        with anyio.fail_after(20):
            while b"wss" not in received:
                received += await stream.receive()
    assert received.startswith(b"HTTP/1.1 101 ")
