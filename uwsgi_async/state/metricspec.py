"""What metrics there are: those of the options, understood and checked, and those that every instance keeps.

What lives here: `MetricSpec` and `Threshold`, how they are parsed, and which of them an instance has. What does not:
their values (`metrics`), where the values come from (`collectors`, `instance.metrics`). Source: core/metrics.c; uWSGI's
page "The Metrics subsystem".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from uwsgi_async.errors import OptionError
from uwsgi_async.options.keyval import number, parse_keyval

_NAME = re.compile(r"[0-9A-Za-z._-]+")
_OID = re.compile(r"[0-9.]+")
_KEYS = (
    "name", "oid", "type", "initial_value", "collector", "freq", "arg1", "arg2", "arg3", "arg1n", "arg2n", "arg3n",
    "children", "alias", "reset_after_push",
)  # fmt: skip
_THRESHOLD_KEYS = ("key", "value", "alarm", "rate", "reset", "msg")


class MetricType(IntEnum):
    """What a metric's value means. uWSGI's numbers."""

    COUNTER = 0
    GAUGE = 1
    ABSOLUTE = 2
    ALIAS = 3


COLLECTORS = ("file", "sum", "avg", "accumulator", "adder", "multiplier")
"""How a metric gets its value, if the app does not give it. Besides there is "ptr": the instance's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """One metric. ``collector``: None: the app sets it. ``children``, ``alias``: names of other metrics.

    ``freq``: seconds between two collections. ``path`` and ``argument``: of the collector.
    """

    name: str
    oid: str = ""
    type: MetricType = MetricType.COUNTER
    collector: str | None = None
    initial: int = 0
    freq: int = 1
    children: tuple[str, ...] = ()
    alias: str | None = None
    path: str = ""
    argument: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """What happens when metric ``key`` reaches ``value``.

    ``alarm``: its name; None: none. ``rate``: seconds between two alarms at least. ``message``: None: the metric's
    name. ``reset``: the metric's new value; None: it stays.
    """

    key: str
    value: int
    alarm: str | None = None
    rate: int = 0
    message: str | None = None
    reset: int | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What an instance consists of: numbers of worker processes, of cores in each, of sockets."""

    workers: int
    cores: int
    sockets: int


def parse_metric(text: str) -> MetricSpec:
    """Return the metric that a value of the option ``metric`` describes. Raises `OptionError`."""
    values = parse_keyval(text, _KEYS, "metric") if "=" in text else {"name": text}
    name = values.get("name", "")
    if not _NAME.fullmatch(name):
        raise OptionError(
            f"metric: expected a name of letters, digits, '.', '-' and '_', but {name!r} came in {text!r}"
        )
    if "reset_after_push" in values:
        raise OptionError(f"metric: nothing is pushed here, so leave reset_after_push out of {text!r}")
    oid = values.get("oid", "")
    if oid and not _OID.fullmatch(oid):
        raise OptionError(f"metric: expected an oid of digits and dots, but {oid!r} came in {text!r}")
    kind = _type(values.get("type", "counter"), text)
    if (kind is MetricType.ALIAS) != ("alias" in values):
        raise OptionError(f"metric: type=alias and alias=(another metric) belong together; {text!r} has one of them")
    return MetricSpec(
        name=name,
        oid=oid,
        type=kind,
        collector=_collector(values, text),
        initial=number(values.get("initial_value", "0"), "initial_value", "metric"),
        freq=number(values.get("freq", "0"), "freq", "metric", 0, 2**31) or 1,
        children=tuple(filter(None, values.get("children", "").split(";"))),
        alias=values.get("alias"),
        path=values.get("arg1", ""),
        argument=number(values.get("arg1n", "0"), "arg1n", "metric"),
    )


def parse_threshold(text: str) -> Threshold:
    """Return what a value of the option ``metric-threshold`` describes. Raises `OptionError`."""
    values = parse_keyval(text, _THRESHOLD_KEYS, "metric-threshold")
    if "key" not in values or "value" not in values:
        raise OptionError(f"metric-threshold: {text!r} needs key=(a metric's name) and value=(a number)")
    return Threshold(
        key=values["key"],
        value=number(values["value"], "value", "metric-threshold"),
        alarm=values.get("alarm"),
        rate=number(values.get("rate", "0"), "rate", "metric-threshold", 0, 2**31),
        message=values.get("msg"),
        reset=number(values["reset"], "reset", "metric-threshold") if "reset" in values else None,
    )


WORKER_METRICS = {
    "requests": (1, MetricType.COUNTER),
    "delta_requests": (2, MetricType.ABSOLUTE),
    "failed_requests": (13, MetricType.COUNTER),
    "respawns": (14, MetricType.COUNTER),
    "avg_response_time": (8, MetricType.GAUGE),
    "total_tx": (9, MetricType.COUNTER),
    "rss_size": (11, MetricType.GAUGE),
    "vsz_size": (12, MetricType.GAUGE),
    "running_time": (13, MetricType.COUNTER),
}
"""What is told of each worker, and of worker 0, which is all of them: the end of the oid, and the type."""

CORE_METRICS = {
    "requests": 1,
    "write_errors": 3,
    "routed_requests": 4,
    "static_requests": 5,
    "offloaded_requests": 6,
    "exceptions": 7,
    "read_errors": 8,
}
"""What is counted for each core: the end of the oid."""


def builtin_specs(shape: Shape, *, cores: bool) -> Iterator[MetricSpec]:
    """Yield the metrics of an instance, in uWSGI's order. ``cores``: of the single cores, too."""
    counter, gauge = MetricType.COUNTER, MetricType.GAUGE
    yield _own("core.routed_signals", "5.1", counter)
    yield _own("core.unrouted_signals", "5.2", counter)
    yield _own("core.busy_workers", "5.3", gauge)
    yield _own("core.idle_workers", "5.4", gauge)
    yield _own("core.overloaded", "5.5", counter)
    for worker in range(shape.workers + 1):
        for name, (oid, kind) in WORKER_METRICS.items():
            yield _own(f"worker.{worker}.{name}", f"3.{worker}.{oid}", kind)
        for core in range(shape.cores if cores and worker else 0):
            for name, oid in CORE_METRICS.items():
                yield _own(f"worker.{worker}.core.{core}.{name}", f"3.{worker}.2.{core}.{oid}", counter)
    for name, oid, kind, collector, child in (
        ("total_tx", 100, counter, "sum", "total_tx"),
        ("total_rss", 101, gauge, "sum", "rss_size"),
        ("total_vsz", 102, gauge, "sum", "vsz_size"),
        ("avg_response_time", 103, gauge, "avg", "avg_response_time"),
        ("total_running_time", 104, counter, "sum", "running_time"),
    ):
        children = tuple(f"worker.{worker}.{child}" for worker in range(1, shape.workers + 1))
        yield MetricSpec(name=f"core.{name}", oid=f"5.{oid}", type=kind, collector=collector, children=children)
    for socket in range(shape.sockets):
        yield _own(f"socket.{socket}.listen_queue", f"7.{socket}.1", gauge)
    yield MetricSpec(name="rss_size", type=MetricType.ALIAS, alias="core.total_rss")
    yield MetricSpec(name="vsz_size", type=MetricType.ALIAS, alias="core.total_vsz")


def all_specs(builtin: Iterator[MetricSpec], texts: Sequence[str]) -> list[MetricSpec]:
    """Return the metrics of an instance, and behind them those of the options, which replace others of their name.

    Raises `OptionError` for one that names a metric that is not there.
    """
    specs = {spec.name: spec for spec in builtin}
    for text in texts:
        spec = parse_metric(text)
        for other in (*spec.children, *([spec.alias] if spec.alias else [])):
            if other not in specs:
                raise OptionError(f"metric: there is no metric {other!r} before {text!r}")
        specs[spec.name] = spec
    return list(specs.values())


def numbers(specs: Sequence[MetricSpec]) -> dict[str, int]:
    """Return which of the values each name stands for: its own, or that of the metric behind an alias.

    Raises `OptionError` for aliases that lead in a circle.
    """
    own = {spec.name: number for number, spec in enumerate(specs)}
    found = {}
    for spec in specs:
        target, seen = spec, {spec.name}
        while target.alias is not None:
            target = specs[own[target.alias]]
            if target.name in seen:
                raise OptionError(f"metric: {spec.name} is an alias of itself")
            seen.add(target.name)
        found[spec.name] = own[target.name]
    return found


def _own(name: str, oid: str, kind: MetricType) -> MetricSpec:
    return MetricSpec(name=name, oid=oid, type=kind, collector="ptr")


def _type(text: str, metric: str) -> MetricType:
    try:
        return MetricType[text.upper()]
    except KeyError:
        raise OptionError(
            f"metric: type must be counter, gauge, absolute or alias, not {text!r} (in {metric!r})"
        ) from None


def _collector(values: dict[str, str], text: str) -> str | None:
    collector = values.get("collector")
    if collector in (None, "", "manual"):
        return None
    if collector == "file" and not values.get("arg1"):
        raise OptionError(f"metric: collector=file needs arg1=(the file's path); {text!r} has none")
    if collector in ("func", "ptr"):
        raise OptionError(
            f"metric: collector={collector} (in {text!r}) is for C code, and there is none here: let the app set the "
            f"metric (uwsgi.metric_set), or write the value into a file and use collector=file"
        )
    if collector not in COLLECTORS:
        raise OptionError(f"metric: collector must be one of {', '.join(COLLECTORS)}, not {collector!r} (in {text!r})")
    return collector
