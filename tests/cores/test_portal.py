"""How a sync call waits, by where it stands."""

from __future__ import annotations

import contextvars

import anyio
import anyio.to_thread
import greenback
import pytest

from uwsgi_async.cores.portal import call_in_loop, close_to_threads, open_to_threads, wait_for
from uwsgi_async.errors import NoLoopError, WouldBlockLoopError


class Called:
    """An async function that notes each call."""

    def __init__(self, error: Exception | None = None) -> None:
        self.times = 0
        self._error = error

    async def __call__(self, value: int) -> int:
        self.times += 1
        await anyio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error
        return value


@pytest.mark.anyio
async def test_in_a_task_with_a_portal_it_awaits():
    await greenback.ensure_portal()
    assert wait_for(Called(), 5) == 5


@pytest.mark.anyio
async def test_in_a_thread_it_waits_through_the_loop():
    token = open_to_threads()
    try:
        assert await anyio.to_thread.run_sync(wait_for, Called(), 5) == 5
    finally:
        close_to_threads(token)


@pytest.mark.anyio
async def test_in_a_thread_with_a_copy_of_a_tasks_context_it_waits_through_the_loop():
    token, context = open_to_threads(), contextvars.copy_context()  # as asyncio.to_thread and asgiref do
    try:
        assert await anyio.to_thread.run_sync(context.run, wait_for, Called(), 5) == 5
    finally:
        close_to_threads(token)


@pytest.mark.anyio
async def test_on_the_loop_without_a_portal_it_names_the_awaitable_and_calls_nothing():
    called = Called()
    with pytest.raises(WouldBlockLoopError, match=r"await uwsgi_async\.lock"):
        wait_for(called, 5, name="lock")
    assert called.times == 0


@pytest.mark.anyio
async def test_a_runtime_error_of_what_is_waited_for_comes_out_as_it_is():
    await greenback.ensure_portal()
    called = Called(RuntimeError("mine"))
    with pytest.raises(RuntimeError, match=r"^mine$"):
        wait_for(called, 5)
    assert called.times == 1


def test_where_no_server_runs_the_thread_waits_in_a_loop_of_its_own():
    assert wait_for(Called(), 5) == 5


def test_where_no_server_runs_a_runtime_error_comes_out_as_it_is():
    with pytest.raises(RuntimeError, match=r"^mine$"):
        wait_for(Called(RuntimeError("mine")), 5)


def test_there_is_no_loop_to_call_into_where_no_server_runs():
    with pytest.raises(NoLoopError):
        call_in_loop(print)
