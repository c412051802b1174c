"""Processes that use all shared state as fast as they can, and are killed at any moment: run by test_faults.

What lives here: the process that forks the workers and kills them, and what a worker does. What does not: what must be
true afterwards (`test_faults`). Each worker notes what it has finished in a file of its own, one record an operation;
so of a killed one at most the last operation is not noted.
"""

from __future__ import annotations

import operator
import os
import random
import signal
import sys
import time
import zlib
from functools import partial
from typing import NoReturn

import anyio

from uwsgi_async.snmp.objects import Kind
from uwsgi_async.snmp.values import SnmpValues
from uwsgi_async.state.areamemory import AreaLockedError
from uwsgi_async.state.locks import Locks
from uwsgi_async.state.metrics import Metrics
from uwsgi_async.state.queue import Queue
from uwsgi_async.state.sharedarea import SharedAreas

WORKERS = 4
RECORD = 24  # bytes

# Positions in area 0. A lock's section writes its number of entries into FIRST, and at its end into SECOND.
COUNTER, STOP, FIRST, SECOND, INSIDE, BLOCK = 0, 8, 16, 32, 48, 64
BLOCK_SIZE = 512
LOCKS = 2


class Shared:
    """What the workers share."""

    def __init__(self, described: dict[str, object]) -> None:
        self.locks = Locks.attach(described["locks"])
        self.queue = Queue.attach(described["queue"])
        self.areas = SharedAreas.attach(described["areas"])
        self.metrics = Metrics.attach(described["metrics"])
        self.snmp = SnmpValues.attach(described["snmp"])


class Worker:
    """One process. ``name``: of all workers that there ever are."""

    def __init__(self, shared: Shared, name: int, directory: str) -> None:
        self.shared = shared
        self.area = shared.areas[0]
        self.name = name
        self.chance = random.Random(name)
        self.pushed = 0
        self.notes = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, kind: str, text: str = "") -> None:
        os.write(self.notes, f"{kind} {text}".ljust(RECORD - 1).encode() + b"\n")

    def run(self) -> None:
        counting = self.count, self.count_metric, self.count_snmp
        operations = (self.push, self.push, self.pull, self.pull, *counting, self.lock, self.block)
        while not self.area.read_number(8, STOP):
            self.chance.choice(operations)()
        self.note("end")

    def push(self) -> None:
        queue = self.shared.queue
        if (queue.position - queue.pull_position) % queue.size > queue.size // 2:
            return  # never so many that the oldest is overwritten
        self.pushed += 1
        name = f"{self.name}.{self.pushed}"
        data = name.encode().ljust(self.chance.randrange(30, 200), b".")
        assert queue.push(data + zlib.crc32(data).to_bytes(4, "little"))
        self.note("+", name)

    def pull(self) -> None:
        item = self.shared.queue.pull()
        if item is not None:
            self.note("-", unpacked(item))

    def count(self) -> None:
        self.area.add(8, COUNTER, 1)
        self.note("c")

    def count_metric(self) -> None:
        self.shared.metrics.change("m", operator.add, 1)
        self.note("m")

    def count_snmp(self) -> None:
        """Count in a slot, whose kind changes again and again."""
        kind = self.chance.choice([Kind.COUNTER64, Kind.GAUGE])
        self.shared.snmp.add(7, kind, 1)
        self.note("s")

    def lock(self) -> None:
        number = self.chance.randrange(LOCKS)
        lock = self.shared.locks[number]
        if not lock.acquire_nowait(self.name):
            anyio.run(lock.acquire, self.name)
        inside = INSIDE + 8 * number
        entries = self.area.read_number(8, FIRST + 8 * number)
        if self.area.read_number(8, inside) or self.area.read_number(8, SECOND + 8 * number) != entries:
            self.note("!")  # whoever was inside was killed there
        self.area.write_number(8, inside, self.name)
        self.area.write_number(8, FIRST + 8 * number, entries + 1)
        if self.chance.random() < 0.1:
            time.sleep(0.001)  # so that some are killed here
        self.area.write_number(8, SECOND + 8 * number, entries + 1)
        assert self.area.read_number(8, inside) == self.name, "somebody else was inside, too"
        self.area.write_number(8, inside, 0)
        assert lock.release(self.name)
        self.note("l", str(number))

    def block(self) -> None:
        """Write or read the block in area 1, below its lock for apps now and then; it has one byte everywhere."""
        area, locked = self.shared.areas[1], self.chance.random() < 0.2
        shared = self.chance.random() < 0.5
        if locked and not area.lock.acquire_nowait(self.name, shared=shared):
            anyio.run(partial(area.lock.acquire, self.name, shared=shared))
        try:
            if shared:
                assert len(set(self.on_area(True, area.read, 0, BLOCK_SIZE))) == 1, "half of a write was seen"
            else:
                self.on_area(False, area.write, 0, bytes([self.chance.randrange(256)]) * BLOCK_SIZE)
        finally:
            if locked:
                area.lock.release(self.name)

    def on_area(self, shared: bool, operation: object, *args: object) -> bytes:
        try:
            return operation(*args)  # type: ignore[operator,no-any-return]
        except AreaLockedError:
            return anyio.run(self.shared.areas[1].wait_and_call, self.name, shared, operation, args)


def unpacked(item: bytes) -> str:
    """Return the name of an item, which must be whole."""
    data, crc = item[:-4], item[-4:]
    assert zlib.crc32(data).to_bytes(4, "little") == crc, f"a damaged item: {item!r}"
    return data.rstrip(b".").decode()


def fork(shared: Shared, name: int, directory: str) -> int:
    child = os.fork()
    if child == 0:
        work(shared, name, directory)
    return child


def work(shared: Shared, name: int, directory: str) -> NoReturn:
    try:
        Worker(shared, name, directory).run()
    except BaseException as error:  # noqa: BLE001 - the parent is to know, and this process ends anyway
        sys.excepthook(type(error), error, error.__traceback__)
        os._exit(1)
    os._exit(0)


def main(described: dict[str, object], seconds: float, seed: int, directory: str) -> tuple[int, list[int]]:
    """Fork workers and kill them for so many seconds; return how many were killed, and the statuses of the others."""
    shared, chance = Shared(described), random.Random(seed)
    names = iter(range(1, 10**9))
    workers = {fork(shared, name, directory): name for name, _ in zip(names, range(WORKERS), strict=False)}
    kills, failed, end = 0, [], time.monotonic() + seconds
    while time.monotonic() < end and not failed:
        time.sleep(chance.uniform(0.001, 0.02))
        victim = chance.choice(list(workers))
        os.kill(victim, signal.SIGKILL)
        status = os.waitpid(victim, 0)[1]
        del workers[victim]
        if os.WIFSIGNALED(status):
            kills += 1
        else:
            failed.append(os.waitstatus_to_exitcode(status))
        workers[fork(shared, next(names), directory)] = 0
    shared.areas[0].write_number(8, STOP, 1)
    return kills, failed + [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in workers]
