"""Other processes of an instance, for tests: each attaches to shared state and does what the test tells it.

What lives here: `Actor`, and what an actor's process runs. An actor does one call at a time, in its main thread and
without an event loop, as code at import time does. It can be killed at any moment.
"""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

import anyio

from uwsgi_async.api import sharedarea
from uwsgi_async.options.settings import QueueOptions
from uwsgi_async.snmp.objects import Kind
from uwsgi_async.snmp.values import SnmpValues
from uwsgi_async.state.areamemory import AreaLockedError
from uwsgi_async.state.locks import Lock, Locks
from uwsgi_async.state.metrics import Metrics
from uwsgi_async.state.queue import Queue
from uwsgi_async.state.sharedarea import SharedAreas

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0  # seconds for an answer that must come


class AreaLocks(SharedAreas):
    """The locks of areas, by their numbers, as if they were numbered locks."""

    def __getitem__(self, number: int) -> Lock:  # type: ignore[override]
        return super().__getitem__(number).lock


PARTS: dict[str, Any] = {
    "locks": Locks,
    "area_locks": AreaLocks,
    "queue": Queue,
    "areas": SharedAreas,
    "metrics": Metrics,
    "snmp": SnmpValues,
}


class Actor:
    """A process that shares ``parts``, by the names in `PARTS`."""

    def __init__(self, **parts: Any) -> None:
        ours, theirs = os.pipe(), os.pipe()
        fds = [fd for part in parts.values() for fd in part.fds]
        described = {name: part.described() for name, part in parts.items()}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.state.actors", str(theirs[0]), str(ours[1])],
            cwd=ROOT,
            pass_fds=(theirs[0], ours[1], *fds),
        )
        os.close(theirs[0])
        os.close(ours[1])
        self._in = Connection(ours[0], writable=False)
        self._out = Connection(theirs[1], readable=False)
        self._out.send(described)
        self.pid = self._process.pid
        self.busy = False

    def __repr__(self) -> str:
        return f"<Actor {self.pid}>"

    def begin(self, name: str, *args: Any) -> None:
        """Tell it to call ``name``, "part.method" or a function of this module."""
        assert not self.busy
        self._out.send((name, args))
        self.busy = True

    def end(self, patience: float = PATIENCE) -> Any:
        """Return what the call returned; raise what it raised."""
        assert self._in.poll(patience), f"{self!r} has not answered"
        self.busy = False
        good, value = self._in.recv()
        if not good:
            raise value
        return value

    def call(self, name: str, *args: Any) -> Any:
        self.begin(name, *args)
        return self.end()

    def answers(self, seconds: float = 0.0) -> bool:
        """Return whether its answer is there, or comes within ``seconds``."""
        return self._in.poll(seconds)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        if not self._out.closed:
            self._out.close()
            self._in.close()
            if self.busy:
                self._process.kill()
            self._process.wait(PATIENCE)


@contextmanager
def actors(count: int, **parts: Any) -> Iterator[Sequence[Actor]]:
    """Start so many actors; at the end close them."""
    started = [Actor(**parts) for _ in range(count)]
    try:
        yield started
    finally:
        for actor in started:
            actor.close()


# --- in the actor's process -----------------------------------------------------------------------------------------


def lock(locks: Locks, number: int) -> None:
    """Lock it as sync code without an event loop does."""
    owner = threading.get_ident()
    if not locks[number].acquire_nowait(owner):
        anyio.run(locks[number].acquire, owner)


def try_lock(locks: Locks, number: int) -> bool:
    return locks[number].acquire_nowait(threading.get_ident())


def unlock(locks: Locks, number: int) -> bool:
    return locks[number].release(threading.get_ident())


def holder(locks: Locks, number: int) -> int | None:
    return locks[number].holder()


def forked(locks: Locks, number: int) -> int | None:
    """Return who holds a lock, as seen by a child that this process forks."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(locks[number].holder()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    answer = os.read(reader, 100).decode()
    os.close(reader)
    os.close(writer)
    return None if answer == "None" else int(answer)


def pull_wait(queue: Queue) -> bytes:
    return anyio.run(queue.pull_wait)


def on_area(areas: SharedAreas, number: int, shared: bool, method: str, *args: Any) -> Any:
    """Call a method of an area as sync code without an event loop does: wait while somebody else has it locked."""
    area, owner = areas[number], threading.get_ident()
    operation = getattr(area, method)
    try:
        return operation(*args)
    except AreaLockedError:
        return anyio.run(area.wait_and_call, owner, shared, operation, args)


def on_area_as_holder(areas: SharedAreas, number: int, method: str, *args: Any) -> Any:
    area = areas[number]
    return area.call_nowait(threading.get_ident(), False, getattr(area, method), args)


def reads_that_are_mixed(areas: SharedAreas, number: int, times: int) -> int:
    """Return how many of so many reads of an area do not give the same byte everywhere."""
    return sum(len(set(areas[number].read(0, 0))) != 1 for _ in range(times))


def lock_area(areas: SharedAreas, number: int, shared: bool) -> None:
    owner = threading.get_ident()
    if not areas[number].lock.acquire_nowait(owner, shared=shared):
        anyio.run(partial(areas[number].lock.acquire, owner, shared=shared))


def unlock_area(areas: SharedAreas, number: int) -> bool:
    return areas[number].lock.release(threading.get_ident())


def wait_for_update(areas: SharedAreas, number: int) -> None:
    anyio.run(areas[number].wait)


def add_often(areas: SharedAreas, times: int, position: int) -> None:
    for _ in range(times):
        areas[0].add(8, position, 1)


def count_often(metrics: Metrics, name: str, times: int) -> None:
    for _ in range(times):
        metrics.change(name, operator.add, 1)


def count_snmp(values: SnmpValues, times: int) -> None:
    for _ in range(times):
        values.add(1, Kind.COUNTER64, 1)


def die_in_metrics(metrics: Metrics, line: int, name: str) -> bool:
    return die_at(metrics, line, "change", name, operator.add, 1)


def die_at(part: Any, line: int, method: str, *args: Any) -> bool:
    """Fork a child that calls a method and is killed when it reaches its ``line``-th line of the package.

    Return whether it was killed; False: it came to the end first.
    """
    return _killed(line, lambda: getattr(part, method), args)


def die_in_ring(queue: Queue, line: int, method: str, *args: Any) -> bool:
    """The same with the long way of a queue."""
    return _killed(line, lambda: partial(queue._mutex.run, getattr(queue._ring, method)), args)


def die_in_area(areas: SharedAreas, number: int, line: int, method: str, *args: Any) -> bool:
    """The same with a method of an area."""
    return die_at(areas[number], line, method, *args)


def die_in_short_way(areas: SharedAreas, line: int, name: str, *args: Any) -> bool:
    """The same with a function of `sharedarea_quick`."""

    def prepare() -> Callable[..., Any]:
        sharedarea._parts[:] = areas.parts()
        return sharedarea.BLOCKING[name]

    return _killed(line, prepare, args)


def die_in_lock(locks: Any, number: int, line: int, method: str) -> bool:
    """The same with a method of a lock."""

    def prepare() -> Callable[..., Any]:
        if method == "release":
            assert locks[number].acquire_nowait("child")
        return getattr(locks[number], method)  # type: ignore[no-any-return]

    return _killed(line, prepare, ("child",))


def die_with_store(options: dict[str, Any], line: int, method: str, *args: Any) -> bool:
    """The same with a queue that only the child has opened: its death is the end of an instance."""
    return _killed(line, lambda: getattr(Queue.create(QueueOptions(**options)), method), args)


def kill_workers(*args: Any) -> tuple[int, list[int]]:
    from tests.state.faults import main as run_and_kill

    return run_and_kill(*args[-4:])


def _killed(line: int, prepare: Callable[[], Callable[..., Any]], args: Sequence[Any]) -> bool:
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = line

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal left
        if "uwsgi_async" not in frame.f_code.co_filename:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    try:
        function = prepare()
        sys.settrace(trace)
        function(*args)
    finally:
        os._exit(0)


def main(incoming: int, outgoing: int) -> None:
    calls, answers = Connection(incoming, writable=False), Connection(outgoing, readable=False)
    parts = {name: PARTS[name].attach(described) for name, described in calls.recv().items()}
    while True:
        try:
            name, args = calls.recv()
        except EOFError:
            return
        try:
            if "." in name:
                part, method = name.split(".")
                value = getattr(parts[part], method)(*args)
            else:
                value = globals()[name](*parts.values(), *args)
            answers.send((True, value))
        except Exception as error:  # noqa: BLE001 - it is the test's
            answers.send((False, error))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
