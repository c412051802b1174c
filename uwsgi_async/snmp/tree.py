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
from functools import partial
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
        found = {} if metrics is None else _metric_readers(metrics)
        self._metrics = _Metrics(found)
        self._narrow_metrics = _Metrics({oid: each for oid, each in found.items() if each[0] is not Kind.COUNTER64})

    def look(self, *, counter64: bool = True) -> View:
        """Return the tree as it is now. ``counter64``: False leaves out what SNMP v1 has no kind for."""
        slots = dict(_general(self._requests()))
        slots.update(((*CUSTOM, n), value) for n, value in enumerate(self._values.all(), 1) if value is not None)
        if counter64:
            return View(slots, self._metrics)
        return View({oid: each for oid, each in slots.items() if each.kind is not Kind.COUNTER64}, self._narrow_metrics)


class View:
    """The tree at one moment. ``slots``: the values of slots; ``metrics``: are read when they are asked for."""

    def __init__(self, slots: Mapping[Oid, Value], metrics: _Metrics) -> None:
        self._slots = slots
        self._metrics = metrics
        self._orders = sorted(slots), metrics.order

    def get(self, oid: Oid) -> Value | Absence:
        """Return what an object has, or why it has nothing."""
        if oid in self._slots:
            return self._slots[oid]
        if oid in self._metrics:
            return self._metrics.read(oid)
        return Absence.NO_SUCH_INSTANCE if self._is_object(oid) else Absence.NO_SUCH_OBJECT

    def after(self, oid: Oid) -> Binding:
        """Return the first object behind ``oid``, which need be none; with ``oid`` itself, when there is no other."""
        places = ((order, bisect_right(order, oid)) for order in self._orders)
        behind = [order[place] for order, place in places if place < len(order)]
        return (min(behind), self.get(min(behind))) if behind else (oid, Absence.END_OF_MIB_VIEW)

    def _is_object(self, oid: Oid) -> bool:
        """Whether a value could stand here: it is the name of a slot, or of an instance of a slot or metric."""
        branch, below = oid[: len(GENERAL)], oid[len(GENERAL) :]
        if branch in (GENERAL, CUSTOM):
            return bool(below) and 1 <= below[0] <= SLOTS
        return any(oid[:length] in self._metrics for length in range(len(GENERAL), len(oid)))


class _Metrics:
    """Metrics by their oids. ``order``: the oids, sorted."""

    def __init__(self, found: Mapping[Oid, tuple[Kind, Callable[[], int]]]) -> None:
        self._found = found
        self.order = sorted(found)

    def __contains__(self, oid: Oid) -> bool:
        return oid in self._found

    def read(self, oid: Oid) -> Value:
        kind, number = self._found[oid]
        return value_of(kind, number())


def _general(requests: Sequence[int]) -> list[tuple[Oid, Value]]:
    """The general values. A worker for which there is no slot is counted in the sum alone."""
    workers = [
        ((*GENERAL, _WORKER + worker), value_of(Kind.COUNTER64, count)) for worker, count in enumerate(requests, 1)
    ]
    total = value_of(Kind.COUNTER64, sum(requests))
    return [((*GENERAL, _REQUESTS), total), *workers[: SLOTS - _WORKER]]


def _metric_readers(metrics: Metrics) -> dict[Oid, tuple[Kind, Callable[[], int]]]:
    """Return which metric stands where. Of two with the same oid the first one does, as in uWSGI.

    What begins as a slot's name does is out of reach, also as in uWSGI.
    """
    found: dict[Oid, tuple[Kind, Callable[[], int]]] = {}
    for spec in metrics.specs:
        subids = tuple(int(part) for part in spec.oid.split(".") if part)
        fits = subids and max(subids) <= _MOST_SUBID and len(UWSGI) + len(subids) <= _MOST_SUBIDS
        if fits and (*UWSGI, subids[0]) not in (GENERAL, CUSTOM):
            kind = Kind.GAUGE if spec.type is MetricType.GAUGE else Kind.COUNTER64
            found.setdefault((*UWSGI, *subids), (kind, partial(metrics.get, spec.name)))
    return found
