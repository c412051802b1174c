import contextlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import BadRequestError
from uwsgi_async.options.settings import PacketOptions
from uwsgi_async.wire.uwsgi import MAX_PAYLOAD, Packet, PacketReader, encode_packet

ROOMY = PacketOptions(buffer_size=MAX_PAYLOAD)

modifiers = st.integers(0, 255)
packets = st.builds(Packet, modifiers, modifiers, st.binary(max_size=300))


def encoded(packet: Packet) -> bytes:
    return encode_packet(packet.modifier1, packet.modifier2, packet.payload)


def read_all(reader: PacketReader) -> list[Packet]:
    return list(iter(reader.next_packet, None))


def test_a_packet_is_modifier1_little_endian_size_modifier2_payload() -> None:
    assert encode_packet(173, 7, b"x" * 0x0102) == b"\xad\x02\x01\x07" + b"x" * 0x0102


def test_a_new_reader_is_idle_and_has_no_packet() -> None:
    reader = PacketReader(PacketOptions())
    assert reader.idle
    assert reader.next_packet() is None


def test_a_reader_with_half_a_packet_is_not_idle() -> None:
    reader = PacketReader(PacketOptions())
    reader.receive_data(b"\0")
    assert reader.next_packet() is None
    assert not reader.idle


def test_an_empty_packet_is_a_packet() -> None:
    reader = PacketReader(PacketOptions())
    reader.receive_data(encode_packet(100, 0))
    assert reader.next_packet() == Packet(100, 0, b"")
    assert reader.idle


def test_take_rest_returns_what_is_behind_the_packet_once() -> None:
    reader = PacketReader(PacketOptions())
    reader.receive_data(encode_packet(0, 0, b"vars") + b"body")
    assert reader.next_packet() == Packet(0, 0, b"vars")
    assert not reader.idle
    assert reader.take_rest() == b"body"
    assert reader.take_rest() == b""
    assert reader.idle


def test_a_payload_of_buffer_size_is_read() -> None:
    reader = PacketReader(PacketOptions(buffer_size=10))
    reader.receive_data(encode_packet(0, 0, b"x" * 10))
    assert reader.next_packet() == Packet(0, 0, b"x" * 10)


def test_a_larger_payload_is_refused_as_soon_as_its_header_is_there() -> None:
    reader = PacketReader(PacketOptions(buffer_size=10))
    reader.receive_data(encode_packet(0, 0, b"x" * 11)[:4])
    with pytest.raises(BadRequestError, match=r"^invalid request block size: 11 \(max 10\)$") as caught:
        reader.next_packet()
    assert caught.value.status == 413


@pytest.mark.parametrize("modifier", [-1, 256])
def test_a_modifier_that_is_not_a_byte_cannot_be_encoded(modifier: int) -> None:
    with pytest.raises(ValueError, match="0 to 255"):
        encode_packet(modifier, 0)
    with pytest.raises(ValueError, match="0 to 255"):
        encode_packet(0, modifier)


def test_a_payload_beyond_16_bits_cannot_be_encoded() -> None:
    assert len(encode_packet(0, 0, b"x" * MAX_PAYLOAD)) == MAX_PAYLOAD + 4
    with pytest.raises(ValueError, match="at most 65535"):
        encode_packet(0, 0, b"x" * (MAX_PAYLOAD + 1))


@given(st.lists(packets, max_size=5), st.lists(st.integers(0, 1600), max_size=8))
def test_packets_come_out_as_they_went_in_wherever_the_stream_is_split(sent: list[Packet], cuts: list[int]) -> None:
    stream = b"".join(map(encoded, sent))
    reader = PacketReader(ROOMY)
    received: list[Packet] = []
    for start, end in itertools.pairwise([0, *sorted(cuts), len(stream) + 1600]):
        reader.receive_data(stream[start:end])
        received += read_all(reader)
    assert received == sent
    assert reader.idle


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=10), st.integers(1, MAX_PAYLOAD))
def test_any_bytes_give_packets_or_bad_request_and_lose_no_byte(pieces: list[bytes], buffer_size: int) -> None:
    reader = PacketReader(PacketOptions(buffer_size=buffer_size))
    received: list[Packet] = []
    with contextlib.suppress(BadRequestError):
        for piece in pieces:
            reader.receive_data(piece)
            received += read_all(reader)
        assert b"".join([*map(encoded, received), reader.take_rest()]) == b"".join(pieces)
