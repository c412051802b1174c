"""The whole of `uwsgi_async` inside an ASGI app: jobs, signals, the cache, locks, the queue, what a request is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from tests.client import get
from tests.handlers.asgi.apps import answer, serving
from tests.websockets.client import TEXT, frame, websocket

pytestmark = pytest.mark.anyio

Send = Callable[[Any], Awaitable[None]]


async def said_by(act: Callable[[], Awaitable[bytes]], **options: Any) -> bytes:
    """Return what an app answers that does ``act`` in a request."""

    async def app(scope: Any, receive: Any, send: Send) -> None:
        await answer(send, await act())

    async with serving(app, **options) as server:
        with anyio.fail_after(20):
            return (await get(server)).body


async def test_a_job_is_spooled_and_runs(tmp_path: Path) -> None:
    ran, jobs = anyio.Event(), []

    async def job(arguments: Any) -> int:
        jobs.append(arguments)
        ran.set()
        return uwsgi_async.SPOOL_OK

    async def act() -> bytes:
        import uwsgi

        uwsgi.spooler = job
        await uwsgi_async.spool(name=b"job")
        await ran.wait()
        return b"ran"

    assert await said_by(act, spooler=str(tmp_path)) == b"ran"
    assert b"job" in jobs[0].values()


async def test_a_signal_is_waited_for() -> None:
    async def raise_soon() -> None:
        await anyio.wait_all_tasks_blocked()
        await uwsgi_async.signal(7)

    async def act() -> bytes:
        uwsgi_async.register_signal(7, "", lambda _: None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(raise_soon)
            await uwsgi_async.signal_wait(7)
        return b"%d" % uwsgi_async.signal_received()

    assert await said_by(act) == b"7"


async def test_the_cache_the_queue_and_metrics_are_there() -> None:
    async def act() -> bytes:
        uwsgi_async.cache_set("key", b"cached ")
        uwsgi_async.queue_push(b"queued ")
        uwsgi_async.metric_set("mine", 3)
        found = uwsgi_async.cache_get("key"), uwsgi_async.queue_pull(), b"%d" % uwsgi_async.metric_get("mine")
        return b"".join(part or b"" for part in found)

    options = {"cache2": "name=first,items=10", "queue": 5, "enable_metrics": True, "metric": "mine"}
    assert await said_by(act, **options) == b"cached queued 3"


async def test_a_lock_is_waited_for() -> None:
    order = []

    async def act() -> bytes:
        await uwsgi_async.lock()
        async with anyio.create_task_group() as tasks:

            async def other() -> None:
                await uwsgi_async.lock()
                order.append("other")
                uwsgi_async.unlock()

            tasks.start_soon(other)
            await anyio.wait_all_tasks_blocked()
            order.append("first")
            uwsgi_async.unlock()
        return b"done"

    assert await said_by(act) == b"done"
    assert order == ["first", "other"]


async def test_who_waits_for_a_descriptor_is_woken() -> None:
    async def act() -> bytes:
        import os

        reader, writer = os.pipe()
        try:
            os.write(writer, b"x")
            return b"%d" % await uwsgi_async.wait_fd_read(reader, 5)
        finally:
            os.close(reader)
            os.close(writer)

    assert await said_by(act) == b"1"


async def test_the_request_is_known_in_its_tasks_and_threads() -> None:
    async def act() -> bytes:
        uwsgi_async.set_logvar("name", b"value")
        found = []

        async def child() -> None:
            found.append(uwsgi_async.get_logvar("name"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
        found.append(await anyio.to_thread.run_sync(uwsgi_async.get_logvar, "name"))
        assert uwsgi_async.request_id() == 0
        assert uwsgi_async.worker_id() == 1
        return b" ".join(part or b"nothing" for part in found)

    assert await said_by(act) == b"value value"


async def test_it_is_all_there_in_a_websocket() -> None:
    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] != "websocket":
            raise RuntimeError("unknown")
        await receive()
        await send({"type": "websocket.accept"})
        uwsgi_async.cache_update("last", (await receive())["text"].encode())
        await uwsgi_async.async_sleep(0.01)
        await send({"type": "websocket.send", "bytes": uwsgi_async.cache_get("last")})

    async with uwsgi_async.run(app, http="127.0.0.1:0", cache2="name=first,items=10") as server:
        async with websocket(server) as ws:
            await ws.send(frame(TEXT, b"kept"))
            assert await ws.message() == b"kept"
