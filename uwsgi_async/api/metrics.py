"""The chapter of metrics: numbers that all processes of the instance count (option ``enable-metrics``).

Numbers are signed, of 64 bits, and wrap around. Without the option there are no metrics, and all functions answer as
for a name that is none: 0, or None. Source: plugins/python/uwsgi_pymodule.c, core/metrics.c; uWSGI's page "The Metrics
subsystem".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from uwsgi_async.state.metrics import Metrics, MetricStatistics
from uwsgi_async.state.wrap import quotient

__all__ = [
    "metric_dec",
    "metric_div",
    "metric_get",
    "metric_inc",
    "metric_mul",
    "metric_set",
    "metric_set_max",
    "metric_set_min",
    "metrics",
    "on_metric_alarm",
]

_LEAST, _MOST = -(2**63), 2**63 - 1

_metrics: Metrics | None = None


@contextmanager
def using(metrics: Metrics) -> Iterator[None]:
    """Let the functions of this chapter use ``metrics`` while the block runs."""
    global _metrics
    before, _metrics = _metrics, metrics
    try:
        yield
    finally:
        _metrics = before


def metric_get(name: str | bytes, /) -> int:
    """Return a metric's value; 0 when there is none such. What the instance counts itself is a second old at most."""
    return 0 if _metrics is None else _metrics.get(name if name.__class__ is str else _text(name))


def metric_set(name: str | bytes, value: int = 1, /) -> bool | None:
    """Set a metric. True; None when there is none such, or when it is not the app's to set: collected, or an alias."""
    return _change(name, _second, value)


def metric_inc(name: str | bytes, value: int = 1, /) -> bool | None:
    """Add ``value``. True or None as `metric_set`."""
    return _change(name, operator.add, value)


def metric_dec(name: str | bytes, value: int = 1, /) -> bool | None:
    """Subtract ``value``. True or None as `metric_set`."""
    return _change(name, operator.sub, value)


def metric_mul(name: str | bytes, value: int = 1, /) -> bool | None:
    """Multiply by ``value``. True or None as `metric_set`."""
    return _change(name, operator.mul, value)


def metric_div(name: str | bytes, value: int = 1, /) -> bool | None:
    """Divide by ``value``, rounding toward 0. True or None as `metric_set`; None for 0."""
    return _change(name, quotient, value) if value != 0 else None


def metric_set_max(name: str | bytes, value: int = 1, /) -> bool | None:
    """Set a metric to ``value`` if that is more. True, also if it is not, or None as `metric_set`."""
    return _change(name, max, value)


def metric_set_min(name: str | bytes, value: int = 1, /) -> bool | None:
    """Set a metric to ``value`` if that is less, but more than what it has begun with. True or None as `metric_set`."""
    if _metrics is not None and value <= _metrics.initial(_text(name)):
        return _change(name, _first, value)
    return _change(name, min, value)


def metrics() -> tuple[MetricStatistics, ...]:
    """Return all metrics. In the `uwsgi` module it is the tuple of their names."""
    return () if _metrics is None else tuple(_metrics.all())


def on_metric_alarm(callback: Callable[[str, str], object], /) -> None:
    """Call ``callback(alarm, message)`` for each alarm of the option ``metric-alarm`` that this process raises.

    Alarms are raised by the master, which runs no app's code and writes them into the log alone, or by the one process
    where there is no master: there they can be heard.
    """
    if _metrics is not None and _metrics.collectors is not None:
        _metrics.collectors.on_alarm = callback


def _change(name: str | bytes, operation: Callable[[int, int], int], value: int) -> bool | None:
    text = name if name.__class__ is str else _text(name)
    if value.__class__ is not int:
        value = operator.index(value)
    if not _LEAST <= value <= _MOST:
        raise OverflowError(f"a metric is a number of 64 bits, but {value} came")
    return (_metrics is not None and _metrics.change(text, operation, value)) or None


def _text(name: str | bytes) -> str:
    if isinstance(name, str):
        return name
    if isinstance(name, bytes):
        return name.decode("utf-8", "replace")
    raise TypeError(f"the name of a metric must be str, not {type(name).__name__}")


def _first(value: int, _: int) -> int:
    return value


def _second(_: int, value: int) -> int:
    return value
