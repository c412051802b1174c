"""The statistics in Prometheus' text format, under the names that timonwong/uwsgi_exporter has given them.

What lives here: `render`. What does not: HTTP (`http`). Why not prometheus_client: it is a registry of counters that a
program counts itself; we have the numbers already, and the text is one line for each. The tests read it with that
library. Source: "Exposition formats", version 0.0.4, of Prometheus' documentation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from uwsgi_async.api.statistics import InstanceStatistics, WorkerStatistics
from uwsgi_async.cores.core import CoreStatistics
from uwsgi_async.signals.values import SignalStatistics, describe_source, statistics_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

MICROS = 1_000_000
_STATUSES = ("busy", "idle", "cheap")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

_SNMP = {
    "in_pkts": "Datagrams that came to the SNMP agent.",
    "out_pkts": "Answers of the SNMP agent.",
    "in_bad_versions": "Datagrams of a version of SNMP that is not spoken.",
    "in_bad_community_names": "Datagrams with a wrong community.",
    "in_asn_parse_errs": "Datagrams that are malformed or no requests.",
}

Number = int | float
Kind = Literal["counter", "gauge", "untyped"]


@dataclass(slots=True)
class _Family:
    """A metric: all its samples stand together, as the format wants it."""

    help: str
    kind: Kind
    samples: list[str] = field(default_factory=list)


class _Families:
    """The metrics in the order in which they came."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def add(self, name: str, help: str, value: Number, /, **labels: object) -> None:
        """Add a sample of ``uwsgi_<name>``; a name that ends in ``_total`` is a counter's."""
        self._add(name, _Family(help, "counter" if name.endswith("_total") else "gauge"), value, labels)

    def add_counter(self, name: str, help: str, value: Number, /, **labels: object) -> None:
        """Add a sample of the counter ``uwsgi_<name>``, whose name does not say that it is one."""
        self._add(name, _Family(help, "counter"), value, labels)

    def add_untyped(self, name: str, help: str, value: Number, /, **labels: object) -> None:
        """Add a sample of ``uwsgi_<name>`` of which nobody knows what it counts."""
        self._add(name, _Family(help, "untyped"), value, labels)

    def _add(self, name: str, family: _Family, value: Number, labels: Mapping[str, object]) -> None:
        full = f"uwsgi_{name}"
        family = self._families.setdefault(full, family)
        family.samples.append(f"{full}{_labels(labels)} {value}\n")

    def text(self) -> str:
        return "".join(
            f"# HELP {name} {family.help}\n# TYPE {name} {family.kind}\n{''.join(family.samples)}"
            for name, family in self._families.items()
        )


def render(statistics: InstanceStatistics, *, cores: bool = True, metrics: bool = True) -> str:
    """Return the exposition.

    ``cores``: what each core has done too, of those that have served. ``metrics``: the app's own metrics too.
    """
    families = _Families()
    add = families.add
    add("listen_queue_length", "Connections that nobody has accepted yet.", statistics.listen_queue)
    add("listen_queue_errors", "Times that the listen queue was full.", 0)
    signals = statistics.sections.get("signals")
    add("signal_queue_length", "Length of the signal queue.", 0 if signals is None else signals["waiting"])
    add("workers", "Workers.", len(statistics.workers))
    add("ready", "Whether the instance serves.", int(statistics.state == "serving"))
    add("reloads_total", "Reloads.", statistics.reloads)
    add("failed_reloads_total", "Reloads that have failed: the old workers went on.", statistics.failed_reloads)
    add("start_time_seconds", "When the instance was started, in unix seconds.", statistics.started)
    for socket in statistics.sockets:
        labels = {"name": socket.name, "proto": socket.proto}
        add("socket_queue_length", "Connections that nobody has accepted yet.", socket.queue, **labels)
        add("socket_max_queue_length", "Connections that the kernel holds at most.", socket.max_queue, **labels)
        add("socket_shared", "Whether the socket is a shared one.", 0, **labels)
        add("socket_can_offload", "Whether the socket can offload.", 0, **labels)
    queues = {} if signals is None else signals["queues"]
    for worker in statistics.workers:
        _add_worker(families, worker, queues.get(f"worker{worker.id}", 0))
    for worker in statistics.workers:
        for core in worker.cores if cores else ():
            if core.requests or core.state == "busy":  # there may be thousands
                _add_core(families, worker.id, core)
    if signals is not None:
        _add_signals(families, statistics_of(signals))
    for cache in statistics.sections.get("caches", ()):
        _add_cache(families, cache)
    for mule in statistics.sections.get("mules", ()):
        _add_mule(families, mule)
    for farm in statistics.sections.get("farms", ()):
        families.add("farm_queue_bytes", "Messages that nobody has taken yet.", farm["waiting"], name=farm["name"])
    for number, spooler in enumerate(statistics.sections.get("spoolers", ()), 1):
        _add_spooler(families, number, spooler)
    for name, count in statistics.sections.get("snmp", {}).items():
        add(f"snmp_{name}_total", _SNMP.get(name, "Datagrams of SNMP."), count)
    for name, metric in statistics.sections.get("metrics", {}).items() if metrics else ():
        families.add_untyped("metric", "The metrics of uWSGI's metrics subsystem.", metric["value"], name=name)
    return families.text()


def _add_cache(families: _Families, cache: Mapping[str, Any]) -> None:
    for name, key, help in (
        ("hits", "hits", "Keys that were found."),
        ("misses", "miss", "Keys that were not found."),
        ("full", "full", "Times that the cache was full."),
        ("items", "items", "Items in the cache."),
        ("max_items", "max_items", "Most items that the cache holds."),
    ):
        add = families.add if "items" in name else families.add_counter
        add(f"cache_{name}", help, cache[key], name=cache["name"])


def _add_signals(families: _Families, signals: SignalStatistics) -> None:
    add = families.add
    add("signals_routed_total", "Signals that were put into a queue.", signals.routed)
    add("signals_unrouted_total", "Signals that were lost.", signals.unrouted)
    for target, length in signals.queues.items():
        add("signal_target_queue_length", "Signals that wait for a process.", length, target=target)
    for each in signals.signals:
        labels = {"signal": each.signal, "target": each.target or ""}
        add("signal_handled_total", "Times that a process was done with the signal.", each.handled, **labels)
        add("signal_failed_total", "Times that its handler has failed.", each.failed, **labels)
        add("signal_last_time_seconds", "When it was last handled, in unix seconds; 0 is never.", each.last, **labels)
        failure = each.failure.when if each.failure else 0
        add(
            "signal_failure_time_seconds",
            "When its handler last failed, in unix seconds; 0 is never.",
            failure,
            **labels,
        )
    runs, last = Counter[tuple[int, str]](), dict[tuple[int, str], float]()
    for source in signals.sources:  # several may be the same
        key = source.source.signal, describe_source(source.source)
        runs[key] += source.runs
        last[key] = max(last.get(key, 0.0), source.last)
    for (signal, words), when in last.items():
        labels = {"signal": signal, "source": words}
        add(
            "signal_source_runs_total",
            "Times that a timer and so on has raised its signal.",
            runs[signal, words],
            **labels,
        )
        add("signal_source_last_time_seconds", "When it did so last, in unix seconds; 0 is never.", when, **labels)


def _add_spooler(families: _Families, number: int, spooler: Mapping[str, Any]) -> None:
    for name, key, help in (
        ("running", "running", "Tasks that run."),
        ("waiting", "waiting", "Tasks that the process knows of and has not begun."),
        ("tasks", "tasks", "Runs of tasks by this process."),
        ("done_total", "done", "Tasks that are done."),
        ("failed_total", "failed", "Runs that have failed."),
        ("given_up_total", "given_up", "Tasks that went to the dead letters."),
        ("respawn_count_total", "respawns", "Times that the process was started again."),
    ):
        families.add(f"spooler_{name}", help, spooler[key], dir=spooler["dir"], spooler_id=number)


def _add_mule(families: _Families, mule: Mapping[str, Any]) -> None:
    for name, key, help in (
        ("queue_bytes", "waiting", "Messages to this mule alone that it has not taken yet."),
        ("messages_total", "messages", "Messages that the mule has taken."),
        ("signals_total", "signals", "Signals that the mule has handled."),
        ("exceptions_total", "exceptions", "Errors of hooks and handlers."),
        ("respawn_count_total", "respawn_count", "Times that the mule was started again."),
        ("rss_bytes", "rss", "Resident memory."),
    ):
        families.add(f"mule_{name}", help, mule[key], mule_id=mule["id"])
    families.add("mule_busy", "Whether the mule does something.", int(mule["status"] == "busy"), mule_id=mule["id"])


def _add_worker(families: _Families, worker: WorkerStatistics, signal_queue: int) -> None:
    w = worker
    families.add("worker_signal_queue_length", "Length of the worker's signal queue.", signal_queue, worker_id=w.id)
    for name, help, value in _worker_samples(w):
        families.add(f"worker_{name}", help, value, worker_id=w.id)
    for app in w.apps:
        labels = {
            "worker_id": w.id,
            "app_id": app.id,
            "mountpoint": app.mountpoint.decode("utf-8", "replace"),
            "chdir": app.chdir.decode("utf-8", "replace"),
        }
        families.add("worker_app_startup_time_seconds", "Time that the app took to load.", app.startup_time, **labels)
        families.add("worker_app_requests_total", "Requests of the app.", app.requests, **labels)
        families.add("worker_app_exceptions_total", "Errors that the app has raised.", app.exceptions, **labels)


def _worker_samples(w: WorkerStatistics) -> Iterator[tuple[str, str, Number]]:
    yield "accepting", "Whether the worker takes requests.", int(w.accepting)
    yield "delta_requests", "Requests since the worker's last start.", w.delta_requests
    yield "rss_bytes", "Resident memory.", w.rss
    yield "vsz_bytes", "Virtual memory.", w.vsz
    yield "running_time_seconds", "Time spent in requests.", w.running_time / MICROS
    yield "last_spawn_time_seconds", "When the worker was last started, in unix seconds.", w.last_spawn
    yield "average_response_time_seconds", "Mean time of a request.", w.avg_rt / MICROS
    yield "apps", "Apps of the worker.", len(w.apps)
    yield "cores", "Cores of the worker.", len(w.cores)
    yield "requests_total", "Requests.", w.requests
    yield "exceptions_total", "Errors that apps have raised.", w.exceptions
    yield "harakiri_count_total", "Requests that took too long.", w.harakiri_count
    yield "signals_total", "Signals.", w.signals
    yield "respawn_count_total", "Starts of the worker.", w.respawn_count + 1
    yield "transmitted_bytes_total", "Bytes sent.", w.tx
    status = w.status.decode()
    for each in _STATUSES:
        yield each, f"Whether the worker's status is {each}.", int(status == each)
    yield "ready", "Whether the worker serves.", int(w.ready)
    yield "busy_cores", "Requests that run now.", w.busy
    yield "connections", "Open connections.", w.connections
    yield "waiting_requests", "Requests that no core was free for.", w.waiting
    yield (
        "longest_wait_seconds",
        "Longest wait for a core since the worker's start.",
        w.longest_wait / MICROS,
    )
    yield "loop_lag_seconds", "By how much the event loop was late at most, in the last minute.", w.loop_lag / MICROS


def _add_core(families: _Families, worker: int, core: CoreStatistics) -> None:
    for name, help, value in (
        ("busy", "Whether the core handles a request.", int(core.state == "busy")),
        ("requests_total", "Requests of the core.", core.requests),
        ("static_requests_total", "Requests for static files.", core.static_requests),
        ("routed_requests_total", "Requests that were routed.", core.routed_requests),
        ("offloaded_requests_total", "Requests that were offloaded.", core.offloaded_requests),
        ("write_errors_total", "Clients that went away while they were answered.", core.write_errors),
        ("read_errors_total", "Clients that went away while they sent.", core.read_errors),
    ):
        families.add(f"worker_core_{name}", help, value, worker_id=worker, core_id=core.id)


def _labels(labels: Mapping[str, object]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{str(value).translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"
