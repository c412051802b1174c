"""The stats server of one process: what each face answers, and that no client can hurt it."""

from __future__ import annotations

import json
import os
import socket
import struct
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

import uwsgi_async
from tests.client import Client, get
from uwsgi_async.errors import BindError
from uwsgi_async.instance.statistics import server as stats_server

pytestmark = pytest.mark.anyio

COOKIE = "Cookie: session=secret\r\nAuthorization: Basic c2VjcmV0\r\nX-Mark: café\r\n"


async def hello(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        await environ["test.release"].wait()
    if environ["PATH_INFO"] == "/error":
        raise RuntimeError("the app's error")
    start_response("200 OK", [])
    return [b"hello"]


class WaitingApp:
    """An app whose path /wait waits until ``release`` is set."""

    def __init__(self) -> None:
        self.release = anyio.Event()

    async def __call__(self, environ, start_response):
        environ["test.release"] = self.release
        return await hello(environ, start_response)

    @asynccontextmanager
    async def asked(self, server, path, headers=""):
        """Have a request that waits while the block runs."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: get(server, path, headers=headers))
            try:
                with anyio.fail_after(10):
                    while not server.statistics().busy:  # noqa: ASYNC110 - the server's state has no event to wait for
                        await anyio.sleep(0.005)
                yield
            finally:
                self.release.set()


@asynccontextmanager
async def connect(address: str):
    if address.startswith(("/", "@")):
        stream = await anyio.connect_unix(address.replace("@", "\0"))
    else:
        host, _, port = address.rpartition(":")
        stream = await anyio.connect_tcp(host, int(port))
    async with stream:
        yield Client(stream)


async def read(address: str, request: bytes = b"") -> bytes:
    with anyio.fail_after(20):
        async with connect(address) as client:
            if request:
                await client.send(request)
            return await client.rest()


async def look(server):
    return json.loads(await read(server.stats[0]))


async def look_when_idle(server, requests):
    """Look when so many requests have been counted: that is a moment after their answers have gone."""
    with anyio.fail_after(10):
        while True:
            told = await look(server)
            (worker,) = told["workers"]
            if (worker["requests"], worker["status"]) == (requests, "idle"):
                return told


async def ask(server, path, *, face=0, method="GET"):
    with anyio.fail_after(20):
        async with connect(server.stats[face]) as client:
            return await client.get(path, method=method)


async def test_whoever_connects_is_told_the_statistics_and_sent_away():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", stats="127.0.0.1:0", cores=3) as server:
        for _ in range(2):
            await get(server)
        told = await look_when_idle(server, 2)
    assert told["pid"] == os.getpid()
    assert told["cwd"] == os.getcwd()
    assert [each["name"] for each in told["sockets"]] == [server.url.removeprefix("http://")]
    (worker,) = told["workers"]
    assert (worker["id"], worker["requests"], worker["status"], worker["ready"]) == (1, 2, "idle", 1)
    assert worker["tx"] > 0
    assert sum(core["requests"] for core in worker["cores"]) == 2
    assert len(worker["cores"]) == 3


async def test_statistics_are_told_at_a_unix_socket_which_is_removed(tmp_path: Path):
    address = str(tmp_path / "stats.sock")
    async with uwsgi_async.run(hello, http="127.0.0.1:0", stats=address, chmod_socket="600") as server:
        assert server.stats == (address,)
        assert os.stat(address).st_mode & 0o777 == 0o600
        assert (await look(server))["state"] == "serving"
    assert not (tmp_path / "stats.sock").exists()


async def test_statistics_are_told_at_an_abstract_name():
    name = f"@uwsgi_async-test-{os.getpid()}"
    async with uwsgi_async.run(hello, http="127.0.0.1:0", stats=name) as server:
        assert server.stats == (name,)
        assert (await look(server))["state"] == "serving"


async def test_a_taken_address_is_told():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", stats="127.0.0.1:0") as server:
        with pytest.raises(BindError, match="already in use"):
            async with uwsgi_async.run(hello, http="127.0.0.1:0", stats=server.stats[0]):
                pass


async def test_a_running_request_is_shown_with_its_vars_but_not_with_its_secrets():
    app = WaitingApp()
    async with uwsgi_async.run(app, http="127.0.0.1:0", stats="127.0.0.1:0", cores=2) as server:
        async with app.asked(server, "/wait?a=b", COOKIE):
            (worker,) = (await look(server))["workers"]
            (core,) = [core for core in worker["cores"] if core["in_request"]]
            assert (worker["status"], worker["busy"], worker["connections"]) == ("busy", 1, 1)
            assert "REQUEST_URI=/wait?a=b" in core["vars"]
            assert "HTTP_COOKIE=(hidden)" in core["vars"]
            assert "HTTP_AUTHORIZATION=(hidden)" in core["vars"]
            assert "HTTP_X_MARK=café" in core["vars"]
            assert core["vars"][-1] == ""
            assert core["req_info"]["request_start"] > 1_700_000_000


async def test_vars_that_are_too_long_are_left_out_and_the_rest_is_shown():
    app = WaitingApp()
    async with uwsgi_async.run(app, http="127.0.0.1:0", stats="127.0.0.1:0", cores=2) as server:
        async with app.asked(server, "/wait", f"X-Long: {'x' * 5000}\r\nX-After: y\r\n"):
            (core,) = [core for core in (await look(server))["workers"][0]["cores"] if core["in_request"]]
            assert "HTTP_X_AFTER=y" in core["vars"]
            assert not any(each.startswith("HTTP_X_LONG") for each in core["vars"])


async def test_errors_of_the_app_and_of_clients_are_counted_at_their_core():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", stats="127.0.0.1:0", cores=1) as server:
        await get(server, "/error")
        (worker,) = (await look_when_idle(server, 1))["workers"]
    assert worker["exceptions"] == 1
    assert worker["apps"][0]["exceptions"] == 1


async def test_each_app_and_the_static_files_are_counted_by_themselves(tmp_path: Path):
    (tmp_path / "file").write_text("a file")
    options = {"manage_script_name": True, "check_static": (str(tmp_path),), "stats": "127.0.0.1:0", "cores": 1}
    async with uwsgi_async.run({"": hello, "/api": hello}, http="127.0.0.1:0", **options) as server:
        for path in ("/", "/file", "/api/x", "/api/error", "/file"):
            await get(server, path)
        (worker,) = (await look_when_idle(server, 5))["workers"]
    assert [(app["id"], app["mountpoint"], app["requests"], app["exceptions"]) for app in worker["apps"]] == [
        (0, "", 1, 0),
        (1, "/api", 2, 1),
    ]
    assert worker["cores"][0]["static_requests"] == 2


@pytest.mark.parametrize("path", ["/", "/anything"])
async def test_over_http_every_other_path_is_the_json(path: str):
    async with uwsgi_async.run(hello, http="127.0.0.1:0", stats="127.0.0.1:0", stats_http=True) as server:
        answer = await ask(server, path)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert json.loads(answer.body)["version"] == "2.0.31"


async def test_http_and_plain_json_can_be_had_at_two_addresses():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", stats="127.0.0.1:0", prometheus="127.0.0.1:0") as server:
        await get(server)
        await look_when_idle(server, 1)
        answer = await ask(server, "/metrics", face=1)
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert b'\nuwsgi_worker_requests_total{worker_id="1"} 1\n' in answer.body


async def test_probes_answer_200_while_it_serves():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", prometheus="127.0.0.1:0") as server:
        assert [(await ask(server, path)).status for path in ("/healthz", "/readyz")] == [200, 200]


async def test_readyz_is_503_while_it_drains_and_healthz_is_not():
    app = WaitingApp()

    async def hold(server, waiting):
        async with app.asked(server, "/wait"):
            waiting.set()
            with anyio.fail_after(10):
                while (ready := await ask(server, "/readyz")).status == 200:
                    pass
            assert (ready.status, ready.body) == (503, b"draining\n")
            assert (await ask(server, "/healthz")).status == 200
            assert json.loads((await ask(server, "/")).body)["state"] == "draining"

    async with anyio.create_task_group() as tasks:
        async with uwsgi_async.run(app, http="127.0.0.1:0", prometheus="127.0.0.1:0") as server:
            waiting = anyio.Event()
            tasks.start_soon(hold, server, waiting)
            await waiting.wait()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"405 Method Not Allowed"),
        (b"nonsense\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 10_000 + b"\r\n\r\n", b"431 "),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", b"505 "),
    ],
)
async def test_a_bad_request_is_refused(request_bytes: bytes, status: bytes):
    async with uwsgi_async.run(hello, http="127.0.0.1:0", prometheus="127.0.0.1:0") as server:
        answer = await read(server.stats[0], request_bytes)
    assert answer.startswith(b"HTTP/1.1 " + status)


async def test_a_head_request_has_no_body():
    async with uwsgi_async.run(hello, http="127.0.0.1:0", prometheus="127.0.0.1:0") as server:
        answer = await ask(server, "/metrics", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 100


async def test_a_silent_client_is_sent_away(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stats_server, "TIME", 0.1)
    async with uwsgi_async.run(hello, http="127.0.0.1:0", prometheus="127.0.0.1:0") as server:
        assert await read(server.stats[0], b"GET / HT") == b""


async def test_silent_clients_do_not_lock_out_a_probe(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stats_server, "MOST_CONNECTIONS", 4)
    async with uwsgi_async.run(hello, http="127.0.0.1:0", prometheus="127.0.0.1:0") as server:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connect(server.stats[0])) for _ in range(8)]
            assert (await ask(server, "/readyz")).status == 200
            with anyio.fail_after(2):  # less than a silent client has: it was the oldest and gave way
                assert await clients[0].rest() == b""


async def test_a_client_that_goes_away_is_no_error(caplog: pytest.LogCaptureFixture):
    async with uwsgi_async.run(hello, http="127.0.0.1:0", stats="127.0.0.1:0", cores=500) as server:
        for _ in range(3):
            sock = socket.create_connection(tuple(server.stats[0].split(":")))  # type: ignore[arg-type]
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close resets
            sock.close()
        assert (await look(server))["workers"]
    assert "stats server could not" not in caplog.text


async def test_the_statistics_can_be_asked_from_inside():
    seen = []

    async def app(environ, start_response):
        seen.append(uwsgi_async.statistics())
        start_response("200 OK", [])
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=2) as server:
        await get(server, "/path?query")
    (statistics,) = seen
    assert (statistics.state, statistics.pid, len(statistics.workers)) == ("serving", os.getpid(), 1)
    (core,) = [core for core in statistics.workers[0].cores if core.state == "busy"]
    assert (core.uri, core.vars["REQUEST_METHOD"]) == ("/path?query", "GET")
    (process,) = statistics.processes
    assert (process.role, process.pid) == ("instance", os.getpid())
    assert process.rss > 1 << 20


async def test_a_blocked_event_loop_shows_as_lag():
    import time

    async with uwsgi_async.run(hello, http="127.0.0.1:0", stats="127.0.0.1:0", cores=1, blocking_limit=0.0) as server:
        await look(server)  # the loop has turned
        time.sleep(0.8)  # noqa: ASYNC251 - it is what this is about
        lag = 0
        with anyio.fail_after(10):
            while lag < 400_000:
                lag = (await look(server))["workers"][0]["loop_lag"]


class Peer:
    """The server's end of a connection with a process of user ``uid``."""

    def __init__(self, uid: int) -> None:
        self.uid = uid

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("3i", 1, self.uid, 1)[:size]


@pytest.mark.parametrize(("user", "friend"), [(0, True), (1000, True), (1001, False)])
async def test_the_local_address_answers_this_user_and_root_only(
    monkeypatch: pytest.MonkeyPatch, user: int, friend: bool
):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert stats_server.is_friend(Peer(user)) is friend  # type: ignore[arg-type]
