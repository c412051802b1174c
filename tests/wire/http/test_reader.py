"""The contract of `HttpReader`, over both parsers and over all ways in which bytes may arrive."""

import pytest

from uwsgi_async.errors import UsageError
from uwsgi_async.options.settings import HttpOptions
from uwsgi_async.wire.http import Endpoint, HttpReader, RequestHead

from .corpus import EVIL, GOOD, chunked, get, post
from .drive import PARSERS, one_by_one, run, verdict

pytestmark = pytest.mark.parametrize("parser", PARSERS)


def reader_of(parser: str, data: bytes = b"", **options: int) -> HttpReader:
    reader = HttpReader(Endpoint(HttpOptions(http_parser=parser, **options), "name", "80"), "127.0.0.1")  # type: ignore[arg-type]
    if data:
        reader.receive_data(data)
    return reader


def head_of(parser: str, data: bytes) -> RequestHead:
    head = reader_of(parser, data).next_head()
    assert head is not None
    return head


@pytest.mark.parametrize("name", GOOD)
def test_good_request_is_read_to_its_end_and_no_further(parser: str, name: str) -> None:
    data = GOOD[name]
    whole = run(parser, [data])
    assert verdict(whole) == 200
    assert run(parser, one_by_one(data)) == whole
    assert run(parser, [data[:-1]])[: len(whole) - 1] == whole[:-1]
    assert verdict(run(parser, [data[:-1]])) is None
    assert run(parser, [data + get()]) == [*whole, *run(parser, [get()])]
    assert run(parser, [data + b"\x00"]) == whole


@pytest.mark.parametrize("name", EVIL)
def test_evil_request_gets_its_status_however_it_arrives(parser: str, name: str) -> None:
    status, data = EVIL[name]
    assert verdict(run(parser, [data])) == status
    assert verdict(run(parser, [data + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])) == status
    if len(data) < 1000 or parser == "httptools":
        assert run(parser, one_by_one(data)) == run(parser, [data])


def test_vars_are_those_of_uwsgi(parser: str) -> None:
    head = head_of(
        parser,
        b"POST /a%2Fb%C3%A9?x=%20 HTTP/1.1\r\nHost: h:1\r\nContent-Type: text/plain\r\n"
        b"content-length: 0\r\nX-Y: 1 \r\n\r\n",
    )
    assert head.vars == {
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/a%2Fb%C3%A9?x=%20",
        "PATH_INFO": "/a/b\xc3\xa9",
        "QUERY_STRING": "x=%20",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "HTTP_HOST": "h:1",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "0",
        "HTTP_X_Y": "1",
        "SERVER_NAME": "name",
        "SERVER_PORT": "80",
        "REMOTE_ADDR": "127.0.0.1",
    }
    assert head.method == "POST"


@pytest.mark.parametrize(
    ("lines", "key", "value"),
    [
        (["X: 1", "x: 2", "X:"], "HTTP_X", "1, 2, "),
        (["Cookie: a=1", "cookie: b=2"], "HTTP_COOKIE", "a=1; b=2"),
        (["Content-Type: a", "Content-Type: b"], "CONTENT_TYPE", "a, b"),
        (["X: caf\xe9 \t"], "HTTP_X", "caf\xe9"),
        (["X: \xa0a\x85"], "HTTP_X", "\xa0a\x85"),
        (["X-Y: 1", "X_Y: 2"], "HTTP_X_Y", "1"),
        (["X_Y: 2", "X-Y: 1", "Content_Length: 5"], "HTTP_X_Y", "1"),
    ],
)
def test_fields_become_vars_joined_and_not_forgeable(parser: str, lines: list[str], key: str, value: str) -> None:
    for _ in range(2):  # the second time with all names in the cache
        head = head_of(parser, get(*lines))
        assert head.vars[key] == value
        assert head.content_length == 0


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/", "/"),
        ("//a", "//a"),
        ("/a%20b", "/a b"),
        ("/%e9%E9", "/\xe9\xe9"),
        ("/%%41", "/%41"),
        ("/a%", "/a"),
        ("/a%4", "/a"),
        ("/%zz%4g", "/\x00@"),
        ("/a/./b", "/a/b"),
        ("/a/.", "/a/"),
        ("/a/../b", "/b"),
        ("/a/b/..", "/a/"),
        ("/../../b", "/b"),
        ("/..", ""),
        ("/.a/..b/...", "/.a/..b/..."),
        ("/a/%2e%2e/b", "/a/../b"),
        ("/a%2Fb/../c", "/a/c"),
        ("/a?/../%20", "/a"),
        ("http://b", "/"),
        ("http://b/x%20?y", "/x "),
    ],
)
def test_path_info_is_decoded_as_uwsgi_decodes_it(parser: str, uri: str, path: str) -> None:
    head = head_of(parser, get(line=f"GET {uri} HTTP/1.1"))
    assert head.vars["PATH_INFO"] == path
    assert head.vars["REQUEST_URI"] == uri


def test_host_of_the_absolute_form_wins(parser: str) -> None:
    head = head_of(parser, get(line="GET https://b:81/c HTTP/1.1"))
    assert head.vars["HTTP_HOST"] == "b:81"


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        ("1.1", None, True),
        ("1.1", "close", False),
        ("1.1", "x, Close", False),
        ("1.1", "keep-alive, close", False),
        ("1.1", "closed", True),
        ("1.0", None, False),
        ("1.0", "keep-alive", True),
        ("1.0", "Keep-Alive , x", True),
        ("1.0", "x", False),
    ],
)
def test_keep_alive_follows_version_and_connection(
    parser: str, version: str, connection: str | None, keep_alive: bool
) -> None:
    lines = [] if connection is None else [f"Connection: {connection}"]
    assert head_of(parser, get(*lines, line=f"GET / HTTP/{version}")).keep_alive is keep_alive


def test_expect_and_upgrade_are_for_http_1_1_only(parser: str) -> None:
    lines = ("Content-Length: 1", "Expect: 100-continue", "Connection: upgrade", "Upgrade: x")
    new = head_of(parser, get(*lines))
    old = head_of(parser, get(*lines, line="GET / HTTP/1.0"))
    assert (new.expect_continue, new.upgrade) == (True, True)
    assert (old.expect_continue, old.upgrade) == (False, False)
    assert not head_of(parser, get("Expect: 100-continue")).expect_continue


def test_state_tells_idle_head_and_body_apart(parser: str) -> None:
    reader = reader_of(parser)
    assert (reader.idle, reader.in_head) == (True, False)
    reader.receive_data(b"\r\n")
    assert reader.next_head() is None
    assert (reader.idle, reader.in_head) == (True, False)
    reader.receive_data(b"POST / HT")
    assert reader.next_head() is None
    assert (reader.idle, reader.in_head) == (False, True)
    reader.receive_data(b"TP/1.0\r\nContent-Length: 2\r\n\r\na")
    head = reader.next_head()
    assert head is not None
    assert (reader.idle, reader.in_head) == (False, False)
    assert [reader.next_body(), reader.next_body()] == [b"a", None]
    reader.receive_data(b"bG")
    assert reader.next_body() == b"b"
    assert not reader.in_head
    assert reader.next_body() == b""
    assert (reader.idle, reader.in_head) == (False, True)


def test_next_head_in_a_body_is_a_usage_error(parser: str) -> None:
    reader = reader_of(parser, post(b"a", "Content-Length: 1"))
    reader.next_head()
    assert reader.next_body() == b"a"
    with pytest.raises(UsageError, match="next_body"):
        reader.next_head()


def test_bytes_behind_a_closing_request_stay_unread(parser: str) -> None:
    reader = reader_of(parser, get("Connection: close") + b"\x00\x00")
    head = reader.next_head()
    assert head is not None
    assert not head.keep_alive
    assert reader.next_body() == b""


def test_limits_are_exact(parser: str) -> None:
    data = get("X: 1")
    assert verdict(run(parser, [data], max_header_bytes=len(data), max_header_count=2)) == 200
    assert verdict(run(parser, [data], max_header_bytes=len(data) - 1)) == 431
    assert verdict(run(parser, [data], max_header_count=1)) == 431
    body = chunked(b"1;ab\r\nx\r\n0\r\nX: 1\r\n\r\n")  # 3 bytes of extension, 6 of trailer
    assert verdict(run(parser, [body], max_chunk_overhead=9)) == 200
    assert verdict(run(parser, [body], max_chunk_overhead=8)) == 413
    assert verdict(run(parser, one_by_one(body), max_chunk_overhead=8)) == 413


def test_vars_do_not_leak_from_one_request_into_the_next(parser: str) -> None:
    first, second = run(parser, [get("X: 1") + get("Y: 2")])
    assert "HTTP_X" in first[1]
    assert "HTTP_X" not in second[1]
