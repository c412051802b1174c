"""The cache for other instances: real packets over sockets, who is allowed to send them, and evil ones."""

from __future__ import annotations

import logging
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio

CACHES = ("name=first,items=20,blocksize=100000", "name=other,items=20,blocksize=10")


async def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"a request"]


@asynccontextmanager
async def serving(tmp_path: Path, **options: Any) -> AsyncIterator[str]:
    path = str(tmp_path / "packets.sock")
    async with uwsgi_async.run(app, socket=path, cache2=CACHES, **options):
        uwsgi_async.cache_update("k", "value")
        yield path


async def answer(path: str, data: bytes) -> bytes:
    """Send bytes, and return all that comes back."""
    async with await anyio.connect_unix(path) as stream:
        return await exchange(stream, data)


async def exchange(stream: anyio.abc.ByteStream, data: bytes) -> bytes:
    await stream.send(data)
    received = b""
    with anyio.fail_after(10):
        while True:
            try:
                received += await stream.receive()
            except anyio.EndOfStream:
                return received


def command(value: bytes = b"", **fields: str) -> bytes:
    return encode_packet(111, 17, encode_vars(fields)) + value


OK = encode_packet(111, 17, encode_vars({"status": "ok"}))


async def test_get_answers_with_size_and_value(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        expected = encode_packet(111, 17, encode_vars({"status": "ok", "size": "5"})) + b"value"
        assert await answer(path, command(cmd="get", key="k")) == expected
        assert await answer(path, command(cmd="get", key="k", cache="other")) == b""
        assert await answer(path, command(cmd="get", key="k", cache="nowhere")) == b""
        assert await answer(path, command(cmd="get")) == b""


async def test_set_update_del_exists_and_clear(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        assert await answer(path, command(b"1", cmd="set", key="k", size="1")) == b""
        assert await answer(path, command(b"1", cmd="update", key="k", size="1")) == OK
        assert uwsgi_async.cache_get("k") == b"1"
        assert await answer(path, command(cmd="exists", key="k")) == OK
        assert await answer(path, command(cmd="del", key="k")) == OK
        assert await answer(path, command(cmd="del", key="k")) == b""
        assert await answer(path, command(cmd="clear", cache="other")) == OK


async def test_a_large_value_may_come_in_pieces(tmp_path: Path) -> None:
    value = bytes(range(256)) * 390
    async with serving(tmp_path) as path:
        async with await anyio.connect_unix(path) as stream:
            await stream.send(command(cmd="update", key="k", size=str(len(value)))[:7])
            await stream.send(command(cmd="update", key="k", size=str(len(value)))[7:])
            await stream.send(value[:50_000])
            assert await exchange(stream, value[50_000:]) == OK
        assert uwsgi_async.cache_get("k") == value


async def test_a_value_larger_than_fits_is_not_even_read(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        assert await answer(path, command(b"x" * 11, cmd="update", key="k", size="11", cache="other")) == b""
        assert await answer(path, command(b"", cmd="update", key="k", size="999999999999999999")) == b""
        assert uwsgi_async.cache_get("k", "other") is None


async def test_a_value_that_ends_too_soon_stores_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        async with await anyio.connect_unix(path) as stream:
            await stream.send(command(b"half", cmd="update", key="k", size="8"))
        assert await answer(path, command(cmd="exists", key="k")) == OK
        assert uwsgi_async.cache_get("k") == b"value"


async def test_counting_is_an_extension(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        assert await answer(path, command(struct.pack("<q", -3), cmd="inc", key="n", size="8")) == OK
        assert uwsgi_async.cache_num("n") == -3
        assert await answer(path, command(b"x" * 9, cmd="inc", key="n", size="9")) == b""
        assert await answer(path, command(cmd="explode", key="n")) == b""


async def test_the_old_forms(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        assert await answer(path, encode_packet(111, 0, b"k")) == encode_packet(111, 0, b"value")
        assert await answer(path, encode_packet(111, 0, b"none")) == b""
        assert await answer(path, encode_packet(111, 5, b"k")) == encode_packet(111, 1) + b"value"
        assert await answer(path, encode_packet(111, 5, b"none")) == encode_packet(111, 0)
        assert await answer(path, encode_packet(111, 3, encode_vars({"key": "k"}))) == b"value"
        assert await answer(path, encode_packet(111, 3, encode_vars({"key": "none"}))) == b""
        assert (await answer(path, encode_packet(111, 4, encode_vars({"get": "none"})))).startswith(b"HTTP/1.0 404 ")
        assert await answer(path, encode_packet(111, 1, b"\1\0n\1\0v")) == b""
        assert uwsgi_async.cache_get("n") == b"v"
        assert await answer(path, encode_packet(111, 2, b"n")) == b""
        assert uwsgi_async.cache_get("n") is None
        assert await answer(path, encode_packet(111, 6, b"")) == b""


@pytest.mark.parametrize(
    "packet",
    [
        encode_packet(111, 17, b"\0\0"),
        encode_packet(111, 17, b"\xff\xffcmd"),
        encode_packet(111, 1, b"\xff\xff"),
        encode_packet(111, 1, b"\1"),
        encode_packet(111, 1, b""),
        encode_packet(111, 17, encode_vars({"cmd": "set", "size": "-1", "key": "k"})),
        encode_packet(111, 17, encode_vars({"cmd": "set", "size": "1e9", "key": "k"})),
        encode_packet(111, 17, encode_vars({"cmd": "get", "key": "k", "cache": "\xff\xfe"})),
        encode_packet(111, 200, b"k"),
        struct.pack("<BHB", 111, 60_000, 17),
    ],
)
async def test_a_malformed_packet_ends_its_connection_and_nothing_else(tmp_path: Path, packet: bytes) -> None:
    async with serving(tmp_path) as path:
        assert await answer(path, packet) == b""
        assert await answer(path, command(cmd="exists", key="k")) == OK


async def test_over_tcp_it_must_be_allowed(caplog: pytest.LogCaptureFixture) -> None:
    async with uwsgi_async.run(app, socket="127.0.0.1:0", cache2=CACHES) as server:
        remote = uwsgi_async.remote_cache("@" + server.addresses[0].removeprefix("uwsgi://"))
        uwsgi_async.cache_update("k", "value")
        assert await remote.get("k") is None
    assert "127.0.0.1 asked for the cache (modifier1 111) over TCP, which is not allowed" in caplog.text
    async with uwsgi_async.run(app, socket="127.0.0.1:0", cache2=CACHES, uwsgi_allow="cache") as server:
        remote = uwsgi_async.remote_cache("@" + server.addresses[0].removeprefix("uwsgi://"))
        uwsgi_async.cache_update("k", "value")
        assert await remote.get("k") == b"value"


@pytest.mark.parametrize(
    ("modifier", "name"), [(17, "spooler"), (100, "ping"), (110, "signals"), (111, "cache"), (173, "rpc")]
)
async def test_each_modifier_is_served_over_tcp_only_where_its_name_allows_it(
    tmp_path: Path, modifier: int, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    for allowed in ("", name):
        options = {"uwsgi_allow": allowed} if allowed else {}
        caplog.clear()
        async with uwsgi_async.run(app, socket=["127.0.0.1:0", str(tmp_path / "packets.sock")], **options) as server:
            host, _, port = server.addresses[0].removeprefix("uwsgi://").partition(":")
            async with await anyio.connect_tcp(host, int(port)) as stream:
                await exchange(stream, encode_packet(modifier, 0, b"\1\0a\1\0b"))
            refused = f"(modifier1 {modifier}) over TCP, which is not allowed"
            assert (refused in caplog.text) is (allowed == "")
            caplog.clear()
            await answer(str(tmp_path / "packets.sock"), encode_packet(modifier, 0, b"\1\0a\1\0b"))
            assert "not allowed" not in caplog.text


async def test_without_caches_everything_is_a_miss(tmp_path: Path) -> None:
    path = str(tmp_path / "none.sock")
    async with uwsgi_async.run(app, socket=path):
        assert await answer(path, command(cmd="get", key="k")) == b""


async def test_requests_are_served_beside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with serving(tmp_path) as path:
        request = encode_packet(0, 0, encode_vars({"REQUEST_METHOD": "GET", "SERVER_PROTOCOL": "HTTP/1.1"}))
        assert (await answer(path, request)).endswith(b"a request")
    assert not caplog.records
