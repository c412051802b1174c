"""The codec: what is read of bytes, what is refused, and the size of what is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import encoder
from pyasn1.type import univ

from tests.snmp.manager import V1, V2C, ask, message, oid
from uwsgi_async.errors import BadMessageError
from uwsgi_async.snmp.message import (
    MOST_ANSWER,
    Answer,
    Envelope,
    ErrorStatus,
    Operation,
    Version,
    encode_answer,
    fitting,
    open_envelope,
    read_request,
    size_of,
)
from uwsgi_async.snmp.objects import MOST_REQUEST, UWSGI, Absence, Kind, Value

SUBIDS = st.one_of(st.integers(0, 300), st.integers(0, 2**32 - 1))
NAMES = st.one_of(
    st.lists(SUBIDS, max_size=100).map(lambda subids: (*UWSGI, *subids)),
    st.builds(
        lambda first, subids: (*first, *subids), st.sampled_from([(0, 39), (1, 0)]), st.lists(SUBIDS, max_size=9)
    ),
    st.lists(SUBIDS, min_size=1, max_size=9).map(lambda subids: (2, *subids)),
)
VALUES = st.one_of(
    st.builds(Value, st.sampled_from([Kind.COUNTER32, Kind.GAUGE]), st.integers(0, 2**32 - 1)),
    st.builds(Value, st.just(Kind.COUNTER64), st.integers(0, 2**64 - 1)),
    st.sampled_from(list(Absence)),
)


def test_a_request_is_read_as_it_was_written() -> None:
    datagram = ask("bulk", ["1.1", "2", ".1.3"], community=b"secret", request_id=-5, numbers=(1, 20))
    envelope = open_envelope(datagram)
    assert (envelope.version, envelope.community) == (Version.V2C, b"secret")
    request = read_request(envelope)
    assert (request.operation, request.request_id, request.non_repeaters, request.max_repetitions) == (
        Operation.GET_BULK, -5, 1, 20,
    )  # fmt: skip
    assert request.names == (oid("1.1"), oid("2"), (1, 3))


@pytest.mark.parametrize("version", [V1, V2C])
@pytest.mark.parametrize(
    ("what", "operation"), [("get", Operation.GET), ("next", Operation.GET_NEXT), ("set", Operation.SET)]
)
def test_error_fields_of_a_request_mean_nothing(version: int, what: str, operation: Operation) -> None:
    request = read_request(open_envelope(ask(what, ["1.1"], version=version, numbers=(3, 4))))
    assert (request.operation, request.non_repeaters, request.max_repetitions) == (operation, 0, 0)


def test_another_version_is_known_by_its_number_alone() -> None:
    v3 = univ.SequenceOf(componentType=univ.Any())
    v3.extend([b"\x02\x01\x03", b"\x30\x00", b"\x04\x00", b"\x30\x00"])
    assert open_envelope(encoder.encode(v3)) == Envelope(3)


def test_lengths_may_be_written_longer_than_needed() -> None:
    """Net-SNMP does so; RFC 3417 forbids only the indefinite form."""
    inner = ask("get", ["1.1"])[2:]
    assert open_envelope(b"\x30\x82" + len(inner).to_bytes(2, "big") + inner).community == b"public"


GOOD = ask("get", ["1.1"])

BAD = {
    "nothing": b"",
    "no sequence": b"\x04\x00",
    "an empty sequence": b"\x30\x00",
    "cut": GOOD[:-1],
    "more behind it": GOOD + b"\x00",
    "a length beyond the end": b"\x30\x7f" + GOOD[2:],
    "a length without end": b"\x30\x80" + GOOD[2:] + b"\x00\x00",
    "a huge length": b"\x30\x84\xff\xff\xff\xff" + GOOD[2:],
    "a length of a length that is huge": b"\x30\xff" + b"\xff" * 127 + GOOD[2:],
    "a version that is no number": b"\x30\x02\x04\x00",
    "a version of a thousand bits": b"\x30\x82\x00\x84\x02\x81\x80" + b"\x7f" * 128 + b"\x05\x00",
    "two parts": b"\x30\x05\x02\x01\x01\x04\x00",
    "nested without end": b"\x30\x80" * 1000,
    "too long": GOOD + b"\x00" * MOST_REQUEST,
}


@pytest.mark.parametrize("datagram", BAD.values(), ids=BAD.keys())
def test_what_is_no_message_is_refused(datagram: bytes) -> None:
    with pytest.raises(BadMessageError):
        open_envelope(datagram)


@pytest.mark.parametrize("what", ["response", "inform", "trap"])
def test_what_an_agent_is_not_asked_is_refused(what: str) -> None:
    with pytest.raises(BadMessageError, match="expected a request of SNMP V2C"):
        read_request(open_envelope(ask(what, ["1.1"])))


def test_get_bulk_is_no_request_of_v1() -> None:
    with pytest.raises(BadMessageError, match="expected a request of SNMP V1"):
        read_request(open_envelope(ask("bulk", ["1.1"], version=V1)))


@pytest.mark.parametrize("value", [b"\x80\x00", b"\x82\x00", b"\x46\x01\x05"], ids=["absence", "end", "Counter64"])
def test_a_request_of_v1_has_no_values_of_later_versions(value: bytes) -> None:
    for version, good in ((V2C, True), (V1, False)):
        request = ask("set", ["1.1"], version=version).replace(b"\x05\x00", value)
        for at in (1, 14, 25, 27):  # each length that the value is in
            request = request[:at] + bytes([request[at] + len(value) - 2]) + request[at + 1 :]
        assert refused(request) is not good


def refused(datagram: bytes) -> bool:
    try:
        read_request(open_envelope(datagram))
    except BadMessageError:
        return True
    return False


@pytest.mark.parametrize(
    "name", [(1, 3, 2**32), (1, 3, *[1] * 127)], ids=["a number of 33 bits", "more numbers than 128"]
)
def test_a_name_that_none_can_be_is_refused(name: tuple[int, ...]) -> None:
    with pytest.raises(BadMessageError, match="in a name"):
        read_request(open_envelope(ask("get", ["." + ".".join(map(str, name))])))


@given(st.binary(max_size=200))
def test_any_content_is_read_or_refused(content: bytes) -> None:
    try:
        read_request(open_envelope(message(V2C, b"public", content)))
    except BadMessageError:
        pass


# --- writing --------------------------------------------------------------------------------------------------------


def length_of(bindings: list[tuple[tuple[int, ...], Value | Absence]]) -> int:
    envelope = open_envelope(GOOD)
    return len(encode_answer(envelope, read_request(envelope), Answer(bindings)))


@given(NAMES, VALUES)
def test_the_size_of_a_binding_is_known_before_it_is_written(name: tuple[int, ...], value: Value | Absence) -> None:
    # Twelve of the smallest make all outer lengths long ones, so that one more adds its own size and nothing else.
    before = [((1, 3), Absence.NO_SUCH_OBJECT)] * 60
    assert length_of([*before, (name, value)]) == length_of(before) + size_of((name, value))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=120), st.binary(max_size=72))
def test_what_fits_is_never_too_long_and_wastes_little(
    bindings: list[tuple[tuple[int, ...], Value | Absence]], community: bytes
) -> None:
    envelope = open_envelope(ask("get", ["1.1"], community=community, request_id=-(2**31)))
    kept = list(fitting(bindings, envelope))
    assert kept == bindings[: len(kept)]
    length = len(encode_answer(envelope, read_request(envelope), Answer(kept)))
    assert length <= MOST_ANSWER
    if len(kept) < len(bindings):
        assert length + size_of(bindings[len(kept)]) > MOST_ANSWER - 32


def test_an_answer_may_repeat_what_was_asked() -> None:
    envelope = open_envelope(GOOD)
    echo = encode_answer(envelope, read_request(envelope), Answer(None, ErrorStatus.NOT_WRITABLE, 1))
    assert echo[-16:] == GOOD[-16:]
