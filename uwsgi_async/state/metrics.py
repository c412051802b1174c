"""Metrics: numbers of 64 bits that all processes of an instance count, and read without a lock.

What lives here: `Metrics`. What does not: which metrics there are (`metricspec`), those that are collected now and
then, thresholds and files (`collectors`), the documented functions (`api.metrics`). Source: core/metrics.c.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio

from uwsgi_async.options.settings import MetricOptions
from uwsgi_async.state.collectors import Collectors, Source
from uwsgi_async.state.memory import Memory
from uwsgi_async.state.metricspec import (
    MetricSpec,
    MetricType,
    Shape,
    all_specs,
    builtin_specs,
    numbers,
    parse_threshold,
)
from uwsgi_async.state.mutex import Mutex, NoMutex, trylock, unlock
from uwsgi_async.state.wrap import wrapped

Operation = Callable[[int, int], int]

_LEAST: Final = -(2**63)
_MOST: Final = 2**63 - 1
_INTERVAL: Final = 1.0  # seconds between two collections


@dataclass(frozen=True, slots=True)
class MetricStatistics:
    """One metric. ``oid``: "" when it has none."""

    name: str
    type: MetricType
    oid: str
    value: int


class Metrics:
    """The metrics of an instance, in one process.

    ``change``: lets an operation make the new value of a metric from the old one and another number; it wraps around.
    False when there is no such metric or it is not the app's to set. ``collectors``: what gives the others their
    values; it runs in one process only, see `maintain`. ``has_cores``: whether there are metrics of single cores.
    """

    def __init__(self, specs: Sequence[MetricSpec], memory: Memory, arguments: Any) -> None:
        self.specs = specs
        self._memory = memory
        self._arguments = arguments
        mutex = Mutex(memory.map, 0)
        self._mutex: Mutex | NoMutex = mutex
        self._values = memoryview(memory.map)[Mutex.SIZE :].cast("q")
        self._numbers = numbers(specs)
        self._of_apps = {spec.name: number for number, spec in enumerate(specs) if _is_of_app(spec)}
        self.change = _make_change(self._of_apps, self._values, mutex)
        self.collectors: Collectors | None = None
        self.has_cores = any(".core." in spec.name for spec in specs)

    @classmethod
    def create(cls, options: MetricOptions, shape: Shape) -> Metrics | None:
        """Return the metrics that the options configure, None when they do not. Raises `OptionError`.

        ``shape``: what the instance consists of at its start; the metrics stay the same when a reload changes that.
        """
        if options == MetricOptions():
            return None
        specs = _specs(options, shape)
        thresholds = [parse_threshold(text) for text in options.metric_threshold]
        collectors = Collectors(specs, thresholds, options.metrics_dir)
        restored = collectors.open_files(restore=options.metrics_dir_restore)
        memory = Memory.create("metrics", Mutex.SIZE + 8 * len(specs))
        Mutex(memory.map, 0).initialize()
        metrics = cls(specs, memory, [dataclasses.asdict(options), dataclasses.astuple(shape)])
        for number, spec in enumerate(specs):
            metrics._values[number] = restored.get(spec.name, spec.initial)
        metrics.collectors = collectors
        return metrics

    @classmethod
    def attach(cls, described: Any) -> Metrics:
        fd, (options, shape) = described
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        return cls(_specs(MetricOptions(**options), Shape(*shape)), Memory(fd), described[1])

    def __repr__(self) -> str:
        return f"<Metrics: {len(self.specs)}, of which apps set {len(self._of_apps)}>"

    # --- what apps do -----------------------------------------------------------------------------------------

    def get(self, name: str) -> int:
        """Return a metric's value; 0 when there is none such."""
        number = self._numbers.get(name)
        return 0 if number is None else self._values[number]

    def initial(self, name: str) -> int:
        """Return what the metric has begun with; 0 when there is none such."""
        number = self._of_apps.get(name)
        return 0 if number is None else self.specs[number].initial

    def all(self) -> list[MetricStatistics]:
        """Return every metric there is, in their order. Nothing is locked: each number is as of its own moment."""
        values = self._values
        return [
            MetricStatistics(spec.name, spec.type, self.specs[number].oid if spec.alias else spec.oid, values[number])
            for spec, number in zip(self.specs, self._numbers.values(), strict=True)
        ]

    # --- a part of an instance --------------------------------------------------------------------------------

    @property
    def fds(self) -> Sequence[int]:
        return (self._memory.fd,)

    def described(self) -> Any:
        return [self._memory.fd, self._arguments]

    def observe(self, source: Source) -> None:
        """Let ``source`` give the values of the instance's own metrics from now on."""
        if self.collectors is not None:
            self.collectors.source = source

    async def maintain(self) -> None:
        """Collect now and then, watch thresholds, write files."""
        while self.collectors is not None:
            await self.collectors.collect(self._values, self._set)
            await anyio.sleep(_INTERVAL)
        await anyio.sleep_forever()

    def publish(self) -> None:
        """Nothing is kept back."""

    def sections(self) -> Mapping[str, Any]:
        """Tell all metrics by their names."""
        return {
            "metrics": {each.name: {"type": each.type, "oid": each.oid, "value": each.value} for each in self.all()}
        }

    def close(self) -> None:
        """Give back what this process holds."""
        self._mutex = NoMutex()
        self.change = self._closed
        self._values.release()
        self._memory.close()

    def _set(self, number: int, value: int) -> None:
        self._mutex.run(self._change, number, _second, value)

    def _closed(self, name: str, operation: Operation, value: int) -> bool:
        return self._mutex.run(self._closed, name, operation, value)

    def _change(self, number: int, operation: Operation, value: int) -> None:
        self._values[number] = wrapped(8, operation(self._values[number], value))


def _make_change(numbers: Mapping[str, int], values: memoryview, mutex: Mutex) -> Callable[[str, Operation, int], bool]:
    """Return `Metrics.change`: a closure that writes `Mutex.run` out, see there; it takes half the time."""
    reference = mutex.reference

    def change(name: str, operation: Operation, value: int) -> bool:
        number = numbers.get(name)
        if number is None:
            return False
        try:
            code = trylock(reference)
            if code:
                mutex.wait(code)
            result = operation(values[number], value)
            values[number] = result if _LEAST <= result <= _MOST else wrapped(8, result)
        finally:
            if mutex.nested:
                mutex.nested = False
            else:
                unlock(reference)
        return True

    return change


def _specs(options: MetricOptions, shape: Shape) -> list[MetricSpec]:
    return all_specs(builtin_specs(shape, cores=not options.metrics_no_cores), options.metric)


def _is_of_app(spec: MetricSpec) -> bool:
    return spec.collector is None and spec.alias is None


def _second(_: int, value: int) -> int:
    return value
