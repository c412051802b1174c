"""The decorators of the spooler: a call writes a task, and a spooler calls the function with what was given."""

from __future__ import annotations

import os
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from uwsgi_async.decorators.spooler import (
    manage_spool_request,
    spool,
    spool_decorate,
    spooler_functions,
    spoolforever,
    spoolraw,
)
from uwsgi_async.errors import NotConfiguredError
from uwsgi_async.spooler.claiming import peek

SECONDS = 20.0


@pytest.fixture(autouse=True)
def _no_functions() -> Iterator[None]:
    before = dict(spooler_functions)
    spooler_functions.clear()
    yield
    spooler_functions.clear()
    spooler_functions.update(before)


class Seen:
    """Collects what functions were called with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self._called = anyio.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self.calls.append((args, kwargs))
        self._called.set()
        self._called = anyio.Event()

    def text(self, arguments: Any) -> None:
        self(arguments)

    async def wait(self, count: int = 1) -> Any:
        with anyio.fail_after(SECONDS):
            while len(self.calls) < count:
                await self._called.wait()
        return self.calls[-1]


def hello(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


@asynccontextmanager
async def running(place: Path, **options: Any) -> AsyncIterator[Path]:
    directory = place / "spool"
    async with uwsgi_async.run(hello, http="127.0.0.1:0", spooler=str(directory), spooler_sync=False, **options):
        yield directory


@pytest.mark.anyio
async def test_the_function_gets_one_dict_of_str(tmp_path: Path) -> None:
    seen = Seen()

    @spool
    def function(arguments: Any) -> None:
        seen(arguments)

    async with running(tmp_path):
        path = function({"a": "é", b"n": 1}, c=b"3", body="all of it")
        ((arguments,), _) = await seen.wait()
    assert arguments == {
        "a": "é", "n": "1", "c": "3", "body": "all of it", "spooler_task_name": os.path.basename(path).decode(),
        "ud_spool_func": "function", "ud_spool_ret": "-2",
    }  # fmt: skip


@pytest.mark.anyio
async def test_with_pass_arguments_the_function_gets_them_as_they_were(tmp_path: Path) -> None:
    seen = Seen()

    @spool(pass_arguments=True)
    def function(*args: Any, **kwargs: Any) -> None:
        seen(*args, **kwargs)

    async with running(tmp_path):
        function(1, [2.5, None], key={"a": b"1"}, priority=3, at=17, message_dict={"more": "1"})
        assert await seen.wait() == ((1, [2.5, None]), {"key": {"a": b"1"}})


@pytest.mark.anyio
async def test_an_async_function_is_awaited_in_both_places(tmp_path: Path) -> None:
    seen = Seen()

    @spool(pass_arguments=True)
    async def function(number: int) -> str:
        await anyio.lowlevel.checkpoint()
        seen(number)
        return "no result"

    async with running(tmp_path) as directory:
        await function(5)
        assert await seen.wait() == ((5,), {})
    assert os.listdir(directory) == []


@pytest.mark.anyio
async def test_what_is_decorated_in_an_instance_is_run_there(tmp_path: Path) -> None:
    seen = Seen()
    async with running(tmp_path):

        @spool
        def function(arguments: Any) -> None:
            seen(arguments["n"])

        function(n=1)
        assert await seen.wait() == (("1",), {})


@pytest.mark.anyio
async def test_forever_runs_again_and_raw_says_itself(tmp_path: Path) -> None:
    seen, raw = Seen(), Seen()

    @spoolforever
    def again(_arguments: Any) -> int:
        seen()
        return -2

    @spoolraw
    def decides(_arguments: Any) -> int:
        raw()
        return -1 if len(raw.calls) == 1 else -2

    async with running(tmp_path, spooler_frequency=1) as directory:
        again()
        decides()
        await seen.wait(2)
        await raw.wait(2)
    assert len(os.listdir(directory)) == 1


@pytest.mark.anyio
async def test_the_old_name_of_a_call_and_the_function_itself_are_there(tmp_path: Path) -> None:
    seen = Seen()

    @spool
    def function(arguments: Any) -> str:
        """Its words."""
        seen(arguments)
        return "itself"

    assert (function.__name__, function.__doc__, function.f({})) == ("function", "Its words.", "itself")
    async with running(tmp_path):
        function.spool(n=1)
        await seen.wait(2)


@pytest.mark.anyio
async def test_without_a_spooler_decorating_is_an_error() -> None:
    async with uwsgi_async.run(hello, http="127.0.0.1:0"):
        with pytest.raises(NotConfiguredError, match="option spooler"):
            spool(lambda _: None)


@pytest.mark.anyio
async def test_a_task_for_later_holds_what_uwsgis_decorator_writes(tmp_path: Path) -> None:
    @spool(pass_arguments=True)
    def function() -> None: ...

    async with running(tmp_path):
        task = peek(function(1, a=2, at=4102444800).decode())
        assert task is not None
        assert task.fields == {
            b"ud_spool_func": b"function",
            b"ud_spool_ret": b"-2",
            b"at": b"4102444800",
            b"args": pickle.dumps((1,)),
            b"kwargs": pickle.dumps({"a": 2}),
        }


def test_an_unknown_function_is_an_error_that_names_it() -> None:
    with pytest.raises(LookupError, match="no function for the spooler with the name b'gone'"):
        manage_spool_request({b"ud_spool_func": b"gone"})


def test_what_is_no_text_stays_bytes() -> None:
    seen = Seen()
    spool_decorate(seen.text, False, -2)
    assert manage_spool_request({b"ud_spool_func": b"text", b"ud_spool_ret": b"-2", b"x": b"\xff"}) == -2
    assert seen.calls[0][0][0]["x"] == b"\xff"


def test_two_functions_of_one_name_are_told(caplog: pytest.LogCaptureFixture) -> None:
    def make(module: str) -> Any:
        def function(_arguments: Any) -> None: ...

        function.__module__ = module
        return function

    spool(make("one"))
    spool(make("one"))
    assert not caplog.records
    spool(make("other"))
    assert "two functions for the spooler are called function" in caplog.text
