"""`TlsConnection` over a socket that takes and gives as little as it likes: nothing is lost, doubled or changed."""

from __future__ import annotations

import ssl
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.certificates import Authority
from uwsgi_async.cores.connection import RECEIVE_SIZE, Connection
from uwsgi_async.cores.tls import TlsConnection, TlsObject
from uwsgi_async.errors import DisconnectedError


class Wire:
    """The server's socket. ``takes``: how many bytes each send takes, 0 for a full one; then all that it is given."""

    def __init__(self, takes: list[int]) -> None:
        self.takes = takes
        self.to_server: list[bytes] = []
        self.to_client = b""

    def fileno(self) -> int:
        return -1

    def recv(self, size: int) -> bytes:
        if not self.to_server:
            raise BlockingIOError
        data = self.to_server.pop(0)
        if len(data) > size:
            self.to_server.insert(0, data[size:])
        return data[:size]

    def send(self, data: bytes) -> int:
        most = self.takes.pop(0) if self.takes else len(data)
        if not most:
            raise BlockingIOError
        self.to_client += data[:most]
        return min(most, len(data))

    def shutdown(self, _how: int) -> None:
        pass

    def close(self) -> None:
        pass


class Client:
    """The other side, in memory."""

    def __init__(self, context: ssl.SSLContext, wire: Wire) -> None:
        self.wire = wire
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def step(self) -> bool:
        self.incoming.write(self.wire.to_client)
        self.wire.to_client = b""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def received(self) -> bytes:
        self.incoming.write(self.wire.to_client)
        self.wire.to_client = b""
        data = b""
        try:
            while piece := self.tls.read(65536):
                data += piece
        except ssl.SSLWantReadError:
            pass
        return data


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ssl.SSLContext]:
    """What the server has, and a client's context."""
    authority = Authority(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = TlsObject
    context.load_cert_chain(*authority.issue("localhost"))
    return SimpleNamespace(context=context), authority.context()


def connected(wire: Wire, contexts: tuple[Any, ssl.SSLContext]) -> tuple[TlsConnection, Client]:
    poller: Any = SimpleNamespace(claim=lambda *_: None, release_claim=lambda *_: None, time=lambda: 0.0)
    pool: Any = SimpleNamespace(connections=set(), poller=poller, on_connection_closed=lambda: None)
    sock: Any = wire
    connection = TlsConnection(sock, "", SimpleNamespace(), pool)  # type: ignore[arg-type]
    client = Client(contexts[1], wire)
    for _ in range(5):
        through = client.step()
        data = client.outgoing.read()
        if data:
            wire.to_server.append(data)
            if connection.shake_hands(contexts[0]) and through:
                return connection, client
    raise AssertionError("no handshake")


SIZES = st.integers(1, 200_000)


@settings(max_examples=60, deadline=None)
@given(st.lists(SIZES, min_size=1, max_size=4), st.lists(st.integers(0, 40_000), max_size=30))
def test_what_is_sent_arrives_however_little_the_socket_takes(
    contexts: tuple[Any, ssl.SSLContext], sizes: list[int], takes: list[int]
) -> None:
    wire = Wire([])
    connection, client = connected(wire, contexts)
    wire.takes = takes
    received = b""
    for number, size in enumerate(sizes):
        data = bytes([number]) * (size // 2) + b"\xff" * (size - size // 2)
        rest = memoryview(data)
        while rest:
            rest = rest[connection.send_nowait(rest) :]
        received += client.received()
        assert received == data
        received = b""
    connection.close()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(SIZES, min_size=1, max_size=3),
    st.lists(st.integers(1, 50_000), max_size=30),
    st.integers(200, 100_000) | st.just(RECEIVE_SIZE),
)
def test_what_comes_is_received_however_it_is_cut_and_asked_for(
    contexts: tuple[Any, ssl.SSLContext], sizes: list[int], cuts: list[int], size: int
) -> None:
    wire = Wire([])
    connection, client = connected(wire, contexts)
    plain = b"".join(bytes([number]) * size for number, size in enumerate(sizes))
    view = memoryview(plain)
    while view:
        view = view[client.tls.write(view) :]
    encrypted = client.outgoing.read()
    received = b""
    while encrypted:
        cut = cuts.pop() if cuts else len(encrypted)
        wire.to_server.append(encrypted[:cut])
        encrypted = encrypted[cut:]
        while (data := connection.receive_nowait(size)) is not None:
            assert 0 < len(data) <= size
            assert connection.readable >= connection.held
            received += data
        assert not connection.readable
        assert not connection.held
    assert received == plain
    connection.close()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=6), st.booleans())
def test_bytes_at_random_end_a_connection_and_raise_nothing_else(
    contexts: tuple[Any, ssl.SSLContext], pieces: list[bytes], in_handshake: bool
) -> None:
    wire = Wire([])
    if in_handshake:
        poller: Any = SimpleNamespace(claim=lambda *_: None, release_claim=lambda *_: None, time=lambda: 0.0)
        pool: Any = SimpleNamespace(connections=set(), poller=poller, on_connection_closed=lambda: None)
        sock: Any = wire
        connection = TlsConnection(sock, "", SimpleNamespace(), pool)  # type: ignore[arg-type]
        wire.to_server = [piece for piece in pieces if piece]
        try:
            assert connection.shake_hands(contexts[0]) is False
        except (ssl.SSLError, DisconnectedError):
            pass
    else:
        connection, _ = connected(wire, contexts)
        wire.to_server = [piece for piece in pieces if piece]
        received = connection.receive_nowait()
        assert not received
        if received == b"":
            assert connection.receive_nowait() == b""
    connection.close()
    assert isinstance(connection, Connection)
    assert connection.closed
