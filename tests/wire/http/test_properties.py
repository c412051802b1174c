"""What must hold for all bytes: splits do not matter, parsers do not differ, only `BadRequestError` is raised."""

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from .corpus import EVIL, GOOD, chunked
from .drive import PARSERS, Event, run, split_at, verdict

SAMPLES = [data for data in (*GOOD.values(), *(data for _, data in EVIL.values())) if len(data) < 1000]
PIECES = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"\x00",
        b":",
        b";",
        b",",
        b"_",
        b"/",
        b"..",
        b"%",
        b"#",
        b"?",
        b"0",
        b"\xff",
    ),
    *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: a\r\n", b"Connection: close\r\n"),
    *(b"Upgrade: x\r\n", b"Connection: upgrade\r\n", b"Expect: 100-continue\r\n", b"HTTP/1.0", b"GET / ", b"0\r\n\r\n"),
]
LIMITS = {"max_header_bytes": 200, "max_header_count": 8, "max_chunk_overhead": 20}

cut_lists = st.lists(st.integers(0, 2000), max_size=6)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One or two requests of the corpus with some bytes removed, replaced or inserted."""
    data = b"".join(draw(st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=2)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        stop = start + draw(st.integers(0, 4))
        data = data[:start] + draw(st.sampled_from(PIECES) | st.binary(max_size=2)) + data[stop:]
    return data


@given(mutated(), cut_lists, st.booleans())
@settings(max_examples=400, deadline=None)
def test_splits_do_not_matter_and_parsers_do_not_differ(data: bytes, cuts: list[int], tight: bool) -> None:
    limits = LIMITS if tight else {}
    expected = run(PARSERS[0], [data], **limits)
    for parser in PARSERS:
        assert run(parser, [data], **limits) == expected
        assert run(parser, split_at(data, cuts), **limits) == expected


@given(st.binary(max_size=200), cut_lists)
@settings(deadline=None)
def test_any_bytes_give_the_same_however_they_arrive(data: bytes, cuts: list[int]) -> None:
    assert run("httptools", split_at(data, cuts)) == run("h11", [data])


def h11_bodies(data: bytes) -> list[Event] | None:
    """The body of the first request in ``data`` as h11 reads it; None if it refuses or misses bytes."""
    connection = h11.Connection(h11.SERVER)
    body = b""
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return [("body", body)]
            elif not isinstance(event, h11.Request):
                return None
    except h11.RemoteProtocolError:
        return None


def encode_chunks(chunks: list[bytes], extension: bytes) -> bytes:
    return b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks if chunk)


@given(
    st.lists(st.binary(max_size=40), max_size=5),
    st.sampled_from([b"", b";a", b';a="b c"']),
    st.sampled_from([b"", b"X: 1\r\n", b"X:\r\nY: 2\r\n"]),
    cut_lists,
)
@settings(deadline=None)
def test_chunks_are_joined_again(chunks: list[bytes], extension: bytes, trailers: bytes, cuts: list[int]) -> None:
    data = chunked(encode_chunks(chunks, extension) + b"0" + extension + b"\r\n" + trailers + b"\r\n")
    assert run("httptools", split_at(data, cuts))[1:] == [("body", b"".join(chunks))] == h11_bodies(data)


@given(
    st.lists(
        st.sampled_from(
            [b"0", b"1", b"2", b"\r\n", b"\r", b"\n", b";", b"a", b"x", b" ", b":", b"0\r\n\r\n", b"1\r\na\r\n"]
        ),
        max_size=12,
    )
)
@settings(max_examples=400, deadline=None)
def test_a_chunked_body_that_we_accept_is_the_same_for_h11(pieces: list[bytes]) -> None:
    data = chunked(b"".join(pieces))
    events = run("httptools", [data])[:2]
    if verdict(events) == 200:
        assert events[1:] == h11_bodies(data)
