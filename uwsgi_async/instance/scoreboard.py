"""What all processes of an instance may read at any time: a table of numbers in shared memory.

What lives here: `Scoreboard`, a row of 64-bit integers for each worker. What does not: who writes what (`worker`,
`master`), and what is told to the outside (`api.workers`). A number is written by one process only and is read and
written at once, so there is no lock. The memory has no name: it is gone with the last process.

While a worker is replaced it has two processes. The new one has the worker's row; the old one has moved to the spare
row, where it counts from zero, and what it has counted there is added by the new one in the end.
"""

from __future__ import annotations

import mmap
import os
from contextlib import suppress
from enum import IntEnum


class Field(IntEnum):
    """The columns. Times are in microseconds: of the wall clock for ``LAST_SPAWN``, else durations; memory in bytes.

    ``HEARTBEAT``: nanoseconds of the monotonic clock when the worker's loop was last seen to turn; 0 before it serves.
    ``DEADLINE``: the same clock; when `set_user_harakiri` kills the worker; 0 = never.
    """

    PID = 0
    READY = 1
    ACCEPTING = 2
    BUSY = 3
    REQUESTS = 4
    DELTA_REQUESTS = 5
    EXCEPTIONS = 6
    HARAKIRIS = 7
    SIGNALS = 8
    RSS = 9
    VSZ = 10
    RUNNING_TIME = 11
    LAST_SPAWN = 12
    RESPAWNS = 13
    SENT = 14
    AVERAGE = 15
    HEARTBEAT = 16
    DEADLINE = 17


COUNTERS = (Field.REQUESTS, Field.SENT, Field.RUNNING_TIME)
"""What goes on counting when one process takes another's place."""

_WIDTH = 32  # columns of a row: a row begins a cache line of its own
_ITEM = 8  # bytes


class Scoreboard:
    """The table. ``rows`` is the number of workers; worker ``n`` has row ``n``, from 1, and one spare row."""

    def __init__(self, fd: int, rows: int) -> None:
        self.fd = fd
        self.rows = rows
        self._map = mmap.mmap(fd, _size(rows))
        self._cells = memoryview(self._map).cast("q")

    @classmethod
    def create(cls, rows: int) -> Scoreboard:
        """Return a new table of zeros."""
        fd = os.memfd_create("uwsgi_async scoreboard")
        os.ftruncate(fd, _size(rows))
        return cls(fd, rows)

    @classmethod
    def attach(cls, fd: int) -> Scoreboard:
        """Return the table behind ``fd``, which another process has created."""
        return cls(fd, (os.fstat(fd).st_size // (_WIDTH * _ITEM) - 1) // 2)

    def __repr__(self) -> str:
        return f"<Scoreboard of {self.rows} workers>"

    def row(self, worker: int) -> memoryview:
        """Return the row of a worker, to be indexed with `Field`. Raises IndexError beyond the table."""
        if not 0 < worker <= self.rows:
            raise IndexError(f"there is no worker {worker}: the instance has {self.rows}")
        return self._cells[worker * _WIDTH : (worker + 1) * _WIDTH]

    def spare(self, worker: int) -> memoryview:
        """Return the row of a worker's process that is being replaced; its ``PID`` is 0 when there is none."""
        self.row(worker)
        at = (self.rows + worker) * _WIDTH
        return self._cells[at : at + _WIDTH]

    def close(self) -> None:
        """Give the memory back; that of a row which is still in use goes with the row."""
        with suppress(BufferError):
            self._cells.release()
            self._map.close()
        os.close(self.fd)


def _size(rows: int) -> int:
    return (2 * rows + 1) * _WIDTH * _ITEM
