"""The spooler of one directory, in an event loop: it finds tasks, and runs several at once.

What lives here: `TaskRunner`. What does not: one run of one task (`running`), processes (`instance.spooling`).
"""

from __future__ import annotations

import contextvars
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import anyio
import greenback
from anyio.abc import TaskGroup

from uwsgi_async.options.spooling import SpoolerOptions
from uwsgi_async.spooler.backlog import Backlog
from uwsgi_async.spooler.claiming import ClaimedTask, Refusal, claim
from uwsgi_async.spooler.decide import Again, Done, GiveUp, Outcome
from uwsgi_async.spooler.running import Report, SpoolerFunction, TaskRun
from uwsgi_async.spooler.scanning import scan
from uwsgi_async.spooler.watching import DirectoryWatch

logger = logging.getLogger("uwsgi_async")

_TURN: Final = 0.005  # seconds in a row, after which others get a turn of the event loop


@dataclass(slots=True)
class SpoolerStatistics:
    """What a spooler does and has done. ``tasks``: runs, as uWSGI counts them."""

    tasks: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    given_up: int = 0


class TaskRunner:
    """Runs the tasks of one directory.

    ``find``: returns the app's spooler function, None when there is none. ``frequency``: returns the seconds between
    two looks at the whole directory. ``guard``: see `TaskRun`. ``number`` of ``processes``: of those that this instance
    has for the directory; the first one logs what is in there and is no task, once.
    """

    def __init__(
        self,
        directory: str,
        options: SpoolerOptions,
        find: Callable[[], SpoolerFunction | None],
        frequency: Callable[[], float],
        guard: Callable[[object, float], None] = lambda _run, _seconds: None,
        *,
        number: int = 0,
        processes: int = 1,
    ) -> None:
        self.directory = directory
        self.statistics = SpoolerStatistics()
        self._options = options
        self._frequency = frequency
        self._names_strangers = number == 0
        self._run = TaskRun(directory, options, find, frequency, guard)
        self._backlog = Backlog(directory, ordered=options.spooler_ordered, begins=number / processes)
        self._watch: DirectoryWatch | None = None
        self._must_look = False
        self._stirred = anyio.Event()
        self._due = float("inf")
        self._named: set[str] = set()
        self._ending = False
        self._worn = False

    def __repr__(self) -> str:
        return f"<TaskRunner of {self.directory}: {self.statistics}>"

    @property
    def worn(self) -> bool:
        """Whether the process should be replaced: it has run ``spooler-max-tasks``, or a task called `sys.exit`."""
        return self._worn

    @property
    def waiting(self) -> int:
        """How many tasks it knows of and has not begun."""
        return len(self._backlog)

    def stop(self) -> None:
        """Begin no more tasks; `run` returns when those that run have ended."""
        self._ending = True
        self._backlog.close()
        self._stirred.set()

    def count_task(self) -> None:
        """Count one more towards ``spooler-max-tasks``."""
        self.statistics.tasks += 1
        limit = self._options.spooler_max_tasks
        if limit and self.statistics.tasks >= limit and not self._worn:
            logger.info("[spooler %s] maximum number of tasks reached (%d) recycling ...", self.directory, limit)
            self._wear_out()

    async def run(self) -> None:
        """Find and run tasks until `stop`, or until the process is worn. Cancelled, it lets all tasks go."""
        self._open_watch()
        try:
            async with anyio.create_task_group() as beside:
                beside.start_soon(self._look_again_and_again)
                if self._watch is not None:
                    beside.start_soon(self._take_news, self._watch)
                async with anyio.create_task_group() as cores:
                    context = contextvars.copy_context()
                    for _ in range(self._options.spooler_cores):
                        cores.start_soon(self._core, cores, context)
                beside.cancel_scope.cancel()
        finally:
            if self._watch is not None:
                self._watch.close()
                self._watch = None

    def _open_watch(self) -> None:
        try:
            self._watch = DirectoryWatch(self.directory)
        except OSError as error:
            logger.warning("spooler %s: new tasks are only seen when it looks: inotify: %s", self.directory, error)

    async def _take_news(self, watch: DirectoryWatch) -> None:
        while True:
            paths, look = await watch.news()
            self._backlog.add(paths)
            if look:
                self._must_look = True
                self._stirred.set()

    async def _look_again_and_again(self) -> None:
        while not self._ending:
            self._must_look = False
            self._look()
            next_look = time.monotonic() + self._frequency()
            while not (self._must_look or self._ending):
                seconds = min(next_look - time.monotonic(), self._due - time.time())
                if seconds <= 0:
                    break
                self._stirred = anyio.Event()
                with anyio.move_on_after(seconds):
                    await self._stirred.wait()

    def _look(self) -> None:
        """Look at the whole directory."""
        self._watches_more([])
        try:
            found = scan(self.directory, ordered=self._options.spooler_ordered)
            if self._watches_more(found.levels):  # what has come between looking and watching
                found = scan(self.directory, ordered=self._options.spooler_ordered)
        except OSError as error:
            self._name_once(self.directory, f"cannot be read: {error.strerror}")
            return
        self._due = found.due
        self._backlog.add(found.tasks)
        for stranger in found.strangers:
            self._name_once(stranger, "is no task, and is left alone")

    def _watches_more(self, levels: list[str]) -> bool:
        """Watch what is not watched yet; return whether there was anything."""
        if self._watch is None:
            return False
        try:
            self._watch.forget_unfinished()  # they are looked at again
            return self._watch.watch(levels)
        except OSError as error:
            self._name_once(self.directory, f"tells no news, new tasks are seen at the next look: {error.strerror}")
            return False

    async def _core(self, cores: TaskGroup, context: contextvars.Context) -> None:
        """Run tasks, one at a time, until there is nothing more to do."""
        await greenback.ensure_portal()
        # A task may leave context variables behind: then another core takes over, with the context of the beginning.
        size = len(contextvars.copy_context())
        turn = time.monotonic()
        while not self._ending and (path := await self._backlog.next()) is not None:
            if (claimed := self._claim(path)) is not None:
                await self._manage(claimed)
                if len(contextvars.copy_context()) != size:
                    context.copy().run(cores.start_soon, self._core, cores, context)
                    return
            if time.monotonic() - turn > _TURN:
                await anyio.lowlevel.checkpoint()
                turn = time.monotonic()

    def _claim(self, path: str) -> ClaimedTask | None:
        """Take a task; None when it cannot be run now."""
        try:
            claimed = claim(path)
        except OSError as error:
            logger.error("spooler %s: %s cannot be opened: %s", self.directory, path, error.strerror)
            self._backlog.done(path)
            return None
        if isinstance(claimed, Refusal):
            self._backlog.done(path)
            self._refused(path, claimed)
            return None
        return claimed

    async def _manage(self, claimed: ClaimedTask) -> None:
        self.statistics.running += 1
        try:
            report = await self._run.run(claimed)
        finally:
            self.statistics.running -= 1
            self._backlog.done(claimed.path)
        self._count(report)

    def _refused(self, path: str, refusal: Refusal) -> None:
        if refusal.why in ("busy", "empty"):
            self._wait_for_end(path)
        elif refusal.why == "early":
            self._expect(refusal.due)
        elif refusal.why in ("damaged", "foreign"):
            self._name_once(path, f"is left alone: {refusal.reason}")

    def _wait_for_end(self, path: str) -> None:
        """Try again when somebody else is ready with a file, if that can be heard of; else at the next look."""
        try:
            if self._watch is not None and self._watch.note_unfinished(path):
                self._backlog.add([path])
        except OSError:
            pass  # the directory is gone, or the machine has no more watches: `_watches_more` tells of it

    def _count(self, report: Report) -> None:
        match report.step:
            case Done():
                self.statistics.done += 1
            case GiveUp():
                self.statistics.given_up += 1
            case Again(due):
                self._expect(due)
        if report.outcome is Outcome.FAILED:
            self.statistics.failed += 1
        if report.outcome is not Outcome.IGNORED:
            self.count_task()
        if report.ends_process:
            self._wear_out()

    def _expect(self, due: float) -> None:
        """Look again at ``due``, in unix seconds, if not before."""
        if due < self._due:
            self._due = due
            self._stirred.set()

    def _wear_out(self) -> None:
        self._worn = True
        self.stop()

    def _name_once(self, path: str, what: str) -> None:
        if self._names_strangers and path not in self._named:
            self._named.add(path)
            logger.warning("spooler %s: %s %s", self.directory, path, what)
