"""The app's numbers: shared by all processes, against a plain model, and whole whoever is killed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

import uwsgi_async
from tests.state.actors import Actor, actors
from uwsgi_async.api import snmp
from uwsgi_async.errors import NoInstanceError, NotConfiguredError, OptionError
from uwsgi_async.options.snmp import SnmpOptions
from uwsgi_async.snmp.objects import Kind, Value
from uwsgi_async.snmp.values import SnmpValues

FUNCTIONS = {
    f"snmp_{verb}_{name}": (verb, kind)
    for verb in ("set", "incr", "decr")
    for name, kind in (("counter32", Kind.COUNTER32), ("counter64", Kind.COUNTER64), ("gauge", Kind.GAUGE))
}


@pytest.fixture
def values() -> Iterator[SnmpValues]:
    values = SnmpValues.create(SnmpOptions(snmp=""))
    assert values is not None
    with snmp.using(values):
        yield values
    values.close()


def call(name: str, *args: Any) -> Any:
    return getattr(uwsgi_async, name)(*args)


# --- the functions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_makes_its_slot_of_its_kind(values: SnmpValues, name: str) -> None:
    verb, kind = FUNCTIONS[name]
    values.set(7, Kind.GAUGE, 10)
    assert call(name, 7, 4) is True
    assert values.all()[6] == Value(kind, {"set": 4, "incr": 14, "decr": 6}[verb])


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "set" not in name])
def test_one_is_added_or_subtracted_unless_the_call_says_how_many(values: SnmpValues, name: str) -> None:
    values.set(1, Kind.GAUGE, 10)
    call(name, 1)
    value = values.all()[0]
    assert value is not None
    assert value.number == (11 if "incr" in name else 9)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "set" in name])
def test_set_needs_a_number(values: SnmpValues, name: str) -> None:
    with pytest.raises(TypeError):
        call(name, 1)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("oid", [0, 101, 255])
def test_a_slot_that_is_none_is_none(values: SnmpValues, name: str, oid: int) -> None:
    assert call(name, oid, 1) is None
    assert values.all() == [None] * 100


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("arguments", "error"),
    [((-1, 1), OverflowError), ((256, 1), OverflowError), ((1.0, 1), TypeError), (("1", 1), TypeError),
     ((1, "1"), TypeError), ((1, 1.5), TypeError), ((1, None), TypeError), ((), TypeError), ((1, 2, 3), TypeError)],
)  # fmt: skip
def test_wrong_arguments_raise(values: SnmpValues, name: str, arguments: tuple[Any, ...], error: type) -> None:
    with pytest.raises(error):
        call(name, *arguments)
    assert values.all() == [None] * 100


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("oid", [1, 100])
def test_numbers_wrap_around_in_the_bits_of_their_kind(values: SnmpValues, name: str, oid: int) -> None:
    verb, kind = FUNCTIONS[name]
    most = 2**64 if kind is Kind.COUNTER64 else 2**32
    call(name, oid, {"set": most + 5, "incr": most + 5, "decr": 1}[verb])
    assert values.all()[oid - 1] == Value(kind, most - 1 if verb == "decr" else 5)


def test_a_negative_number_is_taken_modulo_too(values: SnmpValues) -> None:
    uwsgi_async.snmp_set_counter32(1, -1)
    uwsgi_async.snmp_set_counter64(2, -1)
    uwsgi_async.snmp_set_gauge(3, 7)
    uwsgi_async.snmp_decr_gauge(3, 10)
    assert values.all()[:3] == [(Kind.COUNTER32, 2**32 - 1), (Kind.COUNTER64, 2**64 - 1), (Kind.GAUGE, 2**32 - 3)]


def test_a_slot_that_becomes_a_counter64_has_all_that_was_counted(values: SnmpValues) -> None:
    """As in uWSGI, which keeps 64 bits of every slot."""
    for _ in range(3):
        uwsgi_async.snmp_incr_counter32(1, 2**32 - 1)
    assert values.all()[0] == (Kind.COUNTER32, 2**32 - 3)
    uwsgi_async.snmp_incr_counter64(1, 0)
    assert values.all()[0] == (Kind.COUNTER64, 3 * (2**32 - 1))


# --- the community --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("community", ["", "public", "x" * 72, "geheim-\xe4"])
def test_the_community_is_what_was_set_last(values: SnmpValues, community: str) -> None:
    uwsgi_async.snmp_set_community("before, and longer than most of these")
    assert uwsgi_async.snmp_set_community(community) is True
    assert values.community == community.encode()


def test_a_community_that_is_too_long_is_cut_and_the_log_tells(
    values: SnmpValues, caplog: pytest.LogCaptureFixture
) -> None:
    assert uwsgi_async.snmp_set_community("x" * 100) is True
    assert values.community == b"x" * 72
    assert "truncated to 72 chars" in caplog.text


@pytest.mark.parametrize(("wrong", "error"), [(b"public", TypeError), (None, TypeError), ("a\0b", ValueError)])
def test_a_community_is_a_text(values: SnmpValues, wrong: Any, error: type) -> None:
    with pytest.raises(error):
        uwsgi_async.snmp_set_community(wrong)
    assert values.community == b""


# --- without the option, or the library -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", snmp.__all__)
def test_without_the_option_each_function_names_it_and_the_extra(name: str) -> None:
    with pytest.raises(NotConfiguredError, match=r"option snmp.*uwsgi-async\[snmp\]"):
        call(name, *(("public",) if name == "snmp_set_community" else (1, 1)))


@pytest.mark.parametrize(
    "options", [SnmpOptions(snmp="127.0.0.1:0"), SnmpOptions(snmp=""), SnmpOptions(snmp_community="a")]
)
def test_without_the_library_the_option_names_the_extra(monkeypatch: pytest.MonkeyPatch, options: SnmpOptions) -> None:
    monkeypatch.setitem(sys.modules, "pyasn1_modules", None)
    with pytest.raises(OptionError, match=r"pip install 'uwsgi-async\[snmp\]'"):
        SnmpValues.create(options)


def test_without_any_option_nothing_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyasn1_modules", None)
    assert SnmpValues.create(SnmpOptions()) is None


# --- many processes -------------------------------------------------------------------------------------------------


NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]))


class ValuesMachine(RuleBasedStateMachine):
    """100 slots as uWSGI has them: a kind and a number of 64 bits each."""

    values: ClassVar[SnmpValues]
    others: ClassVar[Sequence[Actor]]

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[int, tuple[Kind, int]] = {}
        for slot in range(1, 5):
            self.do(0, "set", slot, Kind.GAUGE, 0)
            self.model[slot] = Kind.GAUGE, 0

    def do(self, who: int, method: str, *args: Any) -> None:
        if who == 0:
            getattr(self.values, method)(*args)
        else:
            self.others[who - 1].call(f"snmp.{method}", *args)

    @rule(who=st.integers(0, 2), slot=st.integers(1, 4), kind=st.sampled_from(Kind), number=NUMBERS)
    def set(self, who: int, slot: int, kind: Kind, number: int) -> None:
        self.model[slot] = kind, number % 2**64
        self.do(who, "set", slot, kind, number)

    @rule(who=st.integers(0, 2), slot=st.integers(1, 4), kind=st.sampled_from(Kind), number=NUMBERS)
    def add(self, who: int, slot: int, kind: Kind, number: int) -> None:
        self.model[slot] = kind, (self.model[slot][1] + number) % 2**64
        self.do(who, "add", slot, kind, number)

    @invariant()
    def all_are_as_in_the_model(self) -> None:
        expected = [
            Value(kind, number % (2**64 if kind is Kind.COUNTER64 else 2**32)) for kind, number in self.model.values()
        ]
        assert self.values.all()[:4] == expected


def test_slots_are_as_in_a_model_whichever_process_changes_them(values: SnmpValues) -> None:
    with actors(2, snmp=values) as others:
        ValuesMachine.values, ValuesMachine.others = values, others
        run_state_machine_as_test(
            ValuesMachine, settings=settings(max_examples=15, stateful_step_count=20, deadline=None)
        )


def test_no_increment_of_several_processes_is_lost(values: SnmpValues) -> None:
    with actors(3, snmp=values) as counting:
        for actor in counting:
            actor.begin("count_snmp", 2000)
        for actor in counting:
            actor.end()
    assert values.all()[0] == (Kind.COUNTER64, 6000)


CHANGES = [
    ("add", (1, Kind.GAUGE, 3), Value(Kind.GAUGE, 8)),
    ("add", (1, Kind.COUNTER64, -2), Value(Kind.COUNTER64, 3)),
    ("set", (1, Kind.COUNTER32, 9), Value(Kind.COUNTER32, 9)),
]


@pytest.mark.parametrize(("method", "arguments", "after"), CHANGES, ids=["add", "another kind", "set"])
def test_a_process_killed_at_any_line_has_changed_a_number_or_not_begun(
    values: SnmpValues, method: str, arguments: tuple[Any, ...], after: Value
) -> None:
    before = Value(Kind.GAUGE, 5)
    seen = set()
    with actors(1, snmp=values) as (actor,):
        for line in range(1, 100):
            values.set(1, *before)
            killed = actor.call("die_at", line, method, *arguments)
            seen.add(found := values.all()[0])
            assert found in (before, after)
            if not killed:
                break
    assert seen == {before, after}
    assert not killed


def test_a_process_killed_at_any_line_has_changed_the_community_or_not_begun(values: SnmpValues) -> None:
    seen = set()
    with actors(1, snmp=values) as (actor,):
        for line in range(1, 100):
            values.set_community(b"before")
            killed = actor.call("die_at", line, "set_community", b"and after")
            seen.add(found := values.community)
            assert found in (b"before", b"and after")
            if not killed:
                break
    assert seen == {b"before", b"and after"}
    assert not killed


def test_what_was_closed_says_so() -> None:
    values = SnmpValues.create(SnmpOptions(snmp=""))
    assert values is not None
    values.close()
    with pytest.raises(NoInstanceError):
        values.add(1, Kind.GAUGE, 1)
