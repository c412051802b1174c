"""Chunks of a request, of both protocols, however the bytes are cut on their way: each comes whole, once, in order."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.cores import http, uwsgi
from uwsgi_async.cores.request import BodySource, RequestBody
from uwsgi_async.errors import PeerError
from uwsgi_async.options.settings import HttpOptions
from uwsgi_async.wire.http import Endpoint, HttpReader
from uwsgi_async.wire.http.chunked import ChunkedDecoder

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMIT = 1000


def connection_of(pieces: list[bytes]) -> Any:
    return SimpleNamespace(receive_ready=lambda: pieces.pop(0) if pieces else None)


def of_http(pieces: list[bytes]) -> BodySource:
    reader = HttpReader(Endpoint(HttpOptions()))
    reader.receive_data(HEAD)
    assert reader.next_head() is not None
    response: Any = SimpleNamespace(head_sent=False)
    return http._BodySource(connection_of(pieces), reader, response, False)


def of_uwsgi(pieces: list[bytes]) -> BodySource:
    return uwsgi._ChunkedSource(connection_of(pieces), b"", ChunkedDecoder(LIMIT))


SOURCES = pytest.mark.parametrize("source", [of_http, of_uwsgi])
CUTS = st.lists(st.integers(1, 30), max_size=40)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    pieces, cuts = [], list(cuts)
    while data:
        size = cuts.pop() if cuts else len(data)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def received(body: RequestBody, pieces: list[bytes]) -> list[bytes]:
    """The chunks until the end, or until no more comes."""
    chunks = []
    while (chunk := body.read_chunk_nowait(LIMIT)) != b"":
        if chunk is not None:
            chunks.append(chunk)
        elif not pieces:
            return [*chunks, b"incomplete"]
    return chunks


@SOURCES
@given(
    chunks=st.lists(st.binary(min_size=1, max_size=50), max_size=8), cuts=CUTS, extension=st.sampled_from(["", ";a=b"])
)
def test_each_chunk_comes_whole(
    source: Callable[[list[bytes]], BodySource], chunks: list[bytes], cuts: list[int], extension: str
) -> None:
    data = b"".join(f"{len(chunk):x}{extension}\r\n".encode() + chunk + b"\r\n" for chunk in chunks) + b"0\r\n\r\n"
    pieces = cut(data, cuts)
    assert received(RequestBody(source(pieces), None, 0), pieces) == chunks


@SOURCES
@given(data=st.binary(max_size=200) | st.text("0123aF;\r\n", max_size=60).map(str.encode), cuts=CUTS)
def test_whatever_else_comes_is_a_peers_error_and_the_same_however_it_is_cut(
    source: Callable[[list[bytes]], BodySource], data: bytes, cuts: list[int]
) -> None:
    verdicts = []
    for pieces in ([data] if data else [], cut(data, cuts)):
        try:
            verdicts.append(received(RequestBody(source(pieces), None, 0), pieces))
        except PeerError as error:
            verdicts.append([str(error).encode()])
    assert verdicts[0] == verdicts[1]
