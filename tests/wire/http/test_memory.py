"""The rules of `HeadMemory`: what is remembered is right, and is never much."""

import tracemalloc

from uwsgi_async.options.settings import HttpOptions
from uwsgi_async.wire.http import Endpoint, HttpReader, RequestHead
from uwsgi_async.wire.http.memory import MAX_HEAD_BYTES, MAX_HEADS, MAX_VARS, HeadMemory

HEAD = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def read(endpoint: Endpoint, raw: bytes, peer: str = "127.0.0.1") -> RequestHead:
    reader = HttpReader(endpoint, peer)
    reader.receive_data(raw)
    head = reader.next_head()
    assert head is not None
    return head


def test_same_bytes_of_the_same_peer_give_the_same_head() -> None:
    endpoint = Endpoint(HttpOptions())
    assert read(endpoint, HEAD) is read(endpoint, HEAD)
    assert endpoint.memory.recall(HEAD, "127.0.0.1") is read(endpoint, HEAD)


def test_another_peer_gets_its_own_address() -> None:
    endpoint = Endpoint(HttpOptions(), "name", "80")
    assert read(endpoint, HEAD, "10.0.0.1").vars["REMOTE_ADDR"] == "10.0.0.1"
    assert read(endpoint, HEAD, "10.0.0.2").vars["REMOTE_ADDR"] == "10.0.0.2"


def test_each_listener_has_a_memory_of_its_own() -> None:
    options = HttpOptions()
    ports = {read(Endpoint(options, "name", port), HEAD).vars["SERVER_PORT"] for port in ("80", "81")}
    assert ports == {"80", "81"}


def test_a_head_with_a_body_is_not_remembered() -> None:
    endpoint = Endpoint(HttpOptions())
    assert not read(endpoint, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n").vars.shared
    assert not read(endpoint, b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").vars.shared
    assert len(endpoint.memory) == 0


def test_hostile_heads_take_two_megabytes_at_most() -> None:
    endpoint = Endpoint(HttpOptions())
    fields = b"".join(b"X%d: %d%s\r\n" % (n, n, b"v" * 8) for n in range(MAX_VARS - 12))
    tracemalloc.start()
    for number in range(3 * MAX_HEADS):
        vars = read(endpoint, b"GET /%d HTTP/1.1\r\nHost: x\r\n%s\r\n" % (number, fields)).vars
        if vars.shared:
            vars.environ = {**vars, **{f"wsgi.{n}": n for n in range(20)}}
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0 < len(endpoint.memory) <= MAX_HEADS
    assert size < 2_000_000


def test_what_is_too_long_to_be_remembered_is_not_even_hashed():
    class Data(bytes):
        def __hash__(self) -> int:
            raise AssertionError("hashed")

    assert HeadMemory().recall(Data(MAX_HEAD_BYTES + 1), "127.0.0.1") is None
