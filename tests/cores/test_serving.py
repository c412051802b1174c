"""What a client sees of `run`: connections, limits of time and number, errors, the end."""

from __future__ import annotations

import logging
import socket
from contextvars import ContextVar

import anyio
import pytest

import uwsgi_async
from tests.client import connect, get
from uwsgi_async.errors import OptionError

pytestmark = pytest.mark.anyio


async def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello " + environ["PATH_INFO"].encode()]


async def wait_until(condition):
    with anyio.fail_after(10):
        while not condition():  # noqa: ASYNC110 - the server's state has no event to wait for
            await anyio.sleep(0.005)


async def test_an_async_handler_answers():
    async with uwsgi_async.run(hello, http="127.0.0.1:0") as server:
        answer = await get(server, "/world")
    assert (answer.status, answer.body) == (200, b"hello /world")
    assert answer.headers["content-length"] == "12"
    assert "date" in answer.headers


async def test_a_connection_serves_many_requests():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", cores=1) as server, connect(server) as client:
        for number in range(5):
            assert (await client.get(f"/{number}")).body == f"hello /{number}".encode()
        assert server.statistics().connections == 1


async def test_pipelined_requests_are_answered_in_order():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", cores=4) as server, connect(server) as client:
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(20)))
        answers = [(await client.answer()).body for _ in range(20)]
    assert answers == [b"hello /%d" % number for number in range(20)]


async def test_http_1_0_closes_the_connection():
    async with uwsgi_async.run(hello, http="127.0.0.1:0") as server, connect(server) as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.0 200 OK\r\n")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_context_variable_of_one_request_is_not_seen_by_the_next(kind):
    user = ContextVar("user", default="nobody")

    def sync_app(environ, start_response):
        start_response("200 OK", [])
        before = user.get()
        user.set(environ["PATH_INFO"])
        return [before.encode()]

    async def async_app(environ, start_response):
        return sync_app(environ, start_response)

    app = async_app if kind == "async" else sync_app
    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1) as server, connect(server) as client:
        assert [(await client.get(f"/{number}")).body for number in range(5)] == [b"nobody"] * 5
        assert server.statistics().requests == 5


async def test_a_context_variable_of_the_program_is_seen_by_every_request():
    place = ContextVar("place", default="nowhere")
    place.set("here")

    async def app(environ, start_response):
        start_response("200 OK", [])
        return [place.get().encode()]

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1) as server, connect(server) as client:
        assert [(await client.get("/")).body for _ in range(3)] == [b"here"] * 3


async def test_a_malformed_request_gets_400_and_the_end():
    async with uwsgi_async.run(hello, http="127.0.0.1:0") as server, connect(server) as client:
        await client.send(b"GET /\r\n\r\n")
        assert (await client.rest()).startswith(b"HTTP/1.1 400 ")
        assert (await get(server)).status == 200


async def test_cores_bound_the_requests_at_once_and_the_others_wait_in_order():
    running, most = 0, 0
    order = []
    release = anyio.Event()

    async def app(environ, start_response):
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(environ["PATH_INFO"])
        await release.wait()
        running -= 1
        return await hello(environ, start_response)

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=2) as server, anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(get, server, f"/{number}")
            await wait_until(lambda n=number: server.statistics().busy + server.statistics().waiting == n + 1)
        assert server.statistics().waiting == 4
        release.set()
    assert most == 2
    assert order == [f"/{number}" for number in range(6)]


async def test_an_idle_connection_holds_no_core():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", cores=1) as server:
        async with connect(server) as idle, connect(server) as busy:
            await idle.get()
            assert (await busy.get()).status == 200


async def test_beyond_max_connections_new_ones_wait_until_one_closes():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", max_connections=1) as server:
        async with connect(server) as first, connect(server) as second:
            await first.get()
            await second.send(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
            await anyio.wait_all_tasks_blocked()
            assert server.statistics().connections == 1
            await first.stream.aclose()
            assert (await second.answer()).body == b"hello /second"


async def test_an_error_of_the_app_is_a_500_without_its_text_and_a_log_entry(caplog):
    async def app(environ, start_response):
        raise RuntimeError("secret")

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        answer = await get(server, "/broken")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "secret" in caplog.text
    assert "/broken" in caplog.text


async def test_an_error_after_the_head_closes_the_connection(caplog):
    async def app(environ, start_response):
        start_response("200 OK", [])
        yield b"part"
        raise RuntimeError("late")

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, connect(server) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        data = await client.rest()
    assert data.endswith(b"4\r\npart\r\n")  # no last chunk: the client sees that it is not complete
    assert "late" in caplog.text


async def test_harakiri_cancels_one_request_alone_and_names_its_line(caplog):
    async def app(environ, start_response):
        if environ["PATH_INFO"] == "/slow":
            await uwsgi_async.async_sleep(60)  # here
        await uwsgi_async.async_sleep(0.01 if environ["PATH_INFO"] == "/long" else 0)
        return await hello(environ, start_response)

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=2, harakiri=1.5) as server:
        results = {}

        async def ask(path):
            results[path] = (await get(server, path)).status

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "/slow")
            tasks.start_soon(ask, "/long")
        assert results == {"/slow": 504, "/long": 200}
        for _ in range(4):  # its core lives on
            assert (await get(server)).status == 200
        assert sum(core.harakiri for core in server.statistics().cores) == 1
    assert "HARAKIRI" in caplog.text
    assert "/slow" in caplog.text
    assert "test_serving.py:" in caplog.text


async def test_harakiri_runs_the_finally_blocks_of_sync_code():
    cleaned = []

    def app(environ, start_response):
        import uwsgi

        try:
            uwsgi.async_sleep(60)
        finally:
            cleaned.append(True)

    async with uwsgi_async.run(app, http="127.0.0.1:0", harakiri=0.1) as server:
        assert (await get(server)).status == 504
    assert cleaned == [True]


async def test_leaving_the_block_lets_requests_finish():
    started = anyio.Event()

    async def app(environ, start_response):
        started.set()
        await uwsgi_async.async_sleep(0.2)
        return await hello(environ, start_response)

    answers = []
    async with anyio.create_task_group() as tasks, uwsgi_async.run(app, http="127.0.0.1:0") as server:

        async def ask():
            answers.append(await get(server))

        tasks.start_soon(ask)
        await started.wait()
    assert answers[0].status == 200
    assert answers[0].headers["connection"] == "close"


async def test_after_the_grace_time_requests_are_cancelled(caplog):
    started = anyio.Event()

    async def app(environ, start_response):
        started.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks, uwsgi_async.run(app, http="127.0.0.1:0", grace=0.1) as server:

        async def ask():
            assert (await get(server)).status == 503

        tasks.start_soon(ask)
        await started.wait()
    assert "1 requests did not end within 0.1 s" in caplog.text


async def test_an_error_in_the_block_comes_out_as_it_is():
    with pytest.raises(KeyError, match="mine"):
        async with uwsgi_async.run(hello, http="127.0.0.1:0"):
            raise KeyError("mine")


async def test_an_unknown_option_names_the_nearest():
    with pytest.raises(OptionError, match="harakiri"):
        async with uwsgi_async.run(hello, http="127.0.0.1:0", harakri=1.0):
            pass


async def test_a_slow_head_is_refused_without_a_core():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", cores=1, header_timeout=0.2) as server:
        async with connect(server) as slow:
            await slow.send(b"GET / HTTP/1.1\r\nHost:")
            assert (await get(server)).status == 200
            assert (await slow.rest()).startswith(b"HTTP/1.1 408 ")


async def test_an_idle_connection_ends_after_the_keepalive_timeout():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", keepalive_timeout=0.2) as server:
        async with connect(server) as client:
            await client.get()
            assert await client.rest() == b""


async def test_a_body_that_stops_is_a_408():
    async def app(environ, start_response):
        await environ["wsgi.input"].read()

    async with uwsgi_async.run(app, http="127.0.0.1:0", socket_timeout=0.2) as server, connect(server) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert (await client.rest()).startswith(b"HTTP/1.1 408 ")


async def test_a_client_that_does_not_read_loses_its_connection_and_frees_the_core():
    async def app(environ, start_response):
        start_response("200 OK", [])
        return [b"x" * 50_000_000] if environ["PATH_INFO"] == "/big" else [b"small"]

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1, socket_timeout=0.3) as server:
        async with connect(server) as client:
            await client.send(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await get(server)).body == b"small"


async def test_a_body_above_limit_post_is_a_413():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", limit_post=10) as server:
        assert (await get(server, method="POST", body=b"x" * 10)).status == 200
        assert (await get(server, method="POST", body=b"x" * 11)).status == 413


async def test_expect_100_continue_is_answered_when_the_body_is_read():
    async def app(environ, start_response):
        body = await environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [body]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, connect(server) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert await client.stream.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"body")
        assert (await client.answer("POST")).body == b"body"


async def test_a_body_nobody_read_does_not_become_the_next_request():
    async with uwsgi_async.run(hello, http="127.0.0.1:0") as server, connect(server) as client:
        evil = b"GET /evil HTTP/1.1\r\nHost: a\r\n\r\n"
        await client.send(b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(evil) + evil)
        await client.send(b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.answer()).body == b"hello /1"
        assert (await client.answer()).body == b"hello /2"


async def test_a_chunked_body_arrives_whole():
    async def app(environ, start_response):
        start_response("200 OK", [])
        return [await environ["wsgi.input"].read()]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, connect(server) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        await client.send(b"2\r\nde\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.answer("POST")).body == b"abcde"
        assert (await client.answer()).body == b""


async def test_head_has_the_headers_of_get_and_no_body():
    async with uwsgi_async.run(hello, http="127.0.0.1:0") as server, connect(server) as client:
        answer = await client.get("/x", method="HEAD")
        assert (answer.headers["content-length"], answer.body) == ("8", b"")
        assert (await client.get("/y")).body == b"hello /y"


async def test_a_large_response_arrives_whole():
    body = bytes(range(256)) * 40_000

    async def app(environ, start_response):
        start_response("200 OK", [])
        return [body]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        assert (await get(server)).body == body


async def test_a_client_that_goes_away_frees_its_core():
    async def app(environ, start_response):
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/":
            return [b"ok"]
        return endless()

    async def endless():
        while True:
            yield b"x" * 100_000

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1) as server:
        async with connect(server) as client:
            await client.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.stream.receive()
        assert (await get(server)).body == b"ok"


async def test_the_app_may_not_split_the_response(caplog):
    async def app(environ, start_response):
        start_response("200 OK", [("X", "a\r\nSet-Cookie: evil=1")])
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        answer = await get(server)
    assert answer.status == 500
    assert "set-cookie" not in answer.headers


async def test_a_response_longer_than_its_content_length_is_cut(caplog):
    async def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "3")])
        return [b"abcdef"]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, connect(server) as client:
        assert (await client.get()).body == b"abc"
        assert (await client.get()).body == b"abc"
    assert "more than its Content-Length" in caplog.text


async def test_a_response_shorter_than_its_content_length_closes_the_connection(caplog):
    async def app(environ, start_response):
        start_response("200 OK", [("Content-Length", "10")])
        return [b"abc"]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, connect(server) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\nabc")


async def test_a_unix_socket_serves(tmp_path):
    path = str(tmp_path / "app.sock")
    async with uwsgi_async.run(hello, http=path) as server:
        assert server.addresses == (f"http://{path}",)
        async with await anyio.connect_unix(path) as stream:
            await stream.send(b"GET /unix HTTP/1.0\r\n\r\n")
            data = b""
            async for part in stream:
                data += part
    assert data.endswith(b"hello /unix")


async def test_without_any_socket_the_error_says_what_to_give():
    with pytest.raises(OptionError, match="http-socket"):
        async with uwsgi_async.run(hello):
            pass


async def test_a_call_that_blocks_the_loop_is_named_with_its_line(caplog):
    import time

    async def app(environ, start_response):
        time.sleep(0.5)  # noqa: ASYNC251 - the bug that is to be found
        return await hello(environ, start_response)

    async with uwsgi_async.run(app, http="127.0.0.1:0", blocking_limit=0.1) as server:
        await get(server)
    assert "blocked" in caplog.text
    assert "time.sleep(0.5)" in caplog.text


async def test_an_idle_loop_is_not_reported_as_blocked(caplog):
    async with uwsgi_async.run(hello, http="127.0.0.1:0", blocking_limit=0.05):
        await anyio.sleep(0.4)
    assert "blocked" not in caplog.text


async def test_the_request_log_has_a_line_per_request(caplog):
    with caplog.at_level(logging.INFO, logger="uwsgi_async.request"):
        async with uwsgi_async.run(hello, http="127.0.0.1:0") as server:
            await get(server, "/logged?a=1")
    line = next(record.getMessage() for record in caplog.records if record.name == "uwsgi_async.request")
    assert "GET /logged?a=1 => generated 13 bytes in" in line
    assert "(HTTP/1.1 200)" in line


async def test_out_of_file_descriptors_is_told_and_survived(caplog):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with uwsgi_async.run(hello, http="127.0.0.1:0") as server:
        host, port = server.url.removeprefix("http://").split(":")
        sockets = [socket.socket() for _ in range(3)]
        highest = max(sock.fileno() for sock in sockets)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
            for sock in sockets:
                sock.setblocking(False)
                sock.connect_ex((host, int(port)))
            await wait_until(lambda: "cannot accept connections" in caplog.text)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for sock in sockets:
                sock.close()
        assert (await get(server)).status == 200


async def test_a_core_that_is_often_woken_in_vain_still_serves():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", cores=1) as server, connect(server) as client:
        await client.get()
        for _ in range(200):
            await wait_until(lambda: server.pool._idle)
            server.pool._wake_one()
        with anyio.fail_after(10):
            assert (await client.get("/served")).body == b"hello /served"
