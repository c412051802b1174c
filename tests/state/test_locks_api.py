"""`lock`, `unlock`, `is_locked` as apps call them: async, sync in a core, sync in a thread."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

import uwsgi_async
from tests.client import get
from uwsgi_async.errors import DeadlockError, NoInstanceError, WouldBlockLoopError

pytestmark = pytest.mark.anyio


async def an_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


async def test_async_with_locks_and_unlocks_also_after_an_error(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", locks=1):

        async def fail() -> None:
            async with uwsgi_async.lock(1):
                assert uwsgi_async.is_locked(1)
                assert not uwsgi_async.is_locked()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert not uwsgi_async.is_locked(1)


async def test_a_lock_is_kept_until_it_is_unlocked(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0"):
        await uwsgi_async.lock()
        assert uwsgi_async.is_locked()
        uwsgi_async.unlock()
        assert not uwsgi_async.is_locked()
        uwsgi_async.unlock()


async def test_async_with_does_not_unlock_what_has_become_anothers(anyio_backend: Any) -> None:
    async def take() -> None:
        await uwsgi_async.lock()

    async with uwsgi_async.run(an_app, http="127.0.0.1:0"):
        async with uwsgi_async.lock():
            uwsgi_async.unlock()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
        assert uwsgi_async.is_locked()


async def test_a_task_that_locks_twice_is_told(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0"):
        async with uwsgi_async.lock():
            with pytest.raises(DeadlockError, match="lock 0"):
                await uwsgi_async.lock()


async def test_a_number_beyond_the_option_is_a_value_error(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", locks=1):
        for call in (uwsgi_async.lock, uwsgi_async.unlock, uwsgi_async.is_locked):
            with pytest.raises(ValueError, match="Invalid lock number"):
                call(2)


async def test_without_an_instance_there_are_no_locks(anyio_backend: Any) -> None:
    with pytest.raises(NoInstanceError):
        uwsgi_async.lock()


async def test_sync_code_on_the_loop_outside_a_core_is_told_when_it_would_have_to_wait(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0"):
        import uwsgi

        async def lock() -> None:
            await uwsgi_async.lock()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lock)
        with pytest.raises(WouldBlockLoopError, match=r"await uwsgi_async\.lock"):
            uwsgi.lock()
        uwsgi.unlock()
        uwsgi.lock()


@pytest.mark.parametrize("threads", [0, 3])
async def test_sync_requests_wait_for_each_other_and_one_that_locks_twice_is_told(
    threads: int, anyio_backend: Any
) -> None:
    order: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        import uwsgi

        name = environ["PATH_INFO"]
        uwsgi.lock(1)
        order.append(f"{name} in")
        uwsgi.async_sleep(0.01)
        told = ""
        try:
            uwsgi.lock(1)
        except DeadlockError as error:
            told = str(error)
        order.append(f"{name} out")
        uwsgi.unlock(1)
        start_response("200 OK", [])
        return [json.dumps(told).encode()]

    async with uwsgi_async.run(app, http="127.0.0.1:0", locks=1, threads=threads) as server:

        async def ask(path: str) -> None:
            answer = await get(server, path)
            assert "deadlock" in json.loads(answer.body)

        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(ask, f"/{number}")
    assert [where.split()[1] for where in order] == ["in", "out"] * 3
    assert [where.split()[0] for where in order[::2]] == [where.split()[0] for where in order[1::2]]


async def test_the_same_core_is_told_also_in_its_next_request(anyio_backend: Any) -> None:
    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            await uwsgi_async.lock()
        except DeadlockError:
            return [b"deadlock"]
        return [b"locked"]

    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1) as server:
        assert (await get(server)).body == b"locked"
        await checkpoint()
        assert (await get(server)).body == b"deadlock"


async def test_harakiri_frees_what_the_request_held(anyio_backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/hang":
            await uwsgi_async.lock()
            await anyio.sleep_forever()
        async with uwsgi_async.lock():
            return [b"locked"]

    async with uwsgi_async.run(app, http="127.0.0.1:0", harakiri=0.05) as server:
        assert (await get(server, "/hang")).status == 504
        assert (await get(server, "/")).body == b"locked"
    assert "harakiri has unlocked lock 0" in caplog.text
