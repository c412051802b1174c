"""The instance's own metrics and locks: collected, told in the statistics, and in log lines."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.client import get
from uwsgi_async.api.statistics import CoreStatistics, InstanceStatistics, SocketStatistics, WorkerStatistics
from uwsgi_async.instance.metrics import InstanceMetrics
from uwsgi_async.state.metricspec import Shape, builtin_specs


def worker(number: int, **values: Any) -> WorkerStatistics:
    names = "requests delta_requests signals exceptions harakiri_count rss vsz running_time last_spawn respawn_count tx"
    numbers = dict.fromkeys([*names.split(), "avg_rt"], 0)
    return WorkerStatistics(id=number, pid=100 + number, status=b"idle", accepting=True, **{**numbers, **values})


def core(number: int, **values: Any) -> CoreStatistics:
    return CoreStatistics(
        id=number, state="idle", harakiri=0, running=0.0, uri="", **{"requests": 0, "exceptions": 0, **values}
    )


def statistics(*workers: WorkerStatistics, queue: int = 0) -> InstanceStatistics:
    return InstanceStatistics(
        version="", software="", pid=1, uid=0, gid=0, cwd="/", started=0.0, state="serving", reloads=0,
        failed_reloads=0, listen_queue=0, sockets=(SocketStatistics(name="a", proto="http", queue=queue, max_queue=9),),
        workers=workers, processes=(),
    )  # fmt: skip


def test_each_metric_of_the_instance_has_a_value_but_those_of_signals() -> None:
    told = statistics(worker(1, cores=(core(0), core(1))), worker(2, cores=(core(0), core(1))))
    values = InstanceMetrics(lambda: told)()
    own = {spec.name for spec in builtin_specs(Shape(2, 2, 1), cores=True) if spec.collector == "ptr"}
    assert own - values.keys() == {"core.routed_signals", "core.unrouted_signals"}
    assert values.keys() <= own


def test_values_are_those_of_the_statistics_and_worker_0_is_all_of_them() -> None:
    first = worker(1, requests=3, running_time=100, exceptions=1, harakiri_count=1, avg_rt=33, rss=5, busy=2)
    second = worker(
        2, requests=1, running_time=300, respawn_count=4, avg_rt=300, rss=7, cores=(core(1, read_errors=6),)
    )
    values = InstanceMetrics(lambda: statistics(first, second, queue=8))()
    for name, value in {
        "worker.1.requests": 3,
        "worker.0.requests": 4,
        "worker.1.failed_requests": 2,
        "worker.2.respawns": 5,
        "worker.1.avg_response_time": 33,
        "worker.0.avg_response_time": 100,
        "worker.0.rss_size": 12,
        "worker.2.core.1.read_errors": 6,
        "core.busy_workers": 1,
        "core.idle_workers": 1,
        "socket.0.listen_queue": 8,
    }.items():
        assert (name, values[name]) == (name, value)


def test_the_instance_is_overloaded_each_second_in_which_all_workers_are_busy() -> None:
    told = statistics(worker(1, busy=1), worker(2, busy=1))
    metrics = InstanceMetrics(lambda: told)
    assert [metrics()["core.overloaded"] for _ in range(3)] == [1, 2, 3]
    told = statistics(worker(1, busy=1), worker(2))
    assert metrics()["core.overloaded"] == 3


def test_before_there_are_statistics_there_are_no_values() -> None:
    assert InstanceMetrics(lambda: None)() == {}


async def an_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    uwsgi_async.metric_inc("hits")
    return [b"%d" % uwsgi_async.metric_get("worker.1.requests")]


@pytest.mark.anyio
async def test_the_instance_counts_itself_and_tells_it_in_its_statistics(
    anyio_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uwsgi_async.state.metrics._INTERVAL", 0.01)
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", metric="hits", locks=1, sharedarea="1", cores=2) as server:
        with anyio.fail_after(10):
            while (await get(server)).body == b"0":
                pass
        await uwsgi_async.lock(1)
        told = uwsgi_async.statistics()
    assert told.sections["metrics"]["hits"]["value"] >= 2
    assert told.sections["metrics"]["hits"]["type"] == 0
    assert told.sections["metrics"]["worker.1.requests"]["oid"] == "3.1.1"
    assert told.sections["metrics"]["worker.1.core.1.requests"]["value"] > 0
    assert told.sections["locks"] == [{"user 0": 0}, {"user 1": told.pid}, {"sharedarea0": 0}]


@pytest.mark.anyio
async def test_an_alarm_is_heard_in_the_process_that_watches(anyio_backend: Any) -> None:
    heard = anyio.Event()
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", metric="hits", metric_threshold="key=hits,value=1,alarm=a"):
        uwsgi_async.on_metric_alarm(lambda alarm, message: heard.set())
        uwsgi_async.metric_set("hits", 1)
        with anyio.fail_after(10):
            await heard.wait()


@pytest.mark.anyio
async def test_a_metric_in_the_log_line(anyio_backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "uwsgi_async.request")
    options = {"metric": "hits", "log_format": "%(uri) %(metric.hits) %(metric.nothing)"}
    async with uwsgi_async.run(an_app, http="127.0.0.1:0", **options) as server:
        for _ in range(2):
            await get(server, "/x")
    lines = [record.getMessage() for record in caplog.records if record.name == "uwsgi_async.request"]
    assert lines == ["/x 1 0", "/x 2 0"]
