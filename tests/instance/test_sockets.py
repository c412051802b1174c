"""Sockets to other servers by their descriptors: from sync and async apps, blocking and not."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from tests.client import connect, get
from tests.instance.others import collect, in_app, peer
from uwsgi_async.errors import (
    NodeGoneError,
    NodeTimeoutError,
    NoRequestError,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("threads", [0, 2])
async def test_a_sync_app_connects_sends_and_receives(tmp_path: Path, threads: int) -> None:
    def serve(sock: socket.socket) -> None:
        sock.sendall(collect(sock, 5)[::-1])

    with peer(serve) as node:

        def work(uwsgi: Any) -> list[Any]:
            fd = uwsgi.connect(node, 5)
            told = [os.get_blocking(fd), uwsgi.is_connected(fd), uwsgi.send(fd, b"hello")]
            told += [uwsgi.recv_block(fd, 2, 10), uwsgi.recv(fd), uwsgi.recv(fd), uwsgi.close(fd), uwsgi.close(fd)]
            return told

        given = await in_app(tmp_path, work, threads=threads)
    assert given == [True, True, True, b"ol", b"leh", None, None, None]


async def test_a_sync_app_gets_minus_one_or_none_for_errors(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    def work(uwsgi: Any) -> list[Any]:
        told = [uwsgi.connect(f"127.0.0.1:{port}"), uwsgi.connect("nonsense:x"), uwsgi.connect("/nowhere.sock", 1)]
        told += [uwsgi.recv(9999), uwsgi.send(9999, b"x"), uwsgi.recv_block(9999, 3), uwsgi.is_connected(9999)]
        told += [uwsgi.recv(-1), uwsgi.send(-1, b"x"), uwsgi.recv_block(-1, 3), uwsgi.is_connected(-1)]
        return told

    assert await in_app(tmp_path, work) == [-1, -1, -1, *[None, None, None, False] * 2]


async def test_a_descriptor_that_does_not_block_is_not_waited_for_in_a_sync_app(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        given = await in_app(
            tmp_path, lambda uwsgi: [uwsgi.recv(ours.fileno()), theirs.send(b"x"), uwsgi.recv(ours.fileno())]
        )
    assert given == [None, 1, b"x"]


async def test_a_sync_app_that_waits_for_a_socket_leaves_the_loop_to_others(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        import uwsgi

        start_response("200 OK", [])
        if environ["PATH_INFO"] == "/wait":
            return [uwsgi.recv(ours.fileno())]
        theirs.send(b"from the other request")
        return [b"sent"]

    with ours, theirs:
        async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
            async with connect(server) as waiting:
                await waiting.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await get(server, "/send")).body == b"sent"
                with anyio.fail_after(20):
                    assert (await waiting.answer()).body == b"from the other request"


async def test_async_code_waits_for_what_it_receives() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        async with anyio.create_task_group() as tasks:
            received: list[bytes | None] = []

            async def receive() -> None:
                received.append(await uwsgi_async.recv(ours.fileno(), 100_000))

            tasks.start_soon(receive)
            await anyio.wait_all_tasks_blocked()
            theirs.send(b"x" * 5000)
        assert received == [b"x" * 4096]


async def test_all_of_what_is_sent_arrives_also_when_it_is_more_than_the_socket_takes() -> None:
    data = os.urandom(1000) * 3000
    for blocking in (True, False):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(blocking)
            theirs.settimeout(20)
            got: list[bytes] = []
            reader = threading.Thread(target=lambda sock=theirs, got=got: got.append(collect(sock, len(data))))
            reader.start()
            assert await uwsgi_async.send(ours.fileno(), data) is True
            await anyio.to_thread.run_sync(reader.join)
            assert got == [data]


async def test_a_pipe_can_be_sent_to() -> None:
    reading, writing = os.pipe()
    await uwsgi_async.send(writing, b"through a pipe")
    assert await uwsgi_async.recv(reading) == b"through a pipe"
    os.close(writing)
    assert await uwsgi_async.recv(reading) is None
    os.close(reading)


async def test_a_block_is_whole_or_nothing() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"abcd")
        assert await uwsgi_async.recv_block(ours.fileno(), 3) == b"abc"
        assert await uwsgi_async.recv_block(ours.fileno(), 2, 0.01) is None  # in time
        theirs.send(b"e")
        theirs.close()
        assert await uwsgi_async.recv_block(ours.fileno(), 2) is None


async def test_a_frame_is_what_is_between_its_bytes_and_nothing_behind_it_is_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"skipped\0first\xff\0second\xffrest<third>")
        assert await uwsgi_async.recv_frame(ours.fileno()) == b"first"
        assert await uwsgi_async.recv_frame(ours.fileno(), "\0", "\xff") == b"second"
        assert await uwsgi_async.recv_block(ours.fileno(), 4) == b"rest"
        assert await uwsgi_async.recv_frame(ours.fileno(), "<", b">") == b"third"
        theirs.send(b"\0half")
        theirs.close()
        assert await uwsgi_async.recv_frame(ours.fileno()) == b""
        with pytest.raises(ValueError, match="one byte"):
            await uwsgi_async.recv_frame(ours.fileno(), "ab", "c")


async def test_a_frame_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uwsgi_async.api.sockets, "LARGEST_FRAME", 10)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"\0" + b"x" * 11)
        with pytest.raises(ValueError, match="more than 10 bytes"):
            await uwsgi_async.recv_frame(ours.fileno())


async def test_connect_fails_with_an_error_in_async_code() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NodeGoneError, match="cannot connect"):
        await uwsgi_async.connect(f"127.0.0.1:{port}")


async def test_connect_knows_names_of_hosts() -> None:
    with peer(lambda sock: sock.sendall(b"x")) as node:
        fd = await uwsgi_async.connect(node.replace("127.0.0.1", "localhost"))
        assert await uwsgi_async.recv(fd) == b"x"
        uwsgi_async.close(fd)


async def test_connecting_has_a_limit_in_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "full.sock"))
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(str(tmp_path / "full.sock"))
        with pytest.raises(NodeTimeoutError, match="did not take a connection"):
            await uwsgi_async.connect(str(tmp_path / "full.sock"), 0.05)
        for sock in waiting:
            sock.close()


async def test_one_argument_goes_to_the_client_as_it_is(tmp_path: Path) -> None:
    response = b"HTTP/1.1 299 Raw\r\nContent-Length: 3\r\nConnection: close\r\n\r\nraw"

    def app(environ: Any, start_response: Any) -> list[bytes]:
        import uwsgi

        assert uwsgi.send(response[:20]) is True
        uwsgi.send(response[20:])
        return []

    async def async_app(environ: Any, start_response: Any) -> list[bytes]:
        await uwsgi_async.send(response)
        return [b""]

    for each in (app, async_app):
        async with uwsgi_async.run(each, http="127.0.0.1:0") as server:
            async with connect(server) as client:
                await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert await client.rest() == response


async def test_sending_to_the_client_needs_a_request() -> None:
    with pytest.raises(NoRequestError):
        await uwsgi_async.send(b"x")
    with pytest.raises(TypeError, match="bytes-like"):
        await uwsgi_async.send("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="file descriptor"):
        await uwsgi_async.send("x", b"y")  # type: ignore[arg-type]


async def test_closing_the_clients_descriptor_disconnects_it(tmp_path: Path) -> None:
    after: list[bool] = []

    async def app(environ: Any, start_response: Any) -> list[bytes]:
        uwsgi_async.close(uwsgi_async.connection_fd())
        after.append(True)
        start_response("200 OK", [])
        return [b"lost"]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        async with connect(server) as client:
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await client.rest() == b""
        async with connect(server) as client:  # the number was given out again: nothing else was closed
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert await client.rest() == b""
    assert after == [True, True]


async def test_what_is_received_from_the_client_is_its_body_and_nothing_behind_it(tmp_path: Path) -> None:
    received: list[bytes | None] = []

    async def app(environ: Any, start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            fd = uwsgi_async.connection_fd()
            received.append(await uwsgi_async.recv_block(fd, 3))
            received.append(await uwsgi_async.recv(fd, 2))
            received.append(await uwsgi_async.recv(fd))
        start_response("200 OK", [])
        return [b"x"]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        async with connect(server) as client:
            await client.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\nabcdefgGET / HTTP/1.1\r\nHost: a\r\n\r\n"
            )
            assert (await client.answer()).body == b"x"
            assert (await client.answer()).body == b"x"
    assert received == [b"abc", b"de", b"fg"]
