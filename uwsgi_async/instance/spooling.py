"""The spoolers that run in this process: all of an instance that is one process, one in a process of its own.

What lives here: `SpoolerTasks`. What does not: finding and running tasks (`spooler.runner`), when a process of its own
begins and ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from types import ModuleType

import anyio
from anyio.abc import TaskStatus

from uwsgi_async.spooler.runner import TaskRunner
from uwsgi_async.spooler.running import SpoolerFunction
from uwsgi_async.spooler.table import Row, Spoolers

_BEAT = 0.25  # seconds between two reports of what is counted


class SpoolerTasks:
    """Runs the tasks of spoolers until `finish`.

    ``module``: where the app's function is. ``spoolers``: of the instance; None when it has none. ``numbers``: which of
    them run here; None is all. ``guard``: see `spooler.running.TaskRun`.
    """

    def __init__(
        self,
        module: ModuleType,
        spoolers: Spoolers | None,
        numbers: Iterable[int] | None = None,
        guard: Callable[[object, float], None] = lambda _run, _seconds: None,
    ) -> None:
        self._hosts: list[_Host] = []
        if spoolers is not None:
            here = range(spoolers.processes) if numbers is None else numbers
            self._hosts = [_Host(module, spoolers, number, guard) for number in here]
        self._done = anyio.Event()

    def __repr__(self) -> str:
        return f"<SpoolerTasks {self._hosts}>"

    @property
    def worn(self) -> bool:
        """Whether the process should be replaced."""
        return any(host.runner.worn for host in self._hosts)

    @property
    def running(self) -> int:
        """How many tasks run now."""
        return sum(host.runner.statistics.running for host in self._hosts)

    def count_signals(self, count: int) -> None:
        """Count handled signals as tasks, if the options say so."""
        for host in self._hosts:
            host.count_signals(count)

    async def finish(self, seconds: float) -> None:
        """Begin no more tasks, and wait for those that run, ``seconds`` at most."""
        for host in self._hosts:
            host.runner.stop()
        if self._hosts:
            with anyio.move_on_after(seconds, shield=True):
                await self._done.wait()

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run tasks until `finish`, or until the process is worn; then until those that run have ended.

        It is started when the process stands in the table of spoolers.
        """
        try:
            async with AsyncExitStack() as stack:
                for host in self._hosts:
                    stack.enter_context(host.held())
                beside = await stack.enter_async_context(anyio.create_task_group())
                task_status.started()
                beside.start_soon(self._publish)
                async with anyio.create_task_group() as tasks:
                    for host in self._hosts:
                        tasks.start_soon(host.run)
                beside.cancel_scope.cancel()
        finally:
            self._done.set()

    async def _publish(self) -> None:
        while True:
            for host in self._hosts:
                host.publish()
            await anyio.sleep(_BEAT)


class _Host:
    """One spooler, and its row. What a row counts goes on from process to process, but ``tasks``, as in uWSGI."""

    def __init__(
        self, module: ModuleType, spoolers: Spoolers, number: int, guard: Callable[[object, float], None]
    ) -> None:
        self._module = module
        self._spoolers = spoolers
        self._number = number
        self._row = spoolers.row(number)
        self._before = {each: self._row[each] for each in (Row.DONE, Row.FAILED, Row.GIVEN_UP)}
        directory = spoolers.directories[number]
        siblings = [each for each in range(spoolers.processes) if spoolers.directories[each] == directory]
        self.runner = TaskRunner(
            directory,
            spoolers.options,
            self._find,
            lambda: spoolers.frequency,
            guard,
            number=siblings.index(number),
            processes=len(siblings),
        )

    def __repr__(self) -> str:
        return repr(self.runner)

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._spoolers.held(self._number):
            try:
                yield
            finally:
                self.publish()

    async def run(self) -> None:
        with self._spoolers.being(self._number):
            await self.runner.run()

    def publish(self) -> None:
        if not self._spoolers.holds(self._number):  # another process has taken its place already
            return
        row, now = self._row, self.runner.statistics
        row[Row.TASKS], row[Row.RUNNING], row[Row.WAITING] = now.tasks, now.running, self.runner.waiting
        row[Row.DONE] = self._before[Row.DONE] + now.done
        row[Row.FAILED] = self._before[Row.FAILED] + now.failed
        row[Row.GIVEN_UP] = self._before[Row.GIVEN_UP] + now.given_up

    def count_signals(self, count: int) -> None:
        if self._spoolers.options.spooler_signal_as_task:
            for _ in range(count):
                self.runner.count_task()

    def _find(self) -> SpoolerFunction | None:
        return getattr(self._module, "spooler", None)
