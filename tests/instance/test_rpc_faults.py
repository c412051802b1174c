"""Calls of functions of servers that are not there, or not well."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from tests.client import get
from tests.instance.others import peer, reset
from uwsgi_async.errors import (
    AddressError,
    BadAnswerError,
    NodeGoneError,
    NodeTimeoutError,
)
from uwsgi_async.wire.uwsgi.rpc import encode_result

pytestmark = pytest.mark.anyio


async def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for node in (f"127.0.0.1:{port}", str(tmp_path / "nowhere.sock"), "@nowhere-at-all"):
        with pytest.raises(NodeGoneError, match="cannot connect to"):
            await uwsgi_async.rpc(node, "f")
    with pytest.raises(AddressError):
        await uwsgi_async.rpc("fd://3", "f")


async def test_a_peer_that_stalls_ends_in_a_timeout() -> None:
    over = threading.Event()
    with peer(lambda sock: over.wait(20)) as node:
        with pytest.raises(NodeTimeoutError, match=r"sent nothing for 0\.05 s"):
            await uwsgi_async.rpc(node, "f", timeout=0.05)
        over.set()


async def test_a_peer_that_stalls_in_the_middle_ends_in_a_timeout() -> None:
    over = threading.Event()

    def half(sock: socket.socket) -> None:
        sock.sendall(encode_result(b"result")[:6])
        over.wait(20)

    with peer(half) as node:
        with pytest.raises(NodeTimeoutError):
            await uwsgi_async.rpc(node, "f", timeout=0.05)
        over.set()


async def test_a_call_can_be_cancelled() -> None:
    over = threading.Event()
    with peer(lambda sock: over.wait(20)) as node:
        with anyio.move_on_after(0.05) as scope:
            await uwsgi_async.rpc(node, "f")
        assert scope.cancelled_caught
        over.set()


@pytest.mark.parametrize("data", [encode_result(b"result")[:-1], encode_result(b"x" * 70000)[:-1], b"\xad"])
@pytest.mark.parametrize("how", [lambda sock: None, reset], ids=["closes", "resets"])
async def test_an_answer_that_is_cut_is_an_error(data: bytes, how: Callable[[socket.socket], None]) -> None:
    def cut(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(data)
        how(sock)

    with peer(cut) as node:
        with pytest.raises(NodeGoneError):
            await uwsgi_async.rpc(node, "f")


@pytest.mark.parametrize("how", [lambda sock: None, reset], ids=["closes", "resets"])
async def test_a_peer_that_answers_nothing_has_no_such_function(how: Callable[[socket.socket], None]) -> None:
    def close(sock: socket.socket) -> None:
        sock.recv(100)
        how(sock)

    with peer(close) as node:
        assert await uwsgi_async.rpc(node, "f") is None


async def test_an_answer_that_is_none_is_an_error() -> None:
    def lie(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(66000))

    with peer(lie) as node:
        with pytest.raises(BadAnswerError, match="expected the answer to a call"):
            await uwsgi_async.rpc(node, "f")


async def test_a_dripping_answer_is_put_together() -> None:
    def drip(sock: socket.socket) -> None:
        sock.recv(100)
        for byte in encode_result(b"result"):
            sock.sendall(bytes([byte]))

    with peer(drip) as node:
        assert await uwsgi_async.rpc(node, "f") == b"result"


async def test_a_peer_that_takes_nothing_ends_in_a_timeout() -> None:
    over = threading.Event()
    with peer(lambda sock: over.wait(20)) as node:
        with pytest.raises(NodeTimeoutError):
            await uwsgi_async.rpc(node, "f", *[b"x" * 65535] * 254, timeout=0.1)
        over.set()


async def test_a_node_that_is_gone_is_an_error_of_the_app_and_no_fault_of_its_client(tmp_path: Path) -> None:
    async def asking(environ: Any, start_response: Any) -> list[bytes]:
        await uwsgi_async.rpc(str(tmp_path / "nowhere.sock"), "f")
        return []

    async with uwsgi_async.run(asking, http="127.0.0.1:0") as server:
        assert (await get(server)).status == 500
