"""What the master has of its log for the other processes: the log itself, and the pipes through which they print.

What lives here: `Collector`. What does not: when there are pipes at all, and the ends that a worker has (`process`).
A pipe for each process, because what several write into one pipe mixes beyond 4096 bytes (pipe(7), PIPE_BUF).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from anyio.abc import TaskGroup, TaskStatus

from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.instance.logs.stdio import Pipe


class Collector:
    """Reads pipes as long as `run` runs, and gives what it reads to ``logs``, the master's log."""

    def __init__(self, logs: ProcessLogs) -> None:
        self._logs = logs
        self._tasks: TaskGroup | None = None
        self._pipes: set[Pipe] = set()

    def __repr__(self) -> str:
        return f"<Collector of {len(self._pipes)} pipes>"

    @property
    def console(self) -> int:
        """The descriptor of the log without loggers."""
        return self._logs.console

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Read until cancelled, and then what is left in the pipes: their writers have ended by then."""
        try:
            async with anyio.create_task_group() as self._tasks:
                task_status.started()
                await anyio.sleep_forever()
        finally:
            for pipe in self._pipes:
                pipe.drain()
                pipe.flush()
                pipe.close()

    @contextmanager
    def for_a_process(self) -> Iterator[list[int]]:
        """Give the descriptors that a process of the instance gets for its log, to be sent to it inside the block.

        The first is the log without loggers; two more are the ends of a pipe, where it needs one. Raises OSError.
        """
        if not self._logs.piped:
            yield [self._logs.console]
            return
        assert self._tasks is not None
        pipe = Pipe(self._logs.messages.write)
        self._pipes.add(pipe)
        self._tasks.start_soon(self._read, pipe)
        try:
            yield [self._logs.console, pipe.reader, pipe.writer]
        finally:
            pipe.close_writer()

    async def _read(self, pipe: Pipe) -> None:
        while pipe.drain():
            await anyio.wait_readable(pipe.reader)
        self._pipes.discard(pipe)
        pipe.close()
