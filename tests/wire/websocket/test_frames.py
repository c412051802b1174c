"""Bytes to events and messages to bytes: limits, compression, fail-fast, and any cut of the stream."""

from __future__ import annotations

import itertools
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.websocket_fuzz import differences, mutate
from tests.websockets.client import BINARY, CLOSE, CONTINUATION, PING, TEXT, close_payload, frame
from uwsgi_async.wire.websocket import (
    Close,
    Inbox,
    Ping,
    Readers,
    check_close_code,
    encode_close,
    encode_message,
    encode_ping,
    encode_pong,
)
from uwsgi_async.wire.websocket.frames import FrameReader, read_whole
from uwsgi_async.wire.websocket.meter import FrameMeter
from uwsgi_async.wire.websocket.payload import WORTH_COMPRESSING


def events(data: bytes, max_size: int = 1000, compressed: bool = False, piece: int = 0) -> list:
    """Return what the bytes mean, taken in pieces of so many bytes (0: all at once)."""
    frames = Inbox(Readers(max_size), compressed)
    found = []
    for start in range(0, len(data), piece or max(len(data), 1)):
        frames.take(data[start : start + (piece or len(data))])
        while (event := frames.next_event()) is not None:
            found.append(event)
            if isinstance(event, Close):
                return found
    return found


def squeeze(data: bytes, bits: int = 15) -> bytes:
    deflate = zlib.compressobj(wbits=-bits)
    return deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]


@pytest.mark.parametrize("piece", [0, 1, 2, 3, 7])
def test_any_cut_of_the_stream_gives_the_same_events(piece):
    data = (
        frame(TEXT, "Käse".encode(), fin=False) + frame(PING, b"p") + frame(CONTINUATION, b"!")
        + frame(BINARY, b"\0" * 200) + frame(BINARY) + frame(CLOSE, close_payload(1000, b"bye"))
    )  # fmt: skip
    assert events(data, piece=piece) == [Ping(b"p"), "Käse!", b"\0" * 200, b"", Close(1000, "bye", False)]


def test_events_are_decoded_when_they_are_asked_for():
    inbox = Inbox(Readers(1000), False)
    inbox.take(frame(TEXT, b"good") + frame(TEXT, b"\xff"))
    assert inbox.next_event() == "good"
    assert inbox.pending
    assert inbox.next_event() == Close(1007, "invalid data", True)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_message_may_be_as_large_as_the_limit_and_no_larger(compressed):
    assert events(frame(BINARY, b"x" * 1000), compressed=compressed) == [b"x" * 1000]
    assert events(frame(BINARY, b"x" * 1001), compressed=compressed) == [Close(1009, "message too big", True)]


def test_a_large_frame_is_refused_by_its_head_alone():
    assert events(frame(BINARY, b"", length=1 << 40)) == [Close(1009, "message too big", True)]


def test_fragments_count_together():
    first = frame(TEXT, b"x" * 600, fin=False)
    assert events(first + frame(CONTINUATION, b"x" * 400)) == ["x" * 1000]
    assert events(first + frame(CONTINUATION, b"x" * 401)) == [Close(1009, "message too big", True)]


def test_the_limit_is_of_bytes_not_of_characters():
    assert events(frame(TEXT, "ä".encode() * 501)) == [Close(1009, "message too big", True)]


def test_each_message_is_counted_by_itself():
    assert events(frame(TEXT, b"x" * 900) * 3) == ["x" * 900] * 3


def test_a_compressed_message_is_inflated():
    data = squeeze(b"hello " * 100)
    assert events(frame(TEXT, data, reserved=4), compressed=True) == ["hello " * 100]


def test_a_compressed_message_may_come_in_fragments_with_a_ping_between():
    data = squeeze(b"hello " * 100)
    sent = frame(TEXT, data[:5], fin=False, reserved=4) + frame(PING) + frame(CONTINUATION, data[5:])
    assert events(sent, compressed=True) == [Ping(b""), "hello " * 100]


def test_a_message_may_stay_uncompressed():
    assert events(frame(TEXT, b"plain"), compressed=True) == ["plain"]


def test_an_empty_message_may_be_compressed():
    assert events(frame(TEXT, squeeze(b""), reserved=4), compressed=True) == [""]


def test_a_bomb_is_stopped_at_the_limit():
    bomb = squeeze(b"\0" * 50_000_000)
    assert events(frame(BINARY, bomb, reserved=4), 100_000, True) == [Close(1009, "message too big", True)]


def test_a_bomb_in_fragments_is_stopped_at_the_limit():
    bomb = squeeze(b"\0" * 100_001)
    sent = frame(BINARY, bomb[:50], fin=False, reserved=4) + frame(CONTINUATION, bomb[50:])
    assert events(sent, 100_000, True) == [Close(1009, "message too big", True)]


def test_what_is_no_deflate_ends_it_with_1007():
    assert events(frame(TEXT, b"\xff" * 20, reserved=4), compressed=True) == [Close(1007, "invalid data", True)]


def test_inflated_text_must_be_utf_8():
    assert events(frame(TEXT, squeeze(b"\xff"), reserved=4), compressed=True) == [Close(1007, "invalid data", True)]


def test_a_reserved_bit_needs_an_agreement():
    assert events(frame(TEXT, squeeze(b"x"), reserved=4))[0].code == 1002


@pytest.mark.parametrize("opcode", [PING, CONTINUATION])
def test_only_the_first_frame_of_a_message_says_that_it_is_compressed(opcode):
    begun = frame(TEXT, squeeze(b"x"), fin=False, reserved=4) if opcode == CONTINUATION else b""
    assert events(begun + frame(opcode, b"", reserved=4), compressed=True)[-1].code == 1002


def parse(data: bytes) -> tuple[int, bytes]:
    """Return the first byte and the payload of a server's frame, which must be all that there is."""
    size, start = data[1], 2
    if size >= 126:
        start = 4 if size == 126 else 10
        size = int.from_bytes(data[2:start])
        assert size >= (126 if start == 4 else 65536)
    assert len(data) == start + size
    return data[0], data[start:]


@pytest.mark.parametrize("window_bits", [None, 15, 9])
@given(message=st.one_of(st.text(max_size=3000), st.binary(max_size=3000)))
def test_what_is_encoded_is_one_frame_that_gives_the_message_back(window_bits, message):
    first, payload = parse(encode_message(message, window_bits))
    raw = message.encode() if isinstance(message, str) else message
    opcode = TEXT if isinstance(message, str) else BINARY
    if window_bits is not None and len(raw) >= WORTH_COMPRESSING:
        assert first == 0xC0 | opcode
        payload = zlib.decompressobj(-window_bits).decompress(payload + b"\0\0\xff\xff")
    else:
        assert first == 0x80 | opcode
    assert payload == raw


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 200_000])
def test_lengths_have_their_shortest_form(size):
    assert parse(encode_message(b"x" * size)) == (0x82, b"x" * size)


def test_control_frames():
    assert encode_ping() == b"\x89\x00"
    assert encode_pong(b"p") == b"\x8a\x01p"
    assert encode_close(1005) == b"\x88\x00"
    assert encode_close(1000) == b"\x88\x02\x03\xe8"
    assert encode_close(4000, "\udc80") == b"\x88\x03\x0f\xa0?"


@given(reason=st.text(max_size=200))
def test_a_reason_is_as_much_of_the_text_as_fits(reason):
    first, payload = parse(encode_close(1000, reason))
    assert first == 0x88
    assert len(payload) <= 125
    assert reason.startswith(payload[2:].decode())


@given(st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=300), st.integers(0, 40)), max_size=12))
def test_websockets_that_share_readers_do_not_mix(sent):
    readers = Readers(1000)
    inboxes = [Inbox(readers, compressed) for compressed in (True, False, True)]
    streams = [b"", b"", b""]
    expected: list[list[bytes]] = [[], [], []]
    found: list[list[bytes]] = [[], [], []]
    for number, message, held_back in [*sent, (0, b"", 0), (1, b"", 0), (2, b"", 0)]:
        squeezed = number != 1
        payload = squeeze(message) if squeezed else message
        half = len(payload) // 2
        streams[number] += frame(BINARY, payload[:half], fin=False, reserved=4 * squeezed)
        streams[number] += frame(CONTINUATION, payload[half:])
        expected[number].append(message)
        end = max(len(streams[number]) - held_back, 0)
        if end:
            inboxes[number].take(streams[number][:end])
            streams[number] = streams[number][end:]
        while (event := inboxes[number].next_event()) is not None:
            found[number].append(event)
    assert found == expected
    assert all(inbox._reader is None for inbox in inboxes)


@given(
    message=st.binary(max_size=4000),
    cuts=st.lists(st.integers(0, 4000), max_size=5),
    compressed=st.booleans(),
    piece=st.integers(0, 50),
)
def test_messages_come_whole_whatever_their_frames_are(message, cuts, compressed, piece):
    data = squeeze(message, 12) if compressed else message
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    parts = [data[start:end] for start, end in itertools.pairwise(edges)] or [data]
    sent = b"".join(
        frame(
            CONTINUATION if number else BINARY,
            part,
            fin=number == len(parts) - 1,
            reserved=4 if compressed and not number else 0,
        )
        for number, part in enumerate(parts)
    )
    assert events(sent, 4000, True, piece) == [message]


@given(data=st.binary(max_size=300), compressed=st.booleans(), piece=st.integers(0, 5))
def test_no_bytes_are_an_error_of_ours(data, compressed, piece):
    for event in events(data, 100, compressed, piece):
        assert isinstance(event, (str, bytes, tuple))
        if isinstance(event, Close) and event.failed:
            assert event.code in (1002, 1007, 1009)


@given(data=st.binary(max_size=200), reserved=st.sampled_from([0, 4]), opcode=st.sampled_from([0, 1, 2, 8, 9, 10]))
def test_no_payload_is_an_error_of_ours(data, reserved, opcode):
    for event in events(frame(opcode, data, reserved=reserved), 100, True):
        if isinstance(event, (str, bytes)):
            assert len(event) <= 100


@given(
    payload=st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode), st.just(b"x" * 5000)),
    opcode=st.sampled_from([TEXT, BINARY, CONTINUATION, PING]),
    fin=st.booleans(),
    reserved=st.sampled_from([0, 4]),
    mask=st.one_of(st.none(), st.binary(min_size=4, max_size=4)),
    more=st.sampled_from([b"", b"\x81", frame(TEXT, b"next")]),
)
def test_the_short_way_gives_what_a_reader_gives_or_nothing(payload, opcode, fin, reserved, mask, more):
    data = frame(opcode, payload, fin=fin, reserved=reserved, mask=mask) + more
    reader = FrameReader(1000)
    reader.receive_data(data)
    quick = read_whole(data, 1000)
    if quick is not None:
        assert (quick, not more) == (reader.next_event(), True)
    usual = fin and opcode in (TEXT, BINARY) and not reserved and mask and not more and len(payload) <= 1000
    assert (quick is not None) is bool(usual and (opcode == BINARY or is_text(payload)))


def is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("seed", range(5))
def test_the_library_websockets_reads_the_same(seed):
    rng = random.Random(seed)
    for _ in range(200):
        data = mutate(rng)
        assert differences(data, rng) == [], data


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
def test_codes_that_may_be_sent(code):
    check_close_code(code)


@given(
    sizes=st.lists(st.one_of(st.integers(0, 300), st.integers(65500, 66000)), max_size=5),
    masked=st.booleans(),
    data=st.data(),
)
def test_a_meter_never_wants_more_than_one_frame(sizes, masked, data):
    meter = FrameMeter()
    for size in sizes:
        rest = frame(BINARY, b"x" * size, mask=b"mask" if masked or size < 4 else None)
        while rest:
            assert 0 < meter.wanted <= len(rest)
            taken = data.draw(st.integers(1, meter.wanted)) if len(rest) < 400 else meter.wanted
            meter.take(rest[:taken])
            rest = rest[taken:]
            assert meter.at_rest is not bool(rest)
    assert meter.wanted == 6


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, CONTINUATION, PING]), st.integers(0, 400), st.booleans()), max_size=6),
    st.lists(st.integers(0, 3000), max_size=6),
)
def test_a_meter_is_at_rest_between_messages_whatever_the_cuts(frames, cuts):
    data, ends, in_message = b"", {0}, False
    for opcode, size, fin in frames:
        fin = fin or opcode == PING
        data += frame(opcode, b"x" * size, fin=fin)
        in_message = in_message if opcode == PING else not fin
        if not in_message:
            ends.add(len(data))
    meter = FrameMeter()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(edges):
        meter.take(data[start:end])
        assert meter.at_rest is (end in ends)
