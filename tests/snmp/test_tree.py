"""The tree: which objects there are, where they stand, and what is behind each."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.snmp.conftest import Place
from tests.snmp.manager import oid, short
from uwsgi_async.options.settings import MetricOptions
from uwsgi_async.snmp.objects import Absence, Kind, Value
from uwsgi_async.snmp.tree import Tree, View, _Metrics
from uwsgi_async.state.metrics import Metrics
from uwsgi_async.state.metricspec import Shape

COUNTER64 = Kind.COUNTER64


def all_of(tree: Tree, *, counter64: bool = True) -> dict[str, Value]:
    """Return the whole tree, as a walk finds it."""
    view, found, name = tree.look(counter64=counter64), {}, oid("")
    while True:
        name, value = view.after(name)
        if isinstance(value, Absence):
            return found
        found[short(name)] = value


def test_general_values_are_the_requests_of_all_workers_and_of_each(place: Place) -> None:
    place.requests = [2**63, 2**63 + 5, 1]
    assert all_of(place.tree) == {
        "1.1": Value(COUNTER64, 6),  # it wraps around
        "1.31": Value(COUNTER64, 2**63),
        "1.32": Value(COUNTER64, 2**63 + 5),
        "1.33": Value(COUNTER64, 1),
    }


def test_workers_for_which_there_is_no_number_are_counted_in_the_sum(place: Place) -> None:
    place.requests = [1] * 75
    found = all_of(place.tree)
    assert found["1.1"] == (COUNTER64, 75)
    assert list(found)[-1] == "1.100"
    assert len(found) == 71


def test_metrics_stand_where_their_oids_say(measured: Place) -> None:
    found = all_of(measured.tree)
    assert found["9.1"] == (Kind.GAUGE, 2**32 - 1)  # -1, as an unsigned number of 32 bits
    assert found["9.2"] == (COUNTER64, 5)
    assert {"3.0.1", "3.2.1", "3.1.2.0.1", "5.3", "7.0.1"} <= found.keys()
    assert found["5.3"].kind is Kind.GAUGE
    names = [oid(name) for name in found]
    assert names == sorted(names)
    assert measured.tree.look().get(oid("9.1.0")) is Absence.NO_SUCH_INSTANCE
    assert measured.tree.look().get(oid("9.3")) is Absence.NO_SUCH_OBJECT


def test_of_two_metrics_with_one_oid_the_first_is_told(measured: Place) -> None:
    """uWSGI has given worker.N.failed_requests and worker.N.running_time the same one."""
    assert measured.metrics is not None
    names = [spec.name for spec in measured.metrics.specs if spec.oid == "3.1.13"]
    assert names == ["worker.1.failed_requests", "worker.1.running_time"]
    measured.metrics._set([spec.name for spec in measured.metrics.specs].index("worker.1.failed_requests"), 77)
    assert all_of(measured.tree)["3.1.13"] == (COUNTER64, 77)


def test_without_counter64_the_rest_of_the_tree_is_the_same(measured: Place) -> None:
    measured.values.set(5, Kind.GAUGE, 1)
    measured.values.set(6, COUNTER64, 1)
    whole = all_of(measured.tree)
    assert all_of(measured.tree, counter64=False) == {
        name: value for name, value in whole.items() if value.kind is not COUNTER64
    }
    view = measured.tree.look(counter64=False)
    assert view.get(oid("2.6")) is Absence.NO_SUCH_INSTANCE
    assert isinstance(view.get(oid("9.2")), Absence)


@pytest.mark.parametrize(
    "text", ["1.5", "2.7", "4294967296.1", ".".join(["1"] * 130), "..", "3.4294967296"],
    ids=["a general value's", "an app's value's", "too large", "too long", "nothing", "too large below"],
)  # fmt: skip
def test_a_metric_whose_oid_cannot_be_reached_is_not_told(place: Place, text: str) -> None:
    metrics = Metrics.create(MetricOptions(metric=(f"name=a,oid={text}",)), Shape(0, 0, 0))
    assert metrics is not None
    own = Metrics.create(MetricOptions(enable_metrics=True), Shape(0, 0, 0))
    assert own is not None
    assert all_of(Tree(place.values, list, metrics)) == all_of(Tree(place.values, list, own))
    metrics.close()
    own.close()


@given(st.lists(st.integers(0, 12), max_size=5))
def test_what_is_behind_a_name_is_the_next_one_of_the_sorted_tree(subids: list[int]) -> None:
    view, order, values = _forest()
    name = oid(".".join(map(str, subids)))
    place = bisect.bisect_right(order, name)
    if place == len(order):
        assert view.after(name) == (name, Absence.END_OF_MIB_VIEW)
    else:
        assert view.after(name) == (order[place], values[order[place]])


def _forest() -> tuple[View, list[tuple[int, ...]], dict[tuple[int, ...], Value]]:
    """Slots and metrics that stand between each other."""
    slots = {oid(name): Value(Kind.GAUGE, 1) for name in ("1.1", "1.12", "2.1", "2.9")}
    metrics = {oid(name): (Kind.GAUGE, lambda: 2) for name in ("0", "0.4", "3", "3.1.1", "12")}
    both = {**slots, **dict.fromkeys(metrics, Value(Kind.GAUGE, 2))}
    return View(slots, _Metrics(metrics)), sorted(both), both
