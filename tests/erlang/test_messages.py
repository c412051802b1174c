"""Control messages and frames: each there and back, in all forms that nodes may use, and whatever else may come."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.erlang.terms import terms
from uwsgi_async.erlang.handshake import OURS, Flag
from uwsgi_async.erlang.messages import (
    TICK,
    Demonitor,
    Down,
    Exit,
    FrameReader,
    Ignored,
    Link,
    Message,
    Monitor,
    Send,
    SpawnReply,
    SpawnRequest,
    UndeliverableError,
    Unlink,
    Unlinked,
    decode_message,
    encode_message,
)
from uwsgi_async.erlang.terms import encode
from uwsgi_async.erlang.values import Pid, Reference
from uwsgi_async.errors import ErlangError, UwsgiAsyncError

ONE = Pid("a@b", 1, 0, 5)
TWO = Pid("c@d", 2, 0, 6)
REF = Reference("a@b", (1, 2, 3), 5)
OLD = OURS & ~(Flag.SEND_SENDER | Flag.EXIT_PAYLOAD)

MESSAGES: list[Message] = [
    Send(ONE, TWO, b"x"),
    Send(ONE, "name", ("x", [])),
    Send(ONE, REF, 1),
    Link(ONE, TWO),
    Unlink(7, ONE, TWO),
    Unlinked(7, TWO, ONE),
    Exit(ONE, TWO, "reason"),
    Exit(ONE, TWO, "reason", asked=True),
    Monitor(ONE, TWO, REF),
    Monitor(ONE, "name", REF),
    Demonitor(ONE, "name", REF),
    Down(TWO, ONE, REF, ("a", b"reason")),
    Down("name", ONE, REF, "noproc"),
    SpawnRequest(REF, ONE, "erpc", "execute_call", 4, ("monitor",), [REF, "m", "f", []]),
    SpawnReply(REF, ONE, 2, TWO),
    SpawnReply(REF, ONE, 0, "notsup"),
]


@pytest.mark.parametrize("flags", [OURS, OLD], ids=["new", "old"])
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_as_it_was_sent(message: Message, flags: Flag) -> None:
    reader = FrameReader(1 << 20)
    reader.receive_data(encode_message(message, flags))
    frame = reader.next_frame()
    assert frame is not None
    came = decode_message(frame)
    if isinstance(message, Send) and flags == OLD and isinstance(message.to, Pid):
        message = Send(None, message.to, message.message)  # SEND does not tell it
    assert came == message
    assert reader.next_frame() is None


def frame(control: tuple[Any, ...], *carried: Any) -> bytes:
    return b"p" + encode(control) + b"".join(map(encode, carried))


@pytest.mark.parametrize(
    ("control", "carried", "message"),
    [
        ((2, "", TWO), [1], Send(None, TWO, 1)),
        ((12, "", TWO, "token"), [1], Send(None, TWO, 1)),
        ((16, ONE, "", "name", "token"), [1], Send(ONE, "name", 1)),
        ((23, ONE, TWO, "token"), [1], Send(ONE, TWO, 1)),
        ((34, ONE, REF, "token"), [1], Send(ONE, REF, 1)),
        ((3, ONE, TWO, "why"), [], Exit(ONE, TWO, "why")),
        ((13, ONE, TWO, "token", "why"), [], Exit(ONE, TWO, "why")),
        ((8, ONE, TWO, "why"), [], Exit(ONE, TWO, "why", asked=True)),
        ((18, ONE, TWO, "token", "why"), [], Exit(ONE, TWO, "why", asked=True)),
        ((25, ONE, TWO, "token"), ["why"], Exit(ONE, TWO, "why")),
        ((27, ONE, TWO, "token"), ["why"], Exit(ONE, TWO, "why", asked=True)),
        ((21, TWO, ONE, REF, "why"), [], Down(TWO, ONE, REF, "why")),
        ((32, REF, ONE, 2, TWO, "token"), [], SpawnReply(REF, ONE, 2, TWO)),
        (
            (30, REF, ONE, ONE, ("m", "f", 0), [], "token"),
            [[]],
            SpawnRequest(REF, ONE, "m", "f", 0, (), []),
        ),
        ((5,), [], Ignored(5)),
        ((7, ONE, TWO), [], Ignored(7)),
    ],
)
def test_each_form_of_a_message_is_understood(control: Any, carried: list[Any], message: Message) -> None:
    assert decode_message(frame(control, *carried)) == message


@pytest.mark.parametrize(
    "data",
    [
        b"q",
        b"p",
        b"p\x83a\x01",
        b"p\x83j",
        frame((1, ONE)),
        frame((1, ONE, "name")),
        frame((6, ONE, "", b"name"), 1),
        frame((22, ONE, TWO), 1, 2),
        frame((22, ONE, TWO), 1) + b"x",
        frame((29, REF, ONE, ONE, ("m", "f"), []), []),
        frame((29, REF, ONE, ONE, ("m", "f", 1), []), "no list"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(ErlangError):
        decode_message(data)


def test_a_message_whose_term_python_cannot_have_is_named_without_it() -> None:
    map_of_equals = b"\x83t\0\0\0\x02a\x01j" + b"F?\xf0\0\0\0\0\0\0j"
    with pytest.raises(UndeliverableError, match="equal in Python") as caught:
        decode_message(frame((22, ONE, TWO)) + map_of_equals)
    assert caught.value.message == Send(ONE, TWO, None)


def test_frames_are_read_byte_by_byte_with_ticks_between() -> None:
    data = TICK + encode_message(MESSAGES[0], OURS) + TICK + encode_message(MESSAGES[1], OURS)
    reader, frames = FrameReader(1 << 20), []
    for at in range(len(data)):
        reader.receive_data(data[at : at + 1])
        while (found := reader.next_frame()) is not None:
            frames.append(found)
    assert [each if not each else decode_message(each) for each in frames] == [b"", MESSAGES[0], b"", MESSAGES[1]]


def test_a_frame_that_is_too_long_is_refused_by_its_length() -> None:
    reader = FrameReader(100, struct.pack(">I", 101))
    with pytest.raises(ErlangError, match="101 bytes, more than 100"):
        reader.next_frame()


@given(st.binary(max_size=120))
def test_no_frame_raises_anything_but_the_errors_that_are_told(data: bytes) -> None:
    for each in (data, b"p\x83" + data):
        try:
            decode_message(each or b"p")
        except UwsgiAsyncError:
            pass


@given(st.integers(0, 40), st.lists(terms(), max_size=7), terms())
def test_no_control_message_of_any_fields_raises_anything_else(operation: int, fields: list[Any], carried: Any) -> None:
    try:
        decode_message(frame((operation, *fields), carried))
    except UwsgiAsyncError:
        pass


@given(st.sampled_from(MESSAGES), st.data())
def test_no_change_of_a_byte_of_a_message_raises_anything_else(message: Message, draw: st.DataObject) -> None:
    data = bytearray(encode_message(message, OURS)[4:])
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        decode_message(bytes(data))
    except UwsgiAsyncError:
        pass
