"""The rules of `ResponseHead` and its small companions."""

import re
from email.utils import parsedate_to_datetime
from typing import Any

import h11
import pytest

from uwsgi_async.errors import AppError, UsageError
from uwsgi_async.wire.http import (
    CONTINUE,
    LAST_CHUNK,
    date_header,
    encode_chunk,
    response_head,
    simple_response,
)
from uwsgi_async.wire.http import encode as module


def encode(status: str = "200 OK", headers: Any = (), **options: Any) -> bytes:
    framing = {"http_1_1": True, "keep_alive": True, "chunked": False, "content_length": None, "date": False, **options}
    return response_head(status, list(headers)).encode(tuple(framing.values()))


def test_app_headers_come_first_and_in_order() -> None:
    head = encode(headers=[("X-B", "1"), ("X-A", "2"), ("X-B", "caf\xe9")], content_length=5)
    assert head == b"HTTP/1.1 200 OK\r\nX-B: 1\r\nX-A: 2\r\nX-B: caf\xe9\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(
    ("http_1_1", "keep_alive", "added"),
    [
        (True, True, b""),
        (True, False, b"Connection: close\r\n"),
        (False, True, b"Connection: keep-alive\r\n"),
        (False, False, b""),
    ],
)
def test_connection_is_added_only_where_the_version_means_otherwise(
    http_1_1: bool, keep_alive: bool, added: bytes
) -> None:
    head = encode(http_1_1=http_1_1, keep_alive=keep_alive)
    assert head == (b"HTTP/1.1" if http_1_1 else b"HTTP/1.0") + b" 200 OK\r\n" + added + b"\r\n"


def test_connection_of_the_app_is_left_alone() -> None:
    assert encode(headers=[("connection", "x")], keep_alive=False) == b"HTTP/1.1 200 OK\r\nconnection: x\r\n\r\n"


def test_chunked_and_length_are_added_when_asked_for() -> None:
    assert encode(chunked=True).endswith(b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert encode(content_length=0).endswith(b"\r\nContent-Length: 0\r\n\r\n")
    assert encode(headers=[("content-length", "3")], content_length=3).lower().count(b"content-length") == 1


def test_date_is_added_unless_the_app_gave_one() -> None:
    assert re.fullmatch(rb"HTTP/1\.1 200 OK\r\nDate: [^\r]+ GMT\r\n\r\n", encode(date=True))
    assert encode(headers=[("dAtE", "x")], date=True) == b"HTTP/1.1 200 OK\r\ndAtE: x\r\n\r\n"


@pytest.mark.parametrize("status", ["200", "200 ", "299 Fine, thanks", "404 caf\xe9"])
def test_good_status_is_sent_as_it_is(status: str) -> None:
    assert encode(status) == f"HTTP/1.1 {status}\r\n\r\n".encode("latin-1")


@pytest.mark.parametrize(
    "status",
    ["", "OK", "20 OK", "2000 OK", "200OK", "099 X", "200 a\r\nX: 1", "200 \n", "200 \0", "200 \u20ac", 200, None, []],
)
def test_bad_status_is_the_apps_error(status: Any) -> None:
    with pytest.raises(AppError if isinstance(status, str) else TypeError):
        encode(status)


@pytest.mark.parametrize(
    "header",
    [
        ("X", "a\r\nY: b"),
        ("X", "a\nb"),
        ("X", "a\rb"),
        ("X", "a\0"),
        ("X", "\u20ac"),
        ("X\r\nY", "a"),
        ("X: y", "a"),
        ("X ", "a"),
        ("", "a"),
        ("X\xe9", "a"),
        ("Transfer-Encoding", "chunked"),
        ("transfer-encoding", "identity"),
    ],
)
def test_bad_header_is_the_apps_error(header: Any) -> None:
    for headers in ([header], [("A", "1"), header, ("B", "2")]):
        with pytest.raises(AppError):
            encode(headers=headers)


@pytest.mark.parametrize("header", [("X", 1), ("X", b"a"), (b"X", "a"), ([], "a"), ("X",), ["X", "a"], "Xa", None])
def test_header_that_is_no_pair_of_str_is_a_type_error(header: Any) -> None:
    with pytest.raises(TypeError, match="http header must be a tuple of two str"):
        encode(headers=[("A", "1"), header])


@pytest.mark.parametrize("length", ["", "-1", "1 ", "0x1", "\xb2", "9" * 19])
def test_content_length_that_is_no_number_of_bytes_is_the_apps_error(length: str) -> None:
    with pytest.raises(AppError, match="Content-Length must be a number of bytes"):
        encode(headers=[("Content-Length", length)])


def test_header_lines_that_never_come_again_do_not_pile_up() -> None:
    for number in range(5000):
        encode(headers=[("X-Number", str(number))])
    assert len(module._lines) <= module.MAX_CACHED


def test_contradicting_lengths_are_refused() -> None:
    length = ("Content-Length", "1")
    with pytest.raises(AppError):
        encode(headers=[length, length])
    with pytest.raises(AppError):
        encode(headers=[length], chunked=True)
    with pytest.raises(UsageError):
        encode(chunked=True, content_length=1)
    with pytest.raises(UsageError):
        encode(chunked=True, http_1_1=False)


def test_chunks_are_sized_in_hexadecimal_and_never_empty() -> None:
    assert encode_chunk(b"a" * 26) == b"1a\r\n" + b"a" * 26 + b"\r\n"
    assert encode_chunk(b"") == b""
    assert (LAST_CHUNK, CONTINUE) == (b"0\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n")


def test_date_header_is_a_whole_field() -> None:
    field = date_header().decode("ascii")
    assert field.startswith("Date: ")
    assert field.endswith(" GMT\r\n")
    assert parsedate_to_datetime(field[6:].strip()).year >= 2024


@pytest.mark.parametrize("status", [400, 408, 413, 417, 431, 500, 501, 503, 505, 599])
def test_simple_response_is_complete_and_closes(status: int) -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(simple_response(status))
    head, body, end = client.next_event(), client.next_event(), client.next_event()
    assert isinstance(head, h11.Response)
    assert head.status_code == status
    assert {b"connection", b"content-length", b"date", b"content-type"} == {name for name, _ in head.headers}
    assert isinstance(body, h11.Data)
    assert str(status) in bytes(body.data).decode()
    assert isinstance(end, h11.EndOfMessage)
    assert client.their_state is h11.MUST_CLOSE
