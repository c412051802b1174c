"""Calls of functions, arrays and XML-RPC: bytes to calls and answers, however they are split, and what is refused."""

from __future__ import annotations

import xmlrpc.client

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.errors import BadRequestError
from uwsgi_async.wire.uwsgi import Packet, encode_packet, encode_vars
from uwsgi_async.wire.uwsgi.array import decode_array, encode_array
from uwsgi_async.wire.uwsgi.rpc import (
    AnswerReader,
    RpcCall,
    decode_call,
    decode_length,
    decode_path,
    encode_call,
    encode_result,
)
from uwsgi_async.wire.xmlrpc import decode_xml_call, encode_xml_result

LARGEST = 1 << 20

items = st.lists(st.binary(min_size=1, max_size=300), max_size=20)


def read(data: bytes, *cuts: int, largest: int = LARGEST) -> bytes | None:
    """Give the bytes to a reader in pieces; return the result."""
    reader = AnswerReader(largest)
    result = None
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        result = reader.receive_data(data[start:end])
        if result is not None:
            break
    return result


def test_an_item_is_a_little_endian_length_and_bytes() -> None:
    assert encode_array([b"ab", b"c"]) == b"\2\0ab\1\0c"


@given(items)
def test_what_is_encoded_is_decoded(given_items: list[bytes]) -> None:
    assert decode_array(encode_array(given_items), 255) == given_items


def test_an_empty_item_is_none() -> None:
    assert decode_array(b"\1\0a\0\0\1\0b\0\0", 255) == [b"a", b"b"]


def test_what_is_behind_the_last_item_that_is_wanted_is_not_looked_at() -> None:
    assert decode_array(b"\1\0a\1\0b\xff\xff", 2) == [b"a", b"b"]


@pytest.mark.parametrize("payload", [b"\1", b"\1\0", b"\2\0a", b"\1\0a\xff\xffb", b"\1\0a\1"])
def test_a_length_beyond_the_end_is_refused(payload: bytes) -> None:
    with pytest.raises(BadRequestError, match="invalid uwsgi array"):
        decode_array(payload, 255)


@given(st.binary(max_size=200), st.integers(1, 255))
def test_whatever_an_array_is_it_is_read_or_refused(payload: bytes, most: int) -> None:
    try:
        found = decode_array(payload, most)
    except BadRequestError:
        return
    assert len(found) <= most
    assert sum(map(len, found)) <= len(payload)


def test_an_item_too_long_for_its_length_is_refused() -> None:
    assert len(encode_array([b"x" * 65535])) == 65537
    with pytest.raises(ValueError, match="65535 bytes, not 65536"):
        encode_array([b"x" * 65536])


def test_a_call_is_the_packet_that_uwsgi_sends() -> None:
    assert encode_call(RpcCall(b"f", (b"ab",))) == b"\xad\x07\x00\x00\1\0f\2\0ab"


@given(st.binary(min_size=1, max_size=255), items)
def test_a_call_is_decoded_as_it_was(name: bytes, arguments: list[bytes]) -> None:
    call = RpcCall(name, tuple(arguments))
    assert decode_call(encode_call(call)[4:]) == call


def test_a_call_longer_than_a_packet_says_its_length_first() -> None:
    call = RpcCall(b"f", (b"x" * 40000, b"y" * 40000))
    array = encode_array((b"f", *call.arguments))
    assert encode_call(call) == encode_packet(173, 5, encode_vars({"CONTENT_LENGTH": "80007"})) + array
    assert decode_call(array) == call


def test_more_than_254_arguments_are_refused_and_as_many_are_not() -> None:
    most = RpcCall(b"f", (b"x",) * 254)
    assert decode_call(encode_call(most)[4:]) == most
    with pytest.raises(ValueError, match="254 arguments, not 255"):
        encode_call(RpcCall(b"f", (b"x",) * 255))


@pytest.mark.parametrize("array", [b"", b"\0\0"])
def test_a_call_needs_a_name(array: bytes) -> None:
    with pytest.raises(BadRequestError, match="name of a function"):
        decode_call(array)


@pytest.mark.parametrize(
    ("path", "call"),
    [
        ("/f/a/b", RpcCall(b"f", (b"a", b"b"))),
        ("f//a/", RpcCall(b"f", (b"a",))),
        ("/\xe4", RpcCall(b"\xe4")),
        ("/", None),
        ("", None),
    ],
)
def test_a_path_is_a_call(path: str, call: RpcCall | None) -> None:
    assert decode_path(path) == call


@pytest.mark.parametrize("size", [1, 65535, 65536, 200_000])
def test_a_result_is_read_in_the_form_that_its_length_wants(size: int) -> None:
    data = encode_result(b"x" * size)
    assert data[:1] == b"\xad"
    assert data[3] == (5 if size > 65535 else 0)
    assert read(data) == b"x" * size


@given(st.binary(min_size=1, max_size=100), st.booleans(), st.data())
def test_how_an_answer_is_split_makes_no_difference(result: bytes, is_long: bool, data: st.DataObject) -> None:
    whole = encode_result(result)
    if is_long:
        whole = encode_packet(173, 5, encode_vars({"CONTENT_LENGTH": str(len(result))})) + result
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=6)))
    assert read(whole, *cuts) == result


def test_an_answer_that_is_not_complete_is_none() -> None:
    reader = AnswerReader(LARGEST)
    assert not reader.has_begun
    assert reader.receive_data(encode_result(b"result")[:-1]) is None
    assert reader.has_begun


def test_what_comes_behind_an_answer_does_not_count() -> None:
    assert read(encode_packet(173, 5, encode_vars({"CONTENT_LENGTH": "2"})) + b"abc") == b"ab"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + bytes(65536),
        encode_packet(255, 0),
        encode_packet(173, 1, b"x"),
        encode_packet(173, 5, b""),
        encode_packet(173, 5, b"\xff"),
        encode_packet(173, 5, encode_vars({"CONTENT_LENGTH": "-1"})),
        encode_packet(173, 5, encode_vars({"CONTENT_LENGTH": "9" * 19})),
    ],
)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequestError):
        read(data)


@pytest.mark.parametrize("size", [LARGEST + 1, 10**17])
def test_a_result_that_is_too_large_is_refused_before_it_comes(size: int) -> None:
    with pytest.raises(BadRequestError, match="rpc-max-size") as caught:
        read(encode_packet(173, 5, encode_vars({"CONTENT_LENGTH": str(size)})))
    assert caught.value.status == 413


@given(st.binary(max_size=300), st.data())
def test_whatever_comes_is_read_or_refused_and_the_split_makes_no_difference(noise: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(noise)), max_size=4)))

    def outcome(*where: int) -> object:
        try:
            return read(noise, *where, largest=200)
        except BadRequestError as error:
            return error.status

    assert outcome(*cuts) == outcome()


def test_a_length_is_digits() -> None:
    assert decode_length(encode_vars({"A": "b", "CONTENT_LENGTH": "17"})) == 17
    with pytest.raises(BadRequestError):
        decode_length(Packet(173, 5, b"").payload + encode_vars({"CONTENT_LENGTH": "1e9"}))


@given(st.text(min_size=1, alphabet=st.characters(categories=["L", "N"])), st.lists(st.text(), max_size=5))
def test_what_pythons_client_sends_is_a_call(name: str, values: list[str]) -> None:
    body = xmlrpc.client.dumps(tuple(values), name).encode("utf-8", "surrogatepass")
    try:
        expected = xmlrpc.client.loads(body)
    except Exception:  # noqa: BLE001 - text that XML cannot hold
        with pytest.raises(BadRequestError):
            decode_xml_call(body)
        return
    assert decode_xml_call(body) == RpcCall(name.encode(), tuple(str(each).encode() for each in expected[0]))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<methodCall>",
        b"<methodResponse><params/></methodResponse>",
        b"<methodCall><params/></methodCall>",
        b"<methodCall><methodName>f</methodName><params><param><value><int>1</int></value></param></params></methodCall>",
        xmlrpc.client.dumps((), "f").encode() + b"more",
        xmlrpc.client.dumps(("x",) * 255, "f").encode(),
        b"<methodCall><methodName>f</methodName><params><param><value><int>x</int></value></param></params></methodCall>",
    ],
)
def test_what_is_no_call_in_xml_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        decode_xml_call(body)


def test_a_document_type_is_refused() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    with pytest.raises(BadRequestError, match="document type"):
        decode_xml_call(bomb + b"<methodCall><methodName>&b;</methodName></methodCall>")


@given(st.binary(max_size=200))
def test_whatever_comes_as_xml_is_read_or_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        decode_xml_call(body)


@given(
    st.binary(min_size=1, max_size=100) | st.text(min_size=1).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_a_result_is_what_pythons_client_reads(result: bytes) -> None:
    (value,), _ = xmlrpc.client.loads(encode_xml_result(result))
    read_back = value.data if isinstance(value, xmlrpc.client.Binary) else str(value).encode()
    assert read_back.replace(b"\r\n", b"\n").replace(b"\r", b"\n") == result.replace(b"\r\n", b"\n").replace(
        b"\r", b"\n"
    )
