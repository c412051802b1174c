"""FastCGI records: what a request becomes, and what an answer is made of, however it is split."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import BadRequestError
from uwsgi_async.wire.fastcgi import End, Output, ResponseReader, encode_request, encode_stdin

BEGIN = b"\1\1\0\1\0\x08\0\0" + b"\0\1\0\0\0\0\0\0"


def record(kind: int, content: bytes, request: int = 1, padding: int = 0) -> bytes:
    return struct.pack(">BBHHBx", 1, kind, request, len(content), padding) + content + b"p" * padding


def end(status: int = 0, problem: int = 0) -> bytes:
    return record(3, struct.pack(">IB3x", status, problem))


def events(data: bytes, *cuts: int) -> list[Output | End]:
    reader = ResponseReader()
    found: list[Output | End] = []
    for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
        reader.receive_data(data[start:stop])
        while (event := reader.next_event()) is not None:
            found.append(event)
    return found


def test_a_request_is_a_beginning_and_its_parameters() -> None:
    assert encode_request([(b"A", b"bc")]) == BEGIN + record(4, b"\1\2Abc") + record(4, b"")
    assert encode_request([]) == BEGIN + record(4, b"")


def test_a_long_value_has_a_length_of_four_bytes() -> None:
    assert encode_request([(b"A", b"x" * 128)]) == BEGIN + record(4, b"\1\x80\0\0\x80A" + b"x" * 128) + record(4, b"")


def test_what_is_longer_than_a_record_goes_in_several() -> None:
    assert encode_stdin(b"x" * 65536) == record(5, b"x" * 65535) + record(5, b"x")
    assert encode_stdin(b"") == record(5, b"")
    assert encode_request([(b"A", b"x" * 70000)]).count(b"\1\4\0\1") == 3


def test_output_and_errors_and_the_end_come_in_their_order() -> None:
    data = record(6, b"out", padding=5) + record(7, b"err") + record(6, b"") + end(3)
    assert events(data) == [Output(b"out"), Output(b"err", True), End(3)]


def test_records_of_other_requests_are_skipped() -> None:
    assert events(record(10, b"x", request=0) + record(6, b"x", request=2) + end()) == [End(0)]


@pytest.mark.parametrize("problem", [1, 2, 3, 9])
def test_a_refusal_says_why(problem: int) -> None:
    (found,) = events(end(0, problem))
    assert isinstance(found, End)
    assert found.problem


@given(st.lists(st.tuples(st.sampled_from([6, 7]), st.binary(max_size=50), st.integers(0, 9))), st.data())
def test_how_an_answer_is_split_makes_no_difference(parts: list[tuple[int, bytes, int]], data: st.DataObject) -> None:
    whole = b"".join(record(kind, content, padding=padding) for kind, content, padding in parts) + end()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=5)))
    assert events(whole, *cuts) == events(whole)
    assert b"".join(e.data for e in events(whole) if isinstance(e, Output)) == b"".join(part[1] for part in parts)


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK", record(3, b"\0")])
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequestError):
        events(data)


@given(st.binary(max_size=300))
def test_whatever_comes_is_read_or_refused(noise: bytes) -> None:
    try:
        found = events(noise)
    except BadRequestError:
        return
    assert sum(len(event.data) for event in found if isinstance(event, Output)) <= len(noise)
