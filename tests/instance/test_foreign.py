"""Apps of ours, and instances, under somebody else's ASGI server: uvicorn, hypercorn, and one of the tests' own."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.command import Process, program
from uwsgi_async.errors import NoInstanceError, OptionError, UsageError

# --- a server of the tests' own, in the test's process --------------------------------------------------------------


class Foreign:
    """Gives events to an app and takes its own. ``lifespan``: what the app has answered."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.lifespan: list[dict[str, Any]] = []
        self.stop = anyio.Event()
        self.changed = anyio.Event()

    async def live(self) -> None:
        events = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> dict[str, Any]:
            event = next(events)
            if event == "lifespan.shutdown":
                await self.stop.wait()
            return {"type": event}

        async def send(message: dict[str, Any]) -> None:
            self.lifespan.append(message)
            self.changed.set()

        await self.app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)

    async def ask(self, path: str = "/", *, method: str = "GET", pieces: Any = (), **more: Any) -> tuple[int, bytes]:
        """Ask once; the status 0 is an answer that was not completed. ``pieces``: of the body."""
        waiting = [*pieces]
        sent: list[dict[str, Any]] = []
        headers = [(b"host", b"test"), *more.pop("headers", [])]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": headers,
            "client": ("192.0.2.1", 4711), "server": ("example.org", 80), **more,
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            await anyio.lowlevel.checkpoint()
            data = waiting.pop(0) if waiting else b""
            if data is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": data, "more_body": bool(waiting)}

        async def send(message: dict[str, Any]) -> None:
            await anyio.lowlevel.checkpoint()
            sent.append(message)

        await self.app(scope, receive, send)
        self.headers = dict(sent[0]["headers"])
        body = b"".join(message["body"] for message in sent[1:])
        return (0 if sent[-1].get("more_body") else sent[0]["status"]), body


@asynccontextmanager
async def under(app: Any) -> AsyncIterator[Foreign]:
    foreign = Foreign(app)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(foreign.live)
        with anyio.fail_after(20):
            await foreign.changed.wait()
        assert foreign.lifespan == [{"type": "lifespan.startup.complete"}]
        yield foreign
        foreign.stop.set()
    assert foreign.lifespan[1:] == [{"type": "lifespan.shutdown.complete"}]


def environ_app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    names = (
        "REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_URI", "REMOTE_ADDR", "REMOTE_PORT",
        "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "HTTP_X_ONE", "CONTENT_TYPE", "wsgi.url_scheme",
    )  # fmt: skip
    return [json.dumps({name: environ.get(name) for name in names}).encode()]


def sync_app(environ: Any, start_response: Any) -> Any:
    import uwsgi

    body = environ["wsgi.input"].read()
    path = environ["PATH_INFO"]
    if path == "/error":
        raise RuntimeError("secret")
    write = start_response("200 OK", [("X-Core", str(uwsgi.request_id()))])
    if path == "/write":
        write(b"written ")
    if path == "/sleep":
        uwsgi.async_sleep(0.05)
    if path == "/generator":
        return (part for part in (b"one ", b"two"))
    if path == "/file":
        return environ["wsgi.file_wrapper"](open(__file__, "rb"))
    uwsgi.cache_update("last", body or b"nothing")
    return [b"got ", body]


async def async_app(environ: Any, start_response: Any) -> Any:
    start_response("200 OK", [])
    await uwsgi_async.async_sleep(0.01)
    if environ["PATH_INFO"] == "/never":
        await anyio.sleep_forever()
    return [await environ["wsgi.input"].read()]


CACHE = {"cache2": "name=first,items=10"}


@pytest.mark.anyio
async def test_an_environ_is_made_of_the_scope() -> None:
    async with under(uwsgi_async.asgi(environ_app)) as foreign:
        status, body = await foreign.ask(
            "/x/café", method="PUT", root_path="/x", query_string=b"a=1", raw_path=b"/x/caf%C3%A9", scheme="https",
            headers=[(b"x-one", b"1"), (b"x-one", b"2"), (b"content-type", b"text/plain")],
        )  # fmt: skip
    assert status == 200
    assert json.loads(body) == {
        "REQUEST_METHOD": "PUT", "SCRIPT_NAME": "/x", "PATH_INFO": "/caf\xc3\xa9", "QUERY_STRING": "a=1",
        "REQUEST_URI": "/x/caf%C3%A9?a=1", "REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "4711",
        "SERVER_NAME": "example.org", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_X_ONE": "1, 2",
        "CONTENT_TYPE": "text/plain", "wsgi.url_scheme": "https",
    }  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("threads", [0, 2])
async def test_a_sync_app_may_wait_and_use_the_module(threads: int) -> None:
    async with under(uwsgi_async.asgi(sync_app, threads=threads, **CACHE)) as foreign:
        assert await foreign.ask(method="POST", pieces=[b"bo", b"dy"]) == (200, b"got body")
        assert foreign.headers[b"content-length"] == b"8"
        assert uwsgi_async.cache_get("last") == b"body"
        assert await foreign.ask("/sleep") == (200, b"got ")
        assert await foreign.ask("/write") == (200, b"written got ")
        assert await foreign.ask("/generator") == (200, b"one two")
        assert await foreign.ask("/file") == (200, Path(__file__).read_bytes())  # noqa: ASYNC240
        assert await foreign.ask("/error") == (500, b"500 Internal Server Error\n")


@pytest.mark.anyio
async def test_requests_run_at_once_as_many_as_there_are_cores() -> None:
    running, most = 0, 0

    async def app(environ: Any, start_response: Any) -> list[bytes]:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await uwsgi_async.async_sleep(0.02)
        running -= 1
        start_response("200 OK", [])
        return [b"%d" % uwsgi_async.core_id()]

    async with under(uwsgi_async.asgi(app, cores=2)) as foreign, anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(foreign.ask)
    assert most == 2


@pytest.mark.anyio
async def test_harakiri_ends_a_request(caplog: pytest.LogCaptureFixture) -> None:
    async with under(uwsgi_async.asgi(async_app, harakiri=0.1)) as foreign:
        assert (await foreign.ask("/never"))[0] == 504
    assert "HARAKIRI" in caplog.text


@pytest.mark.anyio
async def test_a_body_above_limit_post_is_refused() -> None:
    async with under(uwsgi_async.asgi(async_app, limit_post=5)) as foreign:
        assert (await foreign.ask(method="POST", pieces=[b"123456"]))[0] == 413
        assert (await foreign.ask(method="POST", pieces=[b"12"], headers=[(b"content-length", b"6")]))[0] == 413
        assert await foreign.ask(method="POST", pieces=[b"12345"]) == (200, b"12345")


@pytest.mark.anyio
async def test_a_client_that_goes_away_is_no_error_of_the_app(caplog: pytest.LogCaptureFixture) -> None:
    async with under(uwsgi_async.asgi(async_app)) as foreign:
        assert (await foreign.ask(method="POST", pieces=[b"12", None]))[0] == 400
    assert "the app raised an error" not in caplog.text


@pytest.mark.anyio
async def test_an_answer_that_ends_in_the_middle_is_left_incomplete() -> None:
    async def app(environ: Any, start_response: Any) -> AsyncIterator[bytes]:
        start_response("200 OK", [])
        yield b"part"
        raise RuntimeError("late")

    async with under(uwsgi_async.asgi(app)) as foreign:
        assert await foreign.ask() == (0, b"part")


@pytest.mark.anyio
async def test_a_head_has_no_body() -> None:
    async with under(uwsgi_async.asgi(sync_app, **CACHE)) as foreign:
        assert await foreign.ask(method="HEAD") == (200, b"")
        assert foreign.headers[b"content-length"] == b"4"


@pytest.mark.anyio
async def test_an_asgi_app_is_called_as_it_is_with_the_instance_beside_it() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            uwsgi_async.cache_set("begun", b"yes")
            scope["state"]["begun"] = uwsgi_async.cache_get("begun")
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["state"]["begun"]})

    async with under(uwsgi_async.asgi(app, **CACHE)) as foreign:
        assert await foreign.ask() == (200, b"yes")


@pytest.mark.anyio
async def test_an_app_that_cannot_begin_fails_the_startup() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    foreign = Foreign(uwsgi_async.asgi(app))
    await foreign.live()
    (answer,) = foreign.lifespan
    assert answer["type"] == "lifespan.startup.failed"
    assert "no database" in answer["message"]


@pytest.mark.anyio
async def test_without_lifespan_the_error_says_what_to_do() -> None:
    with pytest.raises(NoInstanceError, match="--lifespan on"):
        await Foreign(uwsgi_async.asgi(async_app)).ask()


def test_what_only_a_server_can_do_is_refused() -> None:
    with pytest.raises(OptionError, match="another server has the sockets"):
        uwsgi_async.asgi(async_app, http_socket="127.0.0.1:0")

    async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
        pass

    with pytest.raises(UsageError, match="mount it with its framework"):
        uwsgi_async.asgi({"": async_app, "/x": asgi_app})


@pytest.mark.anyio
async def test_services_are_there_while_the_block_runs(tmp_path: Path) -> None:
    ran = anyio.Event()

    async def task(arguments: Any) -> int:
        ran.set()
        return uwsgi_async.SPOOL_OK

    async with uwsgi_async.services(spooler=str(tmp_path), locks=1, **CACHE):
        import uwsgi

        uwsgi.spooler = task
        uwsgi_async.cache_set("key", b"value")
        assert uwsgi_async.cache_get("key") == b"value"
        await uwsgi_async.lock(1)
        uwsgi_async.unlock(1)
        heard = anyio.Event()
        uwsgi_async.register_signal(5, "", lambda _: heard.set())
        uwsgi_async.add_ms_timer(5, 20)
        await uwsgi_async.spool(name=b"job")
        with anyio.fail_after(20):
            await heard.wait()
            await ran.wait()


# --- real servers ---------------------------------------------------------------------------------------------------

MODULE = """
import uwsgi_async

def plain(environ, start_response):
    import uwsgi
    uwsgi.async_sleep(0.01)
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"sync ", environ["PATH_INFO"].encode(), b" ", body, b" ", uwsgi.cache_get("key") or b""]

async def coroutine(environ, start_response):
    uwsgi_async.cache_set("key", b"cached")
    await uwsgi_async.async_sleep(0.01)
    start_response("200 OK", [])
    yield b"async "
    yield b"stream"

application = uwsgi_async.asgi(
    {"": plain, "/async": coroutine}, cache2="name=first,items=10", manage_script_name=True
)
"""
SERVERS = {
    "uvicorn": ("uvicorn", "under:application", "--port", "0", "--lifespan", "on"),
    "uvicorn, asyncio, h11": ("uvicorn", "under:application", "--port", "0", "--loop", "asyncio", "--http", "h11"),
    "hypercorn": ("hypercorn", "under:application", "--bind", "127.0.0.1:0"),
    "hypercorn, trio": ("hypercorn", "under:application", "--bind", "127.0.0.1:0", "--worker-class", "trio"),
}


@pytest.mark.parametrize("words", SERVERS.values(), ids=SERVERS.keys())
def test_handlers_of_ours_are_served_by_real_servers(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "under.py").write_text(MODULE)
    with program(sys.executable, "-m", *words, cwd=tmp_path) as process:
        process.url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        wait_for_port(process)
        assert process.get("/async/") == b"async stream"
        assert process.post("/path", b"body") == b"sync /path body cached"
        process.popen.send_signal(signal.SIGTERM)
        process.end()
        assert "Traceback" not in process.output


def wait_for_port(process: Process) -> None:
    """Some say that they serve a moment before they do."""

    def answers() -> bool:
        try:
            process.get("/ready")
        except OSError:
            return False
        return True

    process.wait_until(answers)
