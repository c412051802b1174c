"""Terms: the mapping of uWSGI's table, every type there and back, and what is no term."""

from __future__ import annotations

import copy
import math
import pickle
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.erlang.terms import in_erlangs_eyes, terms
from uwsgi_async.erlang import BitString, ErlangString, Fun, ImproperList, Pid, Port, Reference
from uwsgi_async.erlang.measure import DEEPEST, LONGEST_INTEGER, measure
from uwsgi_async.erlang.terms import decode, encode
from uwsgi_async.errors import ErlangError, TermError, UwsgiAsyncError

PID = Pid("a@b", 5, 6, 7)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b"abc", b"m\0\0\0\x03abc"),  # BINARY_EXT
        ("abc", b"w\x03abc"),  # SMALL_ATOM_UTF8_EXT
        (7, b"a\x07"),
        (-7, b"b\xff\xff\xff\xf9"),
        (1.5, b"F" + struct.pack(">d", 1.5)),
        ([7, "x"], b"l\0\0\0\x02a\x07w\x01xj"),
        ([], b"j"),
        ((7,), b"h\x01a\x07"),
        (PID, b"Xw\x03a@b" + struct.pack(">III", 5, 6, 7)),
        (True, b"w\x04true"),
        ({7: b""}, b"t\0\0\0\x01a\x07m\0\0\0\0"),
        (ErlangString(b"abc"), b"k\0\x03abc"),
    ],
)
def test_a_value_has_the_form_of_the_table_in_both_directions(value: Any, data: bytes) -> None:
    assert encode(value) == b"\x83" + data
    back, end = decode(b"\x83" + data)
    assert (back, type(back), end) == (value, type(value), 1 + len(data))


@pytest.mark.parametrize(("value", "back"), [(None, []), (bytearray(b"x"), b"x"), (memoryview(b"x"), b"x")])
def test_a_value_without_a_type_of_its_own_comes_back_as_another(value: Any, back: Any) -> None:
    assert decode(encode(value))[0] == back


@given(terms())
def test_every_term_comes_back_as_it_was(term: Any) -> None:
    data = encode(term)
    back, end = decode(data)
    assert end == len(data)
    assert in_erlangs_eyes(back) == in_erlangs_eyes(term)
    assert encode(back) == data or isinstance(term, list)


@pytest.mark.parametrize(
    ("term", "reason"),
    [
        ("x" * 256, "255 characters at most, not 256"),
        ("\ud800", "cannot be encoded"),
        (math.inf, "no float inf"),
        (object(), "object came"),
        ({1, 2}, "set came"),
        ([[object()]], "object came"),
        (Pid("a@b", 1 << 32, 0, 0), "32 bits"),
        (Pid("a@b", -1, 0, 0), "32 bits"),
        (Reference("a@b", (), 1), "one word"),
        (BitString(b"", 1), "has bytes"),
        (BitString(b"x", 8), "1 to 7 bits"),
        (ImproperList((), 1), "has items"),
        (ImproperList((1,), [2]), "no list"),
    ],
)
def test_what_has_no_form_is_refused_with_the_reason(term: Any, reason: str) -> None:
    with pytest.raises(TermError, match=reason):
        encode(term)


def test_a_list_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TermError, match="deep inside of itself"):
        encode(endless)


def nested(depth: int) -> bytes:
    return b"\x83" + b"h\x01" * depth + b"j"


def test_terms_are_read_up_to_a_depth_and_not_deeper() -> None:
    term, _ = decode(nested(DEEPEST - 2))
    for _ in range(DEEPEST - 2):
        (term,) = term
    assert term == []
    with pytest.raises(TermError, match="deep"):
        decode(nested(100_000))


def test_a_long_integer_is_read_up_to_a_length_and_not_longer() -> None:
    number = (1 << (8 * LONGEST_INTEGER)) - 1
    assert decode(encode(number))[0] == number
    with pytest.raises(TermError, match="integers"):
        decode(encode(number + 1))


@pytest.mark.parametrize("pairs", [b"a\x01j" + b"F?\xf0\0\0\0\0\0\0j", b"m\0\0\0\x01aj" + b"k\0\x01aj"])
def test_a_map_whose_keys_python_cannot_tell_apart_is_refused(pairs: bytes) -> None:
    with pytest.raises(TermError, match="equal in Python"):
        decode(b"\x83t\0\0\0\x02" + pairs)


def test_a_map_with_a_list_as_a_key_is_refused() -> None:
    with pytest.raises(TermError, match="a key with a list"):
        decode(b"\x83t\0\0\0\x01l\0\0\0\x01w\x01ajj")


def test_compressed_terms_are_refused() -> None:
    """A node sends none; a few bytes could be gigabytes."""
    with pytest.raises(ErlangError, match="unknown kind 80"):
        decode(b"\x83P\0\0\0\x02" + zlib.compress(b"a\x07"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x83",
        b"\x82a\x07",
        b"\x83m\xff\xff\xff\xffx",
        b"\x83l\xff\xff\xff\xffa\x07",
        b"\x83t\xff\xff\xff\xffa\x07",
        b"\x83w\x03ab",
        b"\x83w\x01\xff",
        b"\x83Z\0\x06w\x03a@b" + bytes(28),
        b"\x83Z\0\0w\x03a@b" + bytes(4),
        b"\x83Xa\x07" + bytes(12),
        b"\x83p\0\0\0\x03",
        b"\x83M\0\0\0\x01\x09x",
        b"\x83c" + b"x" * 31,
        b"\x83R\0",
        b"\x83y",
    ],
)
def test_what_is_no_term_is_refused(data: bytes) -> None:
    with pytest.raises(ErlangError):
        decode(data)


@given(terms(), st.data())
def test_a_term_that_is_cut_off_anywhere_is_refused(term: Any, draw: st.DataObject) -> None:
    data = encode(term)
    with pytest.raises(ErlangError):
        decode(data[: draw.draw(st.integers(0, len(data) - 1))])


@given(st.binary(max_size=100))
def test_no_bytes_raise_anything_but_the_errors_that_are_told(data: bytes) -> None:
    try:
        decode(b"\x83" + data)
    except UwsgiAsyncError:
        pass


@given(terms(), st.data())
def test_no_change_of_a_byte_raises_anything_else(term: Any, draw: st.DataObject) -> None:
    data = bytearray(encode(term))
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(1, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        decode(bytes(data))
    except UwsgiAsyncError:
        pass


@given(terms())
def test_a_term_is_measured_as_long_as_it_is(term: Any) -> None:
    data = encode(term)
    assert measure(b"xx" + data + b"more", 2).end == 2 + len(data)


# --- values -----------------------------------------------------------------------------------------------------------


def test_a_pid_is_a_tuple_of_three_numbers_that_knows_its_node() -> None:
    number, serial, creation = PID
    assert (number, serial, creation, PID.node) == (5, 6, 7, "a@b")
    assert PID == (5, 6, 7)
    assert Pid("other@b", 5, 6, 7) != PID
    assert Pid("a@b", 5, 6, 7) == PID
    assert {PID: 1}[Pid("a@b", 5, 6, 7)] == 1


def test_a_pid_can_be_copied_and_pickled_and_not_changed() -> None:
    assert copy.deepcopy(PID).node == pickle.loads(pickle.dumps(PID)).node == "a@b"
    with pytest.raises(AttributeError):
        PID.node = "other@b"


def test_a_tuple_of_three_numbers_is_a_tuple_in_erlang() -> None:
    assert encode((5, 6, 7)) == b"\x83h\x03a\x05a\x06a\x07"


def test_a_string_of_erlangs_is_bytes_and_goes_back_as_a_list() -> None:
    text = decode(b"\x83k\0\x02hi")[0]
    assert (text, list(text), repr(text)) == (b"hi", [104, 105], "ErlangString(b'hi')")
    assert encode(text) == b"\x83k\0\x02hi"


def test_old_forms_are_read_too() -> None:
    old = b"\x83h\x04" + b"d\0\x02\xe4b" + b"gs\x03a@b" + bytes(8) + b"\x01" + b"fs\x03a@b" + bytes(4) + b"\x01"
    old += b"c" + b"1.50000000000000000000e+00".ljust(31, b"\0")
    assert decode(old)[0] == ("äb", Pid("a@b", 0, 0, 1), Port("a@b", 0, 1), 1.5)


def test_a_fun_is_kept_as_it_is() -> None:
    data = b"\x83qw\x05listsw\x03suma\x01"
    assert decode(data)[0] == Fun(113, data[2:])
    assert encode(decode(data)[0]) == data
