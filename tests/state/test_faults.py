"""kill -9 at random moments of mixed operations by four processes: nobody is blocked, and nothing finished is lost.

STATE_FAULTS: seconds of it; 60 are some million operations.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.state.actors import actors
from tests.state.faults import BLOCK_SIZE, COUNTER, FIRST, LOCKS, RECORD, WORKERS, unpacked
from uwsgi_async.options.settings import LockOptions, MetricOptions, QueueOptions, SharedAreaOptions
from uwsgi_async.options.snmp import SnmpOptions
from uwsgi_async.snmp.values import SnmpValues
from uwsgi_async.state.locks import Locks
from uwsgi_async.state.metrics import Metrics
from uwsgi_async.state.metricspec import Shape
from uwsgi_async.state.queue import Queue
from uwsgi_async.state.sharedarea import SharedAreas

SECONDS = float(os.environ.get("STATE_FAULTS", "1.5"))


@pytest.mark.timeout(SECONDS + 60)
def test_processes_that_are_killed_at_any_moment_block_nobody_and_lose_nothing(tmp_path: Path) -> None:
    queue = Queue.create(QueueOptions(queue=1024, queue_blocksize=512))
    areas = SharedAreas.create(SharedAreaOptions(py_sharedarea=("128", str(BLOCK_SIZE))))
    metrics = Metrics.create(MetricOptions(metric=("m",), metrics_no_cores=True), Shape(1, 1, 1))
    assert queue is not None
    assert areas is not None
    assert metrics is not None
    locks = Locks.create(LockOptions(locks=LOCKS - 1))
    snmp = SnmpValues.create(SnmpOptions(snmp=""))
    assert snmp is not None
    parts = {"locks": locks, "queue": queue, "areas": areas, "metrics": metrics, "snmp": snmp}
    seed = 1 if os.environ.get("CI") else random.randrange(2**32)
    with actors(1, **parts) as (parent,):
        described = {name: part.described() for name, part in parts.items()}
        parent.begin("kill_workers", described, SECONDS, seed, str(tmp_path))
        kills, statuses = parent.end(SECONDS + 30)
    assert statuses == [0] * WORKERS, "a worker has found something wrong; see its traceback above"

    notes = Counter[str]()
    pushed, pulled = set[str](), Counter[str]()
    for path in tmp_path.iterdir():
        data = path.read_bytes()
        for record in (data[at : at + RECORD].decode() for at in range(0, len(data), RECORD)):
            kind, _, text = record.strip().partition(" ")
            notes[kind] += 1
            if kind == "+":
                pushed.add(text)
            elif kind == "-":
                pulled[text] += 1
    while (item := queue.pull()) is not None:
        pulled[unpacked(item)] += 1

    # An operation that was not noted was the last one of a process that was killed.
    assert max(pulled.values()) == 1, "an item was given out twice"
    assert len(pushed - pulled.keys()) <= kills, "items are lost"
    assert len(pulled.keys() - pushed) <= kills, "items have come from nowhere"
    assert notes["c"] <= areas[0].read_number(8, COUNTER) <= notes["c"] + kills
    assert notes["m"] <= metrics.get("m") <= notes["m"] + kills
    counted = snmp.all()[6]
    assert counted is not None
    assert notes["s"] <= counted.number <= notes["s"] + kills
    entries = sum(areas[0].read_number(8, FIRST + 8 * number) for number in range(LOCKS))
    assert notes["l"] <= entries <= notes["l"] + kills
    assert notes["!"] <= kills, "sections were left half done without a death"
    assert [locks[number].holder() for number in range(LOCKS)] == [None] * LOCKS
    assert kills > 10 * min(SECONDS, 1)
    assert sum(notes.values()) > 1000
    print(f"{sum(notes.values())} operations, {kills} processes killed, {notes['!']} of them with a lock")
    for part in (snmp, metrics, areas, queue, locks):
        part.close()
