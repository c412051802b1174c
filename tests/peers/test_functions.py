"""The table of functions: names, limits, and what a function may do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from uwsgi_async.peers.functions import Functions


def table(**functions: Callable[..., Any]) -> Functions:
    made = Functions(64)
    for name, function in functions.items():
        made.register(name.encode(), function)
    return made


def test_names_are_in_the_order_of_their_registration_and_a_second_function_takes_the_place() -> None:
    made = table(b=lambda: b"1", a=lambda: b"2")
    made.register(b"b", lambda: b"3", 2)
    assert made.names == (b"b", b"a")
    found = made.find(b"b")
    assert found is not None
    assert found.function() == b"3"
    assert found.argument_count == 2


@pytest.mark.parametrize("name", [b"", b"x" * 256])
def test_a_name_has_1_to_255_bytes(name: bytes) -> None:
    made = table()
    made.register(b"x" * 255, lambda: b"")
    with pytest.raises(ValueError, match="unable to register rpc function: its name"):
        made.register(name, lambda: b"")


def test_a_full_table_takes_no_other_name() -> None:
    made = Functions(1)
    made.register(b"a", lambda: b"1")
    made.register(b"a", lambda: b"2")
    with pytest.raises(ValueError, match="rpc-max"):
        made.register(b"b", lambda: b"3")


def test_a_closed_table_says_why() -> None:
    made = table()
    made.closed = "mule 1 serves no calls"
    with pytest.raises(ValueError, match="unable to register rpc function: mule 1 serves no calls"):
        made.register(b"b", lambda: b"3")


@pytest.mark.anyio
async def test_plain_and_async_functions_get_bytes_and_give_bytes() -> None:
    async def later(*words: bytes) -> bytes:
        await anyio.lowlevel.checkpoint()
        return b"-".join(words)

    made = table(plain=lambda *words: b"+".join(words), later=later)
    assert await made.call(b"plain", [b"a", b"b"]) == b"a+b"
    assert await made.call(b"later", [b"a", b"b"]) == b"a-b"
    assert await made.call(b"missing", []) is None


@pytest.mark.anyio
@pytest.mark.parametrize("result", [b"", None, "text", bytearray(b"x"), 1])
async def test_what_is_no_bytes_is_no_result(result: object, caplog: pytest.LogCaptureFixture) -> None:
    assert await table(f=lambda: result).call(b"f", []) is None
    told = f"the RPC function b'f' returned {type(result).__name__}, which is no result" in caplog.text
    assert told is (result not in (b"", None) or isinstance(result, bytearray))


@pytest.mark.anyio
@pytest.mark.parametrize("error", [ValueError("too large"), SystemExit(3)], ids=["error", "exit"])
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
async def test_an_error_is_in_the_log_and_no_result(
    error: BaseException, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> bytes:
        raise error

    async def fail_later() -> bytes:
        raise error

    assert await table(f=fail_later if is_async else fail).call(b"f", []) is None
    assert "the RPC function b'f' raised an error" in caplog.text
    assert caplog.records[0].levelno == logging.ERROR


@pytest.mark.anyio
async def test_too_many_arguments_for_the_function_are_its_error(caplog: pytest.LogCaptureFixture) -> None:
    assert await table(f=lambda: b"x").call(b"f", [b"a"]) is None
    assert "TypeError" in caplog.text


@pytest.mark.anyio
async def test_cancellation_passes_a_function() -> None:
    made = table(f=anyio.sleep_forever)
    with anyio.move_on_after(0.01) as scope:
        await made.call(b"f", [])
    assert scope.cancelled_caught


def test_an_object_with_an_async_call_is_async() -> None:
    class Waiting:
        async def __call__(self) -> bytes:
            return b"x"

    made = table(f=Waiting(), g=lambda: b"")
    f, g = made.find(b"f"), made.find(b"g")
    assert f is not None
    assert g is not None
    assert (f.is_async, g.is_async) == (True, False)
