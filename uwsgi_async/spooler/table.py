"""The spoolers of an instance: their directories, and what each of their processes does, seen by all processes.

What lives here: `Spoolers`, one kind of shared state. What does not: running tasks (`runner`), the documented
functions (`api.spooler`), starting processes (`instance.spooling`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from typing import Any

import anyio

from uwsgi_async.errors import OptionError
from uwsgi_async.options.spooling import SpoolerOptions
from uwsgi_async.spooler.task import SPOOLER, Task
from uwsgi_async.spooler.writing import write_task
from uwsgi_async.state.memory import Memory

_current: ContextVar[int | None] = ContextVar("spooler", default=None)


class Row(IntEnum):
    """What is told of one process of a spooler. ``PID``: 0 is none. All others are counts."""

    PID = 0
    TASKS = 1
    SPAWNS = 2
    RUNNING = 3
    DONE = 4
    FAILED = 5
    GIVEN_UP = 6
    WAITING = 7


_FREQUENCY = 0  # the place of what `set_spooler_frequency` has set
_HEADER = 1
_NUMBER = 8  # bytes


class Spoolers:
    """The spoolers of an instance, in one process.

    ``directories``: absolute and without links, one for each process of each spooler, as in uWSGI; then those of
    ``spooler-external``. ``processes``: how many have a process. ``process``: the number of the one that this is;
    None for any other process.
    """

    def __init__(self, options: SpoolerOptions, directories: Sequence[str], memory: Memory) -> None:
        self.options = options
        self.directories = tuple(directories)
        self.processes = len(options.spooler) * options.spooler_processes
        self.process: int | None = None
        self._memory = memory
        self._values = memoryview(memory.map).cast("q")

    @classmethod
    def create(cls, options: SpoolerOptions) -> Spoolers | None:
        """Return the spoolers that the options configure, None when there are none. Makes their directories.

        Raises `OptionError` for a directory that cannot be made or used.
        """
        if not options.spooler and not options.spooler_external:
            return None
        own = [_prepared("spooler", path) for path in options.spooler for _ in range(options.spooler_processes)]
        others = [_prepared("spooler-external", path) for path in options.spooler_external]
        _check_dead_letter(options, own)
        memory = Memory.create("spoolers", _NUMBER * (_HEADER + len(Row) * len(own)))
        return cls(options, [*own, *others], memory)

    @classmethod
    def attach(cls, described: Any) -> Spoolers:
        fd, options, directories = described
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        return cls(SpoolerOptions(**options), directories, Memory(fd))

    def __repr__(self) -> str:
        return f"<Spoolers: {', '.join(self.directories)}>"

    # --- tasks ------------------------------------------------------------------------------------------------

    def write(self, task: Task) -> str:
        """Write a task for the spooler that it names, or the first one; return its path. Raises as `write_task`."""
        return write_task(self.directory_of(task), task, sync=self.options.spooler_sync)

    def directory_of(self, task: Task) -> str:
        """Return the directory of a task's spooler. Raises ValueError when it names none of this instance."""
        given = task.fields.get(SPOOLER)
        if not given:
            return self.directories[0]
        named = os.fsdecode(given)
        if named.isascii() and named.isdigit() and len(named) < 10:
            if int(named) < len(self.directories):
                return self.directories[int(named)]
        elif (path := os.path.realpath(named)) in self.directories:
            return path
        raise ValueError(f"unable to find spooler {named!r}: there are {', '.join(dict.fromkeys(self.directories))}")

    # --- what processes do ------------------------------------------------------------------------------------

    @property
    def frequency(self) -> int:
        """Seconds between two looks of a spooler at its whole directory."""
        return self._values[_FREQUENCY] or self.options.spooler_frequency

    def set_frequency(self, seconds: int) -> None:
        """Set it for all processes; 0 takes that back."""
        self._values[_FREQUENCY] = seconds

    def row(self, number: int) -> memoryview:
        """Return the numbers of one process, by `Row`; they can be written."""
        begin = _HEADER + number * len(Row)
        return self._values[begin : begin + len(Row)]

    def pids(self) -> list[int]:
        """Return the process ids; 0 where none runs."""
        return [self.row(number)[Row.PID] for number in range(self.processes)]

    @property
    def current(self) -> int | None:
        """The number of the spooler that the caller is a task of, or whose process this is; None: it is none."""
        return _current.get() if self.process is None else self.process

    @contextmanager
    def being(self, number: int) -> Iterator[None]:
        """Let what is called in the block, and in tasks from there, be the spooler's ``number``."""
        token = _current.set(number)
        try:
            yield
        finally:
            _current.reset(token)

    @contextmanager
    def held(self, number: int) -> Iterator[None]:
        """Let a row be this process's while the block runs, unless another one takes it."""
        row = self.row(number)
        row[Row.PID] = os.getpid()
        row[Row.SPAWNS] += 1
        row[Row.TASKS] = row[Row.RUNNING] = row[Row.WAITING] = 0
        try:
            yield
        finally:
            if self.holds(number):
                row[Row.PID] = row[Row.RUNNING] = row[Row.WAITING] = 0

    def holds(self, number: int) -> bool:
        """Return whether a row is this process's."""
        return self.row(number)[Row.PID] == os.getpid()

    # --- a part of an instance --------------------------------------------------------------------------------

    @property
    def fds(self) -> list[int]:
        return [self._memory.fd]

    def described(self) -> Any:
        return [self._memory.fd, dataclasses.asdict(self.options), list(self.directories)]

    async def maintain(self) -> None:
        await anyio.sleep_forever()

    def publish(self) -> None:
        """Nothing is only counted here."""

    def sections(self) -> Mapping[str, Any]:
        return {"spoolers": [self._told(number) for number in range(self.processes)]}

    def close(self) -> None:
        self._values.release()
        self._memory.close()

    def _told(self, number: int) -> dict[str, Any]:
        row = self.row(number)
        return {
            "dir": self.directories[number],
            "pid": row[Row.PID],
            "tasks": row[Row.TASKS],
            "respawns": max(row[Row.SPAWNS] - 1, 0),
            "running": row[Row.RUNNING],
            "done": row[Row.DONE],
            "failed": row[Row.FAILED],
            "given_up": row[Row.GIVEN_UP],
            "waiting": row[Row.WAITING],
        }


def _prepared(option: str, path: str) -> str:
    """Return the real path of a spooler's directory, which is made when it is not there."""
    try:
        if not os.path.isdir(path):
            os.mkdir(path, 0o750)  # as uWSGI makes it
    except OSError as error:
        raise OptionError(f"{option}: {path} cannot be made: {error.strerror}") from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise OptionError(f"{option}: this user may not read and write in {path}")
    return os.path.realpath(path)


def _check_dead_letter(options: SpoolerOptions, directories: Sequence[str]) -> None:
    """Raise `OptionError` when tasks could not be moved there."""
    path = options.spooler_dead_letter
    if path is None:
        return
    place = os.path.abspath(path)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    for directory in directories:
        if os.stat(directory).st_dev != os.stat(place).st_dev:
            raise OptionError(f"spooler-dead-letter: {path} is not in the file system of {directory}: give another one")
