"""Which metrics there are: uWSGI's own names and oids, and what the options describe or get refused."""

from __future__ import annotations

import pytest

from uwsgi_async.errors import OptionError
from uwsgi_async.state.metricspec import (
    MetricSpec,
    MetricType,
    Shape,
    Threshold,
    all_specs,
    builtin_specs,
    numbers,
    parse_metric,
    parse_threshold,
)


def test_a_name_alone_is_a_counter_that_the_app_sets() -> None:
    assert parse_metric("my.metric_1-x") == MetricSpec(name="my.metric_1-x", type=MetricType.COUNTER)


def test_all_keys() -> None:
    text = "name=a,oid=1.2.3,type=gauge,initial_value=-5,collector=file,freq=3,arg1=/proc/loadavg,arg1n=1"
    assert parse_metric(text) == MetricSpec(
        name="a",
        oid="1.2.3",
        type=MetricType.GAUGE,
        initial=-5,
        collector="file",
        freq=3,
        path="/proc/loadavg",
        argument=1,
    )
    assert parse_metric("name=s,collector=sum,children=a;b").children == ("a", "b")
    assert parse_metric("name=m,collector=manual").collector is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("two words", "a name of letters"),
        ("type=gauge", "a name of letters"),
        ("name=é", "a name of letters"),
        ("name=a,oid=1.x", "an oid of digits and dots"),
        ("name=a,type=number", "counter, gauge, absolute or alias"),
        ("name=a,type=alias", "belong together"),
        ("name=a,alias=b", "belong together"),
        ("name=a,initial_value=much", "initial_value must be a whole number"),
        ("name=a,freq=-1", "freq must be from 0"),
        ("name=a,collector=func,arg1=f", "is for C code"),
        ("name=a,collector=ptr", "is for C code"),
        ("name=a,collector=file", "needs arg1="),
        ("name=a,collector=magic", "collector must be one of"),
        ("name=a,reset_after_push=1", "nothing is pushed here, so leave reset_after_push out of"),
        ("name=a,frequency=1", "did you mean 'freq'"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(OptionError, match=reason):
        parse_metric(text)


def test_thresholds() -> None:
    assert parse_threshold("key=a,value=5,reset=0") == Threshold(key="a", value=5, reset=0)
    assert parse_threshold("key=a,value=-1,alarm=mail,rate=30,msg=too many\\, really") == Threshold(
        key="a", value=-1, alarm="mail", rate=30, message="too many, really"
    )
    for text in ("key=a", "value=1", "key=a,value=b", "key=a,value=1,rate=often"):
        with pytest.raises(OptionError, match="metric-threshold"):
            parse_threshold(text)


def test_an_instance_has_uwsgis_metrics() -> None:
    specs = {spec.name: spec for spec in builtin_specs(Shape(workers=2, cores=3, sockets=1), cores=True)}
    for name, oid, kind in (
        ("core.routed_signals", "5.1", 0),
        ("core.overloaded", "5.5", 0),
        ("core.total_tx", "5.100", 0),
        ("core.avg_response_time", "5.103", 1),
        ("worker.0.requests", "3.0.1", 0),
        ("worker.2.delta_requests", "3.2.2", 2),
        ("worker.1.rss_size", "3.1.11", 1),
        ("worker.1.core.0.requests", "3.1.2.0.1", 0),
        ("worker.2.core.2.write_errors", "3.2.2.2.3", 0),
        ("worker.2.core.2.read_errors", "3.2.2.2.8", 0),
        ("socket.0.listen_queue", "7.0.1", 1),
        ("rss_size", "", 3),
    ):
        assert (specs[name].oid, specs[name].type) == (oid, kind)
    assert specs["core.total_rss"].children == ("worker.1.rss_size", "worker.2.rss_size")
    assert "worker.0.core.0.requests" not in specs
    assert len(specs) == 5 + 3 * 9 + 2 * 3 * 7 + 5 + 1 + 2


def test_single_cores_can_be_left_out() -> None:
    assert not any("core.0" in spec.name for spec in builtin_specs(Shape(1, 3, 1), cores=False))


def test_a_metric_of_the_options_replaces_one_of_the_same_name_in_its_place() -> None:
    specs = all_specs(iter([MetricSpec(name="a"), MetricSpec(name="b")]), ["name=a,type=gauge", "c"])
    assert [(spec.name, spec.type) for spec in specs] == [("a", 1), ("b", 0), ("c", 0)]


def test_children_and_aliases_must_be_there_before() -> None:
    for text in ("name=s,collector=sum,children=a;nothing", "name=n,type=alias,alias=nothing"):
        with pytest.raises(OptionError, match="no metric 'nothing' before"):
            all_specs(iter([MetricSpec(name="a")]), [text])


def test_an_alias_stands_for_the_metric_at_its_end() -> None:
    specs = all_specs(iter(()), ["a", "b", "name=c,type=alias,alias=b", "name=d,type=alias,alias=c"])
    assert numbers(specs) == {"a": 0, "b": 1, "c": 1, "d": 1}


def test_aliases_in_a_circle_are_refused() -> None:
    specs = all_specs(iter(()), ["a", "name=b,type=alias,alias=a", "name=a,type=alias,alias=b"])
    with pytest.raises(OptionError, match="alias of itself"):
        numbers(specs)
