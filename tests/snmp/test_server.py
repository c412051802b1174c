"""The agent of an instance in one process: over real sockets, IPv4 and IPv6, on each event loop."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

import uwsgi_async
from tests.client import get
from tests.snmp.manager import V1, Told, ask, message, query
from uwsgi_async.errors import AddressError, BindError, OptionError
from uwsgi_async.snmp import agent
from uwsgi_async.snmp.agent import respond

HERE = "127.0.0.1:0"


async def app(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
    uwsgi_async.snmp_incr_gauge(40)
    start_response("200 OK", [])
    return [b"counted"]


def serve(snmp: str = HERE, **options: Any) -> Any:
    return uwsgi_async.run(app, http=HERE, snmp=snmp, **{"snmp_community": "public", **options})


async def asked(server: uwsgi_async.Server, request: bytes) -> Told:
    return await anyio.to_thread.run_sync(query, server.snmp, request)


@pytest.mark.anyio
@pytest.mark.parametrize("address", [HERE, "[::1]:0", "localhost:0"])
async def test_an_app_in_a_program_tells_its_numbers(address: str) -> None:
    async with serve(address) as server:
        for _ in range(3):
            await get(server, "/")
        with anyio.fail_after(20):  # a request is counted when it has ended, a moment after its answer
            while (await asked(server, ask("get", ["1.1"]))).values != [("Counter64", 3)]:
                pass
        told = await asked(server, ask("get", ["1.31", "2.40"]))
        assert told.values == [("Counter64", 3), ("Gauge32", 3)]
        told = await asked(server, ask("next", ["2"], version=V1))
        assert told.bindings == (("2.40", ("Gauge32", 3)),)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wildcard", "asked_at"),
    [("0.0.0.0:0", "127.0.0.7"), ("[::]:0", "[::1]"), ("[::]:0", "127.0.0.7"), (":0", "127.0.0.1")],
)
async def test_an_answer_comes_from_the_address_that_was_asked(wildcard: str, asked_at: str) -> None:
    async with serve(wildcard) as server:
        address = f"{asked_at}:{server.snmp.rpartition(':')[2]}"
        assert (await anyio.to_thread.run_sync(query, address, ask("get", ["1.1"]))).status == 0


@pytest.mark.anyio
async def test_what_is_dropped_is_counted_and_delays_nobody() -> None:
    bad = (ask("get", ["1.1"], community=b"wrong"), ask("get", ["1.1"], version=3), b"\x30\x80", b"", b"x" * 5000)
    async with serve() as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("127.0.0.1", int(server.snmp.rpartition(":")[2])))
            for _ in range(10):
                for datagram in bad:
                    sock.send(datagram)
            assert (await asked(server, ask("get", ["1.1"]))).status == 0
            with pytest.raises(BlockingIOError):
                sock.recv(65536, socket.MSG_DONTWAIT)
        assert uwsgi_async.statistics().sections["snmp"] == {
            "in_pkts": 51, "out_pkts": 1, "in_bad_versions": 10, "in_bad_community_names": 10,
            "in_asn_parse_errs": 30,
        }  # fmt: skip


@pytest.mark.anyio
async def test_an_error_of_the_agents_own_is_logged_and_the_next_datagram_answered(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = iter([1])

    def fail_once(*words: Any) -> Any:
        if next(once, None):
            raise RuntimeError("no luck")
        return respond(*words)

    monkeypatch.setattr(agent, "respond", fail_once)
    async with serve() as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(ask("get", ["1.1"]), ("127.0.0.1", int(server.snmp.rpartition(":")[2])))
        assert (await asked(server, ask("get", ["1.1"]))).status == 0
    assert "a datagram could not be answered" in caplog.text


@pytest.mark.anyio
async def test_the_community_is_set_by_the_app() -> None:
    async with serve(snmp_community=None) as server:
        uwsgi_async.snmp_set_community("later")
        assert (await asked(server, ask("get", ["1.1"], community=b"later"))).status == 0


@pytest.mark.anyio
async def test_metrics_are_told_beside_the_rest() -> None:
    async with serve(metric="name=orders,type=gauge,oid=9.1") as server:
        uwsgi_async.metric_set("orders", 5)
        assert (await asked(server, ask("get", ["9.1"]))).values == [("Gauge32", 5)]


@pytest.mark.anyio
async def test_without_an_address_there_are_the_functions_alone() -> None:
    async with serve("") as server:
        assert server.snmp == ""
        assert uwsgi_async.snmp_set_gauge(1, 1) is True


@pytest.mark.anyio
async def test_nothing_is_received_behind_the_end() -> None:
    async with serve() as server:
        port = int(server.snmp.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))


@pytest.mark.anyio
async def test_the_module_has_the_functions_with_either_option_only() -> None:
    for options, there in (({}, False), ({"snmp": ""}, True), ({"snmp_community": "a"}, True)):
        async with uwsgi_async.run(app, http=HERE, **options):
            import uwsgi

            assert hasattr(uwsgi, "snmp_set_gauge") is there
            if not there:
                with pytest.raises(AttributeError, match="only there when the option snmp is given"):
                    _ = uwsgi.snmp_set_gauge


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("/tmp/agent.sock", AddressError, "snmp: expected host:port, because SNMP goes over UDP"),
        ("161", AddressError, "only a number"),
        ("192.0.2.1:0", BindError, "cannot receive at 192.0.2.1:0"),
        ("no-such-host.invalid:161", BindError, "is not known"),
    ],
)
async def test_an_address_that_cannot_be_used_is_an_error(address: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        async with serve(address):
            pass


@pytest.mark.anyio
async def test_an_address_that_is_taken_is_an_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(BindError, match="Address already in use"):
            async with serve(f"127.0.0.1:{sock.getsockname()[1]}"):
                pass


@pytest.mark.anyio
async def test_without_the_library_a_server_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyasn1_modules", None)
    with pytest.raises(OptionError, match=r"pip install 'uwsgi-async\[snmp\]'"):
        async with serve():
            pass


@pytest.mark.anyio
async def test_many_datagrams_at_once_are_all_answered() -> None:
    async with serve() as server:
        port = int(server.snmp.rpartition(":")[2])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.connect(("127.0.0.1", port))
            for number in range(50):
                sock.send(ask("get", ["1.1"], request_id=number))
            answers = []
            with anyio.fail_after(20):
                while len(answers) < 50:
                    await anyio.wait_readable(sock)
                    answers.append(sock.recv(65536))
        assert len(set(answers)) == 50


def test_a_message_for_tests_is_one() -> None:
    assert message(1, b"public", ask("get", [])[13:]) == ask("get", [])
