"""RPC and sockets: the same calls answer the same in both servers, and each serves the functions of the other."""

from __future__ import annotations

import ast
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.parity.harness import APPS, Running, start
from tests.parity.oracle import require
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars
from uwsgi_async.wire.uwsgi.array import encode_array

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

Call = tuple[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Server:
    """One of the two. ``path``: of its UNIX socket."""

    running: Running
    path: str

    def tell(self, *calls: Call) -> list[str]:
        seen = self.running.request("POST", "/", repr(list(calls)).encode())
        assert seen.status == 200, seen
        told: list[str] = ast.literal_eval(seen.body.decode())
        return told

    def raw(self, data: bytes) -> bytes:
        return self.running.raw(self.running.uwsgi, data)

    @property
    def tcp(self) -> str:
        return f"127.0.0.1:{self.running.uwsgi}"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """The oracle and ours, each with room for the largest packets, and ours with what it would not allow over TCP."""
    require()
    tmp = tmp_path_factory.mktemp("rpc")
    with ExitStack() as stack:
        servers = []
        for name, options in (("oracle", ()), ("ours", ("--uwsgi-allow", "rpc", "--uwsgi-allow", "ping"))):
            path = str(tmp / f"{name}.sock")
            words = ["--wsgi-file", str(APPS / "rpc.py"), "--socket", path, "--buffer-size", "65535", *options]
            servers.append(Server(stack.enter_context(start(name, tmp, *words, cwd=tmp)), path))
        yield servers[0], servers[1]


CALLS: list[Call] = [
    ("registered", ()),
    ("rpc_list", ()),
    ("rpc_list", (1,)),
    ("call", (b"join", b"a", b"b")),
    ("call", (b"join",)),
    ("call", (b"join", b"", b"x")),
    ("call", (b"big", b"100000")),
    ("call", (b"fail", b"a")),
    ("call", (b"missing",)),
    ("call", (b"none",)),
    ("call", (b"empty",)),
    ("call", (b"text",)),
    ("call", (b"array",)),
    ("call", (b"count", *[b"x"] * 254)),
    ("call", (b"count", b"x" * 65535)),
    ("call", ()),
    ("call", ("join",)),
    ("call", (b"join", "a")),
    ("call", (b"join", bytearray(b"a"))),
    ("call", (None,)),
    ("rpc", ("", b"join", b"a")),
    ("rpc", (b"", b"join", b"a")),
    ("rpc", (None, b"join", b"a")),
    ("rpc", (17, b"join", b"a")),
    ("rpc", (None,)),
    ("rpc", ()),
    ("rpc", (None, "join")),
    ("rpc", (None, b"join", "a")),
    ("rpc", ("/nowhere.sock", b"join", b"a")),
    ("rpc", ("127.0.0.1:1", b"join", b"a")),
    ("register_rpc", ()),
    ("register_rpc", ("x",)),
    ("register_rpc", (b"x", len)),
    ("register_rpc", ("x\0y", len)),
    ("register_rpc", ("x" * 256, len)),
    ("connect", ("/nowhere.sock",)),
    ("connect", ("127.0.0.1:1", 1)),
    ("connect", ("",)),
    ("connect", ()),
    ("connect", (b"/nowhere.sock",)),
    ("async_connect", ("/nowhere.sock",)),
    ("recv", (9999,)),
    ("recv", ("x",)),
    ("send", (9999, b"x")),
    ("close", (9999,)),
    ("close", ("x",)),
    ("is_connected", (9999,)),
    ("is_connected", (-1,)),
    ("recv", (-1,)),
    ("recv", (9999, -5)),
    ("send", (-1, b"x")),
    ("close", (-1,)),
    ("alarm", ("none", "x")),
    ("alarm", ("none", b"x")),
    ("alarm", (b"none", "x")),
    ("alarm", ("none",)),
]


def _writes_lists(call: Call) -> bool:
    return not any(type(word).__name__ in ("bytearray", "builtin_function_or_method") for word in call[1])


@pytest.mark.parametrize("call", [call for call in CALLS if _writes_lists(call)], ids=lambda call: repr(call)[:40])
def test_a_call_answers_the_same(both: tuple[Server, Server], call: Call) -> None:
    oracle, ours = (server.tell(call) for server in both)
    assert ours == oracle


PACKETS = {
    "a call": encode_packet(173, 0, encode_array([b"join", b"a", b"b"])),
    "no arguments": encode_packet(173, 0, encode_array([b"count"])),
    "254 arguments": encode_packet(173, 0, encode_array([b"count", *[b"x"] * 254])),
    "more than 254 arguments": encode_packet(173, 0, encode_array([b"count", *[b"x"] * 300])),
    "an empty argument is none": encode_packet(173, 0, encode_array([b"count", b"a", b"", b"b"])),
    "the longest argument": encode_packet(173, 0, encode_array([b"count", b"x" * (65535 - 9)])),
    "the longest plain answer": encode_packet(173, 0, encode_array([b"big", b"65535"])),
    "a long answer": encode_packet(173, 0, encode_array([b"big", b"65536"])),
    "a very long answer": encode_packet(173, 0, encode_array([b"big", b"3000000"])),
    "unknown": encode_packet(173, 0, encode_array([b"missing"])),
    "no result": encode_packet(173, 0, encode_array([b"none"])),
    "an error": encode_packet(173, 0, encode_array([b"fail"])),
    "raw": encode_packet(173, 1, encode_array([b"join", b"a", b"b"])),
    "raw and long": encode_packet(173, 1, encode_array([b"big", b"70000"])),
    "raw and unknown": encode_packet(173, 1, encode_array([b"missing"])),
    "modifier2 4": encode_packet(173, 4, encode_array([b"join", b"a", b"b"])),
    "nothing": encode_packet(173, 0, b""),
    "half a length": encode_packet(173, 0, b"\4\0join\1"),
    "a length beyond the end": encode_packet(173, 0, b"\4\0join\5\0a"),
    "a path": encode_packet(173, 2, encode_vars({"PATH_INFO": "/join/a/b", "SERVER_PROTOCOL": "HTTP/1.1"})),
    "a path without a slash": encode_packet(
        173, 2, encode_vars({"PATH_INFO": "join//a/", "SERVER_PROTOCOL": "HTTP/1.0"})
    ),
    "a path and a type": encode_packet(
        173, 2, encode_vars({"PATH_INFO": "/join/a", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_ACCEPT": "text/plain"})
    ),
    "a path and any type": encode_packet(
        173, 2, encode_vars({"PATH_INFO": "/join/a", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_ACCEPT": "*/*"})
    ),
    "a path to nothing": encode_packet(173, 2, encode_vars({"PATH_INFO": "/missing", "SERVER_PROTOCOL": "HTTP/1.1"})),
    "the root": encode_packet(173, 2, encode_vars({"PATH_INFO": "/", "SERVER_PROTOCOL": "HTTP/1.1"})),
    "no path": encode_packet(173, 2, encode_vars({"SERVER_PROTOCOL": "HTTP/1.1"})),
    "a ping": encode_packet(100, 0, b""),
}


@pytest.mark.parametrize("name", PACKETS)
def test_a_packet_is_answered_the_same(both: tuple[Server, Server], name: str) -> None:
    oracle, ours = (server.raw(PACKETS[name]) for server in both)
    assert ours == oracle


def test_nginxs_empty_parameter_at_the_end_is_no_argument(both: tuple[Server, Server]) -> None:
    """As uWSGI's page says, and its parser does not: it refuses an empty item at the very end."""
    packet = encode_packet(173, 1, encode_array([b"join", b"foo", b"bar", b""]))
    oracle, ours = (server.raw(packet) for server in both)
    assert (oracle, ours) == (b"", b"foo+bar")


REMOTE: list[tuple[bytes, ...]] = [
    (b"join", b"a", b"b"),
    (b"count", *[b"x"] * 254),
    (b"count", b"x" * (65535 - 9)),
    (b"big", b"1"),
    (b"big", b"65535"),
    (b"big", b"65536"),
    (b"big", b"5000000"),
    (b"missing",),
    (b"none",),
    (b"fail",),
]


@pytest.mark.parametrize("words", REMOTE, ids=lambda words: repr(words)[:30])
@pytest.mark.parametrize("how", ["tcp", "path"])
def test_each_calls_the_functions_of_the_other(both: tuple[Server, Server], how: str, words: tuple[bytes, ...]) -> None:
    oracle, ours = both
    there = oracle.tell(("rpc", (getattr(ours, how), *words)))
    here = ours.tell(("rpc", (getattr(oracle, how).encode(), *words)))
    assert here == there


def test_a_call_longer_than_a_packet_reaches_us_and_not_real_uwsgi(both: tuple[Server, Server]) -> None:
    oracle, ours = both
    words = (b"count", b"x" * 40000, b"y" * 40000)
    assert ours.tell(("rpc", (ours.path, *words))) == [repr(b"2")]
    assert ours.tell(("rpc", (oracle.path, *words))) == ["None"]
    assert oracle.tell(("rpc", (ours.path, *words))) == ["None"]  # it sends nothing


@contextmanager
def echo() -> Iterator[str]:
    """A server that sends back what one connection sends, and then says goodbye; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            listener.settimeout(20)
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(20)
                data = sock.recv(65536)
                sock.sendall(data + b"goodbye")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join()


def test_a_conversation_over_a_socket_is_the_same(both: tuple[Server, Server]) -> None:
    told = []
    for server in both:
        with echo() as address:
            fd = ast.literal_eval(server.tell(("connect", (address, 5)))[0])
            assert fd > 2
            calls: list[Call] = [("is_connected", (fd,)), ("send", (fd, b"hello")), ("recv", (fd, 5)), ("recv", (fd,))]
            told.append(
                server.tell(*calls, ("recv", (fd,)), ("close", (fd,)), ("is_connected", (fd,)), ("recv", (fd,)))
            )
    oracle, ours = told
    assert ours == oracle == ["True", "True", "b'hello'", "b'goodbye'", "None", "None", "False", "None"]
