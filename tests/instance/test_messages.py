"""Messages and FastCGI: what is sent, what is answered, and servers that fail in the middle of it."""

from __future__ import annotations

import marshal
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import uwsgi_async
from tests.client import get
from tests.instance.others import answering, collect, echoing, file_with, in_app, peer, reset
from tests.wire.test_fastcgi import end, record
from uwsgi_async.errors import (
    BadAnswerError,
    NodeGoneError,
    NodeTimeoutError,
)
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio


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
