"""What a process answers to `api.process`: alone, as a worker under a master, or as another process under one.

What lives here: `SingleProcess`, `WorkerProcess`, `HelperProcess`. What does not: the functions (`api.process`).
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import anyio

from uwsgi_async.api.information import mem
from uwsgi_async.api.statistics import InstanceStatistics, WorkerStatistics
from uwsgi_async.cores.pool import Pool
from uwsgi_async.cores.request import Request
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.calling import is_plain
from uwsgi_async.instance.channel import Channel, Reload, Stop
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.roles import Role
from uwsgi_async.instance.scoreboard import COUNTERS, KINDS, Field, Header, Scoreboard, State
from uwsgi_async.instance.state import SharedState
from uwsgi_async.instance.statistics.collect import collect, collect_workers
from uwsgi_async.instance.statistics.publish import MICROS, AppPublisher, CorePublisher, Detail, LagMeter
from uwsgi_async.options.settings import Options

BEAT = 0.25
"""Seconds between two looks at what is not counted request by request."""

_REQUESTS, _READY, _CONNECTIONS = int(Field.REQUESTS), int(Field.READY), int(Field.CONNECTIONS)
_LEAD = 8  # connections more than another worker has, which nobody minds


class Accounts:
    """A worker's rows of the scoreboard: `publish` brings them up to date, `count` the number of requests alone."""

    def __init__(self, board: Scoreboard, worker: int, now: Callable[[], float] = time.time) -> None:
        self.row = row = board.row(worker)
        self._board = board
        self._worker = worker
        self._apps: AppPublisher | None = None
        self.lag = LagMeter()
        self._cores: CorePublisher | None = CorePublisher(board, worker)
        # What earlier processes of this worker have left.
        self._requests, self._sent, self._running = row[Field.REQUESTS], row[Field.SENT], row[Field.RUNNING_TIME]
        self._signals = row[Field.SIGNALS]
        self._exceptions, self._harakiris = row[Field.EXCEPTIONS], row[Field.HARAKIRIS]
        row[Field.PID] = os.getpid()
        row[Field.LAST_SPAWN] = int(now()) * MICROS
        row[Field.ACCEPTING] = 1
        for field in (Field.DELTA_REQUESTS, Field.READY, Field.BUSY, Field.HEARTBEAT, Field.DEADLINE):
            row[field] = 0

    def loaded(self, apps: Apps, options: Options) -> None:
        """Note the apps that this worker serves."""
        self._apps = AppPublisher(self._board, self._worker, apps, plain=is_plain(apps, options))

    @property
    def count_app(self) -> Callable[[Request], None] | None:
        """What is to be called with each request that has ended; None: nothing."""
        return None if self._apps is None else self._apps.count

    def count(self, pool: Pool) -> None:
        """Write down how many requests there have been: other processes ask for it by `total_requests`."""
        self.row[_REQUESTS] = self._requests + pool.requests

    def note_signals(self, handled: int) -> None:
        """Write down how many signals this process has handled."""
        self.row[Field.SIGNALS] = self._signals + handled

    def inherit(self, counts: Mapping[Field, int]) -> None:
        """Add what the process before this one has counted after it was replaced."""
        self._requests += counts.get(Field.REQUESTS, 0)
        self._sent += counts.get(Field.SENT, 0)
        self._running += counts.get(Field.RUNNING_TIME, 0)
        self._exceptions += counts.get(Field.EXCEPTIONS, 0)
        self._harakiris += counts.get(Field.HARAKIRIS, 0)

    def move(self, row: memoryview, pool: Pool) -> None:
        """Go on in another row: the counters begin at zero there, and the rest goes along."""
        self.publish(pool, Detail.CORES)
        for field in Field:
            row[field] = 0 if field in COUNTERS else self.row[field]
        self.row = row
        self._cores = self._apps = None  # their rows are the next process's
        self._requests = -pool.requests
        self._sent = -pool.bytes_sent
        self._running = -int(pool.running_time * MICROS)
        self._exceptions = -sum(core.exceptions for core in pool.cores)
        self._harakiris = -sum(core.harakiri for core in pool.cores)

    def publish(self, pool: Pool, detail: Detail | None = None) -> None:
        """Write down what the pool has counted. ``detail``: for somebody who looks; None: it is just time again."""
        row = self.row
        requests = self._requests + pool.requests
        row[Field.HEARTBEAT] = time.monotonic_ns()
        row[Field.BUSY] = pool.busy
        row[Field.REQUESTS] = requests
        row[Field.DELTA_REQUESTS] = pool.requests
        row[Field.EXCEPTIONS] = self._exceptions + sum(core.exceptions for core in pool.cores)
        row[Field.HARAKIRIS] = self._harakiris + sum(core.harakiri for core in pool.cores)
        row[Field.SENT] = self._sent + pool.bytes_sent
        row[Field.RUNNING_TIME] = self._running + int(pool.running_time * MICROS)
        row[Field.AVERAGE] = row[Field.RUNNING_TIME] // requests if requests else 0
        with suppress(OSError):  # no file descriptor is free: that is no reason to end
            row[Field.RSS], row[Field.VSZ] = mem()
        row[Field.CONNECTIONS] = len(pool.connections)
        row[Field.WAITING] = len(pool.ready)
        row[Field.LONGEST_WAIT] = int(pool.longest_wait * MICROS)
        row[Field.LOOP_LAG] = int(self.lag.longest * MICROS)
        if self._apps is not None:
            self._apps.publish(requests, row[Field.EXCEPTIONS])
        if self._cores is None:
            return
        if detail is None:
            self._cores.publish_some(pool)
        else:
            self._cores.publish(pool, detail)

    async def beat(self) -> None:
        """Wait until it is time to publish again, and note by how much the event loop was late with it."""
        began = time.monotonic()
        await anyio.sleep(BEAT)
        now = time.monotonic()
        self.lag.note(now - began - BEAT, now)


class SingleProcess:
    """The one process of an instance without a master: worker 1, and nobody to ask for a reload or a stop."""

    worker = 1
    master = 0

    def __init__(self, listeners: Sequence[Listener], cores: int, state: SharedState) -> None:
        self._listeners = listeners
        self.sections: Callable[[], Mapping[str, Any]] = state.sections
        self._board = Scoreboard.create(1, cores)
        header = self._board.header
        header[Header.MASTER] = os.getpid()
        header[Header.STARTED] = int(time.time() * MICROS)
        self.accounts = Accounts(self._board, 1)
        self.pool: Pool | None = None

    @property
    def state(self) -> State:
        return self._board.state

    def begin(self, pool: Pool) -> None:
        """Note that the app is served."""
        self.pool = pool
        self.accounts.row[Field.READY] = 1
        self._board.header[Header.STATE] = State.SERVING

    def drain(self) -> None:
        """Note that no more requests are accepted."""
        self._board.header[Header.STATE] = State.DRAINING

    async def keep_accounts(self) -> None:
        """Publish regularly, for the lag of the event loop."""
        while True:
            await self.accounts.beat()
            if self.pool is not None:
                self.accounts.publish(self.pool)

    async def look(self, detail: Detail) -> InstanceStatistics:
        """Return the statistics, for the stats server."""
        return replace(self.glance(detail), sections=self.sections())

    def glance(self, detail: Detail) -> InstanceStatistics:
        """Return the statistics without sections."""
        self._publish(detail)
        return collect(self._board, self._listeners, detail)

    def workers(self) -> tuple[WorkerStatistics, ...]:
        self._publish(Detail.WORKERS)
        return collect_workers(self._board, Detail.WORKERS)

    def statistics(self) -> InstanceStatistics:
        return replace(self.glance(Detail.VARS), sections=self.sections())

    def _publish(self, detail: Detail) -> None:
        if self.pool is not None:
            self.accounts.publish(self.pool, detail)

    def reload(self) -> bool:
        return False

    def stop(self) -> bool:
        return False

    def accept(self, flag: bool) -> None:
        self.accounts.row[Field.ACCEPTING] = flag

    def is_ready(self) -> bool:
        return self.pool is not None

    def set_deadline(self, seconds: int) -> None:
        """Nobody would keep it: without a master there is no user harakiri, as in uWSGI."""

    def close(self) -> None:
        self.accounts.row.release()
        self._board.close()


class ImportingProcess:
    """The fork server while it imports the app: it is no worker, and can ask the master for nothing yet."""

    worker = 0

    def __init__(self, master: int, board: Scoreboard, listeners: Sequence[Listener], state: SharedState) -> None:
        self.master = master
        self._board = board
        self._listeners = listeners
        self._state = state

    def workers(self) -> tuple[WorkerStatistics, ...]:
        return collect_workers(self._board, Detail.WORKERS)

    def statistics(self) -> InstanceStatistics:
        return replace(collect(self._board, self._listeners, Detail.VARS), sections=self._state.sections())

    def reload(self) -> bool:
        return False

    def stop(self) -> bool:
        return False

    def accept(self, flag: bool) -> None:
        """It serves nothing."""

    def is_ready(self) -> bool:
        return False

    def set_deadline(self, seconds: int) -> None:
        """Nobody watches an import."""


@dataclass(eq=False, repr=False)
class ProcessUnderMaster(ABC):
    """A process that a master has: it keeps its row, and asks through its channel.

    ``master``: the process id of the master. ``worker``: its number as a worker; 0 is none.
    """

    role: Role
    master: int
    board: Scoreboard
    channel: Channel
    listeners: Sequence[Listener]
    state: SharedState

    @abstractmethod
    def __post_init__(self) -> None:
        """Take the row, and what else the role needs."""

    @property
    def worker(self) -> int:
        return self.role.number if self.role.kind == "worker" else 0

    @property
    @abstractmethod
    def row(self) -> memoryview:
        """The row that this process writes."""

    @abstractmethod
    def publish(self, detail: Detail) -> None:
        """Write down what this process does, for somebody who looks."""

    @abstractmethod
    def step_aside(self) -> bool:
        """Leave the row to the next process; False as long as the one before this still uses the spare."""

    def workers(self) -> tuple[WorkerStatistics, ...]:
        self.publish(Detail.WORKERS)
        return collect_workers(self.board, Detail.WORKERS)

    def statistics(self) -> InstanceStatistics:
        self.publish(Detail.VARS)
        return replace(collect(self.board, self.listeners, Detail.VARS), sections=self.state.sections())

    def reload(self) -> bool:
        return self.channel.send(Reload())

    def stop(self) -> bool:
        return self.channel.send(Stop())

    def accept(self, flag: bool) -> None:
        self.row[Field.ACCEPTING] = flag

    def is_ready(self) -> bool:
        return self.row[Field.READY] != 0

    def set_deadline(self, seconds: int) -> None:
        self.row[Field.DEADLINE] = time.monotonic_ns() + seconds * 10**9 if seconds else 0

    def _free_spare(self) -> memoryview | None:
        spare = self.board.spare(self.role.seat)
        return None if spare[Field.PID] else spare


class WorkerProcess(ProcessUnderMaster):
    """A worker under a master."""

    def __post_init__(self) -> None:
        self.pool: Pool | None = None
        self.accounts = Accounts(self.board, self.role.number)
        self._others = [
            self.board.row(number) for number in range(1, self.board.rows + 1) if number != self.role.number
        ]

    @property
    def row(self) -> memoryview:
        return self.accounts.row

    def publish(self, detail: Detail) -> None:
        if self.pool is not None:
            self.accounts.publish(self.pool, detail)

    def leads(self, connections: int) -> bool:
        """Write down how many connections are open here; return whether another worker has far fewer."""
        self.accounts.row[_CONNECTIONS] = connections
        fewest = min((row[_CONNECTIONS] for row in self._others if row[_READY]), default=connections)
        return connections - fewest > max(_LEAD, connections // 8)

    def step_aside(self) -> bool:
        spare = self._free_spare()
        if self.pool is None or spare is None:
            return False
        self.accounts.move(spare, self.pool)
        return True


class HelperProcess(ProcessUnderMaster):
    """A process under a master that serves no requests. ``busy``: returns how much it does now."""

    def __post_init__(self) -> None:
        self.busy: Callable[[], int] = int
        self._deadlines: dict[object, int] = {}
        self._changing = threading.Lock()
        self._row = row = self.board.row(self.role.seat)
        row[Field.KIND], row[Field.NUMBER] = KINDS.index(self.role.kind), self.role.number
        row[Field.PID] = os.getpid()
        row[Field.LAST_SPAWN] = int(time.time()) * MICROS
        for field in (Field.READY, Field.BUSY, Field.HEARTBEAT, Field.DEADLINE, Field.TASK_DEADLINE):
            row[field] = 0

    @property
    def row(self) -> memoryview:
        return self._row

    def publish(self, detail: Detail = Detail.WORKERS) -> None:
        row = self._row
        row[Field.HEARTBEAT] = time.monotonic_ns()
        row[Field.BUSY] = self.busy()
        with suppress(OSError):  # no file descriptor is free: that is no reason to end
            row[Field.RSS], row[Field.VSZ] = mem()

    def limit(self, what: object, seconds: float) -> None:
        """Let the master kill this process in ``seconds``, unless this is called for the same again; 0 takes it back.

        ``what``: anything that may be a key, for what runs. Any thread may call this.
        """
        with self._changing:
            if seconds:
                self._deadlines[what] = time.monotonic_ns() + int(seconds * 1e9)
            else:
                self._deadlines.pop(what, None)
            self._row[Field.TASK_DEADLINE] = min(self._deadlines.values(), default=0)

    def step_aside(self) -> bool:
        spare = self._free_spare()
        if spare is None:
            return False
        for field in Field:
            spare[field] = 0 if field in COUNTERS else self._row[field]
        self._row = spare
        return True
