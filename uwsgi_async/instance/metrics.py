"""The instance's own metrics: from its statistics to the names of uWSGI's metrics subsystem.

What lives here: `InstanceMetrics`. What does not: which metrics there are (`state.metricspec`), keeping and telling
them (`state.metrics`), the statistics (`instance.statistics`). Source: core/metrics.c.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from uwsgi_async.api.statistics import InstanceStatistics, WorkerStatistics
from uwsgi_async.state.metricspec import CORE_METRICS

_WORKER: Final[dict[str, Callable[[WorkerStatistics], int]]] = {
    "requests": lambda worker: worker.requests,
    "delta_requests": lambda worker: worker.delta_requests,
    "failed_requests": lambda worker: worker.exceptions + worker.harakiri_count,
    "respawns": lambda worker: worker.respawn_count + 1,  # uWSGI counts the first spawn here
    "avg_response_time": lambda worker: worker.avg_rt,
    "total_tx": lambda worker: worker.tx,
    "rss_size": lambda worker: worker.rss,
    "vsz_size": lambda worker: worker.vsz,
    "running_time": lambda worker: worker.running_time,
}


class InstanceMetrics:
    """Gives the values of the metrics that the instance keeps itself; it is called once a second.

    ``look``: gives the statistics, None before there are any. uWSGI counts no failed requests; here they are those
    that ended with an error of the app's, or took too long. Signals are not counted yet.
    """

    def __init__(self, look: Callable[[], InstanceStatistics | None]) -> None:
        self._look = look
        self._overloaded = 0

    def __call__(self) -> dict[str, int]:
        statistics = self._look()
        return {} if statistics is None else dict(self._values(statistics))

    def _values(self, statistics: InstanceStatistics) -> Iterator[tuple[str, int]]:
        workers = statistics.workers
        busy = sum(worker.busy > 0 for worker in workers)
        self._overloaded += busy == len(workers)
        yield "core.busy_workers", busy
        yield "core.idle_workers", sum(worker.pid > 0 and worker.busy == 0 for worker in workers)
        yield "core.overloaded", self._overloaded
        yield from _all_workers(workers)
        for worker in workers:
            for name, value in _WORKER.items():
                yield f"worker.{worker.id}.{name}", value(worker)
            for core in worker.cores:
                for name in CORE_METRICS:
                    yield f"worker.{worker.id}.core.{core.id}.{name}", getattr(core, name)
        for number, socket in enumerate(statistics.sockets):
            yield f"socket.{number}.listen_queue", socket.queue


def _all_workers(workers: Sequence[WorkerStatistics]) -> Iterator[tuple[str, int]]:
    """Yield the metrics of worker 0, which is all of them."""
    for name, value in _WORKER.items():
        if name != "avg_response_time":
            yield f"worker.0.{name}", sum(value(worker) for worker in workers)
    requests = sum(worker.requests for worker in workers)
    running_time = sum(worker.running_time for worker in workers)
    yield "worker.0.avg_response_time", running_time // requests if requests else 0
