"""Requests to epmd, and its answers: byte by byte, refused, and whatever else may come."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.erlang.epmd import (
    NodeAddress,
    decode_alive,
    decode_port,
    encode_alive,
    encode_port_please,
)
from uwsgi_async.errors import ErlangError, NodeDownError

PORT2 = bytes([119, 0]) + struct.pack(">HBBHHH", 4711, 77, 0, 6, 5, 4) + b"shop" + b"\0\0"


def test_the_request_to_register_is_that_of_a_hidden_node() -> None:
    assert encode_alive("shop", 4711) == b"\0\x11x\x12\x67H\0\0\x06\0\x06\0\x04shop\0\0"


def test_the_request_for_an_address_has_the_name() -> None:
    assert encode_port_please("shop") == b"\0\x05zshop"


@pytest.mark.parametrize(
    ("answer", "creation"), [(b"v\0\x01\x02\x03\x04", 0x01020304), (b"y\0\x01\x02", 0x0102)], ids=["32 bits", "16 bits"]
)
def test_a_registration_has_a_creation(answer: bytes, creation: int) -> None:
    assert [decode_alive(answer[:end]) for end in range(len(answer))] == [None] * len(answer)
    assert decode_alive(answer) == creation


def test_a_name_that_is_taken_is_told() -> None:
    with pytest.raises(NodeDownError, match="taken"):
        decode_alive(b"v\x01")


def test_an_address_is_read_as_soon_as_it_is_there() -> None:
    assert [decode_port(PORT2[:end]) for end in range(10)] == [None] * 10
    assert decode_port(PORT2) == decode_port(PORT2[:10]) == NodeAddress(4711, 6, 5)


def test_a_node_that_is_not_registered_is_told() -> None:
    with pytest.raises(NodeDownError, match="no node of that name"):
        decode_port(b"w\x01")


@given(st.binary(max_size=40))
def test_no_answer_raises_anything_else(data: bytes) -> None:
    for decode in (decode_alive, decode_port):
        try:
            decode(data)
        except ErlangError:
            pass
