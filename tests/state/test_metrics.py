"""Metrics: counting in several processes, collectors, thresholds and alarms, files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.state.actors import actors
from uwsgi_async.api import metrics as api
from uwsgi_async.errors import OptionError
from uwsgi_async.options.settings import MetricOptions
from uwsgi_async.state.collectors import read_number
from uwsgi_async.state.metrics import Metrics
from uwsgi_async.state.metricspec import Shape

pytestmark = pytest.mark.anyio

SHAPE = Shape(workers=1, cores=2, sockets=1)
LEAST, MOST = -(2**63), 2**63 - 1


def make(*texts: str, **options: Any) -> Metrics:
    metrics = Metrics.create(MetricOptions(metric=texts, enable_metrics=True, **options), SHAPE)
    assert metrics is not None
    return metrics


async def collect(metrics: Metrics) -> None:
    """Collect everything, as if each metric's time had come."""
    assert metrics.collectors is not None
    metrics.collectors._collected.clear()
    await metrics.collectors.collect(metrics._values, metrics._set)


@pytest.fixture
def used() -> Iterator[Callable[..., Metrics]]:
    """Make metrics that the functions of the API use."""
    made = []
    before = api._metrics

    def make_and_use(*texts: str, **options: Any) -> Metrics:
        made.append(make(*texts, **options))
        api._metrics = made[-1]
        return made[-1]

    yield make_and_use
    api._metrics = before
    for metrics in made:
        metrics.close()


# --- what apps do ---------------------------------------------------------------------------------------------------


def test_without_the_option_every_name_is_unknown() -> None:
    assert Metrics.create(MetricOptions(), SHAPE) is None
    assert api.metric_get("worker.1.requests") == 0
    assert api.metric_set("a", 1) is None
    assert api.metrics() == ()


@pytest.mark.parametrize("option", [{"metric": ("a",)}, {"metric_threshold": ("key=worker.1.requests,value=1",)}])
def test_any_option_of_metrics_enables_them(option: dict[str, Any]) -> None:
    metrics = Metrics.create(MetricOptions(**option), SHAPE)
    assert metrics is not None
    metrics.close()


def test_counting(used: Callable[..., Metrics]) -> None:
    used("a", "name=b,initial_value=3")
    assert (api.metric_get("a"), api.metric_get("b")) == (0, 3)
    for call, expected in (
        (lambda: api.metric_set("a", 10), 10),
        (lambda: api.metric_inc("a"), 11),
        (lambda: api.metric_inc("a", 9), 20),
        (lambda: api.metric_dec("a", 30), -10),
        (lambda: api.metric_mul("a", 7), -70),
        (lambda: api.metric_div("a", 8), -8),
        (lambda: api.metric_set("a"), 1),
        (lambda: api.metric_set(b"a", LEAST), LEAST),
        (lambda: api.metric_div("a", -1), LEAST),
        (lambda: api.metric_dec("a"), MOST),
    ):
        assert call() is True
        assert api.metric_get("a") == expected
    assert api.metric_div("a", 0) is None


def test_set_max_and_set_min(used: Callable[..., Metrics]) -> None:
    used("name=a,initial_value=3")
    api.metric_set("a", 10)
    for call, value, expected in (
        (api.metric_set_max, 5, 10),
        (api.metric_set_max, 15, 15),
        (api.metric_set_min, 20, 15),
        (api.metric_set_min, 3, 15),  # not more than what it began with, as in uWSGI
        (api.metric_set_min, 4, 4),
    ):
        assert call("a", value) is True
        assert api.metric_get("a") == expected


def test_only_the_apps_metrics_can_be_set(used: Callable[..., Metrics]) -> None:
    used("a", "name=s,collector=sum,children=a", "name=other,type=alias,alias=a")
    for name in ("worker.1.requests", "s", "other", "nothing"):
        assert api.metric_set(name, 5) is None
    api.metric_set("a", 7)
    assert api.metric_get("other") == 7


def test_wrong_arguments(used: Callable[..., Metrics]) -> None:
    used("a")
    with pytest.raises(OverflowError):
        api.metric_set("a", MOST + 1)
    with pytest.raises(TypeError):
        api.metric_set("a", 1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be str, not int"):
        api.metric_get(5)  # type: ignore[arg-type]


def test_all_metrics_are_listed(used: Callable[..., Metrics]) -> None:
    used("name=a,type=absolute,oid=9.9,initial_value=4", "name=other,type=alias,alias=a")
    listed = {metric.name: metric for metric in api.metrics()}
    assert (listed["a"].type, listed["a"].oid, listed["a"].value) == (2, "9.9", 4)
    assert (listed["other"].type, listed["other"].oid, listed["other"].value) == (3, "9.9", 4)
    assert listed["rss_size"].oid == "5.101"


def test_counting_in_several_processes_loses_nothing() -> None:
    metrics = make("a")
    with actors(2, metrics=metrics) as others:
        for other in others:
            other.begin("count_often", "a", 5000)
        for _ in range(5000):
            metrics.change("a", lambda value, more: value + more, 1)
        for other in others:
            other.end()
        assert others[0].call("metrics.get", "a") == metrics.get("a") == 15000
    metrics.close()


def test_a_process_that_is_killed_while_it_counts_is_in_nobodys_way() -> None:
    metrics = make("a")
    with actors(1, metrics=metrics) as (other,):
        values = set()
        for line in range(1, 100):
            before = metrics.get("a")
            killed = other.call("die_in_metrics", line, "a")
            values.add(metrics.get("a") - before)
            metrics.change("a", max, 0)
            if not killed:
                break
        assert values == {0, 1}
    metrics.close()


def test_an_actor_knows_all_metrics_by_the_options_alone() -> None:
    metrics = make("name=a,type=gauge", "name=s,collector=sum,children=a", metrics_no_cores=True)
    with actors(1, metrics=metrics) as (other,):
        assert other.call("metrics.all") == metrics.all()
    metrics.close()


# --- collectors -----------------------------------------------------------------------------------------------------


async def test_the_instances_own_metrics_come_from_its_source(anyio_backend: Any) -> None:
    metrics = make()
    metrics.observe(lambda: {"worker.1.requests": 5, "worker.1.rss_size": 1000})
    await collect(metrics)
    found = {metric.name: metric.value for metric in metrics.all() if metric.value}
    assert found == {
        "worker.1.requests": 5,
        "worker.1.rss_size": 1000,
        "core.total_rss": 1000,
        "rss_size": 1000,
    }
    metrics.close()


async def test_collectors_of_other_metrics(anyio_backend: Any) -> None:
    metrics = make(
        "a",
        "b",
        "name=sum,collector=sum,children=a;b",
        "name=avg,collector=avg,children=a;b",
        "name=multiplier,collector=multiplier,children=a;b,arg1n=3",
        "name=adder,collector=adder,children=a;b,arg1n=100",
        "name=accumulator,collector=accumulator,children=a;b,initial_value=7",
        "name=initial,collector=sum,children=a,initial_value=1000",
        "name=nothing,collector=avg",
    )
    metrics.change("a", max, 22)
    metrics.change("b", max, 17)
    await collect(metrics)
    await collect(metrics)
    found = {metric.name: metric.value for metric in metrics.all()[-9:]}
    assert found == {
        "a": 22, "b": 17, "sum": 39, "avg": 19, "multiplier": 117, "adder": 139, "accumulator": 7 + 2 * 39,
        "initial": 1022, "nothing": 0,
    }  # fmt: skip
    metrics.close()


@pytest.mark.parametrize(
    ("text", "index", "value"),
    [
        ("12 13\n", 0, 12), ("12 13\n", 1, 13), ("a\tb\n-7", 2, -7), ("0.58 0.50", 0, 0), ("x", 0, 0), ("1", 5, 0),
        ("  5 6", 0, 5), ("  5 6", 1, 5), ("", 0, 0), ("3\x004", 1, 4), ("12abc", 0, 12),
    ],
)  # fmt: skip
def test_numbers_in_files(tmp_path: Path, text: str, index: int, value: int) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    assert read_number(str(path), index) == value


async def test_a_metric_from_a_file(tmp_path: Path, anyio_backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "file"
    path.write_text("load 5")
    metrics = make(f"name=a,collector=file,arg1={path},arg1n=1")
    await collect(metrics)
    assert metrics.get("a") == 5
    path.unlink()
    await collect(metrics)
    assert metrics.get("a") == 0
    assert "cannot be read: No such file" in caplog.text
    metrics.close()


async def test_a_metric_is_collected_as_often_as_it_says(anyio_backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = make(
        "a", "name=often,collector=accumulator,children=a", "name=seldom,collector=accumulator,children=a,freq=3"
    )
    assert metrics.collectors is not None
    metrics.change("a", max, 1)
    for second in range(7):
        monkeypatch.setattr("uwsgi_async.state.collectors.time.monotonic", lambda second=second: 100.0 + second)
        await metrics.collectors.collect(metrics._values, metrics._set)
    assert (metrics.get("often"), metrics.get("seldom")) == (7, 3)
    monkeypatch.undo()
    metrics.close()


# --- thresholds -----------------------------------------------------------------------------------------------------


async def test_a_threshold_resets_and_raises_an_alarm(anyio_backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    metrics = make("a", metric_threshold=("key=a,value=10,alarm=mail,reset=1",))
    assert metrics.collectors is not None
    alarms = []
    metrics.collectors.on_alarm = lambda alarm, message: alarms.append((alarm, message))
    for value in (9, 10, 5):
        metrics.change("a", max, value)
        await collect(metrics)
    assert alarms == [("mail", "a")]
    assert metrics.get("a") == 5
    assert "[uwsgi-alarm] mail: a" in caplog.text
    metrics.close()


async def test_alarms_come_at_their_rate(anyio_backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = make("a", metric_threshold=("key=a,value=1,alarm=x,rate=3,msg=hello",))
    assert metrics.collectors is not None
    alarms: list[tuple[int, str]] = []
    metrics.change("a", max, 1)
    for second in range(7):
        metrics.collectors.on_alarm = lambda _, message, second=second: alarms.append((second, message))
        monkeypatch.setattr("uwsgi_async.state.collectors.time.monotonic", lambda second=second: 100.0 + second)
        await metrics.collectors.collect(metrics._values, metrics._set)
    assert alarms == [(0, "hello"), (3, "hello"), (6, "hello")]
    monkeypatch.undo()
    metrics.close()


async def test_what_is_called_for_an_alarm_may_fail(anyio_backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    metrics = make("a", metric_threshold=("key=a,value=0,alarm=x",))
    assert metrics.collectors is not None
    metrics.collectors.on_alarm = lambda *_: 1 / 0
    await collect(metrics)
    assert "has raised an error" in caplog.text
    metrics.close()


def test_a_threshold_of_no_metric_is_refused() -> None:
    with pytest.raises(OptionError, match="no metric 'nothing'"):
        make(metric_threshold=("key=nothing,value=1",))


# --- files ----------------------------------------------------------------------------------------------------------


async def test_metrics_are_written_into_files_of_a_page(tmp_path: Path, anyio_backend: Any) -> None:
    metrics = make("name=a,initial_value=5", "b", metrics_dir=str(tmp_path))
    assert (tmp_path / "a").read_bytes() == b"5\n".ljust(4096, b"\0")
    metrics.change("a", max, 12345)
    await collect(metrics)
    assert (tmp_path / "a").read_bytes() == b"12345\n".ljust(4096, b"\0")
    assert len(os.listdir(tmp_path)) == len(metrics.specs)
    metrics.close()


async def test_what_is_counted_goes_on_from_the_files_and_what_is_measured_does_not(
    tmp_path: Path, anyio_backend: Any
) -> None:
    texts = ("a", "name=g,type=gauge", "name=s,collector=sum,children=a", "name=acc,collector=accumulator,children=a")
    for name, value in {"a": 100, "g": 5, "s": 100, "acc": 70, "worker.1.requests": 40, "worker.1.rss_size": 9}.items():
        (tmp_path / name).write_bytes(b"%d\n" % value)
    metrics = make(*texts, metrics_dir=str(tmp_path), metrics_dir_restore=True)
    metrics.observe(lambda: {"worker.1.requests": 2, "worker.1.rss_size": 3})
    await collect(metrics)
    names = ("a", "g", "s", "acc", "worker.1.requests", "worker.1.rss_size")
    assert [metrics.get(name) for name in names] == [100, 5, 100, 170, 42, 3]
    metrics.close()


def test_files_that_hold_nothing_restore_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0" * 4096)
    (tmp_path / "b").write_bytes(b"nonsense")
    metrics = make("name=a,initial_value=3", "b", metrics_dir=str(tmp_path), metrics_dir_restore=True)
    assert (metrics.get("a"), metrics.get("b")) == (3, 0)
    metrics.close()


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"metrics-dir: .*nowhere.* cannot be used: No such file"):
        make(metrics_dir=str(tmp_path / "nowhere"))
    with pytest.raises(OptionError, match="give the directory with metrics-dir"):
        make(metrics_dir_restore=True)


async def test_a_file_that_cannot_be_written_is_logged(
    tmp_path: Path, anyio_backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = make("a", metrics_dir=str(tmp_path))
    (tmp_path / "a").unlink()
    (tmp_path / "a").mkdir()
    metrics.change("a", max, 5)
    await collect(metrics)
    assert "cannot be written: Is a directory" in caplog.text
    metrics.close()
