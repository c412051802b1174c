"""The beginning and the end of an ASGI app in one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from tests.client import get
from tests.handlers.asgi.apps import answer
from uwsgi_async.errors import AppLoadError
from uwsgi_async.handlers.asgi import lifespan as module

pytestmark = pytest.mark.anyio

Send = Callable[[Any], Awaitable[None]]


def run(app: Any, **options: Any) -> Any:
    return uwsgi_async.run(app, http="127.0.0.1:0", **options)


class App:
    """An app with a lifespan that notes what happens. ``startup``, ``shutdown``: called with send in its course."""

    def __init__(self, startup: Any = None, shutdown: Any = None) -> None:
        self.steps: list[str] = []
        self._startup = startup
        self._shutdown = shutdown

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] == "http":
            self.steps.append("request")
            await answer(send, b"answered")
            return
        assert scope["type"] == "lifespan"
        assert scope["asgi"] == {"version": "3.0", "spec_version": "2.0"}
        assert await receive() == {"type": "lifespan.startup"}
        self.steps.append("startup")
        if self._startup is not None:
            await self._startup(send)
        await send({"type": "lifespan.startup.complete"})
        assert await receive() == {"type": "lifespan.shutdown"}
        self.steps.append("shutdown")
        if self._shutdown is not None:
            await self._shutdown(send)
        await send({"type": "lifespan.shutdown.complete"})
        self.steps.append("end")


async def test_it_begins_before_the_first_request_and_ends_behind_the_last() -> None:
    app = App()
    async with run(app) as server:
        assert app.steps == ["startup"]
        assert (await get(server)).body == b"answered"
    assert app.steps == ["startup", "request", "shutdown", "end"]


async def test_requests_that_still_run_end_before_the_app_does() -> None:
    running, steps = anyio.Event(), []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] == "http":
            running.set()
            await anyio.sleep(0.1)
            steps.append("request")
            await answer(send, b"")
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        steps.append("shutdown")
        await send({"type": "lifespan.shutdown.complete"})

    async with anyio.create_task_group() as tasks, run(app) as server:
        tasks.start_soon(get, server)
        await running.wait()
    assert steps == ["request", "shutdown"]


async def test_no_request_is_accepted_before_the_app_has_begun() -> None:
    begun = False
    seen = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        nonlocal begun
        if scope["type"] == "http":
            seen.append(begun)
            await answer(send, b"")
            return
        await receive()
        address = uwsgi_async.statistics().sockets[0].name
        host, _, port = address.rpartition(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(b"GET / HTTP/1.0\r\n\r\n")
            await anyio.sleep(0.05)
            begun = True
            await send({"type": "lifespan.startup.complete"})
            assert (await stream.receive()).startswith(b"HTTP/1.0 200")
            answered.set()
        await receive()

    answered = anyio.Event()
    async with run(app):
        with anyio.fail_after(20):
            await answered.wait()
    assert seen == [True]


async def test_each_request_gets_a_copy_of_the_state() -> None:
    states = []

    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = connections
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        states.append(dict(scope["state"]))
        scope["state"]["user"] = "me"
        await answer(send, b"")

    connections = object()
    async with run(app) as server:
        await get(server)
        await get(server)
    assert states == [{"pool": connections}] * 2


async def test_what_has_begun_runs_beside_the_requests() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] == "http":
            ticked = ticks.statistics().tasks_waiting
            await answer(send, b"%d" % ticked)
            return
        await receive()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ticks.wait)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            ticks.set()
        await send({"type": "lifespan.shutdown.complete"})

    ticks = anyio.Event()
    async with run(app) as server:
        await anyio.wait_all_tasks_blocked()
        assert (await get(server)).body == b"1"


async def says_no(send: Send) -> None:
    await send({"type": "lifespan.startup.failed", "message": "Traceback:\n  one\nValueError: no database\n"})
    raise ValueError("no database")


async def test_an_app_that_cannot_begin_is_not_served_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(AppLoadError, match=r"lifespan\.startup has failed: ValueError: no database"):
        async with run(App(says_no)):
            pytest.fail("it is served")
    assert "  one" in caplog.text


async def test_where_one_app_cannot_begin_those_that_have_begun_end() -> None:
    good, bad = App(), App(says_no)
    with pytest.raises(AppLoadError):
        async with run({"": good, "/bad": bad}):
            pytest.fail("it is served")
    assert good.steps == ["startup", "shutdown", "end"]


async def raises(send: Send) -> None:
    raise ValueError("no lifespan here")


async def exits(send: Send) -> None:
    raise SystemExit(3)


async def sends_something_else(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200})


@pytest.mark.parametrize("startup", [raises, exits, sends_something_else])
async def test_an_app_that_does_not_know_lifespan_is_served(startup: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "uwsgi_async")
    async with run(App(startup)) as server:
        assert (await get(server)).body == b"answered"
    assert "the app does not support lifespan" in caplog.text


async def test_an_app_that_returns_at_once_is_served() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] == "http":
            await answer(send, b"answered")

    async with run(app) as server:
        assert (await get(server)).body == b"answered"


async def test_with_lifespan_on_it_must_know_it() -> None:
    with pytest.raises(AppLoadError, match="no lifespan here"):
        async with run(App(raises), lifespan="on"):
            pytest.fail("it is served")


async def test_with_lifespan_off_it_is_not_asked() -> None:
    app = App(says_no)
    async with run(app, lifespan="off") as server:
        await get(server)
    assert app.steps == ["request"]


async def fails_to_end(send: Send) -> None:
    await send({"type": "lifespan.shutdown.failed", "message": "the pool is stuck"})


async def test_an_end_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with run(App(shutdown=fails_to_end)):
        pass
    assert "lifespan.shutdown has failed: the pool is stuck" in caplog.text


async def test_an_error_in_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with run(App(shutdown=raises)):
        pass
    assert "ValueError: no lifespan here" in caplog.text


async def never(send: Send) -> None:
    await anyio.sleep_forever()


async def test_an_end_that_does_not_come_is_waited_for_only_so_long(caplog: pytest.LogCaptureFixture) -> None:
    with anyio.fail_after(20):
        async with run(App(shutdown=never), grace=0.1):
            pass
    assert "did not answer lifespan.shutdown within 0.1 s" in caplog.text


async def test_an_app_that_asks_for_more_events_behind_its_end_holds_nothing_up() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})

    with anyio.fail_after(20):
        async with run(app):
            pass


async def test_a_beginning_that_takes_long_is_named_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)

    async def slow(send: Send) -> None:
        await anyio.sleep(0.2)

    async with run(App(slow)):
        pass
    assert "has not answered lifespan.startup for 0.05 s; still waiting" in caplog.text


async def test_a_beginning_can_be_cancelled() -> None:
    app = App(never)
    with anyio.move_on_after(0.2) as scope:
        async with run(app):
            pytest.fail("it is served")
    assert scope.cancelled_caught
    assert app.steps == ["startup"]


async def test_an_app_at_several_mountpoints_has_one_lifespan() -> None:
    app = App()
    async with run({"": app, "/again": app}):
        pass
    assert app.steps == ["startup", "shutdown", "end"]


async def test_in_its_beginning_an_app_may_use_the_whole_api() -> None:
    async def uses_it(send: Send) -> None:
        import uwsgi

        uwsgi.cache_set("key", b"value")
        assert await anyio.to_thread.run_sync(uwsgi.cache_get, "key") == b"value"
        uwsgi.lock()
        uwsgi.unlock()
        await anyio.to_thread.run_sync(uwsgi.async_sleep, 0.01)
        uwsgi.async_sleep(0.01)
        await uwsgi_async.async_sleep(0.01)

    async with run(App(uses_it), cache2="name=first,items=10"):
        assert uwsgi_async.cache_get("key") == b"value"
