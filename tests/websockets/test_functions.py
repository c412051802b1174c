"""uWSGI's functions: the same calls in async handlers, in sync ones in the cores, and in threads."""

from __future__ import annotations

import anyio
import pytest

import uwsgi_async
from tests.client import get
from tests.cores.test_serving import wait_until
from tests.websockets.client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    TEXT,
    TOKEN,
    Frame,
    close_payload,
    frame,
    websocket,
)
from uwsgi_async import WebSocketClosedError

pytestmark = pytest.mark.anyio

KINDS = pytest.mark.parametrize("kind", ["async", "sync", "threads"])


class Calls:
    """An app that makes one call after the other, of the `uwsgi` module or of `uwsgi_async`.

    ``script``: a generator function that yields a name and its arguments and is sent what the call returned, or has
    raised.
    """

    def __init__(self, kind, script):
        self.script = script
        self.app = self.call_async if kind == "async" else self.call_sync
        self.options = {"threads": 4} if kind == "threads" else {}
        self.error = None

    def running(self, **options):
        app = self.app

        async def async_app(environ, start_response):
            return await app(environ, start_response)

        chosen = async_app if self.app == self.call_async else app
        return uwsgi_async.run(chosen, http="127.0.0.1:0", **self.options, **options)

    async def call_async(self, environ, start_response):
        script, result = self.script(environ), None
        while True:
            try:
                name, *args = script.throw(result) if isinstance(result, Exception) else script.send(result)
            except StopIteration:
                return
            try:
                result = getattr(uwsgi_async, name)(*args)
                if hasattr(result, "__await__"):
                    result = await result
            except Exception as error:  # noqa: BLE001 - the script gets it
                result = error

    def call_sync(self, environ, start_response):
        import uwsgi

        script, result = self.script(environ), None
        while True:
            try:
                name, *args = script.throw(result) if isinstance(result, Exception) else script.send(result)
            except StopIteration:
                return []
            try:
                result = getattr(uwsgi, name)(*args)
            except Exception as error:  # noqa: BLE001 - the script gets it
                result = error


@KINDS
async def test_messages_go_both_ways_as_bytes(kind):
    def script(environ):
        yield "websocket_handshake", environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", "")
        while True:
            message = yield ("websocket_recv",)
            assert isinstance(message, bytes)
            yield "websocket_send", message
            yield "websocket_send", f"[{message.decode()}]"
            yield "websocket_send_binary", message

    async with Calls(kind, script).running() as server, websocket(server, more="Origin: http://a\r\n") as ws:
        assert {f"Sec-WebSocket-Accept: {TOKEN}", "Sec-WebSocket-Origin: http://a"} <= set(ws.head)
        for _ in range(2):
            await ws.send(frame(TEXT, b"ciao"))
            assert [await ws.next() for _ in range(3)] == [
                Frame(0x81, b"ciao"),
                Frame(0x81, b"[ciao]"),
                Frame(0x82, b"ciao"),
            ]
        await ws.send(frame(CLOSE, close_payload(1001)))
        assert await ws.until_close() == (1001, "")


@KINDS
async def test_the_handshake_needs_no_arguments(kind):
    def script(environ):
        yield ("websocket_handshake",)
        yield "websocket_send", "open"

    async with Calls(kind, script).running() as server, websocket(server) as ws:
        assert {f"Sec-WebSocket-Accept: {TOKEN}", "Sec-WebSocket-Origin: *"} <= set(ws.head)
        assert await ws.message() == "open"
        assert await ws.until_close() == (1000, "")


@pytest.mark.parametrize(
    ("asked", "given", "answered"), [("chat", "", "chat"), ("b, a", "", "b"), ("b, a", b"a", "a"), ("", "c", "c")]
)
async def test_one_subprotocol_is_agreed_to(asked, given, answered):
    def script(environ):
        yield "websocket_handshake", b"", b"", given

    more = f"Sec-WebSocket-Protocol: {asked}\r\n" if asked else ""
    async with Calls("async", script).running() as server, websocket(server, more=more) as ws:
        assert f"Sec-WebSocket-Protocol: {answered}" in ws.head


@KINDS
async def test_the_end_is_an_oserror_with_code_and_reason(kind):
    told = []

    def script(environ):
        yield ("websocket_handshake",)
        for call in (("websocket_recv",), ("websocket_recv_nb",), ("websocket_send", "x"), ("websocket_recv",)):
            try:
                yield call
            except OSError as error:
                told.append((error.code, error.reason))

    async with Calls(kind, script).running() as server, websocket(server) as ws:
        await ws.send(frame(CLOSE, close_payload(4000, b"bye")))
        assert await ws.until_close() == (4000, "bye")
        await wait_until(lambda: len(told) == 4)
    assert told == [(4000, "bye")] * 4


@KINDS
async def test_a_request_for_no_websocket_is_an_oserror_and_400(kind):
    told = []

    def script(environ):
        try:
            yield ("websocket_handshake",)
        except OSError as error:
            told.append(str(error))
            raise

    async with Calls(kind, script).running() as server:
        assert (await get(server)).status == 400
    assert told == ["unable to complete websocket handshake: the request asks for no websocket"]


@KINDS
async def test_recv_nb_is_empty_when_nothing_is_there(kind):
    def script(environ):
        yield ("websocket_handshake",)
        assert (yield ("websocket_recv_nb",)) == b""
        yield "websocket_send", "empty"
        fd = yield ("connection_fd",)
        while not (message := (yield ("websocket_recv_nb",))):
            yield "wait_fd_read", fd, 10
            yield ("suspend",)
        yield "websocket_send", message

    async with Calls(kind, script).running() as server, websocket(server) as ws:
        assert await ws.message() == "empty"
        await ws.send(frame(TEXT, b"full"))
        assert await ws.message() == "full"


@KINDS
async def test_the_fd_is_readable_as_long_as_a_message_waits(kind):
    """Real uWSGI takes more from the socket than it gives to the app, which sleeps beside it (unbit/uwsgi#1716)."""
    count = 20

    def script(environ):
        yield ("websocket_handshake",)
        fd = yield ("connection_fd",)
        seen = []
        while len(seen) < count:
            ready = yield "wait_fd_read", fd, 5
            assert ready is not False
            yield ("suspend",)
            message = yield ("websocket_recv_nb",)
            if message:
                seen.append(message)
        yield "websocket_send", b" ".join(seen)

    async with Calls(kind, script).running() as server, websocket(server) as ws:
        await ws.send(*[frame(TEXT, b"%d" % number) for number in range(count)])
        assert await ws.message() == " ".join(map(str, range(count)))


@KINDS
async def test_the_fd_counts_as_readable_when_recv_has_read_ahead(kind):
    def script(environ):
        yield ("websocket_handshake",)
        fd = yield ("connection_fd",)
        first = yield ("websocket_recv",)
        yield "wait_fd_read", fd, 0
        yield ("suspend",)
        second = yield ("websocket_recv_nb",)
        yield "websocket_send", first + b" " + second

    async with Calls(kind, script).running() as server, websocket(server) as ws:
        await ws.send(frame(TEXT, b"one") + frame(TEXT, b"two"))
        assert await ws.message() == "one two"


@KINDS
async def test_fragments_are_no_messages(kind):
    def script(environ):
        yield ("websocket_handshake",)
        yield "websocket_send", (yield ("websocket_recv",))

    async with Calls(kind, script).running() as server, websocket(server) as ws:
        await ws.send(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b", fin=False), frame(CONTINUATION, b"c"))
        assert await ws.message() == "abc"


@KINDS
async def test_text_that_is_no_utf_8_is_refused_before_it_is_sent(kind):
    def script(environ):
        yield ("websocket_handshake",)
        try:
            yield "websocket_send", b"\xff"
        except UnicodeDecodeError:
            yield "websocket_send_binary", b"\xff"

    async with Calls(kind, script).running() as server, websocket(server) as ws:
        assert await ws.next() == Frame(0x80 | BINARY, b"\xff")


@KINDS
async def test_a_shared_area_is_sent_from_a_position_on(kind):
    def script(environ):
        yield "sharedarea_write", 0, 0, b"0123456789"
        yield ("websocket_handshake",)
        yield "websocket_send_from_sharedarea", 0, 4, 3
        yield "websocket_send_binary_from_sharedarea", 0, 4090

    async with Calls(kind, script).running(sharedarea="1") as server, websocket(server) as ws:
        assert await ws.message() == "456"
        assert await ws.message() == b"\0" * 6


async def test_tasks_of_the_request_send_too():
    async def app(environ, start_response):
        await uwsgi_async.websocket_handshake()
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(uwsgi_async.websocket_send, str(number))

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, websocket(server) as ws:
        assert {await ws.message() for _ in range(3)} == {"0", "1", "2"}


async def test_a_chat_sends_to_the_websockets_of_other_requests():
    people = set()

    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        people.add(ws)
        try:
            async for message in ws:
                for each in people:
                    await each.send(message)
        finally:
            people.discard(ws)

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        async with websocket(server) as one, websocket(server) as two:
            await wait_until(lambda: len(people) == 2)
            await one.send(frame(TEXT, b"hello"))
            assert [await one.message(), await two.message()] == ["hello", "hello"]
        await wait_until(lambda: not people)


async def test_another_websockets_end_is_an_error_of_the_app(caplog):
    others = []

    async def app(environ, start_response):
        ws = uwsgi_async.websocket()
        await ws.accept()
        others.append(ws)
        if len(others) == 1:
            with pytest.raises(WebSocketClosedError):
                await ws.receive()
        else:
            await ws.receive()
            await others[0].send("gone")

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        async with websocket(server) as one:
            await one.send(frame(CLOSE, close_payload(1000)))
            await one.until_close()
        async with websocket(server) as two:
            await two.send(frame(TEXT, b"x"))
            assert await two.until_close() == (1011, "")
