"""Static files through a server: what a client gets, on every event loop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from tests.client import Answer, Client, connect, get
from uwsgi_async.cores import files as sending
from uwsgi_async.cores import pool as pool_module
from uwsgi_async.handlers.wsgi import AsyncHandler
from uwsgi_async.instance.calling import make_handler
from uwsgi_async.options.build import build

pytestmark = pytest.mark.anyio

MTIME = 784_111_777
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"


async def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the app: " + environ["PATH_INFO"].encode("latin-1")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    for name, content in {
        "a.css": b"0123456789",
        "a.css.gz": b"zipped",
        "empty.txt": b"",
        "large.bin": bytes(range(256)) * 8192,
        "index.html": b"<p>",
        "sub/page": b"page",
    }.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
        os.utime(root / name, (MTIME, MTIME))
    return root


@asynccontextmanager
async def serving(root: Path, **options) -> AsyncIterator[uwsgi_async.Server]:
    async with uwsgi_async.run(app, http="127.0.0.1:0", **{"static_map": f"/s={root}", **options}) as server:
        yield server


async def ask(root: Path, target: str = "/s/a.css", *, run_options: dict | None = None, **options) -> Answer:
    async with serving(root, **(run_options or {})) as server:
        return await get(server, target, **options)


async def test_a_file_is_sent_with_type_length_and_date(root):
    answer = await ask(root)
    assert (answer.status, answer.body) == (200, b"0123456789")
    assert answer.headers["content-type"] == "text/css"
    assert answer.headers["content-length"] == "10"
    assert answer.headers["last-modified"] == DATE


async def test_what_names_no_file_is_the_apps(root):
    async with serving(root) as server:
        for target in ("/s/nothing", "/other", "/s/%2e%2e/x", "/s/a.css%00", "/s/sub", "/s"):
            assert (await get(server, target)).body.startswith(b"the app: ")


@pytest.mark.parametrize("method", ["POST", "OPTIONS", "DELETE"])
async def test_other_methods_are_the_apps(root, method):
    assert (await ask(root, method=method)).body == b"the app: /s/a.css"


async def test_head_tells_what_get_would_send(root):
    answer = await ask(root, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-length"] == "10"


async def test_a_range_is_a_part(root):
    answer = await ask(root, headers="Range: bytes=2-4\r\n")
    assert (answer.status, answer.body) == (206, b"234")
    assert answer.headers["content-range"] == "bytes 2-4/10"
    assert answer.headers["content-length"] == "3"


async def test_a_range_beyond_the_file_is_416(root):
    answer = await ask(root, headers="Range: bytes=10-\r\n")
    assert (answer.status, answer.body) == (416, b"")
    assert answer.headers["content-range"] == "bytes */10"


async def test_a_file_that_has_not_changed_is_304_without_a_body(root):
    async with serving(root, static_expires_type="text/css=60") as server:
        answer = await get(server, "/s/a.css", headers=f"If-Modified-Since: {DATE}\r\n")
    assert (answer.status, answer.body) == (304, b"")
    assert "expires" in answer.headers
    assert "content-type" not in answer.headers


async def test_a_connection_lives_on_after_each_kind_of_answer(root):
    async with serving(root, cores=1) as server, connect(server) as client:
        for headers, status in (("", 200), ("Range: bytes=1-\r\n", 206), ("Range: bytes=99-\r\n", 416)):
            assert (await client.get("/s/a.css", headers=headers)).status == status
        assert (await client.get("/s/a.css", headers=f"If-Modified-Since: {DATE}\r\n")).status == 304
        assert (await client.get("/s/a.css", method="HEAD")).status == 200
        assert (await client.get("/s/empty.txt")).headers["content-length"] == "0"
        assert (await client.get("/x")).body == b"the app: /x"
        assert server.statistics().requests == 7


@pytest.mark.parametrize("cold", [False, True])
async def test_a_large_file_comes_whole_from_memory_and_from_a_slow_disk(root, monkeypatch, cold):
    if cold:
        monkeypatch.setattr(sending, "_is_in_memory", lambda fd, offset: False)
    assert (await ask(root, "/s/large.bin")).body == bytes(range(256)) * 8192


async def test_a_slow_disk_holds_no_other_request_up(root, monkeypatch):
    reading, readable = threading.Event(), threading.Event()
    real_read = sending._read

    def read_slowly(own: list[int], start: int, size: int) -> None:
        reading.set()
        readable.wait(20)
        real_read(own, start, size)

    monkeypatch.setattr(sending, "_is_in_memory", lambda fd, offset: False)
    monkeypatch.setattr(sending, "_read", read_slowly)
    async with serving(root, cores=2) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(get, server, "/s/a.css")
        await anyio.to_thread.run_sync(reading.wait, 20)
        assert (await get(server, "/x")).body == b"the app: /x"
        readable.set()


async def test_a_request_that_is_cancelled_while_a_disk_is_slow_leaves_nothing_open(root, monkeypatch):
    """One is in the thread, one waits for it. The check for what is left open is the fixture of all tests."""
    readable, closed = threading.Event(), threading.Event()
    answers = []

    def read_slowly(own: list[int], start: int, size: int) -> None:
        fd = own.pop()
        readable.wait(20)
        os.close(fd)
        closed.set()

    async def ask_for_it(server: uwsgi_async.Server) -> None:
        answers.append((await get(server, "/s/a.css")).status)

    monkeypatch.setattr(pool_module, "_FILE_THREADS", 1)
    monkeypatch.setattr(sending, "_is_in_memory", lambda fd, offset: False)
    monkeypatch.setattr(sending, "_read", read_slowly)
    async with serving(root, cores=2, harakiri=0.2) as server, anyio.create_task_group() as tasks:
        tasks.start_soon(ask_for_it, server)
        tasks.start_soon(ask_for_it, server)
    assert answers == [504, 504]
    readable.set()
    assert closed.wait(20)


async def test_a_client_that_goes_away_leaves_nothing_open(root):
    """The check for open files is the fixture of all tests."""
    async with serving(root, cores=1) as server:
        async with connect(server) as client:
            await client.send(b"GET /s/large.bin HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.stream.receive(10)
        assert (await get(server, "/s/a.css")).status == 200


async def test_a_client_that_takes_nothing_is_given_up(root):
    given_up = anyio.Event()

    class Watcher(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "took nothing" in record.getMessage():
                given_up.set()

    watcher = Watcher()
    logging.getLogger("uwsgi_async").addHandler(watcher)
    try:
        async with serving(root, socket_timeout=0.2) as server, connect(server) as client:
            await client.send(b"GET /s/large.bin HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
            with anyio.fail_after(10):
                await given_up.wait()
    finally:
        logging.getLogger("uwsgi_async").removeHandler(watcher)


async def test_a_file_that_shrinks_meanwhile_ends_the_connection(root, tmp_path):
    path = tmp_path / "shrinking"
    path.write_bytes(b"x" * 4_000_000)
    async with serving(tmp_path, static_map=f"/s={tmp_path}") as server, connect(server) as client:
        await client.send(b"GET /s/shrinking HTTP/1.1\r\nHost: x\r\n\r\n")
        await client.stream.receive(10)
        os.truncate(path, 10)
        with anyio.fail_after(10):
            assert len(await client.rest()) < 4_000_000


async def test_an_index_stands_for_its_directory(root):
    async with serving(root, static_index=["nothing.html", "index.html"]) as server:
        for target in ("/s", "/s/"):
            answer = await get(server, target)
            assert (answer.body, answer.headers["content-type"]) == (b"<p>", "text/html")
        assert (await get(server, "/s/sub/")).body == b"the app: /s/sub/"


async def test_a_compressed_variant_is_sent_to_who_takes_it(root):
    async with serving(root, static_gzip_ext=".css") as server:
        zipped = await get(server, "/s/a.css", headers="Accept-Encoding: gzip\r\n")
        plain = await get(server, "/s/a.css")
    assert (zipped.body, zipped.headers["content-encoding"]) == (b"zipped", "gzip")
    assert zipped.headers["content-type"] == plain.headers["content-type"] == "text/css"
    assert plain.body == b"0123456789"
    assert zipped.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"


async def test_a_date_in_the_future_is_not_told(tmp_path):
    (tmp_path / "f").write_text("x")
    os.utime(tmp_path / "f", (time.time() + 1000, time.time() + 1000))
    answer = await ask(tmp_path, "/s/f")
    assert answer.headers["last-modified"] == answer.headers["date"]


async def test_a_file_that_may_not_be_read_is_the_apps(root, monkeypatch):
    real_open = os.open

    def refuse(path, flags, *args, **options):
        if flags & os.O_NOCTTY:
            raise PermissionError(13, "Permission denied", path)
        return real_open(path, flags, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    assert (await ask(root)).body == b"the app: /s/a.css"


async def test_without_an_app_what_is_no_file_is_500(root, caplog):
    async with uwsgi_async.run({}, http="127.0.0.1:0", check_static=str(root)) as server:
        assert (await get(server, "/a.css")).status == 200
        answer = await get(server, "/nothing")
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert "--- no python application found, check your startup logs for errors ---" in caplog.text


async def test_over_the_uwsgi_protocol_too(root):
    async with uwsgi_async.run(app, socket="127.0.0.1:0", check_static_docroot=True) as server:
        port = int(server.addresses[0].rpartition(":")[2])
        vars = {"REQUEST_METHOD": "GET", "PATH_INFO": "/a.css", "DOCUMENT_ROOT": str(root)}
        payload = b"".join(len(text).to_bytes(2, "little") + text.encode() for pair in vars.items() for text in pair)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"\0" + len(payload).to_bytes(2, "little") + b"\0" + payload)
            assert (await Client(stream).rest()).endswith(b"\r\n\r\n0123456789")


async def test_a_file_is_counted_and_logged_as_no_apps(root, caplog):
    caplog.set_level(logging.INFO, "uwsgi_async.request")
    async with serving(root) as server:
        await get(server, "/x")
        await get(server, "/s/a.css")
        await get(server, "/x")
        assert server.statistics().requests == 3
    lines = [record.getMessage() for record in caplog.records if record.name == "uwsgi_async.request"]
    assert [line.partition("|")[2].partition("]")[0] for line in lines] == [
        "app: 0|req: 1/1",
        "app: -1|req: -1/2",
        "app: 0|req: 2/3",
    ]
    assert " generated 10 bytes " in lines[1]
    assert "via sendfile() (HTTP/1.1 200) 3 headers" in lines[1]
    assert "(0 switches on core" in lines[1]


async def test_nothing_stands_before_the_app_where_no_files_are_configured():
    assert type(make_handler({"": app}, build()).handler) is AsyncHandler
