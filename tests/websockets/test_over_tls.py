"""Websockets over TLS: the same messages."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from websockets.sync.client import connect

import uwsgi_async
from tests.certificates import Authority

pytestmark = pytest.mark.anyio


async def with_object(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    websocket = uwsgi_async.websocket()
    await websocket.accept()
    async for message in websocket:
        await websocket.send(message)
    return []


def talk(url: str, context: ssl.SSLContext) -> list[str | bytes]:
    with connect(url, ssl=context, proxy=None, open_timeout=20) as client:
        for number in range(20):
            client.send(f"message {number}")  # several of them in one record, or in one segment
        got: list[str | bytes] = [client.recv(timeout=20) for _ in range(20)]
        client.send("x" * 100_000)
        got.append(client.recv(timeout=20))
        return got


async def test_messages_come_back(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    https = f"127.0.0.1:0,{authority.issue('127.0.0.1')}"
    async with uwsgi_async.run(with_object, https=https) as server:
        url = server.url.replace("https://", "wss://")
        with anyio.fail_after(40):
            got = await anyio.to_thread.run_sync(talk, url, authority.context())
    assert got == [*(f"message {number}" for number in range(20)), "x" * 100_000]
