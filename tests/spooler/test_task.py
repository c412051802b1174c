"""A task's bytes are real uWSGI's, and whatever is none is told from a task."""

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from uwsgi_async.api.spooler import make_task
from uwsgi_async.errors import StoreError
from uwsgi_async.spooler.task import Task, check, decode_task, due, encode_plain, encode_task, priority

FIELDS = st.dictionaries(st.binary(min_size=1, max_size=50), st.binary(max_size=500), max_size=20)


def test_the_bytes_are_those_of_uwsgi() -> None:
    assert encode_task(Task({b"a": b"1"}, b"body")) == bytes.fromhex("11 06 00 00 01 00 61 01 00 31") + b"body"


@given(FIELDS, st.binary(max_size=1000))
def test_what_is_written_is_read_again(fields: dict[bytes, bytes], body: bytes) -> None:
    assert decode_task(encode_task(Task(fields, body))) == Task(fields, body)


KEY = st.integers(0, 9).map(lambda number: f"é{number}") | st.binary(max_size=300).map(lambda key: b"x" + key)


@given(st.dictionaries(KEY, st.text(max_size=200) | st.binary(max_size=300)))
@example({})
def test_the_short_way_writes_what_the_long_one_does(fields: dict[Any, Any]) -> None:
    content = encode_plain(fields)
    if content is not None:
        assert content == encode_task(make_task(fields))
    else:
        assert any(len(each) > 255 for item in make_task(fields).fields.items() for each in item)


def test_without_a_name_the_long_way_tells_the_error() -> None:
    assert encode_plain({b"": b"1"}) is None


@pytest.mark.parametrize("value", [5, 1.5, None, True, [1], bytearray(b"1"), "x" * 256])
def test_what_is_no_short_text_takes_the_long_way(value: Any) -> None:
    assert encode_plain({b"a": value}) is None


@pytest.mark.parametrize("key", ["at", "priority", "spooler", "body", "spooler_unique", "spooler_timeout"])
@pytest.mark.parametrize("kind", [str, str.encode])
def test_a_key_with_a_meaning_takes_the_long_way(key: str, kind: Callable[[str], Any]) -> None:
    assert encode_plain({kind(key): b"1"}) is None


@given(FIELDS, st.data())
def test_a_task_that_is_cut_short_is_none(fields: dict[bytes, bytes], data: st.DataObject) -> None:
    content = encode_task(Task(fields))
    with pytest.raises(StoreError):
        decode_task(content[: data.draw(st.integers(0, len(content) - 1))])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_task_or_a_store_error(content: bytes) -> None:
    with suppress(StoreError):
        decode_task(content)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({b"": b"1"}, "needs a name"),
        ({b"a": b"x" * 65536}, "at most 65535"),
        ({b"a": b"x" * 40000, b"b": b"x" * 40000}, "65535 bytes"),
    ],
)
def test_what_no_packet_holds_is_refused(fields: dict[bytes, bytes], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        encode_task(Task(fields))


@pytest.mark.parametrize(("text", "seconds"), [(b"", 0), (b"0", 0), (b"1767225600", 1767225600), (b"17.9", 17)])
def test_at_is_unix_seconds_without_their_fraction(text: bytes, seconds: int) -> None:
    assert due(Task({b"at": text})) == seconds


@pytest.mark.parametrize("text", [b"tomorrow", b"-5", b"1e9", b".5", b"9" * 30])
def test_an_at_that_is_no_time_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="unix seconds"):
        due(Task({b"at": text}))


@pytest.mark.parametrize("text", [b"high", b"../x", b"1/2", b"-1", b"."])
def test_a_priority_that_no_server_runs_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="whole number"):
        priority(Task({b"priority": text}))


def test_a_priority_is_a_number() -> None:
    assert [priority(Task({b"priority": text})) for text in (b"", b"0", b"12")] == ["", "0", "12"]


@pytest.mark.parametrize("key", [b"spooler_timeout", b"spooler_retries"])
@pytest.mark.parametrize("text", [b"", b"soon", b"-1", b"inf", b"nan"])
def test_our_own_keys_take_numbers_only(key: bytes, text: bytes) -> None:
    with pytest.raises(ValueError, match=re.escape(key.decode())):
        check(Task({key: text}))


def test_a_task_may_say_its_timeout_and_its_retries() -> None:
    task = Task({b"spooler_timeout": b"1.5", b"spooler_retries": b"3"})
    assert (task.timeout, task.retries) == (1.5, 3)
