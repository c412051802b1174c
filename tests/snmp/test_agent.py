"""What the agent answers, and to whom: each rule of SNMP v1 and v2c that an agent without write access has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.snmp.conftest import METRICS, Place, made
from tests.snmp.manager import V1, V2C, ask, message, oid, read, short
from uwsgi_async.snmp.message import MOST_ANSWER
from uwsgi_async.snmp.objects import MOST_REQUEST, Kind

COUNTER32, COUNTER64, GAUGE = Kind.COUNTER32, Kind.COUNTER64, Kind.GAUGE

EMPTY = ("empty",)
NO_OBJECT, NO_INSTANCE, END = ("noSuchObject",), ("noSuchInstance",), ("endOfMibView",)


def fill(place: Place) -> None:
    """Let the tree be: 1.1 1.31 1.32 (Counter64), 2.1 (Counter32), 2.2 (Counter64), 2.40 (Gauge32)."""
    place.values.set(1, COUNTER32, 11)
    place.values.set(2, COUNTER64, 2**40)
    place.values.set(40, GAUGE, 7)


# --- who is answered ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V1, V2C])
def test_an_answer_has_the_version_community_and_number_of_its_request(place: Place, version: int) -> None:
    fill(place)
    answer = place.agent.answer(ask("get", ["2.40"], version=version, request_id=2**31 - 1))
    assert answer is not None
    assert answer[2:13] == b"\x02\x01" + bytes([version]) + b"\x04\x06public"
    assert read(answer).request_id == 2**31 - 1
    assert place.counts == {"in_pkts": 1, "out_pkts": 1}


@pytest.mark.parametrize("community", [b"", b"Public", b"public2", b"publi", b"\x00public", b"x" * 300])
def test_a_wrong_community_gets_no_answer(place: Place, community: bytes) -> None:
    assert place.agent.answer(ask("get", ["1.1"], community=community)) is None
    assert place.counts == {"in_pkts": 1, "in_bad_community_names": 1}


@pytest.mark.parametrize("community", [b"", b"public"])
def test_without_a_community_nobody_is_answered(place: Place, community: bytes) -> None:
    place.values.set_community(b"")
    assert place.agent.answer(ask("get", ["1.1"], community=community)) is None


def test_the_community_may_change_at_any_time(place: Place) -> None:
    place.values.set_community(b"other")
    assert place.agent.answer(ask("get", ["1.1"])) is None
    assert place.agent.answer(ask("get", ["1.1"], community=b"other")) is not None


@pytest.mark.parametrize("version", [2, 3, -1, 2**31 - 1])
def test_another_version_gets_no_answer(place: Place, version: int) -> None:
    assert place.agent.answer(ask("get", ["1.1"], version=version)) is None
    assert place.counts == {"in_pkts": 1, "in_bad_versions": 1}


def test_the_log_says_once_that_v3_is_not_spoken(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        place.agent.answer(ask("get", ["1.1"], version=3))
    assert [record.message for record in caplog.records if "SNMP v3" in record.message] == [
        "somebody asks by SNMP v3, which is not spoken here: such datagrams are dropped and counted; "
        "let snmpd speak v3 and ask here by v2c (docs/snmp.md says how)"
    ]


@pytest.mark.parametrize("what", ["response", "inform", "trap"])
def test_what_is_no_request_gets_no_answer(place: Place, what: str) -> None:
    assert place.agent.answer(ask(what, ["1.1"])) is None
    assert place.counts == {"in_pkts": 1, "in_asn_parse_errs": 1}


# --- GET ------------------------------------------------------------------------------------------------------------


def test_get_tells_each_object_by_its_kind(place: Place) -> None:
    fill(place)
    told = place.ask(ask("get", ["1.1", "1.32", "2.1", "2.2", "2.40"]))
    assert (told.status, told.index) == (0, 0)
    assert told.bindings == (
        ("1.1", ("Counter64", 7)),
        ("1.32", ("Counter64", 4)),
        ("2.1", ("Counter32", 11)),
        ("2.2", ("Counter64", 2**40)),
        ("2.40", ("Gauge32", 7)),
    )


def test_get_of_v2c_tells_of_each_object_why_it_is_not_there(place: Place) -> None:
    fill(place)
    told = place.ask(ask("get", ["2.40", "2.41", "2.40.0", "1.33", "2.101", "2.0", "2", "3.1.1", "", ".1.3.6.1.2.1"]))
    assert (told.status, told.index) == (0, 0)
    assert told.values == [("Gauge32", 7), *[NO_INSTANCE] * 3, *[NO_OBJECT] * 6]


def test_get_of_v1_is_refused_as_a_whole_when_an_object_is_not_there(place: Place) -> None:
    fill(place)
    told = place.ask(ask("get", ["2.40", "2.41", "2.42"], version=V1))
    assert (told.status, told.index) == (2, 2)
    assert told.bindings == (("2.40", EMPTY), ("2.41", EMPTY), ("2.42", EMPTY))


def test_v1_has_no_counter64(place: Place) -> None:
    fill(place)
    assert place.ask(ask("get", ["2.1", "2.40"], version=V1)).values == [("Counter32", 11), ("Gauge32", 7)]
    for name in ("1.1", "2.2"):
        told = place.ask(ask("get", [name], version=V1))
        assert (told.status, told.index) == (2, 1)


@pytest.mark.parametrize("what", ["get", "next", "set", "bulk"])
def test_who_asks_for_nothing_is_told_nothing(place: Place, what: str) -> None:
    told = place.ask(ask(what, [], numbers=(0, 5) if what == "bulk" else (0, 0)))
    assert (told.status, told.index, told.bindings) == (0, 0, ())


# --- GETNEXT --------------------------------------------------------------------------------------------------------


def walk(place: Place, version: int, start: str = "") -> list[str]:
    """Return the names that GETNEXT leads to from ``start``, as snmpwalk goes."""
    found: list[str] = []
    while True:
        told = place.ask(ask("next", [found[-1] if found else start], version=version))
        if told.status or told.values == [END]:
            return found
        found += told.names


def test_a_walk_finds_all_there_is_in_order(place: Place) -> None:
    fill(place)
    assert walk(place, V2C) == ["1.1", "1.31", "1.32", "2.1", "2.2", "2.40"]
    assert walk(place, V2C, "1.31") == ["1.32", "2.1", "2.2", "2.40"]
    assert walk(place, V2C, ".1.3") == walk(place, V2C)


def test_a_walk_of_v1_leaves_out_what_it_has_no_kind_for(place: Place) -> None:
    fill(place)
    assert walk(place, V1) == ["2.1", "2.40"]


def test_behind_the_end_v2c_says_so_with_the_name_that_was_asked(place: Place) -> None:
    fill(place)
    told = place.ask(ask("next", ["2.40", "1.1", ".2.5"]))
    assert (told.status, told.index) == (0, 0)
    assert told.bindings == (("2.40", END), ("1.31", ("Counter64", 3)), (".2.5", END))


def test_behind_the_end_v1_knows_no_such_name(place: Place) -> None:
    fill(place)
    told = place.ask(ask("next", ["2.1", "2.40"], version=V1))
    assert (told.status, told.index, told.names) == (2, 2, ["2.1", "2.40"])


# --- GETBULK --------------------------------------------------------------------------------------------------------


def bulk(place: Place, names: list[str], non_repeaters: int, repetitions: int) -> list[str]:
    told = place.ask(ask("bulk", names, numbers=(non_repeaters, repetitions)))
    assert (told.status, told.index) == (0, 0)
    return [f"{name} end" if value == END else name for name, value in told.bindings]


def test_get_bulk_repeats_get_next_but_for_the_first_names(place: Place) -> None:
    fill(place)
    assert bulk(place, ["", "1.1", "2"], 1, 2) == ["1.1", "1.31", "2.1", "1.32", "2.2"]
    assert bulk(place, [""], 0, 4) == ["1.1", "1.31", "1.32", "2.1"]


@pytest.mark.parametrize(
    ("non_repeaters", "repetitions", "found"),
    [(2, 5, ["1.1", "2.1"]), (99, 5, ["1.1", "2.1"]), (0, 0, []), (1, 0, ["1.1"])],
)
def test_get_bulk_may_repeat_nothing(place: Place, non_repeaters: int, repetitions: int, found: list[str]) -> None:
    fill(place)
    assert bulk(place, ["", "2"], non_repeaters, repetitions) == found


def test_get_bulk_ends_when_nothing_is_behind_any_name(place: Place) -> None:
    fill(place)
    assert bulk(place, ["2.2", "2.1"], 0, 2**31 - 1) == ["2.40", "2.2", "2.40 end", "2.40", "2.40 end", "2.40 end"]


def test_get_bulk_tells_as_much_as_one_packet_takes(place: Place) -> None:
    for slot in range(1, 101):
        place.values.set(slot, COUNTER64, 2**64 - 1)
    answer = place.agent.answer(ask("bulk", [""], numbers=(0, 2**31 - 1)))
    assert answer is not None
    assert MOST_ANSWER - 64 < len(answer) <= MOST_ANSWER
    told = read(answer)
    assert told.names == walk(place, V2C)[: len(told.names)]


# --- SET ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "status"), [(V1, 2), (V2C, 17)])
@pytest.mark.parametrize("name", ["2.40", "2.41", "9.9", ".1.3.6.1.2.1.1.5.0"])
def test_nothing_can_be_written(place: Place, version: int, status: int, name: str) -> None:
    fill(place)
    before = place.values.all()
    told = place.ask(ask("set", [name, "2.1"], version=version))
    assert (told.status, told.index, told.names) == (status, 1, [name, "2.1"])
    assert place.values.all() == before


# --- what does not fit ----------------------------------------------------------------------------------------------


def test_an_answer_that_would_be_too_long_is_too_big(place: Place) -> None:
    for slot in range(1, 101):
        place.values.set(slot, COUNTER32, 2**32 - 1)
    names = [f"2.{slot}" for slot in range(1, 101)]
    told = place.ask(ask("get", names))
    assert (told.status, told.index, told.names) == (1, 0, [])
    told = place.ask(ask("get", names, version=V1))
    assert (told.status, told.index, told.names) == (1, 0, names)


def test_a_request_that_is_too_long_gets_no_answer(place: Place) -> None:
    request = ask("get", ["2.1"] * 300)
    assert len(request) > MOST_REQUEST
    assert place.agent.answer(request) is None
    assert place.counts == {"in_pkts": 1, "in_asn_parse_errs": 1}


@pytest.mark.parametrize("version", [V1, V2C])
def test_no_answer_is_longer_than_a_packet_or_its_request(place: Place, version: int) -> None:
    """What is longer repeats the request, so an agent that many reach multiplies no traffic."""
    place.values.set(1, COUNTER32, 1)
    for count in range(1, 220, 12):
        request = ask("set", ["2.1"] * count, version=version)
        told = place.agent.answer(request)
        assert told is not None
        assert len(told) <= len(request)
        request = ask("get", [*["2.1"] * count, "2.2"], version=version)
        told = place.agent.answer(request)
        assert told is not None
        assert len(told) <= max(MOST_ANSWER, len(request))


# --- anything -------------------------------------------------------------------------------------------------------


@contextmanager
def everything() -> Iterator[Place]:
    maker = made(*METRICS)
    yield next(maker)
    next(maker, None)


@pytest.fixture(scope="module")
def whole() -> Iterator[Place]:
    """A tree with slots of all kinds and metrics, for examples that change nothing."""
    with everything() as place:
        fill(place)
        yield place


def counted(place: Place) -> int:
    counts = place.counts
    return counts.get("in_pkts", 0) - sum(count for name, count in counts.items() if name != "in_pkts")


GOOD = ask("bulk", ["", "1.1"], numbers=(1, 5))


@given(st.binary(max_size=300))
@example(b"\x30\x80" * 2000)
@example(b"\x30" * 4000)
@example(b"\x24\x80" * 2000)
def test_any_bytes_are_answered_or_dropped_and_counted(whole: Place, datagram: bytes) -> None:
    assert (whole.agent.answer(datagram) is None) or datagram[:1] == b"\x30"
    assert counted(whole) == 0


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=3), st.integers(0, 3))
def test_a_request_with_any_mistake_in_it_is_answered_validly_or_dropped(
    whole: Place, at: int, instead: bytes, gone: int
) -> None:
    answer = whole.agent.answer(GOOD[:at] + instead + GOOD[at + gone :])
    assert counted(whole) == 0
    if answer is not None:
        read(answer)


@given(st.binary(max_size=300))
def test_any_content_behind_the_right_community_is_answered_validly_or_dropped(whole: Place, content: bytes) -> None:
    answer = whole.agent.answer(message(V2C, b"public", content))
    assert counted(whole) == 0
    if answer is not None:
        read(answer)


NAME = st.one_of(
    st.sampled_from(["", "1", "1.1", "1.31", "2", "2.1", "2.2", "2.40", "2.41", "3.1", "3.1.2", "9.1", "9.2", ".1.3"]),
    st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8).map(lambda parts: ".".join(map(str, parts))),
)


@given(
    st.sampled_from(["get", "next", "set", "bulk"]),
    st.lists(NAME, max_size=60),
    st.sampled_from([V1, V2C]),
    st.integers(0, 5),
    st.integers(0, 2**31 - 1),
)
def test_any_request_is_answered_validly(
    whole: Place, what: str, names: list[str], version: int, non_repeaters: int, repetitions: int
) -> None:
    if what == "bulk":
        version = V2C
    request = ask(what, names, version=version, numbers=(non_repeaters, repetitions) if what == "bulk" else (0, 0))
    told = whole.ask(request)
    bare = [short(oid(name)) for name in names]
    if told.status:
        assert told.names == ([] if (told.status, version) == (1, V2C) else bare)
        assert 0 <= told.index <= len(names)
    elif what == "get":
        assert told.names == bare
    elif what == "next":
        assert all(
            value == END if found == asked else oid(found) > oid(asked)
            for found, asked, value in zip(told.names, names, told.values, strict=True)
        )
    elif what == "bulk":
        assert len(told.names) <= 200
    else:
        assert names == []
