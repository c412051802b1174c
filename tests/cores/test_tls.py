"""What a client sees over TLS: the same as without, handshakes that fail, and clients that misbehave."""

from __future__ import annotations

import json
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.abc
import pytest
from anyio.lowlevel import checkpoint
from anyio.streams.tls import TLSStream

import uwsgi_async
from tests.certificates import Authority, Pair
from tests.client import Client
from uwsgi_async import Server
from uwsgi_async.cores.tls import ClientProtocols
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n%b\r\n"
BOTH_VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
TOLD = ("wsgi.url_scheme", "HTTPS", "HTTPS_DN", "HTTPS_CC", "HTTPS_CLIENT_CERTIFICATE", "SERVER_PORT")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("localhost")


async def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    body = await environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps([len(body), {key: environ[key] for key in TOLD if key in environ}]).encode()]


@asynccontextmanager
async def serve(pair: Pair, app: Any = app, more: str = "", **options: Any) -> AsyncIterator[Server]:
    async with uwsgi_async.run(app, https=f"127.0.0.1:0,{pair}{more}", **options) as server:
        with anyio.fail_after(30):
            yield server


def address(server: Server) -> tuple[str, int]:
    url = urlsplit(server.addresses[0])
    assert url.hostname is not None
    assert url.port is not None
    return url.hostname, url.port


@asynccontextmanager
async def tls(server: Server, context: ssl.SSLContext, name: str = "localhost") -> AsyncIterator[Client]:
    async with await anyio.connect_tcp(*address(server)) as stream:
        async with await TLSStream.wrap(stream, hostname=name, ssl_context=context) as secure:
            yield Client(secure)  # type: ignore[arg-type]


@asynccontextmanager
async def tcp(server: Server) -> AsyncIterator[anyio.abc.SocketStream]:
    async with await anyio.connect_tcp(*address(server)) as stream:
        yield stream


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - the server's state has no event to wait for
        await anyio.sleep(0.005)


GONE = (anyio.EndOfStream, anyio.BrokenResourceError)


async def until_gone(stream: anyio.abc.SocketStream) -> bytes:
    """What comes until the server has closed the connection."""
    data = b""
    try:
        while True:
            data += await stream.receive()
    except GONE:
        return data


class RawClient:
    """TLS by hand over a TCP stream: the test decides which bytes go when."""

    def __init__(self, stream: anyio.abc.SocketStream, context: ssl.SSLContext, name: str = "localhost") -> None:
        self.stream = stream
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    async def shake_hands(self, *, send_last: bool = True) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.stream.send(self.outgoing.read())
                self.incoming.write(await self.stream.receive())
            else:
                if send_last:
                    await self.stream.send(self.outgoing.read())
                return

    def encrypted(self, data: bytes) -> bytes:
        """The records of ``data``, and what waits before them."""
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view) :]
        return self.outgoing.read()

    async def ask(self) -> bytes:
        """The beginning of the answer to a request."""
        await self.shake_hands()
        await self.stream.send(self.encrypted(GET % b""))
        return await self.receive()

    async def receive(self) -> bytes:
        """What comes next; b"" for an end that was announced. Raises `anyio.EndOfStream` for one that was not."""
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self.incoming.write(await self.stream.receive())

    async def receive_until(self, end: bytes) -> bytes:
        data = bytearray()
        while not data.endswith(end):
            piece = await self.receive()
            assert piece, data[:200]
            data += piece
        return bytes(data)


@BOTH_VERSIONS
async def test_requests_are_answered_and_the_app_knows_of_https(
    authority: Authority, pair: Pair, version: ssl.TLSVersion
) -> None:
    async with serve(pair) as server, tls(server, authority.context(newest=version)) as client:
        assert server.url.startswith("https://127.0.0.1:")
        for _ in range(3):
            answer = await client.get("/")
            assert answer.status == 200
            told = {"wsgi.url_scheme": "https", "HTTPS": "on", "SERVER_PORT": str(address(server)[1])}
            assert json.loads(answer.body) == [0, told]
        assert server.statistics().connections == 1


async def test_a_client_cannot_forge_what_tls_tells(authority: Authority, pair: Pair) -> None:
    async with serve(pair) as server, tls(server, authority.context()) as client:
        answer = await client.get("/", headers="HTTPS-DN: /CN=admin\r\nS-DN: /CN=admin\r\nHTTPS_DN: /CN=admin\r\n")
        assert "HTTPS_DN" not in json.loads(answer.body)[1]


async def test_without_tls_there_is_no_https(pair: Pair) -> None:
    async with uwsgi_async.run(app, http="127.0.0.1:0", https=f"127.0.0.1:0,{pair}") as server:
        async with tcp(server) as stream:
            answer = await Client(stream).get("/")
            assert json.loads(answer.body)[1] == {"wsgi.url_scheme": "http", "SERVER_PORT": str(address(server)[1])}


async def test_the_certificate_may_be_given_in_options_of_its_own(authority: Authority, pair: Pair) -> None:
    options = {"https": "127.0.0.1:0", "certificate": pair.certificate, "certificate_key": pair.key}
    async with uwsgi_async.run(app, **options) as server, tls(server, authority.context()) as client:
        assert (await client.get("/")).status == 200


async def test_https2_takes_the_parts_by_name(authority: Authority, pair: Pair) -> None:
    text = f"addr=127.0.0.1:0,cert={pair.certificate},key={pair.key}"
    async with uwsgi_async.run(app, https2=text) as server, tls(server, authority.context()) as client:
        assert (await client.get("/")).status == 200


async def test_the_uwsgi_protocol_is_spoken_over_tls(authority: Authority, pair: Pair) -> None:
    packet = encode_packet(0, 0, encode_vars({"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5"}))
    async with uwsgi_async.run(app, ssl_socket=f"127.0.0.1:0,{pair}") as server:
        async with tls(server, authority.context()) as client:
            await client.send(packet + b"hello")
            assert (await client.rest()).endswith(b'[5, {"wsgi.url_scheme": "http"}]')


async def test_alpn_offers_http_1_1_only(authority: Authority, pair: Pair) -> None:
    context = authority.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with serve(pair) as server, tcp(server) as stream:
        client = RawClient(stream, context)
        await client.shake_hands()
        assert client.tls.selected_alpn_protocol() == "http/1.1"


@BOTH_VERSIONS
async def test_a_request_that_comes_together_with_the_end_of_the_handshake_is_answered(
    authority: Authority, pair: Pair, version: ssl.TLSVersion
) -> None:
    async with serve(pair) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context(newest=version))
        if version is ssl.TLSVersion.TLSv1_3:
            await client.shake_hands(send_last=False)
        else:
            await client.shake_hands()
        await stream.send(client.encrypted(2 * (GET % b"")))
        assert (await client.receive_until(b"}]")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_records_may_come_byte_by_byte(authority: Authority, pair: Pair) -> None:
    async with serve(pair) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context())
        await client.shake_hands()
        data = client.encrypted(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n" + b"x" * 10)
        for number in range(len(data)):
            await stream.send(data[number : number + 1])
            await checkpoint()
        await stream.send(client.encrypted(b"x" * 10))
        assert b"[20, {" in await client.receive_until(b"}]")


async def test_pipelined_requests_in_one_record_are_answered_in_order(authority: Authority, pair: Pair) -> None:
    async def numbered(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    async with serve(pair, numbered) as server, tls(server, authority.context()) as client:
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(20)))
        assert [(await client.answer()).body for _ in range(20)] == [b"/%d" % number for number in range(20)]


async def test_large_bodies_go_both_ways(authority: Authority, pair: Pair) -> None:
    data = os.urandom(3_000_000)

    async def echo(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [await environ["wsgi.input"].read()]

    async with serve(pair, echo) as server, tls(server, authority.context()) as client:
        for _ in range(2):
            assert (await client.get("/", method="POST", body=data)).body == data


async def test_a_response_waits_for_a_client_that_reads_slowly(authority: Authority, pair: Pair) -> None:
    data = os.urandom(8_000_000)

    async def stream_it(environ: dict[str, Any], start_response: Any) -> AsyncIterator[bytes]:
        start_response("200 OK", [("Content-Length", str(len(data)))])
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    async with serve(pair, stream_it) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context())
        await client.shake_hands()
        await stream.send(client.encrypted(GET % b""))
        await until(lambda: any(connection._write_waiter for connection in server.pool.connections))
        received = await client.receive_until(data[-100:])
        assert received.endswith(data)


@pytest.mark.parametrize("kind", ["sendfile", "wrapper"])
async def test_files_are_sent(authority: Authority, pair: Pair, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(500_000))

    async def send(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "500000")])
        if kind == "wrapper":
            return environ["wsgi.file_wrapper"](file.open("rb"))
        await uwsgi_async.sendfile(str(file))
        return [b""]

    async with serve(pair, send) as server, tls(server, authority.context()) as client:
        for _ in range(2):
            assert (await client.get("/")).body == file.read_bytes()


async def test_the_end_is_announced(authority: Authority, pair: Pair) -> None:
    async with serve(pair) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context())
        await client.shake_hands()
        await stream.send(client.encrypted(GET % b"Connection: close\r\n"))
        await client.receive_until(b"}]")
        assert await client.receive() == b""


async def test_the_end_of_an_idle_connection_is_announced(authority: Authority, pair: Pair) -> None:
    async with serve(pair, keepalive_timeout=0.05) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context())
        await client.shake_hands()
        await stream.send(client.encrypted(GET % b""))
        await client.receive_until(b"}]")
        assert await client.receive() == b""
        await until(lambda: server.statistics().connections == 0)


async def test_a_body_that_is_cut_off_without_an_announced_end_is_no_body(authority: Authority, pair: Pair) -> None:
    seen: list[str] = []

    async def read(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            await environ["wsgi.input"].read()
        except OSError as error:
            seen.append(type(error).__name__)
            raise
        return []

    async with serve(pair, read) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context())
        await client.shake_hands()
        await stream.send(client.encrypted(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"))
        await stream.send_eof()
        await until(lambda: seen)
    assert seen == ["DisconnectedError"]


async def test_a_client_that_announces_its_end_gets_the_answer_before(authority: Authority, pair: Pair) -> None:
    async with serve(pair) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context())
        await client.shake_hands()
        data = client.encrypted(GET % b"")
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.unwrap()
        await stream.send(data + client.outgoing.read())
        assert len(await until_gone(stream)) > 200
        await until(lambda: server.statistics().connections == 0)
        assert server.statistics().requests == 1


async def test_a_handshake_that_stalls_holds_no_core_and_ends_in_time(authority: Authority, pair: Pair) -> None:
    async with serve(pair, cores=1, ssl_handshake_timeout=1.5) as server, tcp(server) as slow:
        client = RawClient(slow, authority.context())
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        hello = client.outgoing.read()
        await slow.send(hello[:100])
        async with tls(server, authority.context()) as other:
            assert (await other.get("/")).status == 200
            assert server.statistics().busy == 0
        assert await until_gone(slow) == b""
        await until(lambda: server.statistics().connections == 0)


async def test_each_byte_of_a_handshake_does_not_buy_more_time(authority: Authority, pair: Pair) -> None:
    async with serve(pair, ssl_handshake_timeout=0.3) as server, tcp(server) as slow:
        client = RawClient(slow, authority.context())
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        hello = client.outgoing.read()
        sent = 0
        with suppress(*GONE):
            while server.statistics().connections:
                assert sent < len(hello) - 1
                await slow.send(hello[sent : sent + 1])
                await anyio.sleep(0.02)
                sent += 1


@pytest.mark.parametrize(
    "data", [GET % b"", b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"\0" * 70_000, b"\x15\x03\x01\0\2\2\0"]
)
async def test_what_is_no_handshake_ends_the_connection_only(
    authority: Authority, pair: Pair, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "uwsgi_async")
    async with serve(pair, ssl_verbose=True) as server:
        async with tcp(server) as stream:
            await stream.send(data)
            await until_gone(stream)
        await until(lambda: server.statistics().connections == 0)
        async with tls(server, authority.context()) as client:
            assert (await client.get("/")).status == 200
    assert any("TLS handshake failed" in record.message for record in caplog.records)


async def test_a_record_that_was_changed_on_its_way_ends_the_connection(authority: Authority, pair: Pair) -> None:
    async with serve(pair) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context())
        await client.shake_hands()
        data = bytearray(client.encrypted(GET % b""))
        data[-1] ^= 1
        await stream.send(bytes(data))
        with pytest.raises((ssl.SSLError, anyio.EndOfStream)):
            await client.receive()
        await until(lambda: server.statistics().connections == 0)
        assert server.statistics().requests == 0


async def test_a_client_that_resets_the_connection_is_a_write_error_of_its_request(
    authority: Authority, pair: Pair
) -> None:
    async def endless(environ: dict[str, Any], start_response: Any) -> AsyncIterator[bytes]:
        start_response("200 OK", [])
        while True:
            yield b"x" * 100_000

    async with serve(pair, endless) as server:
        async with tcp(server) as stream:
            client = RawClient(stream, authority.context())
            await client.shake_hands()
            await stream.send(client.encrypted(GET % b""))
            await client.receive()
            raw = stream.extra(anyio.abc.SocketAttribute.raw_socket)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await until(lambda: server.statistics().connections == 0)
        assert server.statistics().cores[0].write_errors == 1


async def test_a_client_that_takes_nothing_does_not_hold_its_core_for_ever(authority: Authority, pair: Pair) -> None:
    async def large(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x" * 20_000_000]

    async with serve(pair, large, socket_timeout=0.3) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context())
        await client.shake_hands()
        await stream.send(client.encrypted(GET % b""))
        await until(lambda: server.statistics().requests == 1)
        assert server.statistics().busy == 0
        with pytest.raises(GONE):  # cut, and so not announced
            await client.receive_until(b"never")


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs the certificates of clients."""
    return Authority(tmp_path_factory.mktemp("clients"), "clients")


@BOTH_VERSIONS
@pytest.mark.parametrize("must", ["", "!"])
async def test_a_clients_certificate_is_told_to_the_app(
    authority: Authority, pair: Pair, clients: Authority, must: str, version: ssl.TLSVersion
) -> None:
    shown = clients.issue("alice@example.com", common_name="Alice")
    der = authority.der(shown)
    async with serve(pair, more=f",,{must}{clients.file}", https_export_cert=True) as server:
        async with tls(server, authority.context(shown, version)) as client:
            for _ in range(2):
                told = json.loads((await client.get("/")).body)[1]
                assert told["HTTPS_CLIENT_CERTIFICATE"].encode("latin-1") == der
                assert told["HTTPS_CC"] == ssl.DER_cert_to_PEM_cert(der)
                assert told["HTTPS_DN"].endswith("/CN=Alice")


async def test_what_one_client_is_is_not_told_of_another_that_sends_the_same(
    authority: Authority, pair: Pair, clients: Authority
) -> None:
    alice, bob = (clients.issue(f"{name}@example.com", common_name=name) for name in ("alice", "bob"))
    names = []
    async with serve(pair, more=f",,{clients.file}") as server:
        for shown in (alice, bob, None, alice):
            async with tls(server, authority.context(shown)) as client:
                told = json.loads((await client.get("/")).body)[1]
                names.append(told.get("HTTPS_DN", "").rpartition("/CN=")[2])
    assert names == ["alice", "bob", "", "alice"]


@BOTH_VERSIONS
@pytest.mark.parametrize(("must", "shown"), [("!", False), ("!", True), ("", True)])
async def test_a_client_without_the_right_certificate_is_refused(
    authority: Authority, pair: Pair, clients: Authority, must: str, shown: bool, version: ssl.TLSVersion
) -> None:
    wrong = authority.issue("eve@example.com") if shown else None  # not signed by the clients' authority
    async with serve(pair, more=f",,{must}{clients.file}") as server:
        async with tcp(server) as stream:
            client = RawClient(stream, authority.context(wrong, version))
            with pytest.raises((ssl.SSLError, *GONE)):
                await client.ask()
        await until(lambda: server.statistics().connections == 0)
        assert server.statistics().requests == 0


@BOTH_VERSIONS
async def test_a_session_is_resumed_and_keeps_the_clients_certificate(
    authority: Authority, pair: Pair, clients: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.context(clients.issue("carol@example.com", common_name="carol"), version)

    def ask(address: tuple[str, int], session: ssl.SSLSession | None) -> tuple[bool | None, bytes, Any]:
        with socket.create_connection(address, timeout=20) as raw:
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as sock:
                sock.sendall(GET % b"Connection: close\r\n")
                answer = b""
                while data := sock.recv(65536):
                    answer += data
                return sock.session_reused, answer, sock.session

    async with serve(pair, more=f",,!{clients.file}") as server:
        first, _, session = await anyio.to_thread.run_sync(ask, address(server), None)
        second, answer, _ = await anyio.to_thread.run_sync(ask, address(server), session)
    assert (first, second) == (False, True)
    assert b"/CN=carol" in answer


async def certificate_names(server: Server, context: ssl.SSLContext, name: str) -> set[str]:
    """The names in the certificate that a client gets that asks for ``name``."""
    async with tcp(server) as stream:
        client = RawClient(stream, context, name)
        assert (await client.ask()).startswith(b"HTTP/1.1 200 OK")
        certificate: Any = client.tls.getpeercert()
        return {value for _, value in certificate["subjectAltName"]}


@BOTH_VERSIONS
async def test_a_name_that_a_client_asks_for_gets_its_certificate(
    authority: Authority, pair: Pair, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    context = authority.context(newest=version)
    context.check_hostname = False
    one, many = authority.issue("one.example"), authority.issue("*.many.example")
    authority.issue("found.example", place=tmp_path)
    options = {"sni": f"one.example {one}", "sni_regexp": rf"\.many\.example$ {many}", "sni_dir": str(tmp_path)}
    expected = {
        "one.example": "one.example",
        "ONE.example": "one.example",
        "a.many.example": "*.many.example",
        "found.example": "found.example",
        "unknown.example": "localhost",
    }
    async with serve(pair, **options) as server:
        for name, wanted in expected.items():
            assert (name, await certificate_names(server, context, name)) == (name, {wanted})


@BOTH_VERSIONS
async def test_the_client_ca_of_a_name_counts_where_the_default_has_none(
    authority: Authority, pair: Pair, clients: Authority, version: ssl.TLSVersion
) -> None:
    secret = authority.issue("secret.example")
    shown = clients.issue("dave@example.com", common_name="dave")
    async with serve(pair, sni=f"secret.example {secret},,!{clients.file}") as server:
        async with tls(server, authority.context(shown, version), "secret.example") as client:
            assert json.loads((await client.get("/")).body)[1]["HTTPS_DN"].endswith("/CN=dave")
        async with tcp(server) as stream:
            raw = RawClient(stream, authority.context(newest=version), "secret.example")
            with pytest.raises((ssl.SSLError, *GONE)):
                await raw.ask()
        async with tls(server, authority.context(newest=version)) as client:
            assert (await client.get("/")).status == 200


async def test_an_idle_connection_is_parked_and_costs_no_core(authority: Authority, pair: Pair) -> None:
    async with serve(pair, cores=1) as server, tls(server, authority.context()) as idle:
        await idle.get("/")
        [connection] = server.pool.connections
        await until(lambda: connection.parked)
        assert not connection.movable
        async with tls(server, authority.context()) as other:
            assert (await other.get("/")).status == 200
        assert (await idle.get("/")).status == 200


async def test_an_asgi_app_is_told_of_https(authority: Authority, pair: Pair) -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope["scheme"].encode()})

    async with serve(pair, asgi, app_kind="asgi") as server, tls(server, authority.context()) as client:
        assert (await client.get("/")).body == b"https"


async def test_a_record_that_stalls_ends_the_connection_in_time(authority: Authority, pair: Pair) -> None:
    async with serve(pair, cores=1, header_timeout=1.5) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context())
        await client.shake_hands()
        data = client.encrypted(GET % b"")
        await stream.send(data[:-5])
        async with tls(server, authority.context()) as other:
            assert (await other.get("/")).status == 200  # it holds no core
        await until_gone(stream)
        assert server.statistics().requests == 1


async def test_a_body_that_stalls_in_a_record_is_answered_with_408(authority: Authority, pair: Pair) -> None:
    async with serve(pair, socket_timeout=0.2) as server, tcp(server) as stream:
        client = RawClient(stream, authority.context())
        await client.shake_hands()
        await stream.send(client.encrypted(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"))
        await stream.send(client.encrypted(b"other")[:-5])
        assert (await client.receive()).startswith(b"HTTP/1.1 408 ")


def test_protocols_of_clients_are_kept_for_a_few_certificates_only() -> None:
    made: list[bytes] = []

    def make(certificate: bytes, subject: Any) -> Any:
        made.append(certificate)
        return certificate

    protocols = ClientProtocols(make)
    for number in range(100):
        client: Any = SimpleNamespace(client_certificate=b"%d" % number, client_subject=())
        assert protocols(client) is protocols(client)
    assert len(made) == 101  # and one for clients without any
    assert len(protocols._by_certificate) <= 32
