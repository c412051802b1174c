"""Changes of a cache that are sent to others by UDP, and those that come from others."""

from __future__ import annotations

import operator
import socket
from collections.abc import Iterator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.state.cache.making import made, one
from tests.state.cache.peer import Peers
from uwsgi_async.errors import OptionError
from uwsgi_async.wire.uwsgi.cache import Copy, decode_copy, encode_copy

PATIENCE = 20.0  # seconds


@pytest.fixture
def node() -> Iterator[socket.socket]:
    """Who gets the changes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.bind(("127.0.0.1", 0))
        yield sock


def address(sock: socket.socket) -> str:
    return "{}:{}".format(*sock.getsockname())


def came(sock: socket.socket) -> Copy | None:
    return decode_copy(sock.recv(65536))


@pytest.mark.parametrize("options", ["", "bitmap=1,blocksize=70000,", "purge_lru=1,"])
def test_each_change_is_sent_to_each_node(node: socket.socket, options: str) -> None:
    with one(f"items=9,{options}nodes={address(node)};{address(node)}") as cache:
        cache.put("a", "1", 0, False)
        cache.put("a", "not stored", 0, False)
        cache.put("a", "2", 0, True)
        cache.calculate("n", operator.add, 5, 0)
        cache.calculate("n", operator.add, 5, 0)
        cache.delete("none")
        cache.delete("a")
    numbers = [number.to_bytes(8, "little") for number in (5, 10)]
    sent = [Copy(key=b"a", value=b"1"), Copy(key=b"a", value=b"2")]
    sent += [Copy(key=b"n", value=numbers[0]), Copy(key=b"n", value=numbers[1]), Copy(key=b"a")]
    assert [came(node) for _ in range(10)] == [each for each in sent for _ in range(2)]
    node.setblocking(False)
    with pytest.raises(BlockingIOError):
        came(node)


def test_an_expiry_is_sent_as_a_time(node: socket.socket) -> None:
    with one(f"items=9,node={address(node)}") as cache:
        cache.put("a", "1", 100, False)
        found = cache.get_with_expiry("a")
    assert found is not None
    assert came(node) == Copy(key=b"a", value=b"1", expires=found[1])


def test_of_a_value_that_fits_no_datagram_the_copies_are_deleted(
    node: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with one(f"items=9,blocksize=70000,nodes={address(node)}") as cache:
        assert cache.put("a", b"v" * 65536, 0, False)
    assert came(node) == Copy(key=b"a")
    assert "cannot be copied by UDP" in caplog.text


def test_nobody_there_fails_nothing(node: socket.socket) -> None:
    gone = address(node)
    node.close()
    with one(f"items=9,nodes={gone}") as cache:
        assert [cache.put("a", str(number), 0, True) for number in range(5)] == [True] * 5


@pytest.mark.anyio
async def test_what_comes_is_stored_deleted_and_not_sent_on(node: socket.socket, anyio_backend: object) -> None:
    with made(f"name=c,items=9,blocksize=10,udp=127.0.0.1:0,nodes={address(node)}") as caches:
        cache, receiver = caches._receivers[0]
        to = receiver._socket.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:

            async def send(*datagrams: bytes) -> None:
                for datagram in (*datagrams, encode_copy(Copy(key=b"end", value=b"1"))):
                    sender.sendto(datagram, to)
                with anyio.fail_after(PATIENCE):
                    while not cache.get("end"):
                        await checkpoint()
                cache.take(Copy(key=b"end"))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(caches.maintain)
                far = 2**33
                await send(b"junk", b"", encode_copy(Copy(key=b"a", value=b"1", expires=far)))
                assert cache.get_with_expiry("a") == (b"1", far)
                too_large = encode_copy(Copy(key=b"a", value=b"x" * 11))
                await send(encode_copy(Copy(key=b"a", value=b"2")), too_large, encode_copy(Copy(key=b"", value=b"2")))
                assert cache.get_with_expiry("a") == (b"2", 0)
                await send(encode_copy(Copy(key=b"a")))
                assert cache.get("a") is None
                tasks.cancel_scope.cancel()
    node.setblocking(False)
    with pytest.raises(BlockingIOError):
        came(node)


def test_another_process_sends_what_it_changes(node: socket.socket) -> None:
    with made(f"name=c,items=9,nodes={address(node)}") as caches, Peers(caches, 1) as peers:
        assert peers.ask(0, "c", "put", b"a", b"1", 0, True)
    assert came(node) == Copy(key=b"a", value=b"1")


@pytest.mark.parametrize("text", ["udp=203.0.113.1:5", "udp=no..host:5", "nodes=no..host:5"])
def test_an_address_that_cannot_be_is_told(text: str) -> None:
    with pytest.raises(OptionError, match="udp"), made(f"name=c,items=9,{text}"):
        pass
