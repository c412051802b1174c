"""Files that are sent when the app has returned: the core is free, and nothing of the answer is another one."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

import uwsgi_async
from tests.certificates import Authority
from tests.client import Client, connect, get
from tests.cores.test_tls import tls
from uwsgi_async import Server
from uwsgi_async.cores import files
from uwsgi_async.errors import NoRequestError
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio

LARGE = 8_000_000  # bytes: no socket takes so much of a client that does not read


def content(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "large.bin"
    path.write_bytes(os.urandom(LARGE))
    return path


def sync_app(environ: dict[str, Any], start_response: Any) -> Any:
    import uwsgi

    start_response("200 OK", [])
    kind, path = environ["PATH_INFO"].strip("/"), environ["QUERY_STRING"]
    if kind == "offload":
        return [uwsgi.offload(path)]
    if kind == "wrapper":
        return environ["wsgi.file_wrapper"](open(path, "rb"))
    if kind == "sendfile":
        uwsgi.sendfile(path)
        return [b""]
    return [b"other"]


async def async_app(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [])
    kind, path = environ["PATH_INFO"].strip("/"), environ["QUERY_STRING"]
    if kind == "offload":
        return [await uwsgi_async.offload(path)]
    if kind == "wrapper":
        return environ["wsgi.file_wrapper"](open(path, "rb"))  # noqa: ASYNC230 - as an app may do it
    if kind == "sendfile":
        await uwsgi_async.sendfile(path)
        return [b""]
    return [b"other"]


APPS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "async": (async_app, {}),
    "sync": (sync_app, {}),
    "thread": (sync_app, {"threads": 2}),
}
WAYS = pytest.mark.parametrize("way", ["offload", "wrapper", "sendfile"])


@asynccontextmanager
async def serving(kind: str = "async", **options: Any) -> AsyncIterator[Server]:
    app, more = APPS[kind]
    async with uwsgi_async.run(app, http="127.0.0.1:0", offload_threads=2, **more, **options) as server:
        with anyio.fail_after(30):
            yield server


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - the server's state has no event to wait for
        await anyio.sleep(0.005)


def stuck(server: Server) -> int:
    """How many connections wait for their clients to read."""
    return sum(connection._write_waiter is not None for connection in server.pool.connections)


@WAYS
@pytest.mark.parametrize("kind", APPS)
async def test_a_transfer_holds_no_core_and_comes_whole(kind: str, way: str, file: Path) -> None:
    async with serving(kind, cores=1) as server, connect(server) as slow:
        await slow.send(f"GET /{way}?{file} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await until(lambda: stuck(server))
        assert server.statistics().busy == 0
        for _ in range(3):
            assert (await get(server, "/other")).body == b"other"
        answer = await slow.answer()
        assert answer.body == content(file)
        assert (await slow.get("/other")).body == b"other"  # on the same connection
        await until(lambda: server.statistics().cores[0].requests == 5)
        [core] = server.statistics().cores
        assert core.offloaded_requests == 1


async def test_many_transfers_are_under_way_at_once_beside_one_core(file: Path) -> None:
    async with serving(cores=1) as server, anyio.create_task_group() as tasks:
        go = anyio.Event()
        sizes: list[int] = []

        async def download() -> None:
            async with connect(server) as client:
                await client.send(f"GET /offload?{file} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                await go.wait()
                sizes.append(len((await client.answer()).body))

        for _ in range(8):
            tasks.start_soon(download)
        await until(lambda: stuck(server) == 8)
        assert server.statistics().busy == 0
        go.set()
    assert sizes == 8 * [LARGE]


async def test_without_the_option_the_core_sends_but_offload_does_not_need_it(file: Path) -> None:
    async with uwsgi_async.run(async_app, http="127.0.0.1:0", cores=1) as server:
        with anyio.fail_after(30):
            for way, busy in (("sendfile", 1), ("offload", 0)):
                async with connect(server) as client:
                    await client.send(f"GET /{way}?{file} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                    await until(lambda: stuck(server))
                    assert server.statistics().busy == busy
                    assert (await client.answer()).body == content(file)


async def test_static_files_are_offloaded(file: Path) -> None:
    async with serving(cores=1, check_static=str(file.parent)) as server, connect(server) as slow:
        await slow.send(b"GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n")
        await until(lambda: stuck(server))
        assert (await get(server, "/other")).body == b"other"
        assert (await slow.answer()).body == content(file)
        [core] = server.statistics().cores
        assert (core.static_requests, core.offloaded_requests) == (1, 1)


async def test_over_the_uwsgi_protocol_and_tls_too(file: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    variables = {"REQUEST_METHOD": "GET", "PATH_INFO": "/offload", "QUERY_STRING": str(file)}
    packet = encode_packet(0, 0, encode_vars(variables))
    ssl_socket = f"127.0.0.1:0,{authority.issue('localhost')}"
    async with uwsgi_async.run(async_app, ssl_socket=ssl_socket, cores=1) as server:
        async with tls(server, authority.context()) as client:
            with anyio.fail_after(30):
                await client.send(packet)
                await until(lambda: stuck(server))
                assert server.statistics().busy == 0
                assert (await client.rest()).endswith(b"\r\n\r\n" + content(file))


async def test_what_is_sent_behind_a_file_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"file ")

    async def app(environ: dict[str, Any], start_response: Any) -> AsyncIterator[bytes]:
        start_response("200 OK", [("Content-Length", "20")])
        yield b"before "
        await uwsgi_async.offload(str(path))
        await uwsgi_async.sendfile(str(path), 0, 1, 2)
        yield b"behind"

    async with uwsgi_async.run(app, http="127.0.0.1:0", offload_threads=1) as server:
        assert (await get(server)).body == b"before file ilbehind"


@WAYS
async def test_a_head_is_answered_without_the_file(way: str, file: Path) -> None:
    async with serving() as server, connect(server) as client:
        answer = await client.get(f"/{way}?{file}", method="HEAD")
        assert (answer.status, answer.headers["content-length"]) == (200, str(LARGE))
        assert (await client.get("/other")).body == b"other"


async def test_a_file_that_becomes_shorter_ends_the_connection_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)

    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        await uwsgi_async.offload(str(path))
        os.truncate(path, 10)
        return []

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, connect(server) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\nxxxxxxxxxx")
    assert "the app sent 990 bytes less than its Content-Length" in caplog.text


@pytest.mark.parametrize("why", ["gone", "stalls", "server ends", "app fails", "disconnect"])
async def test_a_transfer_that_cannot_end_leaves_no_file_open(why: str, file: Path) -> None:
    """The check for open files is the fixture of all tests."""

    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        await uwsgi_async.offload(str(file))
        if why == "app fails":
            raise ValueError("after offload")
        if why == "disconnect":
            uwsgi_async.disconnect()
        return []

    options: dict[str, Any] = {"socket_timeout": 0.3} if why == "stalls" else {"grace": 0.1}
    async with uwsgi_async.run(app, http="127.0.0.1:0", cores=1, **options) as server, connect(server) as client:
        with anyio.fail_after(30):
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            if why in ("gone", "stalls", "server ends"):
                await until(lambda: stuck(server))
            if why == "gone":
                raw = client.stream.extra(anyio.abc.SocketAttribute.raw_socket)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                await client.stream.aclose()
            if why != "server ends":
                await until(lambda: server.statistics().requests == 1 and not server.pool.connections)
                [core] = server.statistics().cores
                assert core.write_errors == (1 if why in ("gone", "stalls") else 0)


async def test_a_server_that_ends_lets_a_transfer_end(file: Path) -> None:
    answers: list[int] = []

    async def read(client: Client, started: anyio.Event) -> None:
        await started.wait()
        answers.append(len((await client.answer()).body))

    started = anyio.Event()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            async with serving() as server:
                address = server.url.rpartition("/")[2].rpartition(":")
                stream = await anyio.connect_tcp(address[0], int(address[2]))
                client = Client(stream)
                await client.send(f"GET /offload?{file} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                await until(lambda: stuck(server))
                tasks.start_soon(read, client, started)
                started.set()
        await stream.aclose()
    assert answers == [LARGE]


async def test_a_slow_disk_is_waited_for_in_a_thread(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, readable = threading.Event(), threading.Event()
    real_read = files._read

    def read_slowly(own: list[int], start: int, size: int) -> None:
        reading.set()
        readable.wait(20)
        real_read(own, start, size)

    monkeypatch.setattr(files, "_is_in_memory", lambda fd, offset: False)
    monkeypatch.setattr(files, "_read", read_slowly)
    async with serving(cores=1) as server, connect(server) as client:
        await client.send(f"GET /offload?{file} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        await anyio.to_thread.run_sync(reading.wait, 20)
        assert (await get(server, "/other")).body == b"other"
        readable.set()
        assert (await client.answer()).body == content(file)


async def test_what_cannot_be_opened_is_a_valueerror(tmp_path: Path) -> None:
    errors: list[str] = []

    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        try:
            await uwsgi_async.offload(str(tmp_path / "nothing"))
        except ValueError as error:
            errors.append(str(error))
        return [b"done"]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        assert (await get(server)).body == b"done"
    assert errors[0].startswith("unable to offload the request")
    with pytest.raises(NoRequestError):
        await uwsgi_async.offload("/")


async def test_fds_and_file_objects_are_sent_and_closed(file: Path) -> None:
    fds: list[int] = []

    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        fds.append(os.open(file, os.O_RDONLY))
        await uwsgi_async.offload(fds[0], 10)
        opened = open(file, "rb")  # noqa: ASYNC230, SIM115 - as an app may do it
        fds.append(opened.fileno())
        return [await uwsgi_async.offload(opened, 5)]

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        data = content(file)
        answer = await get(server)
    assert answer.body == data[:10]  # the head has said so: what comes behind is cut
    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
