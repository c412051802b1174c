"""Functions for other instances: real packets over sockets, and who may send them."""

from __future__ import annotations

import struct
import threading
import xmlrpc.client
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.client import get
from tests.instance.test_packets import answer
from uwsgi_async import decorators
from uwsgi_async.errors import (
    BadAnswerError,
    NodeTimeoutError,
    NoInstanceError,
    WouldBlockLoopError,
)
from uwsgi_async.wire.uwsgi import MODIFIER_RPC, encode_packet, encode_vars
from uwsgi_async.wire.uwsgi.rpc import RpcCall, encode_call

pytestmark = pytest.mark.anyio

ROOMY = {"buffer_size": 65535}


async def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"a request"]


def join(*words: bytes) -> bytes:
    return b"+".join(words)


async def later(*words: bytes) -> bytes:
    await uwsgi_async.async_sleep(0.001)
    return b"-".join(words)


def big(size: bytes) -> bytes:
    return b"x" * int(size)


FUNCTIONS: dict[str, Callable[..., Any]] = {"join": join, "later": later, "big": big}


@asynccontextmanager
async def serving(
    tmp_path: Path, extra: dict[str, Callable[..., Any]] | None = None, **options: Any
) -> AsyncIterator[str]:
    """An instance with functions at a UNIX socket; gives its path."""
    path = str(tmp_path / "rpc.sock")
    async with uwsgi_async.run(app, socket=path, **options):
        for name, function in {**FUNCTIONS, **(extra or {})}.items():
            uwsgi_async.register_rpc(name, function)
        yield path


# --- what an instance serves --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["join", "later"])
async def test_the_answer_is_a_packet_with_the_result(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path) as path:
        expected = b"a+b" if name == "join" else b"a-b"
        assert await answer(path, encode_call(RpcCall(name.encode(), (b"a", b"b")))) == encode_packet(173, 0, expected)


async def test_a_long_result_has_the_form_with_64_bits(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        data = await answer(path, encode_call(RpcCall(b"big", (b"65536",))))
        assert data == encode_packet(173, 5, encode_vars({"CONTENT_LENGTH": "65536"})) + b"x" * 65536
        assert await answer(path, encode_call(RpcCall(b"big", (b"65535",)))) == encode_packet(173, 0, b"x" * 65535)


@pytest.mark.parametrize("modifier2", [1, 4, 200])
async def test_other_modifiers_get_the_result_alone(tmp_path: Path, modifier2: int) -> None:
    async with serving(tmp_path) as path:
        assert await answer(path, encode_packet(173, modifier2, b"\4\0join\1\0a\0\0\1\0b")) == b"a+b"


@pytest.mark.parametrize("modifier2", [0, 1])
async def test_no_result_is_no_byte(tmp_path: Path, modifier2: int) -> None:
    async with serving(tmp_path, {"none": lambda: None}) as path:
        for name in (b"\4\0none", b"\7\0missing"):
            assert await answer(path, encode_packet(173, modifier2, name)) == b""


@pytest.mark.parametrize(
    ("vars", "head", "body"),
    [
        (
            {"PATH_INFO": "/join/a/b"},
            b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\nContent-Type: application/binary",
            b"a+b",
        ),
        (
            {"PATH_INFO": "/later/a", "HTTP_ACCEPT": "text/plain", "SERVER_PROTOCOL": "HTTP/1.1"},
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Type: text/plain",
            b"a",
        ),
        ({"PATH_INFO": "/join/a", "HTTP_ACCEPT": "a\r\nSet-Cookie: b"}, None, b"a"),
        (
            {"PATH_INFO": "/missing"},
            b"HTTP/1.0 404 Not Found\r\nConnection: close\r\nContent-Type: text/plain",
            b"Not Found",
        ),
        (
            {"PATH_INFO": "/"},
            b"HTTP/1.0 500 Internal Server Error\r\nConnection: close\r\nContent-Type: text/plain",
            None,
        ),
        ({"A": "b"}, b"HTTP/1.0 500 Internal Server Error\r\nConnection: close\r\nContent-Type: text/plain", None),
    ],
    ids=["found", "accept", "forged", "missing", "root", "no path"],
)
async def test_a_web_server_calls_by_a_path(
    tmp_path: Path, vars: dict[str, str], head: bytes | None, body: bytes | None
) -> None:
    async with serving(tmp_path) as path:
        data = await answer(path, encode_packet(173, 2, encode_vars(vars)))
        seen_head, _, seen_body = data.partition(b"\r\n\r\n")
        assert head is None or seen_head == head
        assert body is None or seen_body == body
        assert b"Set-Cookie" not in data


async def test_a_web_server_calls_by_xml(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        body = xmlrpc.client.dumps(("\xe4", "b"), "join").encode()
        data = await answer(path, encode_packet(173, 3, encode_vars({"CONTENT_LENGTH": str(len(body))})) + body)
        head, _, content = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.0 200 OK\r\n")
        assert b"\r\nContent-Type: application/xml" in head
        assert xmlrpc.client.loads(content)[0] == ("\xe4+b",)


@pytest.mark.parametrize(
    ("length", "body"),
    [
        ("0", b""),
        ("", b""),
        ("x", b""),
        ("99999999999", b""),
        ("3", b"<a>"),
        (None, xmlrpc.client.dumps((), "missing").encode()),
    ],
    ids=["empty", "no length", "no number", "too long", "no call", "missing"],
)
async def test_what_is_no_xml_call_is_500(tmp_path: Path, length: str | None, body: bytes) -> None:
    async with serving(tmp_path) as path:
        vars = {"CONTENT_LENGTH": str(len(body)) if length is None else length}
        assert (await answer(path, encode_packet(173, 3, encode_vars(vars)) + body)).startswith(b"HTTP/1.0 500 ")


@pytest.mark.parametrize(
    "packet",
    [
        encode_packet(173, 0, b""),
        encode_packet(173, 0, b"\0\0"),
        encode_packet(173, 0, b"\1"),
        encode_packet(173, 0, b"\xff\xffa"),
        encode_packet(173, 2, b"\xff\xffa"),
        encode_packet(173, 3, b"\xff\xffa"),
        encode_packet(173, 5, b"\1\0a"),
        encode_packet(173, 5, encode_vars({"CONTENT_LENGTH": "99999999999"})),
        struct.pack("<BHB", 173, 60_000, 0),
    ],
)
async def test_a_malformed_packet_ends_its_connection_and_nothing_else(tmp_path: Path, packet: bytes) -> None:
    async with serving(tmp_path) as path:
        assert await answer(path, packet) in (b"",) or packet[3] == 3
        assert await answer(path, encode_call(RpcCall(b"join", (b"a",)))) == encode_packet(173, 0, b"a")


async def test_a_long_call_that_ends_too_soon_calls_nothing(tmp_path: Path) -> None:
    called: list[bytes] = []
    async with serving(tmp_path, {"note": lambda *words: called.append(words[0])}, cores=1) as path:
        data = encode_call(RpcCall(b"note", (b"x" * 65000, b"y" * 65000)))
        async with await anyio.connect_unix(path) as stream:
            await stream.send(data[:-1])
        assert await uwsgi_async.rpc(path, "join", "a") == b"a"  # by the one core, so the other call is over
        assert called == []


async def test_over_tcp_it_must_be_allowed(caplog: pytest.LogCaptureFixture) -> None:
    async with uwsgi_async.run(app, socket="127.0.0.1:0") as server:
        uwsgi_async.register_rpc("join", join)
        assert await uwsgi_async.rpc(server.addresses[0].removeprefix("uwsgi://"), "join", "a") is None
        assert uwsgi_async.has_hook(MODIFIER_RPC) is None
    assert "127.0.0.1 asked for the rpc (modifier1 173) over TCP, which is not allowed" in caplog.text
    async with uwsgi_async.run(app, socket="127.0.0.1:0", uwsgi_allow="rpc") as server:
        uwsgi_async.register_rpc("join", join)
        assert await uwsgi_async.rpc(server.addresses[0].removeprefix("uwsgi://"), "join", "a") == b"a"
        assert uwsgi_async.has_hook(MODIFIER_RPC) is True


async def test_a_ping_over_tcp_must_be_allowed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def ping(address: str) -> bytes:
        host, _, port = address.removeprefix("uwsgi://").partition(":")
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(encode_packet(100, 0))
            received = b""
            with anyio.fail_after(10):
                try:
                    while True:
                        received += await stream.receive()
                except anyio.EndOfStream:
                    return received

    async with uwsgi_async.run(app, socket=["127.0.0.1:0", str(tmp_path / "ping.sock")]) as server:
        assert await ping(server.addresses[0]) == b""
        assert await answer(str(tmp_path / "ping.sock"), encode_packet(100, 0)) == encode_packet(100, 1)
    assert "uwsgi-allow = ping" in caplog.text
    async with uwsgi_async.run(app, socket="127.0.0.1:0", uwsgi_allow="ping") as server:
        uwsgi_async.set_warning_message("full")
        assert await ping(server.addresses[0]) == encode_packet(100, 1, b"full")


async def test_a_function_that_takes_too_long_is_cancelled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cancelled: list[bool] = []

    async def hang() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.append(True)

    async with serving(tmp_path, {"hang": hang}, harakiri=0.05) as path:
        assert await uwsgi_async.rpc(path, "hang") is None
    assert cancelled == [True]
    assert "the RPC function b'hang' took more than 0.05 s and was cancelled (harakiri)" in caplog.text


async def test_a_server_that_ends_lets_a_call_come_to_its_result(tmp_path: Path) -> None:
    began, release = anyio.Event(), anyio.Event()
    results: list[bytes | None] = []

    async def wait() -> bytes:
        began.set()
        await release.wait()
        return b"released"

    async def ask() -> None:
        results.append(await uwsgi_async.rpc(path, "wait"))

    async def release_when_it_ends(pool: Any) -> None:
        while not pool.closing:  # noqa: ASYNC110 - a server tells nobody that it begins to end
            await anyio.sleep(0.001)
        for _ in range(10):
            await anyio.wait_all_tasks_blocked()  # all that the end does without waiting has been done
        release.set()

    path = str(tmp_path / "rpc.sock")
    async with anyio.create_task_group() as tasks:
        async with uwsgi_async.run(app, socket=path) as server:
            uwsgi_async.register_rpc("wait", wait)
            tasks.start_soon(ask)
            await began.wait()
            tasks.start_soon(release_when_it_ends, server.pool)
    assert results == [b"released"]


async def test_plain_functions_run_in_threads_when_the_apps_do(tmp_path: Path) -> None:
    seen: list[bool] = []

    def note() -> bytes:
        seen.append(threading.current_thread() is threading.main_thread())
        return b"x"

    async with serving(tmp_path, {"note": note}, threads=2) as path:
        assert await uwsgi_async.rpc(path, "note") == b"x"
        assert await uwsgi_async.rpc(path, "later", "a") == b"a"
    async with serving(tmp_path, {"note": note}) as path:
        assert await uwsgi_async.rpc(path, "note") == b"x"
    assert seen == [False, True]


@pytest.mark.parametrize("threads", [0, 2])
async def test_a_plain_function_may_wait_in_its_core_or_thread(tmp_path: Path, threads: int) -> None:
    def wait() -> bytes:
        import uwsgi

        uwsgi.async_sleep(0.001)
        return uwsgi.call(b"later", b"a", b"b")

    async with serving(tmp_path, {"wait": wait}, threads=threads) as path:
        assert await uwsgi_async.rpc(path, "wait") == b"a-b"


# --- calling ------------------------------------------------------------------------------------------------------


async def test_rpc_without_a_node_and_call_stay_in_this_instance(tmp_path: Path) -> None:
    async with serving(tmp_path):
        for node in (None, "", b""):
            assert await uwsgi_async.rpc(node, "join", "a", b"b") == b"a+b"
        assert await uwsgi_async.call("later", "a", b"b") == b"a-b"
        assert await uwsgi_async.call(b"missing") is None
        assert uwsgi_async.rpc_list() == (b"join", b"later", b"big")


async def test_254_arguments_of_64_kib_and_longer_answers_arrive(tmp_path: Path) -> None:
    def lengths(*words: bytes) -> bytes:
        assert len(words) == 254
        return b"".join(words)

    async with serving(tmp_path, {"lengths": lengths}) as path:
        arguments = [bytes([number]) * 65535 for number in range(254)]
        assert await uwsgi_async.rpc(path, "lengths", *arguments) == b"".join(arguments)
        with pytest.raises(ValueError, match="254 arguments"):
            await uwsgi_async.rpc(path, "lengths", *arguments, b"x")
        with pytest.raises(ValueError, match="65535 bytes, not 65536"):
            await uwsgi_async.rpc(path, "lengths", b"x" * 65536)


async def test_a_call_as_long_as_a_packet_needs_the_receivers_buffer_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as path:
        assert await uwsgi_async.rpc(path, "join", b"x" * 5000) is None
    assert "invalid request block size" in caplog.text
    async with serving(tmp_path, **ROOMY) as path:
        assert await uwsgi_async.rpc(path, "join", b"x" * 65527) == b"x" * 65527


async def test_a_result_that_is_too_large_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, rpc_max_size=65536) as path:
        assert len(await uwsgi_async.rpc(path, "big", "65536") or b"") == 65536
        with pytest.raises(BadAnswerError, match="rpc-max-size"):
            await uwsgi_async.rpc(path, "big", "65537")


async def test_async_callers_do_not_hold_up_the_loop(tmp_path: Path) -> None:
    release = anyio.Event()

    async def wait() -> bytes:
        await release.wait()
        return b"released"

    async with serving(tmp_path, {"wait": wait}) as path:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                results: list[bytes | None] = []

                async def ask() -> None:
                    results.append(await uwsgi_async.rpc(path, "wait"))

                for _ in range(5):
                    tasks.start_soon(ask)
                assert await uwsgi_async.rpc(path, "join", "a") == b"a"  # while the others wait
                release.set()
        assert results == [b"released"] * 5


async def test_an_instance_that_calls_itself_is_answered_by_its_other_cores(tmp_path: Path) -> None:
    async def depth(number: bytes) -> bytes | None:
        left = int(number)
        return b"bottom" if left == 0 else await uwsgi_async.rpc(path, "depth", str(left - 1))

    async with serving(tmp_path, {"depth": depth}, cores=10) as path:
        assert await uwsgi_async.rpc(path, "depth", "8") == b"bottom"


async def test_a_loop_of_calls_ends_when_no_core_is_left_and_the_instance_serves_on(tmp_path: Path) -> None:
    async def again() -> bytes | None:
        return await uwsgi_async.rpc(path, "again", timeout=0.3)

    async with serving(tmp_path, {"again": again}, cores=3) as path:
        with anyio.fail_after(30), pytest.raises(NodeTimeoutError):
            await uwsgi_async.rpc(path, "again", timeout=0.2)
        assert await uwsgi_async.rpc(path, "join", "a", timeout=20) == b"a"


async def call_in_app(tmp_path: Path, work: Callable[[Any], Any], **options: Any) -> Any:
    """Run ``work`` with the `uwsgi` module in a sync app, and return what it gives."""
    results: list[Any] = []

    def sync_app(environ: Any, start_response: Any) -> list[bytes]:
        import uwsgi

        results.append(work(uwsgi))
        start_response("200 OK", [])
        return [b""]

    async with uwsgi_async.run(sync_app, http="127.0.0.1:0", socket=str(tmp_path / "rpc.sock"), **options) as server:
        for name, function in FUNCTIONS.items():
            uwsgi_async.register_rpc(name, function)
        await get(server)
    return results[0]


@pytest.mark.parametrize("threads", [0, 2])
async def test_sync_callers_wait_in_their_cores_or_threads(tmp_path: Path, threads: int) -> None:
    node = str(tmp_path / "rpc.sock")
    given = await call_in_app(
        tmp_path,
        lambda uwsgi: [
            uwsgi.rpc(node, b"join", b"a", b"b"),
            uwsgi.rpc(node.encode(), b"later", b"a"),
            uwsgi.rpc(None, b"join", b"a"),
            uwsgi.rpc(17, b"join", b"a"),
            uwsgi.call(b"later", b"a", b"b"),
            uwsgi.call(b"join", b"a"),
            uwsgi.call(b"missing"),
            uwsgi.rpc(node, b"missing"),
            uwsgi.rpc("/nowhere.sock", b"join"),
            uwsgi.rpc("nonsense:x", b"join"),
            uwsgi.rpc_list(),
        ],
        threads=threads,
    )
    assert given == [
        *(b"a+b", b"a", b"a", b"a", b"a-b", b"a", None, None, None, None),
        (b"join", b"later", b"big"),
    ]


async def test_the_module_wants_bytes(tmp_path: Path) -> None:
    def work(uwsgi: Any) -> list[str]:
        told = []
        for words in (("join",), (), (b"join", "a"), (b"join", bytearray(b"a")), (b"join", *[b""] * 256)):
            with pytest.raises(ValueError, match="unable to call rpc function") as caught:
                uwsgi.call(*words)
            told.append(str(caught.value))
            with pytest.raises(ValueError, match="unable to call rpc function"):
                uwsgi.rpc("", *words)
        return told

    assert len(await call_in_app(tmp_path, work)) == 5


async def test_a_sync_call_on_the_event_loop_names_the_awaitable(tmp_path: Path) -> None:
    async with serving(tmp_path) as path:
        import uwsgi

        assert uwsgi.call(b"join", b"a") == b"a"  # which need not wait
        with pytest.raises(WouldBlockLoopError, match=r"await uwsgi_async\.rpc"):
            uwsgi.rpc(path, b"join", b"a")
        with pytest.raises(WouldBlockLoopError, match=r"await uwsgi_async\.call"):
            uwsgi.call(b"later", b"a")


# --- registering --------------------------------------------------------------------------------------------------


async def test_registering_needs_an_instance_and_a_function() -> None:
    with pytest.raises(NoInstanceError, match="no uwsgi_async instance"):
        uwsgi_async.register_rpc("f", join)
    with pytest.raises(NoInstanceError):
        await uwsgi_async.call("f")
    async with uwsgi_async.run(app, http="127.0.0.1:0", rpc_max=1):
        assert uwsgi_async.register_rpc("f", join, 300) is True
        with pytest.raises(ValueError, match="rpc-max"):
            uwsgi_async.register_rpc("g", join)
        for words in ((b"f", join), ("f", 17)):
            with pytest.raises(TypeError):
                uwsgi_async.register_rpc(*words)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="null"):
            uwsgi_async.register_rpc("f\0", join)
    with pytest.raises(NoInstanceError):
        uwsgi_async.rpc_list()


async def test_the_decorator_registers_now_or_when_an_instance_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decorators.before, "calls", [])

    @decorators.rpc("before")
    async def before() -> bytes:
        return b"1"

    async with uwsgi_async.run(app, http="127.0.0.1:0"):

        @decorators.rpc("inside")
        def inside() -> bytes:
            return b"2"

        assert inside() == b"2"
        assert uwsgi_async.rpc_list() == (b"before", b"inside")
        assert [await uwsgi_async.call(name) for name in ("before", "inside")] == [b"1", b"2"]
    async with uwsgi_async.run(app, http="127.0.0.1:0"):
        assert uwsgi_async.rpc_list() == (b"before",)
