"""`chunked_read` and `chunked_read_nb`: in async handlers, in sync ones, in threads, over both protocols."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.abc
import pytest
from anyio.lowlevel import checkpoint

import uwsgi_async
from tests.client import Client, connect
from uwsgi_async.errors import NoRequestError
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n%b\r\n"


def error(raised: Exception) -> str:
    return f"{type(raised).__name__}: {raised}"


def told(start_response: Any, value: object) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(value).encode()]


def sync_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    import uwsgi

    got: list[str] = []
    try:
        while chunk := uwsgi.chunked_read():
            got.append(chunk.decode())
        got += [repr(uwsgi.chunked_read()), repr(uwsgi.chunked_read_nb())]
    except OSError as raised:
        got.append(error(raised))
    return told(start_response, got)


async def async_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    got: list[str] = []
    try:
        while chunk := await uwsgi_async.chunked_read():
            got.append(chunk.decode())
        got += [repr(await uwsgi_async.chunked_read()), repr(uwsgi_async.chunked_read_nb())]
    except OSError as raised:
        got.append(error(raised))
    return told(start_response, got)


KINDS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "async": (async_app, {}),
    "sync": (sync_app, {}),
    "thread": (sync_app, {"threads": 2}),
}
END = ["b''", "b''"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def client_of(kind: str, **options: Any) -> AsyncIterator[Client]:
    app, more = KINDS[kind]
    async with uwsgi_async.run(app, http="127.0.0.1:0", **more, **options) as server, connect(server) as client:
        with anyio.fail_after(20):
            yield client


async def in_pieces(client: Client, data: bytes) -> None:
    """Send byte by byte, and let the server see each."""
    for number in range(len(data)):
        await client.send(data[number : number + 1])
        await checkpoint()


async def answer(client: Client) -> Any:
    return json.loads((await client.answer("POST")).body)


async def test_each_chunk_comes_whole_and_then_the_end_for_ever(kind: str) -> None:
    async with client_of(kind) as client:
        await client.send(HEAD % b"" + b"5\r\nhel")
        await in_pieces(client, b"lo\r\n1;name=value\r\n \r\n")
        await client.send(b"3\r\none\r\n3\r\ntwo\r\n0\r\nTrailer: x\r\n\r\n")
        assert await answer(client) == ["hello", " ", "one", "two", *END]


async def test_the_connection_goes_on_behind_the_last_chunk(kind: str) -> None:
    async with client_of(kind) as client:
        await client.send(2 * (HEAD % b"" + b"1\r\na\r\n0\r\n\r\n"))
        assert await answer(client) == ["a", *END]
        assert await answer(client) == ["a", *END]


async def test_a_client_that_waits_for_100_continue_gets_it(kind: str) -> None:
    async with client_of(kind) as client:
        await client.send(HEAD % b"Expect: 100-continue\r\n")
        assert await client.stream.receive() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"1\r\na\r\n0\r\n\r\n")
        assert await answer(client) == ["a", *END]


async def test_a_client_that_is_silent_is_an_error_after_chunked_input_timeout(kind: str) -> None:
    async with client_of(kind, chunked_input_timeout=0.05) as client:
        await client.send(HEAD % b"" + b"1\r\na\r\n5\r\nhel")
        assert await answer(client) == ["a", "PeerTimeoutError: the client sent nothing for 0.05 s"]


async def test_a_client_that_is_silent_is_an_error_after_socket_timeout(kind: str) -> None:
    async with client_of(kind, socket_timeout=0.05) as client:
        await client.send(HEAD % b"")
        assert (await answer(client))[0].startswith("PeerTimeoutError: the client sent nothing")


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"zz\r\n", "ChunkedInputError"),
        (b"1\r\nab", "ChunkedInputError"),
        (b"9\r\n123456789\r\n", "ChunkedInputError: a chunk is larger than 8 bytes (option chunked-input-limit)"),
    ],
)
async def test_what_is_no_chunk_or_too_large_is_an_oserror(kind: str, data: bytes, name: str) -> None:
    async with client_of(kind, chunked_input_limit=8) as client:
        await client.send(HEAD % b"" + b"1\r\na\r\n" + data)
        got = await answer(client)
        assert got[-1].startswith(name)


async def test_a_client_that_goes_away_is_an_oserror(kind: str) -> None:
    async with client_of(kind) as client:
        await client.send(HEAD % b"" + b"1\r\na\r\n5\r\nhel")
        await client.stream.send_eof()
        got = await answer(client)
        assert got[0] == "a"
        assert got[1].startswith("DisconnectedError: the client closed the connection")


async def test_a_body_with_a_length_is_given_as_it_comes(kind: str) -> None:
    async with client_of(kind) as client:
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        got = await answer(client)
        assert ("".join(got[:-2]), got[-2:]) == ("hello", END)


async def test_without_a_body_there_is_the_end(kind: str) -> None:
    async with client_of(kind) as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert await answer(client) == END


async def test_a_packet_may_be_followed_by_chunks(kind: str) -> None:
    app, more = KINDS[kind]
    packet = encode_packet(0, 0, encode_vars({"REQUEST_METHOD": "POST", "HTTP_TRANSFER_ENCODING": "chunked"}))
    async with uwsgi_async.run(app, socket="127.0.0.1:0", **more) as server:
        address = urlsplit(server.addresses[0])
        assert address.hostname is not None
        assert address.port is not None
        async with await anyio.connect_tcp(address.hostname, address.port) as stream:
            with anyio.fail_after(20):
                await stream.send(packet + b"5\r\nhel")
                await stream.send(b"lo\r\n1\r\n \r\n0\r\n\r\n")
                received = b""
                async for data in stream:
                    received += data
    assert json.loads(received.partition(b"\r\n\r\n")[2]) == ["hello", " ", *END]


async def test_a_timeout_loses_nothing_and_the_next_call_goes_on() -> None:
    timed_out = anyio.Event()

    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        got: list[str | None] = []
        try:
            await uwsgi_async.chunked_read(0.02)
        except TimeoutError as raised:
            got.append(error(raised))
        with anyio.move_on_after(0.02):
            await uwsgi_async.chunked_read(-1)
        timed_out.set()
        got.append((await uwsgi_async.chunked_read(-1)).decode())
        return told(start_response, got)

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, connect(server) as client:
        with anyio.fail_after(20):
            await client.send(HEAD % b"" + b"5\r\nhel")
            await timed_out.wait()
            await client.send(b"lo\r\n")
            assert await answer(client) == ["PeerTimeoutError: the client sent nothing for 0.02 s", "hello"]


async def test_chunked_read_nb_gives_none_until_a_chunk_is_whole() -> None:
    looked = anyio.Event()

    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        got: list[str | None] = []
        await uwsgi_async.chunked_read()
        got += [uwsgi_async.chunked_read_nb(), uwsgi_async.chunked_read_nb()]
        looked.set()
        while (chunk := uwsgi_async.chunked_read_nb()) is None:
            await uwsgi_async.async_sleep(0.001)
        got += [chunk.decode(), (await uwsgi_async.chunked_read()).decode()]
        return told(start_response, got)

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server, connect(server) as client:
        with anyio.fail_after(20):
            await client.send(HEAD % b"" + b"1\r\na\r\n5\r\nhel")
            await looked.wait()
            await client.send(b"lo\r\n0\r\n\r\n")
            assert await answer(client) == [None, None, "hello", ""]


@pytest.mark.parametrize(("data", "status"), [(b"zz\r\n", 400), (b"9\r\n123456789\r\n", 413)])
async def test_an_error_that_the_app_lets_through_is_an_answer_and_the_end(data: bytes, status: int) -> None:
    async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        await uwsgi_async.chunked_read()
        return []

    async with uwsgi_async.run(app, http="127.0.0.1:0", chunked_input_limit=8) as server, connect(server) as client:
        with anyio.fail_after(20):
            await client.send(HEAD % b"" + data)
            assert (await client.rest()).startswith(b"HTTP/1.1 %d " % status)


async def test_a_core_that_waits_for_a_chunk_lets_the_others_go_on() -> None:
    async with uwsgi_async.run(sync_app, http="127.0.0.1:0", cores=2) as server:
        async with connect(server) as first, connect(server) as second:
            with anyio.fail_after(20):
                await first.send(HEAD % b"" + b"1\r\na")
                await second.send(HEAD % b"" + b"1\r\nb\r\n0\r\n\r\n")
                assert await answer(second) == ["b", *END]
                await first.send(b"\r\n0\r\n\r\n")
                assert await answer(first) == ["a", *END]


async def test_outside_a_request_there_are_no_chunks() -> None:
    with pytest.raises(NoRequestError):
        await uwsgi_async.chunked_read()
    with pytest.raises(NoRequestError):
        uwsgi_async.chunked_read_nb()
