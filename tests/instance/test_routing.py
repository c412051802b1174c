"""Handing the current request on: to another server, to a function, to the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.client import connect, get
from tests.instance.others import echoing

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_request_is_handed_on_and_the_response_is_ours(tmp_path: Path, kind: str) -> None:
    def sync_app(environ: Any, start_response: Any) -> Any:
        import uwsgi

        return uwsgi.route(path)

    async def async_app(environ: Any, start_response: Any) -> Any:
        return await uwsgi_async.route(path)

    app = sync_app if kind == "sync" else async_app
    async with echoing(tmp_path) as path, uwsgi_async.run(app, http="127.0.0.1:0") as server:
        answer = await get(server, "/", method="POST", body=b"z" * 200_000)
        assert (answer.status, answer.body) == (201, b"POST " + b"z" * 200_000)
        assert (await get(server)).headers["x-seen"] == "-"


async def test_a_body_in_chunks_is_handed_on(tmp_path: Path) -> None:
    async def app(environ: Any, start_response: Any) -> Any:
        return await uwsgi_async.route(path)

    async with echoing(tmp_path) as path, uwsgi_async.run(app, http="127.0.0.1:0") as server:
        async with connect(server) as client:
            await client.send(
                b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            )
            assert (await client.answer()).body == b"PUT abcde"


async def routed(tmp_path: Path, router: str, args: str, **functions: Any) -> tuple[Any, int, bytes]:
    """Let an app run a router; return what it returned, and what the client got."""
    returned: list[int] = []

    async def app(environ: Any, start_response: Any) -> list[bytes]:
        returned.append(await uwsgi_async.route(router, args))
        if returned[0] != 2:
            start_response("200 OK", [])
            return [b"by the app"]
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0", log_format="%(addr) %(team)") as server:
        for name, function in functions.items():
            uwsgi_async.register_rpc(name, function)
        answer = await get(server, "/a?b")
    return returned[0], answer.status, answer.body


async def test_the_router_uwsgi_answers_the_request(tmp_path: Path) -> None:
    async with echoing(tmp_path) as path:
        assert await routed(tmp_path, "uwsgi", f"{path},0,0") == (2, 201, b"GET ")
        assert await routed(tmp_path, "proxyuwsgi", f"{path},0,0,app") == (2, 201, b"GET ")


async def test_the_router_uwsgi_without_a_server_is_a_502(tmp_path: Path) -> None:
    returned, status, _ = await routed(tmp_path, "uwsgi", "/nowhere.sock,0,0")
    assert (returned, status) == (2, 502)


@pytest.mark.parametrize("args", ["", "/nowhere.sock", "/nowhere.sock,0", "/nowhere.sock,0,x", ",1,2", "/a,0,256"])
async def test_what_no_router_understands_is_minus_one(tmp_path: Path, args: str) -> None:
    assert await routed(tmp_path, "uwsgi", args) == (-1, 200, b"by the app")
    assert (await routed(tmp_path, "unknown", args))[0] == -1


async def test_the_router_rpc_answers_with_a_result(tmp_path: Path) -> None:
    def join(*words: bytes) -> bytes:
        return b"+".join(words)

    assert await routed(tmp_path, "rpc", "join ${REQUEST_URI} x ${NONE}", join=join) == (2, 200, b"/a?b+x")
    assert await routed(tmp_path, "call", "missing") == (-1, 200, b"by the app")
    assert await routed(tmp_path, "rpc", "join@/nowhere.sock a") == (-1, 200, b"by the app")


async def test_routers_that_note_something_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert (await routed(tmp_path, "log", "seen ${REQUEST_URI}"))[:2] == (0, 200)
    assert "seen /a?b" in caplog.text
    assert (await routed(tmp_path, "addvar", "a=b"))[0] == 0
    assert (await routed(tmp_path, "logvar", "team=blue"))[0] == 0
    assert (await routed(tmp_path, "logvar", "nothing"))[0] == -1


# --- apps that hand a whole response on, as those of uWSGI's examples do: they call no start_response ----------------


def by_message(node: str) -> Any:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        import uwsgi

        yield from uwsgi.send_message(node, 0, 0, environ, 0, environ["wsgi.input"].fileno(), uwsgi.cl())

    return app


def by_descriptors(node: str) -> Any:
    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        import uwsgi

        fd = uwsgi.async_connect(node)
        yield uwsgi.wait_fd_write(fd, 10)
        assert not environ["x-wsgiorg.fdevent.timeout"]
        assert uwsgi.is_connected(fd)
        uwsgi.async_send_message(fd, 0, 0, environ)
        left, client = uwsgi.cl(), environ["wsgi.input"].fileno()
        while left > 0:
            yield uwsgi.wait_fd_read(client, 10)
            assert not environ["x-wsgiorg.fdevent.timeout"]
            data = uwsgi.recv(client, min(left, 4096))
            uwsgi.send(fd, data)
            left -= len(data)
        yield uwsgi.wait_fd_read(fd, 10)
        while data := uwsgi.recv(fd):
            yield data
            yield uwsgi.wait_fd_read(fd, 10)
        uwsgi.close(fd)

    return app


@pytest.mark.parametrize("make", [by_message, by_descriptors])
@pytest.mark.parametrize("whole", [True, False], ids=["at once", "in pieces"])
async def test_a_response_of_another_server_goes_to_the_client_as_it_is(tmp_path: Path, make: Any, whole: bool) -> None:
    body = b"z" * 100_000
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with echoing(tmp_path) as path, uwsgi_async.run(make(path), http="127.0.0.1:0") as server:
        async with connect(server) as client:
            if whole:
                await client.send(head + body)
            else:
                await client.send(head)
                await anyio.wait_all_tasks_blocked()
                await client.send(body[:50_000])
                await anyio.wait_all_tasks_blocked()
                await client.send(body[50_000:])
            data = await client.rest()
    assert data.startswith(b"HTTP/1.0 201 Created\r\nX-Seen: -\r\n")
    assert data.endswith(b"\r\n\r\nPOST " + body)


async def test_an_app_that_forgets_start_response_is_still_told_so(caplog: pytest.LogCaptureFixture) -> None:
    async def app(environ: Any, start_response: Any) -> Any:
        yield b"text"

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        assert (await get(server)).status == 500
    assert "without calling start_response" in caplog.text
