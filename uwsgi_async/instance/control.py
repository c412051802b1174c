"""What a process answers to `api.process`: alone, or as a worker under a master.

What lives here: `SingleProcess` and `WorkerProcess`. What does not: the functions themselves (`api.process`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from uwsgi_async.api.information import mem
from uwsgi_async.api.process import WorkerStatistics
from uwsgi_async.cores.pool import Pool
from uwsgi_async.instance.channel import Channel, Reload, Stop
from uwsgi_async.instance.scoreboard import COUNTERS, Field, Scoreboard

MICROS = 1_000_000
_REQUESTS = int(Field.REQUESTS)


class Accounts:
    """Keeps a worker's row of the scoreboard: `publish` brings it up to date, `count` the number of requests alone."""

    def __init__(self, row: memoryview, now: Callable[[], float] = time.time) -> None:
        self.row = row
        # What earlier processes of this worker have left.
        self._requests, self._sent, self._running = row[Field.REQUESTS], row[Field.SENT], row[Field.RUNNING_TIME]
        row[Field.PID] = os.getpid()
        row[Field.LAST_SPAWN] = int(now()) * MICROS
        row[Field.ACCEPTING] = 1
        for field in (Field.DELTA_REQUESTS, Field.READY, Field.BUSY, Field.HEARTBEAT, Field.DEADLINE):
            row[field] = 0

    def count(self, pool: Pool) -> None:
        """Write down how many requests there have been: other processes ask for it by `total_requests`."""
        self.row[_REQUESTS] = self._requests + pool.requests

    def inherit(self, counts: Mapping[Field, int]) -> None:
        """Add what the process before this one has counted after it was replaced."""
        self._requests += counts.get(Field.REQUESTS, 0)
        self._sent += counts.get(Field.SENT, 0)
        self._running += counts.get(Field.RUNNING_TIME, 0)

    def move(self, row: memoryview, pool: Pool) -> None:
        """Go on in another row: the counters begin at zero there, and the rest goes along."""
        self.publish(pool)
        for field in Field:
            row[field] = 0 if field in COUNTERS else self.row[field]
        self.row = row
        self._requests = -pool.requests
        self._sent = -pool.bytes_sent
        self._running = -int(pool.running_time * MICROS)

    def publish(self, pool: Pool) -> None:
        """Write down what the pool has counted."""
        row = self.row
        requests = self._requests + pool.requests
        row[Field.HEARTBEAT] = time.monotonic_ns()
        row[Field.BUSY] = pool.busy
        row[Field.REQUESTS] = requests
        row[Field.DELTA_REQUESTS] = pool.requests
        row[Field.EXCEPTIONS] = sum(core.exceptions for core in pool.cores)
        row[Field.HARAKIRIS] = sum(core.harakiri for core in pool.cores)
        row[Field.SENT] = self._sent + pool.bytes_sent
        row[Field.RUNNING_TIME] = self._running + int(pool.running_time * MICROS)
        row[Field.AVERAGE] = row[Field.RUNNING_TIME] // requests if requests else 0
        with suppress(OSError):  # no file descriptor is free: that is no reason to end
            row[Field.RSS], row[Field.VSZ] = mem()


def statistics(board: Scoreboard) -> tuple[WorkerStatistics, ...]:
    """Return what the scoreboard says of each worker."""
    return tuple(_statistics(number, board.row(number)) for number in range(1, board.rows + 1))


def _statistics(number: int, row: memoryview) -> WorkerStatistics:
    return WorkerStatistics(
        id=number,
        pid=row[Field.PID],
        requests=row[Field.REQUESTS],
        delta_requests=row[Field.DELTA_REQUESTS],
        signals=row[Field.SIGNALS],
        exceptions=row[Field.EXCEPTIONS],
        harakiri_count=row[Field.HARAKIRIS],
        status=b"busy" if row[Field.BUSY] else b"idle" if row[Field.PID] else b"cheap",
        rss=row[Field.RSS],
        vsz=row[Field.VSZ],
        running_time=row[Field.RUNNING_TIME],
        last_spawn=row[Field.LAST_SPAWN] // MICROS,
        respawn_count=row[Field.RESPAWNS],
        tx=row[Field.SENT],
        avg_rt=row[Field.AVERAGE],
        accepting=bool(row[Field.ACCEPTING]),
    )


class SingleProcess:
    """The one process of an instance without a master: worker 1, and nobody to ask for a reload or a stop."""

    worker = 1
    master = 0

    def __init__(self) -> None:
        self._board = Scoreboard.create(1)
        self.accounts = Accounts(self._board.row(1))
        self.pool: Pool | None = None

    def workers(self) -> tuple[WorkerStatistics, ...]:
        if self.pool is not None:
            self.accounts.publish(self.pool)
        return statistics(self._board)

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


class WorkerProcess:
    """A worker under a master: it keeps its row, and asks through its channel."""

    def __init__(self, worker: int, master: int, board: Scoreboard, channel: Channel) -> None:
        self.worker = worker
        self.master = master
        self.channel = channel
        self.pool: Pool | None = None
        self.accounts = Accounts(board.row(worker))
        self._board = board

    def workers(self) -> tuple[WorkerStatistics, ...]:
        if self.pool is not None:
            self.accounts.publish(self.pool)
        return statistics(self._board)

    def reload(self) -> bool:
        return self.channel.send(Reload())

    def stop(self) -> bool:
        return self.channel.send(Stop())

    def accept(self, flag: bool) -> None:
        self.accounts.row[Field.ACCEPTING] = flag

    def is_ready(self) -> bool:
        return self.accounts.row[Field.READY] != 0

    def step_aside(self) -> bool:
        """Leave the worker's row to the next process; False as long as the one before this still uses the spare."""
        spare = self._board.spare(self.worker)
        if self.pool is None or spare[Field.PID]:
            return False
        self.accounts.move(spare, self.pool)
        return True

    def set_deadline(self, seconds: int) -> None:
        self.accounts.row[Field.DEADLINE] = time.monotonic_ns() + seconds * 10**9 if seconds else 0
