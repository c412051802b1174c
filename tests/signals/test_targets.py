"""Targets: what each word means, and what is refused at once."""

import pytest

from uwsgi_async.errors import SignalError
from uwsgi_async.signals.targets import (
    AllOf,
    AnyOf,
    Farm,
    FarmNumbered,
    Numbered,
    Roster,
    SpoolerAt,
    check_target,
    parse_target,
    route,
    serves,
)

ROSTER = Roster(workers=3, mules=2, farms={"web": (1, 2), "other": (2,)}, spoolers=("/var/spool/app",))


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("", AnyOf("worker")),
        ("worker", AnyOf("worker")),
        ("worker0", AnyOf("worker")),
        ("workers", AllOf("worker")),
        ("active-workers", AllOf("worker", active=True)),
        ("worker12", Numbered("worker", 12)),
        ("mule", AnyOf("mule")),
        ("mule0", AnyOf("mule")),
        ("mules", AllOf("mule")),
        ("mule2", Numbered("mule", 2)),
        ("farm1", FarmNumbered(1)),
        ("farm_web", Farm("web")),
        ("spooler", AnyOf("spooler")),
        ("/var/spool/app", SpoolerAt("/var/spool/app")),
    ],
)
def test_each_word_of_uwsgis_is_a_target(text: str, target: object) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text", ["bogus", "Worker", "worker-1", "worker1x", "worker01", "farm", "farm0", "farm_", "spooler1", "worker٣"]
)
def test_a_word_that_means_nobody_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(SignalError, match="expected a target for a signal, worker, workers"):
        parse_target(text)


@pytest.mark.parametrize("text", ["cluster", "subscribed"])
def test_other_instances_need_the_cluster_engine(text: str) -> None:
    with pytest.raises(SignalError, match="needs the cluster engine"):
        parse_target(text)


@pytest.mark.parametrize("text", ["worker3", "mule2", "farm2", "farm_web", "/var/spool/app", "spooler", "mules"])
def test_who_is_there_can_be_a_target(text: str) -> None:
    check_target(parse_target(text), ROSTER)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("worker4", "there is no worker 4: the instance has 3"),
        ("mule3", "there is no mule 3: the instance has 2"),
        ("farm3", "there is no farm 3: the instance has 2"),
        ("farm_none", "there is no farm 'none'"),
        ("/tmp", "there is no spooler at /tmp"),
    ],
)
def test_who_is_not_there_cannot(text: str, reason: str) -> None:
    with pytest.raises(SignalError, match=reason):
        check_target(parse_target(text), ROSTER)


@pytest.mark.parametrize("text", ["mule", "mules", "spooler"])
def test_an_instance_without_mules_and_spoolers_says_which_option_is_missing(text: str) -> None:
    with pytest.raises(SignalError, match="with the option"):
        check_target(parse_target(text), Roster(workers=1))


def test_all_workers_are_a_queue_each_also_those_that_do_not_run() -> None:
    assert route(AllOf("worker"), ROSTER, {2}) == tuple(Numbered("worker", number) for number in (1, 2, 3))


def test_active_workers_are_those_that_run() -> None:
    assert route(AllOf("worker", active=True), ROSTER, {3, 1}) == (Numbered("worker", 1), Numbered("worker", 3))


def test_a_farm_by_its_place_is_the_farm_of_that_name() -> None:
    assert route(FarmNumbered(2), ROSTER, set()) == (Farm("other"),)


@pytest.mark.parametrize("target", [Numbered("worker", 4), FarmNumbered(3), Farm("none"), SpoolerAt("/tmp")])
def test_a_target_that_is_gone_has_no_queue(target: object) -> None:
    assert route(target, ROSTER, set()) == ()  # type: ignore[arg-type]


def test_a_farms_queue_is_served_by_its_mules_alone() -> None:
    serving = [number for number in (1, 2) if serves(Farm("other"), "mule", number, "", ROSTER)]
    assert serving == [2]
    assert not serves(Farm("other"), "worker", 2, "", ROSTER)
