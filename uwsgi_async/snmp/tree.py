"""The tree of objects that an instance tells, as real uWSGI numbers and types them.

================  ====================================================================
below ``UWSGI``    what it is
================  ====================================================================
``1.1``            Counter64: requests of all workers
``1.31`` ...       Counter64: requests of worker 1, and so on, up to ``1.100``
``2.1`` - ``2.100``  the app's own: Counter32, Gauge32 or Counter64, whatever was set
any other          a metric, by its oid: Gauge32 for a gauge, Counter64 for the others
================  ====================================================================

What lives here: `Tree`, and `View`, what it is at one moment. What does not: who asks (`agent`), the app's numbers
(`values`), metrics (`state.metrics`). Source: core/snmp.c, core/metrics.c.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from uwsgi_async.snmp.objects import SLOTS, UWSGI, Absence, Binding, Kind, Oid, Value, value_of
from uwsgi_async.snmp.values import SnmpValues
from uwsgi_async.state.metrics import Metrics
from uwsgi_async.state.metricspec import MetricType

GENERAL: Final = (*UWSGI, 1)
CUSTOM: Final = (*UWSGI, 2)

_REQUESTS: Final = 1  # the slot of all requests
_WORKER: Final = 30  # what the slot of a worker's requests is more than its number
_MOST_SUBID: Final = 2**32 - 1  # RFC 2578, section 3.5
_MOST_SUBIDS: Final = 128


class Tree:
    """All objects there can be. ``requests``: returns how many each worker has served, worker 1 first.

    ``metrics``: None where none are kept. They stay the same as long as the instance lives, so they are sorted once.
    """

    def __init__(
        self, values: SnmpValues, requests: Callable[[], Sequence[int]], metrics: Metrics | None = None
    ) -> None:
        self._values = values
        self._requests = requests
        self._metrics = metrics
        self._kinds = {} if metrics is None else _metric_oids(metrics)
        self._oids = sorted(self._kinds)

    def look(self, *, counter64: bool = True) -> View:
        """Return the tree as it is now. ``counter64``: False leaves out what SNMP v1 has no kind for."""
        slots = dict(_general(self._requests()))
        slots.update(((*CUSTOM, n), value) for n, value in enumerate(self._values.all(), 1) if value is not None)
        if not counter64:
            slots = {oid: value for oid, value in slots.items() if value.kind is not Kind.COUNTER64}
        return View(slots, self._oids, self._metric, counter64)

    def _metric(self, oid: Oid) -> Value | None:
        found = self._kinds.get(oid)
        if found is None or self._metrics is None:
            return None
        name, kind = found
        return value_of(kind, self._metrics.get(name))


class View:
    """The tree at one moment. ``slots``: the values of slots; ``oids``: of all metrics, in order.

    ``metric``: returns a metric's value; None when there is none such. ``counter64``: whether that kind is seen.
    """

    def __init__(
        self, slots: Mapping[Oid, Value], oids: Sequence[Oid], metric: Callable[[Oid], Value | None], counter64: bool
    ) -> None:
        self._slots = slots
        self._order = sorted(slots)
        self._oids = oids
        self._metric = metric
        self._counter64 = counter64

    def get(self, oid: Oid) -> Value | Absence:
        """Return what an object has, or why it has nothing."""
        value = self._slots.get(oid) or self._seen(oid)
        if value is not None:
            return value
        return Absence.NO_SUCH_INSTANCE if self._is_object(oid) else Absence.NO_SUCH_OBJECT

    def after(self, oid: Oid) -> Binding:
        """Return the first object behind ``oid``, which need be none; with ``oid`` itself, when there is no other."""
        slots, metrics = bisect_right(self._order, oid), bisect_right(self._oids, oid)
        slot = self._order[slots] if slots < len(self._order) else None
        for metric in self._oids[metrics:] if slot is None else self._before(metrics, slot):
            value = self._seen(metric)
            if value is not None:
                return metric, value
        return (oid, Absence.END_OF_MIB_VIEW) if slot is None else (slot, self._slots[slot])

    def _before(self, first: int, slot: Oid) -> Sequence[Oid]:
        """The metrics from number ``first`` that stand in front of a slot: hardly ever there is one."""
        return self._oids[first : bisect_right(self._oids, slot)]

    def _seen(self, oid: Oid) -> Value | None:
        value = self._metric(oid)
        return None if value is None or (value.kind is Kind.COUNTER64 and not self._counter64) else value

    def _is_object(self, oid: Oid) -> bool:
        """Whether a value could stand here: it is the name of a slot or metric, or of an instance of one."""
        branch, below = oid[: len(GENERAL)], oid[len(GENERAL) :]
        if branch in (GENERAL, CUSTOM):
            return bool(below) and 1 <= below[0] <= SLOTS
        return any(self._metric(oid[:length]) is not None for length in range(len(GENERAL), len(oid) + 1))


def _general(requests: Sequence[int]) -> list[tuple[Oid, Value]]:
    """The general values. A worker for which there is no slot is counted in the sum alone."""
    workers = [
        ((*GENERAL, _WORKER + worker), value_of(Kind.COUNTER64, count)) for worker, count in enumerate(requests, 1)
    ]
    total = value_of(Kind.COUNTER64, sum(requests))
    return [((*GENERAL, _REQUESTS), total), *workers[: SLOTS - _WORKER]]


def _metric_oids(metrics: Metrics) -> dict[Oid, tuple[str, Kind]]:
    """Return which metric stands where. Of two with the same oid the first one does, as in uWSGI.

    What begins as a slot's name does is out of reach, also as in uWSGI.
    """
    found: dict[Oid, tuple[str, Kind]] = {}
    for spec in metrics.specs:
        subids = tuple(int(part) for part in spec.oid.split(".") if part)
        fits = subids and max(subids) <= _MOST_SUBID and len(UWSGI) + len(subids) <= _MOST_SUBIDS
        if fits and (*UWSGI, subids[0]) not in (GENERAL, CUSTOM):
            kind = Kind.GAUGE if spec.type is MetricType.GAUGE else Kind.COUNTER64
            found.setdefault((*UWSGI, *subids), (spec.name, kind))
    return found
