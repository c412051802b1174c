import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import BadRequestError
from uwsgi_async.wire.uwsgi import decode_vars, encode_packet, encode_vars, parse_file

latin1 = st.text(st.characters(max_codepoint=255), max_size=40)
variables = st.dictionaries(latin1.filter(bool), latin1, max_size=20)


@given(variables)
def test_variables_come_out_as_they_went_in(given_vars: dict[str, str]) -> None:
    decoded = decode_vars(encode_vars(given_vars))
    assert list(decoded.items()) == list(given_vars.items())


def test_lengths_are_little_endian_and_lie_before_each_item() -> None:
    assert encode_vars({"A": "b" * 0x0102}) == b"\x01\0A\x02\x01" + b"b" * 0x0102


def test_no_bytes_are_no_variables() -> None:
    assert decode_vars(b"") == {}
    assert encode_vars({}) == b""


def test_bytes_are_decoded_as_latin_1() -> None:
    assert decode_vars(b"\x01\0A\x02\0\xc3\xa4") == {"A": "\xc3\xa4"}


def test_a_value_may_be_empty() -> None:
    assert decode_vars(b"\x01\0A\0\0") == {"A": ""}


def test_of_variables_of_one_name_the_last_one_counts() -> None:
    assert decode_vars(encode_vars({"A": "1"}) + encode_vars({"A": "2"})) == {"A": "2"}


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(BadRequestError, match="cannot be null") as caught:
        decode_vars(b"\0\0\x01\0v")
    assert caught.value.status == 400
    with pytest.raises(ValueError, match="needs a name"):
        encode_vars({"": "v"})


@pytest.mark.parametrize("cut", range(1, 10))
def test_variables_that_are_cut_short_are_refused(cut: int) -> None:
    whole = encode_vars({"NAME": "val"})
    assert len(whole) == 11
    with pytest.raises(BadRequestError, match="beyond the packet") as caught:
        decode_vars(whole[:cut])
    assert caught.value.status == 400


def test_what_latin_1_cannot_say_cannot_be_encoded() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_vars({"A": "\u20ac"})


def test_more_than_16_bits_can_count_cannot_be_encoded() -> None:
    with pytest.raises(ValueError, match="at most 65535 bytes, not 65536"):
        encode_vars({"A": "x" * 65536})
    with pytest.raises(ValueError, match="at most 65535 bytes of variables"):
        encode_vars({"A": "x" * 40000, "B": "x" * 40000})


@given(st.binary(max_size=200))
def test_any_bytes_are_variables_or_a_bad_request(payload: bytes) -> None:
    with contextlib.suppress(BadRequestError):
        decoded = decode_vars(payload)
        assert all(decoded)
        assert len(encode_vars(decoded)) <= len(payload)


@given(variables, st.sampled_from([0, 17]), st.integers(0, 255), st.binary(max_size=20))
def test_a_file_of_modifier1_0_or_17_is_parsed_and_its_body_ignored(
    given_vars: dict[str, str], modifier1: int, modifier2: int, body: bytes
) -> None:
    content = encode_packet(modifier1, modifier2, encode_vars(given_vars)) + body
    parsed = parse_file(content)
    assert parsed == {name.encode("latin-1"): value.encode("latin-1") for name, value in given_vars.items()}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\0",
        encode_packet(1, 0, encode_vars({"A": "b"})),
        encode_packet(0, 0, encode_vars({"A": "b"}))[:-1],
        encode_packet(0, 0, b"\0\0\0\0"),
    ],
    ids=["empty", "short header", "other modifier1", "short payload", "empty name"],
)
def test_any_other_file_is_none(content: bytes) -> None:
    assert parse_file(content) is None


def test_a_file_without_variables_is_an_empty_dict() -> None:
    assert parse_file(encode_packet(17, 0)) == {}
