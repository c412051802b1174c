"""The heads of other servers' responses: HTTP's, CGI's, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import BadRequestError
from uwsgi_async.wire.cgihead import LARGEST_HEAD, ForeignHead, HeadSplitter


def split(data: bytes, *cuts: int) -> tuple[ForeignHead | None, bytes]:
    splitter = HeadSplitter()
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        head = splitter.receive_data(data[start:stop])
        if head is not None:
            return head, splitter.rest + data[stop:]
    return None, b""


@pytest.mark.parametrize(
    ("data", "status", "headers"),
    [
        (b"HTTP/1.1 404 Not Found\r\nA: b\r\nC:d \r\n\r\n", "404 Not Found", [("A", "b"), ("C", "d")]),
        (b"HTTP/1.0 204\r\n\r\n", "204", []),
        (b"Status: 201 Created\r\nA: b\r\n\r\n", "201 Created", [("A", "b")]),
        (b"Content-Type: text/html\n\n", "200 OK", [("Content-Type", "text/html")]),
        (b"Location: /x\r\n\r\n", "302 Found", [("Location", "/x")]),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n", "200 OK", [("A", "b")]),
    ],
)
def test_a_head_is_status_and_headers(data: bytes, status: str, headers: list[tuple[str, str]]) -> None:
    assert split(data + b"body") == (ForeignHead(status, headers), b"body")


@given(st.sets(st.integers(0, 40), max_size=5))
def test_how_it_is_split_makes_no_difference(cuts: set[int]) -> None:
    data = b"HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\nthe body\n\n"
    assert split(data, *sorted(cuts)) == split(data)


@pytest.mark.parametrize(
    "data",
    [b"nonsense\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b" A: b\r\n\r\n", b": b\r\n\r\n", b"Status: x\r\n\r\n", b"\r\n\r\n"],
)
def test_what_is_no_head_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequestError):
        split(data)


@pytest.mark.parametrize("data", [b"A: " + b"x" * LARGEST_HEAD, b"A: " + b"x" * LARGEST_HEAD + b"\r\n\r\n"])
def test_a_head_has_a_limit(data: bytes) -> None:
    with pytest.raises(BadRequestError, match="more than 65536"):
        split(data)


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(noise: bytes) -> None:
    try:
        split(noise + b"\r\n\r\n")
    except BadRequestError:
        return
