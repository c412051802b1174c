"""Apps of every shape, sync and async, as a client sees them."""

from __future__ import annotations

import io
import sys
import tempfile
import threading
from functools import partial
from wsgiref.validate import validator

import anyio
import pytest

import uwsgi_async
from tests.client import connect, get
from uwsgi_async.handlers.detect import app_kind

pytestmark = pytest.mark.anyio


def begin(start_response, status="200 OK", headers=()):
    return start_response(status, [("Content-Type", "text/plain"), *headers])


async def answer_of(app, target="/", *, run_options=None, **options):
    async with uwsgi_async.run(app, http="127.0.0.1:0", **(run_options or {})) as server:
        return await get(server, target, **options)


async def chunks():
    for chunk in (b"a", b"", b"b"):
        yield chunk


@pytest.mark.parametrize(
    "result", [[b"a", b"b"], (b"a", b"b"), b"ab", iter([b"a", b"b"]), chunks()], ids=lambda value: type(value).__name__
)
async def test_an_async_app_returns_any_kind_of_bytes(result):
    if hasattr(result, "__anext__"):
        result = chunks()
    elif hasattr(result, "__next__"):
        result = iter([b"a", b"b"])

    async def app(environ, start_response):
        begin(start_response)
        return result

    assert (await answer_of(app)).body == b"ab"


async def test_an_async_generator_is_an_app():
    async def app(environ, start_response):
        begin(start_response)
        yield b"one "
        await uwsgi_async.async_sleep(0)
        yield b"two"

    assert (await answer_of(app)).body == b"one two"


async def test_an_object_with_an_async_call_is_an_app():
    class App:
        async def __call__(self, environ, start_response):
            begin(start_response)
            return [b"object"]

    assert (await answer_of(App())).body == b"object"


@pytest.mark.parametrize("threads", [0, 2])
async def test_a_sync_app_is_valid_wsgi(threads):
    def app(environ, start_response):
        body = environ["wsgi.input"].read(100)
        begin(start_response)
        return [b"got ", body]

    answer = await answer_of(validator(app), method="POST", body=b"posted", run_options={"threads": threads})
    assert answer.body == b"got posted"


async def test_close_is_called_on_what_the_app_returned():
    closed = []

    class Result:
        def __iter__(self):
            return iter([b"x"])

        def close(self):
            closed.append(True)

    def app(environ, start_response):
        begin(start_response)
        return Result()

    assert (await answer_of(app)).body == b"x"
    assert closed == [True]


async def test_start_response_with_exc_info_after_the_head_raises_the_apps_error(caplog):
    def app(environ, start_response):
        write = begin(start_response)
        write(b"part")
        try:
            raise KeyError("mine")
        except KeyError:
            start_response("500 Error", [], sys.exc_info())

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        async with connect(server) as client:
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert (await client.rest()).endswith(b"part")
    assert "KeyError: 'mine'" in caplog.text


async def test_start_response_with_exc_info_before_the_head_replaces_it():
    def app(environ, start_response):
        begin(start_response)
        try:
            raise KeyError("mine")
        except KeyError:
            begin_again = start_response("500 Error", [], sys.exc_info())
        assert callable(begin_again)
        return [b"replaced"]

    answer = await answer_of(app)
    assert (answer.status, answer.body) == (500, b"replaced")


async def test_an_app_that_never_calls_start_response_is_a_500(caplog):
    assert (await answer_of(lambda environ, start_response: [b"x"])).status == 500
    assert "start_response" in caplog.text


async def test_file_wrapper_sends_a_file_and_closes_it():
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the server
    file.write(b"0123456789" * 100_000)
    file.seek(5)

    def app(environ, start_response):
        begin(start_response)
        return environ["wsgi.file_wrapper"](file)

    assert (await answer_of(app)).body == (b"0123456789" * 100_000)[5:]
    assert file.closed


async def test_file_wrapper_sends_what_has_no_descriptor():
    def app(environ, start_response):
        begin(start_response)
        return environ["wsgi.file_wrapper"](io.BytesIO(b"in memory"), 4)

    assert (await answer_of(app)).body == b"in memory"


async def test_sendfile_sends_a_part_of_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")

    async def app(environ, start_response):
        begin(start_response)
        assert await uwsgi_async.sendfile("/nowhere") is None
        assert await uwsgi_async.sendfile(str(path), 0, 2, 5) is True
        return []

    assert (await answer_of(app)).body == b"23456"


async def test_sync_code_gives_way_at_any_depth():
    order = []

    def deep(environ, level):
        import uwsgi

        if level:
            return deep(environ, level - 1)
        order.append(("in", environ["PATH_INFO"]))
        uwsgi.async_sleep(0.1)
        order.append(("out", environ["PATH_INFO"]))
        return None

    def app(environ, start_response):
        deep(environ, 20)
        begin(start_response)
        return [b"done"]

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=2) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(get, server, "/1")
        tasks.start_soon(get, server, "/2")
    assert [step for step, _ in order] == ["in", "in", "out", "out"]


async def test_a_generator_that_yields_nothing_gives_way():
    running, most = set(), 0

    def app(environ, start_response):
        nonlocal most
        running.add(environ["PATH_INFO"])
        begin(start_response)
        for _ in range(50):
            most = max(most, len(running))
            yield b""
        running.discard(environ["PATH_INFO"])
        yield b"end"

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=2) as server, anyio.create_task_group() as tasks:
        for path in ("/1", "/2"):
            tasks.start_soon(get, server, path)
    assert most == 2


async def test_threads_run_what_really_blocks_beside_each_other():
    barrier = threading.Barrier(2, timeout=10)

    def app(environ, start_response):
        barrier.wait()  # both are here at once, or this raises
        begin(start_response)
        yield b"together"

    answers = []
    async with uwsgi_async.run(app, http="127.0.0.1:0", threads=2) as server:

        async def ask():
            answers.append((await get(server)).body)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            tasks.start_soon(ask)
    assert answers == [b"together"] * 2


async def test_the_input_of_an_async_app_is_awaitable():
    async def app(environ, start_response):
        body = environ["wsgi.input"]
        parts = [await body.read(2), await body.readline(), await body.readline(1)]
        parts += [line async for line in body]
        begin(start_response)
        return [repr(parts).encode()]

    answer = await answer_of(app, method="POST", body=b"ab12\nxyz\nlast")
    assert answer.body == repr([b"ab", b"12\n", b"x", b"yz\n", b"last"]).encode()


async def test_request_id_counts_what_its_core_has_finished():
    async def app(environ, start_response):
        begin(start_response)
        return [b"%d %d" % (uwsgi_async.core_id(), uwsgi_async.request_id())]

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1) as server:
        assert [(await get(server)).body for _ in range(3)] == [b"0 0", b"0 1", b"0 2"]
        assert server.statistics().cores[0].requests == 3


async def test_a_task_that_a_request_started_belongs_to_it():
    async def app(environ, start_response):
        found = []

        async def child():
            found.append(uwsgi_async.get_logvar("name"))

        uwsgi_async.set_logvar("name", environ["PATH_INFO"])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
        begin(start_response)
        return found

    assert (await answer_of(app, "/mine")).body == b"/mine"


async def test_disconnect_ends_the_connection_and_the_app_goes_on():
    went_on = []

    async def app(environ, start_response):
        begin(start_response)
        uwsgi_async.disconnect()
        went_on.append(True)
        return [b"lost"]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        async with connect(server) as client:
            await client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert await client.rest() == b""
    assert went_on == [True]


async def _async_app(environ, start_response):
    pass


async def _generator_app(environ, start_response):
    yield b""


class _AsyncCall:
    async def __call__(self, environ, start_response):
        pass

    async def method(self, environ, start_response):
        pass


class _SyncCall:
    def __call__(self, environ, start_response):
        pass


async def _asgi_app(scope, receive, send):
    pass


async def _asgi_app_with_more(scope, receive, send, debug=False):
    pass


def _asgi_app_that_returns_a_coroutine(scope, receive, send):
    return _asgi_app(scope, receive, send)


class _AsgiCall:
    async def __call__(self, scope, receive, send):
        pass


class _AsgiTwo:
    def __init__(self, scope):
        pass

    async def __call__(self, receive, send):
        pass


async def _any_app(*arguments):
    pass


@pytest.mark.parametrize(
    ("app", "kind"),
    [
        (_async_app, "async"),
        (_generator_app, "async"),
        (_AsyncCall(), "async"),
        (_AsyncCall().method, "async"),
        (partial(_async_app), "async"),
        (_SyncCall(), "sync"),
        (_SyncCall, "sync"),
        (lambda environ, start_response: [], "sync"),
        (_asgi_app, "asgi"),
        (_asgi_app_with_more, "asgi"),
        (_asgi_app_that_returns_a_coroutine, "asgi"),
        (_AsgiCall(), "asgi"),
        (_AsgiCall().__call__, "asgi"),
        (partial(_asgi_app_with_more, debug=True), "asgi"),
        (_AsgiTwo, "asgi2"),
        (_any_app, "async"),
        (type, "sync"),
    ],
)
async def test_the_kind_of_an_app_is_found_out(app, kind):
    assert app_kind(app) == kind
