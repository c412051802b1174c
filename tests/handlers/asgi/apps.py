"""ASGI apps for the tests, and how they are served."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio

import uwsgi_async
from tests.client import Answer, get

App = Callable[..., Awaitable[None]]
TEXT = [(b"content-type", b"text/plain")]


def start(status: int = 200, headers: Any = ()) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": [*TEXT, *headers]}


def body(data: bytes = b"", more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def answer(send: Any, data: bytes) -> None:
    """Answer with 200 and ``data``."""
    await send(start())
    await send(body(data))


def http_only(app: App) -> App:
    """Return ``app`` without lifespan, which it would not understand."""

    async def only(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"unknown scope {scope['type']}")
        await app(scope, receive, send)

    return only


@asynccontextmanager
async def serving(app: App, **options: Any) -> AsyncIterator[uwsgi_async.Server]:
    async with uwsgi_async.run(http_only(app), http="127.0.0.1:0", **options) as server:
        yield server


async def answer_of(app: App, target: str = "/", *, options: Any = None, **request: Any) -> Answer:
    async with serving(app, **(options or {})) as server:
        return await get(server, target, **request)


async def wait_until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - the server's state has no event to wait for
            await anyio.sleep(0.005)
