"""Messages, sockets, FastCGI and handing on: from sync and async apps, against real sockets and ill peers."""

from __future__ import annotations

import marshal
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from tests.client import connect, get
from tests.instance.test_rpc import peer, reset
from tests.wire.test_fastcgi import end, record
from uwsgi_async.errors import BadAnswerError, NodeGoneError, NodeTimeoutError, NoRequestError
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio


@contextmanager
def file_with(path: Path, content: bytes) -> Iterator[BinaryIO]:
    path.write_bytes(content)
    with path.open("rb") as file:
        yield file


def collect(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, data
        data += part
    return data


async def in_app(tmp_path: Path, work: Callable[[Any], Any], **options: Any) -> Any:
    """Run ``work`` with the `uwsgi` module in a sync app, and return what it gives."""
    results: list[Any] = []

    def sync_app(environ: Any, start_response: Any) -> list[bytes]:
        import uwsgi

        results.append(work(uwsgi))
        start_response("200 OK", [])
        return [b""]

    async with uwsgi_async.run(sync_app, http="127.0.0.1:0", **options) as server:
        await get(server)
    assert results, "the app has failed"
    return results[0]


@asynccontextmanager
async def echoing(tmp_path: Path) -> AsyncIterator[str]:
    """An instance that answers a request with its body and one of its vars."""

    async def app(environ: Any, start_response: Any) -> list[bytes]:
        body = await environ["wsgi.input"].read()
        start_response("201 Created", [("X-Seen", environ.get("X_SENT", "-"))])
        return [environ["REQUEST_METHOD"].encode(), b" ", body]

    path = str(tmp_path / "echo.sock")
    async with uwsgi_async.run(app, socket=path):
        yield path


# --- sockets --------------------------------------------------------------------------------------------------------


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
        return told

    assert await in_app(tmp_path, work) == [-1, -1, -1, None, None, None, False]


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


# --- messages -------------------------------------------------------------------------------------------------------


def answering(*answers: bytes, sent: list[bytes] | None = None, size: int = 4) -> Callable[[socket.socket], None]:
    """A peer that receives ``size`` bytes, and then sends these."""

    def serve(sock: socket.socket) -> None:
        data = collect(sock, size)
        if sent is not None:
            sent.append(data)
        for answer in answers:
            sock.sendall(answer)

    return serve


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (b"raw", b"raw"),
        ("\xe4", b"\xc3\xa4"),
        ({"a": "\xe4", b"b": b"\xff", "c": 17, 5: "d", "e": ""}, encode_vars({"a": "\xe4", "b": "\xff", "e": ""})),
        ({"a": "\u20ac"}, encode_vars({"a": "\xe2\x82\xac"})),
        ((1, "two"), marshal.dumps((1, "two"))),
    ],
    ids=["bytes", "text", "dict", "unicode", "object"],
)
async def test_a_message_is_a_packet_of_what_it_says(message: object, payload: bytes) -> None:
    sent: list[bytes] = []
    packet = encode_packet(33, 7, payload)
    with peer(answering(encode_packet(34, 0, b"answer"), sent=sent, size=len(packet))) as node:
        answer = await uwsgi_async.send_message(node, 33, 7, message)
        assert answer is not None
        assert b"".join([chunk async for chunk in answer]) == b"answer"
    assert sent == [packet]


async def test_an_http_response_is_an_answer_until_its_end(tmp_path: Path) -> None:
    async with echoing(tmp_path) as path:
        answer = await uwsgi_async.send_message(path, 0, 0, {"REQUEST_METHOD": "GET", "X_SENT": "seen"})
        assert answer is not None
        data = b"".join([chunk async for chunk in answer])
    assert data.startswith(b"HTTP/1.0 201 Created\r\n")
    assert b"X-Seen: seen" in data
    assert data.endswith(b"GET ")


async def test_a_body_from_a_descriptor_follows_the_packet(tmp_path: Path) -> None:
    async with echoing(tmp_path) as path:
        with file_with(tmp_path / "body", b"from a file" + b"x" * 100_000) as file:
            vars = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "90000"}
            answer = await uwsgi_async.send_message(path, 0, 0, vars, 5, file.fileno(), 90_000)
            assert answer is not None
            data = b"".join([chunk async for chunk in answer])
    assert data.endswith(b"POST from a file" + b"x" * 89_989)


async def test_a_body_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    async with echoing(tmp_path) as path:
        with file_with(tmp_path / "body", b"short") as file:
            vars = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "9"}
            with pytest.raises(OSError, match="4 bytes too soon"):
                await uwsgi_async.send_message(path, 0, 0, vars, 5, file.fileno(), 9)


@pytest.mark.parametrize("threads", [0, 2])
async def test_uwsgis_old_routers_run(tmp_path: Path, threads: int) -> None:
    """As uwsgirouter2.py of uWSGI 1.4: the environ goes to another server, and the client's body behind it."""

    def app(environ: Any, start_response: Any) -> Any:
        import uwsgi

        start_response("200 OK", [("Content-Type", "text/plain")])
        return uwsgi.send_message(path, 0, 0, environ, 0, uwsgi.connection_fd(), uwsgi.cl())

    async with echoing(tmp_path) as path, uwsgi_async.run(app, http="127.0.0.1:0", threads=threads) as server:
        answer = await get(server, "/", method="POST", body=b"y" * 200_000)
        assert answer.status == 200
        assert answer.body.startswith(b"HTTP/1.0 201 Created\r\n")
        assert answer.body.endswith(b"POST " + b"y" * 200_000)
        assert (await get(server)).body.endswith(b"GET ")


async def test_a_descriptor_as_destination_stays_open(tmp_path: Path) -> None:
    packet = encode_packet(5, 6, b"m")
    with peer(answering(encode_packet(1, 2, b"first"), encode_packet(1, 2, b"second"), size=2 * len(packet))) as node:
        fd = await uwsgi_async.connect(node)
        await uwsgi_async.async_send_message(fd, 5, 6, b"m")
        answer = await uwsgi_async.send_message(fd, 5, 6, b"m")
        assert answer is not None
        assert [chunk async for chunk in answer] == [b"first"]
        assert await uwsgi_async.recv(fd) == encode_packet(1, 2, b"second")
        uwsgi_async.close(fd)


async def test_a_descriptor_can_be_passed(tmp_path: Path) -> None:
    path = str(tmp_path / "fds.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        reading, writing = os.pipe()
        assert await uwsgi_async.send_message(path, 9, 8, b"passed", 5, writing, -1) is None
        os.close(writing)
        sock, _ = listener.accept()
        with sock:
            header, (passed,), _, _ = socket.recv_fds(sock, 4, 1)
            assert header + collect(sock, 6) == encode_packet(9, 8, b"passed")
        os.write(passed, b"through")
        os.close(passed)
        assert os.read(reading, 100) == b"through"
        os.close(reading)


async def test_an_answer_that_is_not_wanted_is_closed() -> None:
    closed: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        collect(sock, 5)
        sock.sendall(encode_packet(1, 1, b"x" * 1000)[:100])
        closed.append(sock.recv(1))

    with peer(serve) as node:
        answer = await uwsgi_async.send_message(node, 5, 6, b"m")
        assert answer is not None
        await answer.__anext__()
        await answer.aclose()
        await answer.aclose()
        with pytest.raises(StopAsyncIteration):
            await answer.__anext__()
    assert closed == [b""]


@pytest.mark.parametrize("data", [b"\1\2", encode_packet(1, 1, b"answer")[:-1]], ids=["header", "payload"])
async def test_an_answer_that_is_cut_is_an_error(data: bytes) -> None:
    with peer(answering(data, size=5)) as node:
        answer = await uwsgi_async.send_message(node, 5, 6, b"m")
        assert answer is not None
        with pytest.raises(NodeGoneError):
            [chunk async for chunk in answer]
        answer.close()


async def test_no_answer_is_an_empty_one() -> None:
    with peer(answering(size=5)) as node:
        answer = await uwsgi_async.send_message(node, 5, 6, b"m")
        assert answer is not None
        assert [chunk async for chunk in answer] == []


async def test_a_peer_that_stalls_ends_in_a_timeout() -> None:
    over = threading.Event()
    with peer(lambda sock: over.wait(20)) as node:
        answer = await uwsgi_async.send_message(node, 5, 6, b"m", 0.05)
        assert answer is not None
        with pytest.raises(NodeTimeoutError):
            await answer.__anext__()
        answer.close()
        over.set()


async def test_two_who_both_send_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """The peer does not read before all that it has to say was taken."""
    size = 4 + 8_000_000

    def serve(sock: socket.socket) -> None:
        sock.sendall(b"HTTP" + b"y" * 900_000)
        collect(sock, size)

    with peer(serve) as node, file_with(tmp_path / "body", b"x" * 8_000_000) as file:
        answer = await uwsgi_async.send_message(node, 0, 0, b"", 20, file.fileno(), 8_000_000)
        assert answer is not None
        assert len(b"".join([chunk async for chunk in answer])) == 900_004


async def test_in_a_sync_app_a_failure_is_none_or_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with peer(answering(encode_packet(1, 1, b"answer")[:-1], size=5)) as node:

        def work(uwsgi: Any) -> list[Any]:
            told = [uwsgi.send_message("/nowhere.sock", 1, 1, b"m"), uwsgi.async_send_message(9999, 1, 1, b"m")]
            told += [uwsgi.send_multi_message((("127.0.0.1", 1, b"m"),), 1, 1, 1), uwsgi.fcgi("/nowhere.sock", {})]
            return [*told, b"".join(uwsgi.send_uwsgi_message(node, 5, 6, b"m"))]

        assert await in_app(tmp_path, work) == [None, None, None, None, b"answe"]
    assert "send_message: the answer is not complete" in caplog.text


async def test_a_message_that_no_packet_can_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 65535 bytes"):
        await uwsgi_async.send_message("/nowhere.sock", 1, 1, b"x" * 65536)
    with pytest.raises(ValueError, match="modifiers are 0 to 255"):
        await uwsgi_async.send_message("/nowhere.sock", 256, 1, b"x")


async def test_several_servers_are_asked_at_once_and_answer_in_order() -> None:
    """None of them answers before all have been asked."""
    all_asked = threading.Barrier(3, timeout=20)

    def serve(number: int) -> Callable[[socket.socket], None]:
        def answer(sock: socket.socket) -> None:
            message = collect(sock, 6)
            all_asked.wait()
            sock.sendall(encode_packet(33, 0, message[4:] * number))

        return answer

    with peer(serve(1)) as first, peer(serve(2)) as second, peer(serve(3)) as third:
        nodes = [(*node.split(":"), b"m%d" % number) for number, node in enumerate((first, second, third))]
        answers = await uwsgi_async.send_multi_message([(h, int(p), m) for h, p, m in nodes], 33, 0, 20)
    assert answers == (b"m0", b"m1m1", b"m2m2m2")


async def test_one_server_that_fails_is_an_error_for_all() -> None:
    with peer(answering(encode_packet(1, 1, b"x")[:-1], size=5)) as node:
        host, port = node.split(":")
        with pytest.raises(NodeGoneError):
            await uwsgi_async.send_multi_message([(host, int(port), b"m")], 1, 1)


# --- FastCGI --------------------------------------------------------------------------------------------------------


async def test_an_application_gets_parameters_and_body_and_its_output_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = (
        b"\1\1\0\1\0\x08\0\0\0\1\0\0\0\0\0\0"
        + record(4, b"\1\1AB")
        + record(4, b"")
        + record(5, b"the bo")
        + record(5, b"")
    )
    sent: list[bytes] = []
    answers = (record(6, b"Status: 200 OK\r\n\r\n"), record(7, b"a warning\n"), record(6, b"out"), end())
    with (
        peer(answering(*answers, sent=sent, size=len(expected))) as node,
        file_with(tmp_path / "body", b"the body") as file,
    ):
        answer = await uwsgi_async.fcgi(node, {b"A": "B", "C": 17, 3: b"D"}, file.fileno(), 6)  # type: ignore[dict-item]
        assert [chunk async for chunk in answer] == [b"Status: 200 OK\r\n\r\n", b"out"]
    assert sent == [expected]
    assert "'a warning'" in caplog.text


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (record(6, b"out"), NodeGoneError),
        (record(6, b"out")[:-1], NodeGoneError),
        (end(0, 2), NodeGoneError),
        (b"HTTP/1.1 400 Bad Request", BadAnswerError),
    ],
    ids=["no end", "half a record", "overloaded", "no FastCGI"],
)
async def test_an_application_that_fails_is_an_error(data: bytes, error: type[Exception]) -> None:
    with peer(answering(data, size=32)) as node:
        answer = await uwsgi_async.fcgi(node, {})
        with pytest.raises(error):
            [chunk async for chunk in answer]
        answer.close()


async def test_an_application_that_resets_is_an_error() -> None:
    def serve(sock: socket.socket) -> None:
        collect(sock, 32)
        reset(sock)

    with peer(serve) as node:
        answer = await uwsgi_async.fcgi(node, {})
        with pytest.raises(NodeGoneError):
            await answer.__anext__()
        answer.close()


async def test_a_sync_app_asks_an_application(tmp_path: Path) -> None:
    with peer(answering(record(6, b"out"), end(), size=32)) as node:
        assert await in_app(tmp_path, lambda uwsgi: b"".join(uwsgi.fcgi(node, {}))) == b"out"


# --- handing on -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_request_is_handed_on_and_the_response_is_ours(tmp_path: Path, kind: str) -> None:
    def sync_app(environ: Any, start_response: Any) -> Any:
        import uwsgi

        return uwsgi.route(path)

    async def async_app(environ: Any, start_response: Any) -> Any:
        return await uwsgi_async.route(path)

    app = sync_app if kind == "sync" else async_app
    async with echoing(tmp_path) as path, uwsgi_async.run(app, http="127.0.0.1:0") as server:
        answer = await get(server, "/", method="POST", body=b"z" * 200_000)
        assert (answer.status, answer.body) == (201, b"POST " + b"z" * 200_000)
        assert (await get(server)).headers["x-seen"] == "-"


async def test_a_body_in_chunks_is_handed_on(tmp_path: Path) -> None:
    async def app(environ: Any, start_response: Any) -> Any:
        return await uwsgi_async.route(path)

    async with echoing(tmp_path) as path, uwsgi_async.run(app, http="127.0.0.1:0") as server:
        async with connect(server) as client:
            await client.send(
                b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
            )
            assert (await client.answer()).body == b"PUT abcde"


async def routed(tmp_path: Path, router: str, args: str, **functions: Any) -> tuple[Any, int, bytes]:
    """Let an app run a router; return what it returned, and what the client got."""
    returned: list[int] = []

    async def app(environ: Any, start_response: Any) -> list[bytes]:
        returned.append(await uwsgi_async.route(router, args))
        if returned[0] != 2:
            start_response("200 OK", [])
            return [b"by the app"]
        return [b""]

    async with uwsgi_async.run(app, http="127.0.0.1:0", log_format="%(addr) %(team)") as server:
        for name, function in functions.items():
            uwsgi_async.register_rpc(name, function)
        answer = await get(server, "/a?b")
    return returned[0], answer.status, answer.body


async def test_the_router_uwsgi_answers_the_request(tmp_path: Path) -> None:
    async with echoing(tmp_path) as path:
        assert await routed(tmp_path, "uwsgi", f"{path},0,0") == (2, 201, b"GET ")
        assert await routed(tmp_path, "proxyuwsgi", f"{path},0,0,app") == (2, 201, b"GET ")


async def test_the_router_uwsgi_without_a_server_is_a_502(tmp_path: Path) -> None:
    returned, status, _ = await routed(tmp_path, "uwsgi", "/nowhere.sock,0,0")
    assert (returned, status) == (2, 502)


@pytest.mark.parametrize("args", ["", "/nowhere.sock", "/nowhere.sock,0", "/nowhere.sock,0,x", ",1,2", "/a,0,256"])
async def test_what_no_router_understands_is_minus_one(tmp_path: Path, args: str) -> None:
    assert await routed(tmp_path, "uwsgi", args) == (-1, 200, b"by the app")
    assert (await routed(tmp_path, "unknown", args))[0] == -1


async def test_the_router_rpc_answers_with_a_result(tmp_path: Path) -> None:
    def join(*words: bytes) -> bytes:
        return b"+".join(words)

    assert await routed(tmp_path, "rpc", "join ${REQUEST_URI} x ${NONE}", join=join) == (2, 200, b"/a?b+x")
    assert await routed(tmp_path, "call", "missing") == (-1, 200, b"by the app")
    assert await routed(tmp_path, "rpc", "join@/nowhere.sock a") == (-1, 200, b"by the app")


async def test_routers_that_note_something_go_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert (await routed(tmp_path, "log", "seen ${REQUEST_URI}"))[:2] == (0, 200)
    assert "seen /a?b" in caplog.text
    assert (await routed(tmp_path, "addvar", "a=b"))[0] == 0
    assert (await routed(tmp_path, "logvar", "team=blue"))[0] == 0
    assert (await routed(tmp_path, "logvar", "nothing"))[0] == -1
