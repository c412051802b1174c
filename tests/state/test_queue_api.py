"""The queue's functions as apps call them, in `uwsgi_async` and in the ``uwsgi`` module."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.client import get
from uwsgi_async.errors import NotConfiguredError

pytestmark = pytest.mark.anyio

FUNCTIONS = [
    "queue_get", "queue_last", "queue_pop", "queue_pull", "queue_pull_slot", "queue_pull_wait", "queue_push",
    "queue_set", "queue_slot",
]  # fmt: skip


async def an_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


async def test_the_uwsgi_module_has_them_only_with_the_option(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0"):
        import uwsgi

        assert not any(hasattr(uwsgi, name) for name in [*FUNCTIONS, "queue_size"])
        with pytest.raises(AttributeError, match="only there when the option queue is given"):
            uwsgi.queue_push(b"x")
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", queue=4):
        import uwsgi

        assert all(callable(getattr(uwsgi, name)) for name in FUNCTIONS)
        assert uwsgi.queue_size == 4


async def test_without_the_option_they_say_what_to_configure(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0"):
        with pytest.raises(NotConfiguredError, match="option queue"):
            uwsgi_async.queue_push(b"x")


async def test_results_are_true_none_and_bytes(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", queue=4):
        assert uwsgi_async.queue_push("é") is True
        assert uwsgi_async.queue_push(bytearray(b"array")) is True
        assert uwsgi_async.queue_push(b"") is None
        assert uwsgi_async.queue_push(b"x" * 8177) is None
        assert uwsgi_async.queue_set(3, memoryview(b"three")) is True
        assert uwsgi_async.queue_set(4, b"four") is None
        assert uwsgi_async.queue_get(0) == "é".encode()
        assert uwsgi_async.queue_last() == b"array"
        assert uwsgi_async.queue_last(3) == [b"array", "é".encode(), b"three"]
        assert (uwsgi_async.queue_slot(), uwsgi_async.queue_pull_slot(), uwsgi_async.queue_size()) == (2, 0, 4)
        assert uwsgi_async.queue_pop() == b"array"
        assert uwsgi_async.queue_pull() == "é".encode()
        assert uwsgi_async.queue_pull() is None


async def test_wrong_kinds_of_arguments_are_type_errors(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", queue=4):
        with pytest.raises(TypeError, match="bytes-like object is required, not 'int'"):
            uwsgi_async.queue_push(5)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
            uwsgi_async.queue_get(1.0)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="a count from 0"):
            uwsgi_async.queue_last(-1)


async def test_queue_pull_wait_waits_and_gives_up_after_its_timeout(anyio_backend: Any) -> None:
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", queue=4):
        assert await uwsgi_async.queue_pull_wait(0.001) is None
        async with anyio.create_task_group() as tasks:

            async def push() -> None:
                uwsgi_async.queue_push(b"x")

            tasks.start_soon(push)
            assert await uwsgi_async.queue_pull_wait() == b"x"


@pytest.mark.parametrize("threads", [0, 2])
async def test_a_sync_request_waits_for_what_another_one_pushes(threads: int, anyio_backend: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        import uwsgi

        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/pull":
            return [uwsgi.queue_pull_wait(20)]
        return [json.dumps(uwsgi.queue_push(b"from another request")).encode()]

    async with uwsgi_async.run(app, http="127.0.0.1:0", threads=threads, queue=4) as server:
        answers = []

        async def pull() -> None:
            answers.append((await get(server, "/pull")).body)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pull)
            await anyio.wait_all_tasks_blocked()
            assert (await get(server, "/push")).body == b"true"
    assert answers == [b"from another request"]
