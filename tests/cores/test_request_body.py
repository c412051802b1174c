"""`RequestBody` reads as a file with the same bytes does, however they arrive."""

from __future__ import annotations

import io
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.cores.request import RequestBody
from uwsgi_async.errors import BadRequestError, ChunkedInputError, DisconnectedError

SIZES = st.integers(-1, 12)
READS = st.lists(
    st.tuples(st.sampled_from(["read", "readline"]), SIZES) | st.tuples(st.just("readlines"), st.integers(-1, 9)),
    max_size=12,
)
PIECES = st.lists(st.text("ab\n", min_size=1, max_size=8).map(str.encode), max_size=8)


class Source:
    """Hands in pieces, then the end. ``ends``: for each piece whether it ends its chunk; None: there are no chunks."""

    def __init__(self, pieces: list[bytes], ends: list[bool] | None = None) -> None:
        self.pieces = list(pieces)
        self.ends = ends
        self.chunk_left = 0

    async def receive(self, timeout: float | None = None) -> bytes:
        return self.receive_nowait() or b""

    def receive_nowait(self) -> bytes | None:
        if self.ends:
            self.chunk_left = 0 if self.ends.pop(0) else 1
        return self.pieces.pop(0) if self.pieces else b""


def body_of(pieces: list[bytes], length: int | None, limit: int = 0, ends: list[bool] | None = None) -> RequestBody:
    return RequestBody(Source(pieces, ends), length, limit)


def now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


@given(PIECES, READS, st.booleans())
def test_it_reads_as_a_file_does(pieces: list[bytes], reads: list[tuple[str, int]], announced: bool) -> None:
    whole = b"".join(pieces)
    model = io.BytesIO(whole)
    body = body_of(pieces, len(whole) if announced and whole else None)
    for name, size in reads:
        expected = getattr(model, name)(size)
        got = body.buffered(size) if name == "read" else None
        if got is None:
            got = now(getattr(body, name)(size))
        assert got == expected, name
    assert now(body.read()) == model.read()
    assert now(body.read(1)) == now(body.readline()) == b""


@given(PIECES)
def test_what_is_available_comes_piece_by_piece_and_whole(pieces: list[bytes]) -> None:
    body = body_of(pieces, None)
    got = b""
    while piece := now(body.read_available()):
        got += piece
    assert got == b"".join(pieces)


def test_an_end_before_the_announced_length_is_a_disconnection() -> None:
    with pytest.raises(DisconnectedError, match="3 of 5 bytes"):
        now(body_of([b"abc"], 5).read())


def test_more_than_the_limit_is_refused() -> None:
    with pytest.raises(BadRequestError, match="larger than 4 bytes"):
        now(body_of([b"abc", b"de"], None, limit=4).read())


def test_a_line_without_end_costs_a_look_at_each_piece_only() -> None:
    pieces = [b"x" * 65536] * 3000  # if each piece cost a copy of all before it, this would not end in a test's time
    assert len(now(body_of(pieces, None).readline())) == 3000 * 65536


@given(st.lists(st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=4), max_size=6), st.booleans())
def test_chunks_are_returned_whole_however_many_pieces_each_came_in(chunks: list[list[bytes]], waits: bool) -> None:
    pieces = [piece for chunk in chunks for piece in chunk]
    ends = [number == len(chunk) - 1 for chunk in chunks for number in range(len(chunk))]
    body = body_of(pieces, None, ends=ends)
    expected = [b"".join(chunk) for chunk in chunks]
    got = []
    while chunk := now(body.read_chunk(100)) if waits else body.read_chunk_nowait(100):
        got.append(chunk)
    assert got == expected
    assert now(body.read_chunk(100)) == body.read_chunk_nowait(100) == b""


def test_a_chunk_after_a_read_begins_where_the_read_has_ended() -> None:
    body = body_of([b"abc", b"def", b"gh"], None, ends=[False, True, True])
    assert now(body.read(2)) == b"ab"
    assert [now(body.read_chunk(100)), now(body.read_chunk(100)), now(body.read_chunk(100))] == [b"cdef", b"gh", b""]


def test_a_chunk_above_the_limit_is_refused_and_never_given_in_part() -> None:
    body = body_of([b"abc", b"de"], None, ends=[False, True])
    for _ in range(2):
        with pytest.raises(ChunkedInputError, match="larger than 4 bytes") as raised:
            now(body.read_chunk(4))
        assert isinstance(raised.value, OSError)
        assert raised.value.status == 413
