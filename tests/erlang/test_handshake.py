"""The handshake, both sides of it against each other: however its bytes are split, and whatever they are."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.erlang.handshake import (
    NEEDED,
    OURS,
    Acceptor,
    Flag,
    Initiator,
    LocalNode,
    SimultaneousError,
    Status,
    check_name,
    digest,
)
from uwsgi_async.errors import ErlangError, NodeDownError

A = LocalNode("a@host", 7)
B = LocalNode("b@host", 8)


def initiator(local: LocalNode = A, peer: str = "b@host", cookie: bytes = b"secret") -> Initiator:
    return Initiator(local, peer, cookie, challenge=11)


def acceptor(cookie: bytes = b"secret", judge: Callable[[str], Status] = lambda _name: "ok") -> Acceptor:
    return Acceptor(B, cookie, judge, challenge=12)


def shake(one: Initiator, other: Acceptor, size: int = 1 << 20) -> None:
    """Carry bytes between both, ``size`` of them at a time, until nobody says anything more."""
    to_other, to_one = one.begin(), b""
    while to_other or to_one:
        to_one += other.receive_data(to_other[:size])
        to_other = to_other[size:]
        to_other += one.receive_data(to_one[:size])
        to_one = to_one[size:]


def frame(message: bytes) -> bytes:
    return struct.pack(">H", len(message)) + message


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_both_sides_agree_however_the_bytes_are_split(size: int) -> None:
    one, other = initiator(), acceptor()
    shake(one, other, size)
    assert one.session is not None
    assert other.session is not None
    assert (one.session.peer, one.session.local, one.session.flags) == ("b@host", A, OURS)
    assert (other.session.peer, other.session.local, other.session.flags) == ("a@host", B, OURS)


def test_what_comes_behind_the_handshake_is_kept() -> None:
    one, other = initiator(), acceptor()
    to_one = other.receive_data(one.begin())
    to_one = other.receive_data(one.receive_data(to_one))
    one.receive_data(to_one + b"more")
    assert (one.take_rest(), one.take_rest()) == (b"more", b"")


def test_fragments_and_the_atom_cache_are_not_asked_for() -> None:
    assert not OURS & (Flag.FRAGMENTS | Flag.DIST_HDR_ATOM_CACHE)


def test_all_is_asked_for_that_each_node_of_erlangs_asks_for() -> None:
    """What is mandatory up to OTP 27, by the numbers in erl_dist_protocol."""
    of_25 = [0x4, 0x10, 0x80, 0x100, 0x200, 0x400, 0x800, 0x10000, 0x20000, 0x40000, 0x1000000]
    since = [0x2000000, 1 << 34, 1 << 36]
    assert [flag for flag in (*of_25, *since) if not OURS & flag] == []


def test_the_digest_is_that_of_cookie_and_challenge() -> None:
    import hashlib

    assert digest(b"secret", 42) == hashlib.md5(b"secret42").digest()


def test_the_side_that_accepts_refuses_another_cookie() -> None:
    with pytest.raises(NodeDownError, match="a@host has a different cookie"):
        shake(initiator(cookie=b"other"), acceptor())


def test_the_side_that_connects_refuses_another_cookie() -> None:
    one, other = initiator(), acceptor()
    to_one = other.receive_data(one.begin())
    one.receive_data(to_one)
    with pytest.raises(NodeDownError, match="b@host has a different cookie"):
        one.receive_data(frame(b"a" + digest(b"other", 11)))


def test_an_end_where_the_cookie_is_judged_is_told_as_that() -> None:
    one, other = initiator(), acceptor()
    assert "in the middle" in one.describe_end()
    one.receive_data(other.receive_data(one.begin()))
    assert "different cookie" in one.describe_end()


@pytest.mark.parametrize(("status", "error"), [("nok", SimultaneousError), ("not_allowed", NodeDownError)])
def test_a_refusal_is_told_to_the_side_that_connects(status: Status, error: type[Exception]) -> None:
    one, other = initiator(), acceptor(judge=lambda _name: status)
    with pytest.raises(error, match="b@host"):
        one.receive_data(other.receive_data(one.begin()))


@pytest.mark.parametrize("status", ["alive", "ok_simultaneous"])
def test_a_connection_of_before_is_given_up_for_the_new_one(status: Status) -> None:
    one, other = initiator(), acceptor(judge=lambda _name: status)
    shake(one, other)
    assert one.session is not None
    assert other.session is not None


def test_a_node_that_keeps_its_first_connection_is_let_go() -> None:
    other = acceptor(judge=lambda _name: "alive")
    other.receive_data(initiator().begin())
    with pytest.raises(NodeDownError, match="keeps the first"):
        other.receive_data(frame(b"sfalse"))


def test_a_node_without_a_name_is_given_one_by_the_side_that_accepts() -> None:
    one = initiator(LocalNode("host", 0))
    assert struct.unpack_from(">Q", one.begin(), 3)[0] & Flag.NAME_ME
    name = b"given@host"
    one.receive_data(frame(b"snamed:" + struct.pack(">H", len(name)) + name + struct.pack(">I", 99)))
    challenge = struct.pack(">cQIIH", b"N", OURS, 12, 8, 6) + b"b@host"
    answer = one.receive_data(frame(challenge))
    assert answer[2:3] == b"r"
    one.receive_data(frame(b"a" + digest(b"secret", 11)))
    assert one.session is not None
    assert one.session.local == LocalNode("given@host", 99)


def test_this_side_names_nobody() -> None:
    with pytest.raises(ErlangError, match="with a name"):
        acceptor().receive_data(initiator(LocalNode("host", 0)).begin())


def test_another_node_than_the_one_that_was_meant_is_refused() -> None:
    with pytest.raises(ErlangError, match="expected the node c@host there, but it is b@host"):
        shake(initiator(peer="c@host"), acceptor())


@pytest.mark.parametrize("flag", list(NEEDED))
def test_a_node_that_lacks_something_needed_is_refused_by_name(flag: Flag) -> None:
    head = struct.pack(">cQIH", b"N", OURS & ~flag, 1, 5) + b"x@old"
    with pytest.raises(ErlangError, match=rf"x@old is older than Erlang/OTP 25.*{flag.name}"):
        acceptor().receive_data(frame(head))


def test_flags_that_nobody_knows_yet_are_no_matter() -> None:
    head = struct.pack(">cQIH", b"N", OURS | 1 << 60, 1, 5) + b"x@new"
    assert acceptor().receive_data(frame(head))


def test_the_handshake_of_version_5_is_refused_with_a_word() -> None:
    with pytest.raises(ErlangError, match="older than Erlang/OTP 25"):
        acceptor().receive_data(frame(b"n" + struct.pack(">HI", 5, OURS & 0xFFFFFFFF) + b"x@old"))


def test_a_long_message_is_refused_before_it_has_come() -> None:
    with pytest.raises(ErlangError, match="65535 bytes, more than"):
        acceptor().receive_data(b"\xff\xff")


@pytest.mark.parametrize("name", ["", "a", "@host", "a@", "a@b@c", "a@h\n", "a@" + "h" * 254])
def test_what_is_no_name_of_a_node_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name@host"):
        check_name(name)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_no_bytes_make_either_side_raise_anything_else(data: bytes, step: int) -> None:
    for side, begun in ((initiator(), b""), (acceptor(), b"")):
        try:
            for message in (begun, data[: step * 10], frame(data), data):
                side.receive_data(message)
        except ErlangError:
            pass


@given(st.sampled_from("sNarn"), st.binary(max_size=60))
def test_no_message_in_any_place_makes_either_side_raise_anything_else(tag: str, rest: bytes) -> None:
    message = frame(tag.encode() + rest)
    for steps in range(3):
        one, other = initiator(), acceptor()
        to_one, to_other = b"", one.begin()
        for _ in range(steps):
            to_one = other.receive_data(to_other)
            to_other = one.receive_data(to_one)
        for side in (one, other):
            try:
                side.receive_data(message)
            except ErlangError:
                pass
