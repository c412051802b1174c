"""Requests and answers of ASGI apps, as a client sees them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from tests.client import Client, connect, get
from tests.handlers.asgi.apps import answer, answer_of, body, http_only, serving, start, wait_until
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

Send = Callable[[Any], Awaitable[None]]


async def echo(scope: Any, receive: Any, send: Send) -> None:
    """Answer with the pieces of the body, each in brackets."""
    data = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        data += b"[%b]" % message["body"]
        if not message["more_body"]:
            break
    await answer(send, data)


async def hello(scope: Any, receive: Any, send: Send) -> None:
    await answer(send, b"hello " + scope["path"].encode())


# --- answers --------------------------------------------------------------------------------------------------------


async def test_an_app_answers() -> None:
    found = await answer_of(hello, "/world")
    assert (found.status, found.body) == (200, b"hello /world")
    assert found.headers["content-type"] == "text/plain"
    assert found.headers["content-length"] == "12"
    assert "date" in found.headers


async def test_a_connection_serves_many_requests_also_pipelined_ones() -> None:
    async with serving(hello) as server, connect(server) as client:
        assert (await client.get("/0")).body == b"hello /0"
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(20)))
        assert [(await client.answer()).body for _ in range(20)] == [b"hello /%d" % number for number in range(20)]
        assert server.statistics().connections == 1
        assert server.statistics().requests == 21


async def test_what_the_start_leaves_out_is_assumed() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send({"type": "http.response.start", "status": 202})
        await send({"type": "http.response.body"})

    found = await answer_of(app)
    assert (found.status, found.body) == (202, b"")


@pytest.mark.parametrize("kind", [tuple, list, iter])
async def test_headers_may_be_any_kind_of_pairs(kind: Any) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": kind([kind([b"x-one", b"1"])])})
        await send(body(b"x"))

    assert (await answer_of(app)).headers["x-one"] == "1"


async def test_a_body_in_parts_is_chunked() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start())
        for part in (b"one ", b"", b"two "):
            await send(body(part, more=True))
        await send(body(b"three"))

    async with serving(app) as server, connect(server) as client:
        for _ in range(2):
            found = await client.get()
            assert (found.body, found.headers["transfer-encoding"]) == (b"one two three", "chunked")


async def test_a_part_without_bytes_sends_the_head_at_once() -> None:
    go_on = anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start())
        await send(body(b"", more=True))
        await go_on.wait()
        await send(body(b"end"))

    async with serving(app) as server, connect(server) as client:
        await client.send(GET)
        head = await client.stream.receive()
        assert head.endswith(b"\r\n\r\n")
        go_on.set()
        assert await client.stream.receive() == b"3\r\nend\r\n0\r\n\r\n"


async def test_framing_is_the_servers() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start(headers=[(b"transfer-encoding", b"chunked")]))
        await send(body(b"whole"))

    found = await answer_of(app)
    assert (found.body, found.headers["content-length"]) == (b"whole", "5")
    assert "transfer-encoding" not in found.headers


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_an_answer_without_a_body_has_none(method: str, status: int) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start(status))
        await send(body(b"" if status == 204 else b"not sent"))

    async with serving(app) as server, connect(server) as client:
        for _ in range(2):  # the next answer is not mistaken
            found = await client.get(method=method)
            assert (found.status, found.body) == (status, b"")


async def test_events_behind_a_complete_response_mean_nothing() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await answer(send, b"first")
        await answer(send, b"second")

    async with serving(app) as server, connect(server) as client:
        assert (await client.get()).body == b"first"
        assert (await client.get()).body == b"first"


async def test_several_tasks_may_send_at_once() -> None:
    size = 1_500_000  # more than a socket takes at once

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start())
        await send(body(b"", more=True))
        async with anyio.create_task_group() as tasks:
            for letter in (b"a", b"b", b"c"):
                tasks.start_soon(send, body(letter * size, more=True))
        await send(body())

    found = await answer_of(app)
    assert [found.body.count(letter) for letter in (b"a", b"b", b"c")] == [size] * 3


async def test_an_app_waits_for_a_client_that_does_not_read() -> None:
    sent = 0

    async def app(scope: Any, receive: Any, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(1000):
            await send(body(b"x" * 100_000, more=True))
            sent += 1
        await send(body())

    async with serving(app, socket_timeout=1.0) as server, connect(server) as client:
        await client.send(GET)
        await client.stream.receive()
        assert (await get(server, "/", method="HEAD")).status == 200  # meanwhile others are served
        assert 0 < sent < 1000


async def test_an_app_that_never_waits_gives_way_to_others() -> None:
    ended = anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["path"] == "/other":
            ended.set()
        else:
            await send(start())
            while not ended.is_set():
                await send(body(b"x" * 10, more=True))
        await answer(send, b"")
        await send(body())

    async with serving(app, cores=2) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(get, server, "/endless")
        with anyio.fail_after(20):
            await get(server, "/other")


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10, 1_500_000])
async def test_a_path_is_sent_as_the_whole_body(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)

    async def app(scope: Any, receive: Any, send: Send) -> None:
        assert "http.response.pathsend" in scope["extensions"]
        await send(start(headers=[(b"content-length", b"%d" % size)]))
        await send({"type": "http.response.pathsend", "path": str(tmp_path / "file")})

    async with serving(app) as server, connect(server) as client:
        for _ in range(2):
            assert (await client.get()).body == content
        assert (await client.get(method="HEAD")).headers["content-length"] == str(size)


async def test_a_path_that_is_not_there_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start())
        await send({"type": "http.response.pathsend", "path": "/nowhere"})

    assert (await answer_of(app)).status == 500
    assert "FileNotFoundError" in caplog.text


async def test_open_files_are_sent_among_other_parts() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789")
        file.seek(8)

        async def app(scope: Any, receive: Any, send: Send) -> None:
            await send(start())
            zero_copy = {"type": "http.response.zerocopysend", "file": file, "more_body": True}
            await send({**zero_copy, "offset": 2, "count": 3})
            await send(body(b"-", more=True))
            await send({**zero_copy, "more_body": False})

        assert (await answer_of(app)).body == b"234-89"


# --- bodies ---------------------------------------------------------------------------------------------------------


async def test_a_request_without_a_body_is_one_empty_piece() -> None:
    assert (await answer_of(echo)).body == b"[]"


async def test_a_body_arrives_piece_by_piece() -> None:
    pieces: list[bytes] = []
    arrived = anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            pieces.append(message["body"])
            more = message["more_body"]
            arrived.set()
        await answer(send, b"whole")

    async with serving(app) as server, connect(server) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nbody")
        await arrived.wait()
        assert pieces == [b"body"]
        await client.send(b"rest" + GET)
        assert (await client.answer("POST")).body == b"whole"
        assert pieces[1] == b"rest"
        assert (await client.answer()).status == 200


async def test_a_chunked_body_is_decoded() -> None:
    async with serving(echo) as server, connect(server) as client:
        await client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert (await client.answer("POST")).body.replace(b"][", b"") == b"[abcde]"
        assert (await client.get()).body == b"[]"


async def test_who_waits_for_100_continue_gets_it_when_the_app_wants_the_body() -> None:
    async with serving(echo) as server, connect(server) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert await client.stream.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"body")
        assert (await client.answer("POST")).body == b"[body]"


async def test_a_body_that_the_app_does_not_want_is_not_the_next_request() -> None:
    async with serving(hello) as server, connect(server) as client:
        evil = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
        await client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(evil) + evil)
        await client.send(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [(await client.answer()).body for _ in range(2)] == [b"hello /1", b"hello /2"]


async def test_a_cancelled_receive_loses_no_byte() -> None:
    waiting = anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        with anyio.move_on_after(0.05):
            waiting.set()
            await receive()
        await echo(scope, receive, send)

    async with serving(app) as server, connect(server) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        await waiting.wait()
        await anyio.sleep(0.1)
        await client.send(b"body")
        assert (await client.answer("POST")).body == b"[body]"


@pytest.mark.parametrize(
    ("request_bytes", "status", "options"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\nB\r\nhello world\r\n", 413, {"limit_post": 10}),
        (b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n", 400, {}),
        (b"Content-Length: 10\r\n\r\nabc", 408, {"socket_timeout": 0.2}),
    ],
    ids=["too large", "malformed", "too slow"],
)
async def test_a_body_that_cannot_be_read_is_a_disconnect_and_the_client_hears_why(
    request_bytes: bytes, status: int, options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                await send(start(500))  # as a framework does before it raises
                await send(body(b"Internal Server Error"))
                raise RuntimeError("the framework's own")

    async with serving(app, **options) as server, connect(server) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + request_bytes)
        assert (await client.rest()).startswith(b"HTTP/1.1 %d " % status)
        assert server.statistics().cores[0].exceptions == 0
    assert "the app raised an error" not in caplog.text


# --- clients that go away -------------------------------------------------------------------------------------------


async def test_behind_the_response_receive_is_a_disconnect() -> None:
    messages = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        await answer(send, b"")
        messages.extend([await receive(), await receive()])

    await answer_of(app)
    assert messages == [{"type": "http.disconnect"}] * 2


async def test_who_waits_for_a_disconnect_is_woken_by_the_end_of_the_response() -> None:
    woken = anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await receive()

        async def listen() -> None:
            assert await receive() == {"type": "http.disconnect"}
            woken.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            await anyio.wait_all_tasks_blocked()
            await answer(send, b"answered")

    async with serving(app) as server, connect(server) as client:
        for _ in range(3):
            woken = anyio.Event()
            assert (await client.get()).body == b"answered"
            with anyio.fail_after(20):
                await woken.wait()


@pytest.mark.parametrize("how", ["aclose", "reset"])
async def test_a_client_that_goes_away_is_noticed(how: str) -> None:
    began, noticed = anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        began.set()
        assert await receive() == {"type": "http.disconnect"}
        noticed.set()

    async with serving(app) as server:
        async with connect(server) as client:
            await client.send(GET)
            await began.wait()
            if how == "reset":
                client.stream.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
        with anyio.fail_after(20):
            await noticed.wait()


async def test_a_client_that_has_gone_is_noticed_by_who_only_looks() -> None:
    began, gone, seen = anyio.Event(), anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        began.set()
        await gone.wait()
        with anyio.CancelScope() as scope_:  # as Starlette's Request.is_disconnected
            scope_.cancel()
            if await receive() == {"type": "http.disconnect"}:
                seen.set()

    async with serving(app) as server:
        async with connect(server) as client:
            await client.send(GET)
            await began.wait()
        gone.set()
        with anyio.fail_after(20):
            await seen.wait()


async def test_a_client_that_sends_no_more_still_gets_its_answer() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await receive()
        assert await receive() == {"type": "http.disconnect"}
        await answer(send, b"still there")

    async with serving(app) as server, connect(server) as client:
        await client.send(GET)
        await client.stream.send_eof()
        assert (await client.rest()).endswith(b"still there")


class LostError(Exception):
    pass


@pytest.mark.parametrize("reaction", ["raises it", "raises another", "returns", "raises a group"])
async def test_sending_to_who_has_gone_is_an_oserror_and_no_error_of_the_apps(
    reaction: str, caplog: pytest.LogCaptureFixture
) -> None:
    raised = anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["path"] == "/other":
            await answer(send, b"")
        await send(start())
        try:
            while scope["path"] != "/other":
                await send(body(b"x" * 100_000, more=True))
        except OSError as error:
            raised.set()
            if reaction == "raises it":
                raise
            if reaction == "raises another":
                raise LostError from error
            if reaction == "raises a group":
                raise ExceptionGroup("of a task group", [error]) from None

    async with serving(app) as server:
        async with connect(server) as client:
            await client.send(GET)
            await client.stream.receive()
        with anyio.fail_after(20):
            await raised.wait()
        assert (await get(server, "/other")).status == 200
        cores = server.statistics().cores
        assert [core.exceptions for core in cores] == [0] * len(cores)
        assert sum(core.write_errors for core in cores) == 1
    assert "the app raised an error" not in caplog.text


async def test_half_a_body_is_a_disconnect(caplog: pytest.LogCaptureFixture) -> None:
    ended = anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()
        raise LostError

    async with serving(app) as server:
        async with connect(server) as client:
            await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        with anyio.fail_after(20):
            await ended.wait()
        await wait_until(lambda: sum(core.read_errors for core in server.statistics().cores) == 1)
        assert sum(core.exceptions for core in server.statistics().cores) == 0
    assert "the app raised an error" not in caplog.text


# --- what the app does behind its response --------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["returns", "raises", "is cancelled"])
async def test_what_follows_the_response_holds_nobody_up(end: str, caplog: pytest.LogCaptureFixture) -> None:
    go_on, done = anyio.Event(), anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await answer(send, scope["path"].encode())
        if scope["path"] == "/work":
            try:
                if end == "is cancelled":
                    await anyio.sleep_forever()
                await go_on.wait()
                if end == "raises":
                    raise RuntimeError("in the background")
            finally:
                done.set()

    options = {"harakiri": 0.2} if end == "is cancelled" else {}
    async with serving(app, cores=2, **options) as server, connect(server) as client:
        with anyio.fail_after(20):
            assert (await client.get("/work")).body == b"/work"
            assert (await client.get("/next")).body == b"/next"
            go_on.set()
            await done.wait()
            assert (await client.get("/last")).body == b"/last"
        assert server.statistics().connections == 1
    assert ("in the background" in caplog.text) == (end == "raises")


async def test_what_follows_the_response_does_not_hold_a_front_end_up(tmp_path: Path) -> None:
    go_on = anyio.Event()

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await answer(send, b"answered")
        await go_on.wait()

    path = str(tmp_path / "uwsgi.sock")
    async with uwsgi_async.run(http_only(app), socket=path), await anyio.connect_unix(path) as stream:
        await stream.send(encode_packet(0, 0, encode_vars({"REQUEST_METHOD": "GET", "PATH_INFO": "/"})))
        with anyio.fail_after(20):
            assert (await Client(stream).rest()).endswith(b"answered")
        go_on.set()


async def test_disconnect_behind_the_response_leaves_the_connection_alone() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await answer(send, b"")
        uwsgi_async.disconnect()

    async with serving(app) as server, connect(server) as client:
        for _ in range(3):
            assert (await client.get()).status == 200
        assert server.statistics().connections == 1


# --- what goes wrong in the app -------------------------------------------------------------------------------------


async def raises_at_once(send: Send) -> None:
    raise RuntimeError("secret")


async def raises_behind_the_start(send: Send) -> None:
    await send(start())
    raise RuntimeError("secret")


async def returns_at_once(send: Send) -> None:
    pass


async def returns_behind_the_start(send: Send) -> None:
    await send(start())


async def starts_twice(send: Send) -> None:
    await send(start())
    await send(start())


async def begins_with_the_body(send: Send) -> None:
    await send(body(b"secret"))


async def invents_an_event(send: Send) -> None:
    await send(start())
    await send({"type": "http.response.secret"})


async def sends_text(send: Send) -> None:
    await send(start())
    await send({"type": "http.response.body", "body": "text"})


async def has_headers_of_text(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [("x-one", "1")]})


async def has_a_header_in_one_piece(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [b"x-one: 1"]})


async def splits_a_header(send: Send) -> None:
    await send(start(headers=[(b"x-one", b"1\r\nx-two: 2")]))


async def has_no_final_status(send: Send) -> None:
    await send(start(101))


async def has_a_status_of_text(send: Send) -> None:
    await send({"type": "http.response.start", "status": "200 OK"})


@pytest.mark.parametrize(
    ("app", "said"),
    [
        (raises_at_once, "RuntimeError: secret"),
        (raises_behind_the_start, "RuntimeError: secret"),
        (returns_at_once, "returned without sending http.response.start"),
        (returns_behind_the_start, "returned before its response was complete"),
        (starts_twice, "got a second http.response.start"),
        (begins_with_the_body, "expected http.response.start first"),
        (invents_an_event, "got 'http.response.secret'"),
        (sends_text, "expected bytes as the body of http.response.body, got str"),
        (has_headers_of_text, "expected each header as a pair of bytes"),
        (has_a_header_in_one_piece, "expected each header as a pair of bytes"),
        (splits_a_header, "without CR, LF and NUL"),
        (has_no_final_status, "expected a status from 200 to 999, got 101"),
        (has_a_status_of_text, "expected an int as status, got str"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_an_error_before_the_first_byte_is_a_500_and_a_sentence_in_the_log(
    app: Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def called(scope: Any, receive: Any, send: Send) -> None:
        await app(send)

    async with serving(called) as server:
        found = await get(server)
        assert server.statistics().cores[0].exceptions == 1
    assert found.status == 500
    assert b"secret" not in found.body
    assert said in caplog.text


@pytest.mark.parametrize("raises", [True, False])
async def test_a_response_that_ends_in_the_middle_closes_the_connection(
    raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await send(start())
        await send(body(b"part", more=True))
        if raises:
            raise RuntimeError("late")

    async with serving(app) as server, connect(server) as client:
        await client.send(GET)
        assert (await client.rest()).endswith(
            b"4\r\npart\r\n"
        )  # no last chunk: the client sees that it is not complete
    assert ("late" if raises else "returned before its response was complete") in caplog.text


async def test_an_app_that_never_answers_is_ended_by_harakiri(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        await anyio.sleep_forever()  # here

    assert (await answer_of(app, options={"harakiri": 0.2})).status == 504
    assert "HARAKIRI" in caplog.text
    assert "test_http.py:" in caplog.text


# --- the rest of the server -----------------------------------------------------------------------------------------


async def test_the_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "uwsgi_async.request")
    await answer_of(hello, "/logged?a=1")
    assert "GET /logged?a=1 => generated 13 bytes" in caplog.text
    assert "(HTTP/1.1 200)" in caplog.text


async def test_a_context_variable_of_one_request_is_not_seen_by_the_next() -> None:
    user = ContextVar("user", default="nobody")

    async def app(scope: Any, receive: Any, send: Send) -> None:
        before = user.get()
        user.set("somebody")
        await answer(send, before.encode())

    async with serving(app, cores=1) as server, connect(server) as client:
        assert [(await client.get()).body for _ in range(3)] == [b"nobody"] * 3


async def test_an_app_of_asgi_2_is_served() -> None:
    class Two:
        def __init__(self, scope: Any) -> None:
            if scope["type"] != "http":
                raise RuntimeError("unknown")
            self.scope = scope

        async def __call__(self, receive: Any, send: Send) -> None:
            await hello(self.scope, receive, send)

    async with uwsgi_async.run(Two, http="127.0.0.1:0") as server:
        assert (await get(server, "/two")).body == b"hello /two"


async def test_the_kind_can_be_said() -> None:
    async def app(*arguments: Any) -> None:
        await http_only(hello)(*arguments)

    async with uwsgi_async.run(app, http="127.0.0.1:0", app_kind="asgi") as server:
        assert (await get(server, "/said")).body == b"hello /said"


async def test_sync_code_in_a_core_or_a_thread_may_wait_through_the_module() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        import uwsgi

        uwsgi.async_sleep(0.01)
        await anyio.to_thread.run_sync(uwsgi.async_sleep, 0.01)
        await answer(send, b"%d" % uwsgi_async.core_id())

    assert (await answer_of(app, options={"cores": 1})).body == b"0"
