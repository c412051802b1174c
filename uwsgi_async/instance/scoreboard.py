"""What all processes of an instance may read at any time: tables of numbers, and of running requests, in shared memory.

What lives here: `Scoreboard`: one row of 64-bit integers for the instance, one for each worker and each other process,
one for each of a worker's cores and apps, and room for the vars of each core's request. What does not: who writes what
(`worker`, `master`, `statistics.publish`), and what is told to the outside (`statistics.collect`). A number is written
by one process only and is read and written at once, so there is no lock. The memory has no name: it is gone with the
last process.

While a worker is replaced it has two processes. The new one has the worker's rows; the old one has moved to the spare
row, where it counts from zero, and what it has counted there is added by the new one in the end. It tells nothing of
its cores and apps any more.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Iterable
from contextlib import suppress
from enum import IntEnum


class Header(IntEnum):
    """The columns of row 0, which the master writes, or the one process without a master.

    ``STARTED``: microseconds of the wall clock when the instance was started; ``STATE``: see `State`.
    """

    WORKERS = 0
    CORES = 1
    STATE = 2
    MASTER = 3
    FORK_SERVER = 4
    RELOADS = 5
    STARTED = 6
    FAILED_RELOADS = 7
    ZYGOTE = 8
    OTHERS = 9


class State(IntEnum):
    """What the instance, or this generation of it, is doing."""

    STARTING = 0
    SERVING = 1
    DRAINING = 2


class Field(IntEnum):
    """The columns of a worker. Times are in microseconds: of the wall clock for ``LAST_SPAWN``, else durations.

    Memory is in bytes. ``HEARTBEAT``: nanoseconds of the monotonic clock when the worker's loop was last seen to turn;
    0 before it serves. ``DEADLINE``: the same clock; when `set_user_harakiri` kills the worker; 0 = never.
    ``TASK_DEADLINE``: the same for what a mule or a spooler does now (options mule-harakiri, spooler-harakiri).
    ``LOOP_LAG``: by how much its event loop was late at most, in the last minute. ``KIND`` and ``NUMBER``: its role,
    the first by its place in `KINDS`.
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
    TASK_DEADLINE = 18

    APPS = 24
    CONNECTIONS = 25
    WAITING = 26
    LONGEST_WAIT = 27
    LOOP_LAG = 28
    KIND = 29
    NUMBER = 30


class CoreField(IntEnum):
    """The columns of a core. ``STARTED``: microseconds of the wall clock when its request began; 0 when it is idle."""

    REQUESTS = 0
    STATIC_REQUESTS = 1
    ROUTED_REQUESTS = 2
    OFFLOADED_REQUESTS = 3
    WRITE_ERRORS = 4
    READ_ERRORS = 5
    EXCEPTIONS = 6
    HARAKIRIS = 7
    STARTED = 8


class AppField(IntEnum):
    """The columns of an app. ``STARTUP_TIME``: seconds that it took to load; ``LENGTH``: bytes of its mountpoint."""

    STARTUP_TIME = 0
    INTERPRETER = 1
    CALLABLE = 2
    REQUESTS = 3
    EXCEPTIONS = 4
    LENGTH = 5


KINDS = ("worker", "mule", "spooler")
"""What processes may be for (`instance.roles`)."""

COUNTERS = (Field.REQUESTS, Field.EXCEPTIONS, Field.HARAKIRIS, Field.SENT, Field.RUNNING_TIME)
"""What goes on counting when one process takes another's place."""

MOST_APPS = 64
"""Apps of a worker that there is room for; as many as uWSGI has room for (option max-apps)."""

MOUNTPOINT_SIZE = 256 - 8 * len(AppField)
"""Bytes that there are for an app's mountpoint."""

VARS_SIZE = 4096 - 16
"""Bytes that there are for the vars of a core's request."""

_WIDTH = 32  # columns of a row: a row begins a cache line of its own
_CORE_WIDTH = 16
_APP_WIDTH = 32
_ITEM = 8  # bytes
_VARS_WIDTH = (VARS_SIZE + 16) // _ITEM  # before the bytes: when the request began, and how many bytes they are


class Scoreboard:
    """The tables. ``rows`` is the number of workers; worker ``n`` has row ``n``, from 1, and one spare row.

    ``cores``: of each worker. ``others``: processes that are no workers; their rows come behind those of the workers.
    """

    def __init__(self, fd: int, rows: int, cores: int, others: int = 0) -> None:
        self.fd = fd
        self.rows = rows
        self.cores = cores
        self.seats = rows + others
        self._map = mmap.mmap(fd, _cells(rows, cores, self.seats) * _ITEM)
        self._bytes = memoryview(self._map)
        self._cells = self._bytes.cast("q")

    @classmethod
    def create(cls, rows: int, cores: int = 0, others: int = 0) -> Scoreboard:
        """Return new tables of zeros."""
        fd = os.memfd_create("uwsgi_async scoreboard")
        os.ftruncate(fd, _cells(rows, cores, rows + others) * _ITEM)
        board = cls(fd, rows, cores, others)
        board.header[Header.WORKERS] = rows
        board.header[Header.CORES] = cores
        board.header[Header.OTHERS] = others
        return board

    @classmethod
    def attach(cls, fd: int) -> Scoreboard:
        """Return the tables behind ``fd``, which another process has created."""
        head = array("q", os.pread(fd, _WIDTH * _ITEM, 0))
        return cls(fd, head[Header.WORKERS], head[Header.CORES], head[Header.OTHERS])

    def __repr__(self) -> str:
        return f"<Scoreboard of {self.rows} workers with {self.cores} cores>"

    @property
    def closed(self) -> bool:
        return self._map.closed

    @property
    def header(self) -> memoryview:
        """The row of the instance, to be indexed with `Header`."""
        return self._cells[:_WIDTH]

    @property
    def state(self) -> State:
        return State(self._cells[Header.STATE])

    def row(self, seat: int) -> memoryview:
        """Return the row of a worker or another process, to be indexed with `Field`.

        Raises IndexError beyond the table.
        """
        if not 0 < seat <= self.seats:
            raise IndexError(f"there is no process {seat}: the instance has {self.rows} workers, {self.seats} in all")
        return self._cells[seat * _WIDTH : (seat + 1) * _WIDTH]

    def spare(self, seat: int) -> memoryview:
        """Return the row of a process that is being replaced; its ``PID`` is 0 when there is none."""
        self.row(seat)
        at = (self.seats + seat) * _WIDTH
        return self._cells[at : at + _WIDTH]

    # --- cores ------------------------------------------------------------------------------------------------

    def core(self, worker: int, core: int) -> list[int]:
        """Return the numbers of a core, to be indexed with `CoreField`."""
        at = self._core_at(worker, core)
        return self._cells[at : at + len(CoreField)].tolist()

    def write_core(self, worker: int, core: int, numbers: Iterable[int]) -> None:
        """Write all the numbers of a core, in the order of `CoreField`."""
        at = self._core_at(worker, core)
        self._cells[at : at + len(CoreField)] = array("q", numbers)

    def vars(self, worker: int, core: int, started: int) -> bytes:
        """Return what `write_vars` wrote of the request that began at ``started``; b"" when it is not there whole."""
        at = self._vars_at(worker, core)
        cells = self._cells
        if cells[at] != started:
            return b""
        begin = (at + 2) * _ITEM
        data = bytes(self._bytes[begin : begin + min(cells[at + 1], VARS_SIZE)])
        return data if cells[at] == started else b""

    def write_vars(self, worker: int, core: int, started: int, data: bytes) -> None:
        """Write the vars of a core's request, `VARS_SIZE` bytes at most, unless they are there already."""
        at = self._vars_at(worker, core)
        cells = self._cells
        if cells[at] == started:
            return
        cells[at] = 0  # who reads meanwhile knows by this that the bytes are not whole
        cells[at + 1] = len(data)
        begin = (at + 2) * _ITEM
        self._bytes[begin : begin + len(data)] = data
        cells[at] = started

    # --- apps -------------------------------------------------------------------------------------------------

    def app(self, worker: int, number: int) -> list[int]:
        """Return the numbers of an app, to be indexed with `AppField`."""
        at = self._app_at(worker, number)
        return self._cells[at : at + len(AppField)].tolist()

    def mountpoint(self, worker: int, number: int) -> bytes:
        """Return where an app is mounted."""
        at = self._app_at(worker, number)
        begin = (at + len(AppField)) * _ITEM
        return bytes(self._bytes[begin : begin + min(self._cells[at + AppField.LENGTH], MOUNTPOINT_SIZE)])

    def write_app(self, worker: int, number: int, numbers: Iterable[int]) -> None:
        """Write all the numbers of an app but ``LENGTH``, in the order of `AppField`."""
        at = self._app_at(worker, number)
        self._cells[at : at + AppField.LENGTH] = array("q", numbers)

    def write_mountpoint(self, worker: int, number: int, mountpoint: bytes) -> None:
        """Write where an app is mounted, `MOUNTPOINT_SIZE` bytes at most."""
        at = self._app_at(worker, number)
        begin = (at + len(AppField)) * _ITEM
        self._bytes[begin : begin + len(mountpoint)] = mountpoint
        self._cells[at + AppField.LENGTH] = len(mountpoint)

    # --- where things are -------------------------------------------------------------------------------------

    def _app_at(self, worker: int, number: int) -> int:
        if not (0 < worker <= self.rows and 0 <= number < MOST_APPS):
            raise IndexError(f"there is no app {number} of worker {worker}: the board has {self.rows} x {MOST_APPS}")
        first = _cells(self.rows, self.cores, self.seats) - self.rows * MOST_APPS * _APP_WIDTH
        return first + ((worker - 1) * MOST_APPS + number) * _APP_WIDTH

    def _core_at(self, worker: int, core: int) -> int:
        return (2 * self.seats + 1) * _WIDTH + self._core_index(worker, core) * _CORE_WIDTH

    def _vars_at(self, worker: int, core: int) -> int:
        first = (2 * self.seats + 1) * _WIDTH + self.rows * self.cores * _CORE_WIDTH
        return first + self._core_index(worker, core) * _VARS_WIDTH

    def _core_index(self, worker: int, core: int) -> int:
        if not (0 < worker <= self.rows and 0 <= core < self.cores):
            raise IndexError(f"there is no core {core} of worker {worker}: the board has {self.rows} x {self.cores}")
        return (worker - 1) * self.cores + core

    def close(self) -> None:
        """Give the memory back; that of a row which is still in use goes with the row."""
        with suppress(BufferError):
            self._cells.release()
            self._bytes.release()
            self._map.close()
        os.close(self.fd)


def _cells(rows: int, cores: int, seats: int) -> int:
    return (2 * seats + 1) * _WIDTH + rows * (cores * (_CORE_WIDTH + _VARS_WIDTH) + MOST_APPS * _APP_WIDTH)
