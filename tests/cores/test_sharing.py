"""Who has many more connections than another process at the same socket leaves it some, and takes what nobody wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager

import anyio
import pytest

from tests.client import Client
from uwsgi_async.compat.uwsgi_module import installed, make_module
from uwsgi_async.cores import listener as module
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.server import information, open_listeners, serve_apps
from uwsgi_async.options.build import build

pytestmark = pytest.mark.anyio


async def app(environ, start_response):
    start_response("200 OK", [])
    return [b"served"]


@asynccontextmanager
async def serving(leads: Callable[[int], bool]) -> AsyncIterator[Listener]:
    options = build(http_socket="127.0.0.1:0")
    with ExitStack() as stack:
        listeners = open_listeners(options, stack)
        stack.enter_context(installed(make_module(information(options, listeners))))
        async with serve_apps({"": app}, options, listeners, leads=leads):
            yield listeners[0]


async def ask(listener: Listener) -> bytes:
    with anyio.fail_after(10):
        async with await anyio.connect_tcp(*listener.sock.getsockname()) as stream:
            return (await Client(stream).get("/")).body


async def test_a_process_that_leads_leaves_a_connection_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAVE", 1000.0)
    asked = anyio.Event()

    def leads(_connections: int) -> bool:
        asked.set()
        return True

    async with serving(leads) as listener, await anyio.connect_tcp(*listener.sock.getsockname()):
        with anyio.fail_after(10):
            await asked.wait()
        await anyio.lowlevel.checkpoint()
        taken, _ = listener.sock.accept()  # as another process would
        taken.close()


async def test_what_nobody_else_takes_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(lambda _connections: True) as listener:
        assert [await ask(listener) for _ in range(3)] == [b"served"] * 3


async def test_who_does_not_lead_takes_what_comes() -> None:
    told: list[int] = []

    def leads(connections: int) -> bool:
        told.append(connections)
        return False

    async with serving(leads) as listener:
        with anyio.fail_after(10):
            async with await anyio.connect_tcp(*listener.sock.getsockname()) as stream:
                assert (await Client(stream).get("/")).body == b"served"
                assert await ask(listener) == b"served"
    assert told[:2] == [0, 1]
