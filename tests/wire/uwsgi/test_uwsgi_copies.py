"""Changes of a cache as datagrams: real uWSGI's bytes, and whatever else comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.wire.uwsgi.cache import MAX_ITEM, Copy, decode_copy, encode_copy

STORED = b"\x6f\x11\x00\x0a" + b"\x03\x00key" + b"\x05\x00value" + b"\x03\x00100"
DELETED = b"\x6f\x05\x00\x0b" + b"\x03\x00key"


def test_a_change_is_uwsgis_datagram() -> None:
    assert encode_copy(Copy(key=b"key", value=b"value", expires=100)) == STORED
    assert encode_copy(Copy(key=b"key")) == DELETED


def test_an_expiry_may_be_missing() -> None:
    assert decode_copy(b"\x6f\x0c\x00" + STORED[3:16]) == Copy(key=b"key", value=b"value")


@given(st.binary(max_size=300), st.none() | st.binary(max_size=300), st.integers(0, 10**12))
def test_a_change_comes_back(key: bytes, value: bytes | None, expires: int) -> None:
    copy = Copy(key=key, value=value, expires=0 if value is None else expires)
    assert decode_copy(encode_copy(copy)) == copy


@pytest.mark.parametrize("data", [STORED, DELETED])
def test_what_is_cut_off_or_too_long_is_no_change(data: bytes) -> None:
    assert [decode_copy(data[:length]) for length in range(len(data))] == [None] * len(data)
    assert decode_copy(data + b"x") is None


@given(st.binary(max_size=40))
def test_whatever_comes_does_no_harm(rest: bytes) -> None:
    decode_copy(rest)
    decode_copy(b"\x6f" + len(rest).to_bytes(2, "little") + b"\x0a" + rest)


@pytest.mark.parametrize("size", [MAX_ITEM, MAX_ITEM + 1])
def test_what_does_not_fit_a_datagram_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        encode_copy(Copy(key=b"k", value=bytes(size)))
