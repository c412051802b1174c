"""`RequestBody` reads as a file with the same bytes does, however they arrive."""

from __future__ import annotations

import io
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.cores.request import RequestBody
from uwsgi_async.errors import BadRequestError, DisconnectedError

SIZES = st.integers(-1, 12)
READS = st.lists(
    st.tuples(st.sampled_from(["read", "readline"]), SIZES) | st.tuples(st.just("readlines"), st.integers(-1, 9)),
    max_size=12,
)
PIECES = st.lists(st.text("ab\n", min_size=1, max_size=8).map(str.encode), max_size=8)


def body_of(pieces: list[bytes], length: int | None, limit: int = 0) -> RequestBody:
    rest = list(pieces)

    async def receive() -> bytes:
        return rest.pop(0) if rest else b""

    return RequestBody(receive, length, limit)


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
