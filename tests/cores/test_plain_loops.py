"""Servers in event loops that anyio has not begun: asyncio.run and trio.run."""

from __future__ import annotations

import asyncio

import trio
import uvloop

import uwsgi_async
from tests.client import get


async def answer() -> bytes:
    async def app(environ, start_response):
        start_response("200 OK", [])
        await uwsgi_async.async_sleep(0.001)
        return [b"served"]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        return (await get(server)).body


def test_asyncio_run() -> None:
    assert asyncio.run(answer()) == b"served"


def test_uvloop_run() -> None:
    assert uvloop.run(answer()) == b"served"


def test_trio_run() -> None:
    assert trio.run(answer) == b"served"
