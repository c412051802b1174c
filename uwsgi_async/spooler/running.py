"""One run of one task: from the claimed file to what becomes of it.

What lives here: `TaskRun`. What does not: which task is next (`backlog`), how many at once (`runner`).
"""

from __future__ import annotations

import inspect
import logging
import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

import anyio

from uwsgi_async.options.spooling import SpoolerOptions
from uwsgi_async.spooler.claiming import ClaimedTask
from uwsgi_async.spooler.decide import Again, Done, GiveUp, Outcome, Patience, Step, is_worn_out, next_step, outcome_of
from uwsgi_async.spooler.history import History, forget, recall, remember, write_letter
from uwsgi_async.spooler.names import DEAD
from uwsgi_async.spooler.task import RETRIES, TIMEOUT, Task

logger = logging.getLogger("uwsgi_async")

_CRASHED: Final = "the process that ran it ended before the task did"

_TOO_LATE: Final = object()
_NEW: Final = History()

Arguments = dict[Any, bytes]
SpoolerFunction = Callable[[Arguments], Any]
"""What an app sets as ``uwsgi.spooler``; it may be async."""


@dataclass(frozen=True, slots=True)
class Report:
    """How a run went. ``step``: what became of the task. ``ends_process``: it called `sys.exit`."""

    outcome: Outcome
    step: Step
    ends_process: bool = False


_DONE: Final = Report(Outcome.OK, Done())


def arguments(task: Task, name: str) -> Arguments:
    """Return what the spooler function gets: as in uWSGI, keys are bytes, but for two of them."""
    result: Arguments = {"spooler_task_name": os.fsencode(name)}
    result.update(task.fields)
    if task.body:
        result["body"] = task.body
    return result


class TaskRun:
    """Runs tasks of one directory.

    ``frequency``: returns the seconds between two looks at it, as they are now. ``guard``: is told how many seconds a
    run may take, and 0 when it is over, by any object for the run: somebody outside may end what cannot be cancelled.
    """

    def __init__(
        self,
        directory: str,
        options: SpoolerOptions,
        find: Callable[[], SpoolerFunction | None],
        frequency: Callable[[], float],
        guard: Callable[[object, float], None],
    ) -> None:
        self._guard = guard
        self._directory = directory
        self._options = options
        self._find = find
        self._frequency = frequency
        self._usual = Patience(
            frequency(),
            options.spooler_retries if options.spooler_retries >= 0 else None,
            options.spooler_retry_delay,
            options.spooler_retry_delay_max,
        )
        self._dead = options.spooler_dead_letter or os.path.join(directory, DEAD)
        self._label = f"[spooler {directory} pid: {os.getpid()}]"

    def __repr__(self) -> str:
        return f"<TaskRun in {self._directory}>"

    async def run(self, claimed: ClaimedTask) -> Report:
        """Run a task, and do with it what is to be done then. It is let go in any case, also when cancelled."""
        try:
            patience, history = self._patience(claimed.task), _NEW
            if patience.remembers:
                history = recall(claimed.path)
                if is_worn_out(history.runs, patience):  # its last run has ended the process
                    return self._carry_out(claimed, Report(Outcome.FAILED, GiveUp()), history, patience)
                try:
                    remember(claimed.path, History(history.runs + 1, _CRASHED))
                except OSError as refused:
                    return self._cannot(claimed, refused)
            outcome, error, leaves = await self._call(claimed)
            if outcome is Outcome.OK:
                return self._carry_out(claimed, _DONE, history, patience)
            runs = history.runs + (outcome is not Outcome.IGNORED)
            patience = replace(patience, frequency=self._frequency())
            step = next_step(outcome, runs, patience, time.time(), forever=claimed.task.forever)
            return self._carry_out(claimed, Report(outcome, step, leaves), History(runs, error), patience)
        finally:
            claimed.abandon()

    async def _call(self, claimed: ClaimedTask) -> tuple[Outcome, str, bool]:
        """Call the app's function; return how it went, the error in words, and whether the process is to end."""
        function = self._find()
        if function is None:
            logger.warning("unable to find the spooler function, have you loaded it into the spooler process ?")
            return Outcome.IGNORED, "", False
        quiet = self._options.spooler_quiet
        if not quiet:
            logger.info("%s managing request %s ...", self._label, claimed.name)
        began = 0.0 if quiet else time.monotonic()
        seconds = self._options.spooler_harakiri
        if TIMEOUT in claimed.task.fields:
            seconds = claimed.task.timeout or seconds
        try:
            if seconds:
                self._guard(claimed, seconds)
                result = await _limited(function, arguments(claimed.task, claimed.name), seconds)
            else:
                result = function(arguments(claimed.task, claimed.name))
                if type(result) is not int and inspect.isawaitable(result):
                    result = await result
        except (Exception, SystemExit) as error:
            logger.error("%s task %s failed", self._label, claimed.name, exc_info=error)
            return Outcome.FAILED, "".join(traceback.format_exception(error)), isinstance(error, SystemExit)
        finally:
            if seconds:
                self._guard(claimed, 0)
        if result is _TOO_LATE:
            reason = f"it took more than {seconds:g} seconds"
            logger.error("%s task %s was cancelled: %s", self._label, claimed.name, reason)
            return Outcome.FAILED, reason, False
        outcome = outcome_of(result)
        if outcome is Outcome.OK and not quiet:
            took = time.monotonic() - began
            logger.info("%s done with task %s after %.3f seconds", self._label, claimed.name, took)
        return outcome, "", False

    def _patience(self, task: Task) -> Patience:
        """Return how long this task is tried: as the options say, unless it says so itself."""
        if RETRIES in task.fields and (retries := task.retries) is not None:
            return replace(self._usual, retries=retries)
        return self._usual

    def _carry_out(self, claimed: ClaimedTask, report: Report, history: History, patience: Patience) -> Report:
        """Do what was decided. When the file system refuses, that is logged, and the task stays, to be run again."""
        try:
            match report.step:
                case Done():
                    if patience.remembers:
                        forget(claimed.path)
                    claimed.remove()
                case GiveUp():
                    self._give_up(claimed, history)
                case Again(due):
                    if patience.remembers:
                        remember(claimed.path, history)
                    claimed.release(due)
        except OSError as refused:
            return self._cannot(claimed, refused)
        return report

    def _cannot(self, claimed: ClaimedTask, error: OSError) -> Report:
        logger.error("%s task %s stays, and will be run again: %s", self._label, claimed.name, error)
        step = Again(time.time() + self._frequency())
        with suppress(OSError):
            claimed.release(step.due)
        return Report(Outcome.IGNORED, step)

    def _give_up(self, claimed: ClaimedTask, history: History) -> None:
        os.makedirs(self._dead, mode=0o700, exist_ok=True)
        place = os.path.join(self._dead, claimed.name)
        number = 1
        while os.path.lexists(place):  # tasks that are unique share a name
            number += 1
            place = os.path.join(self._dead, f"{claimed.name}_{number}")
        write_letter(place, replace(history, error=history.error or "it asked for another run each time"))
        path = claimed.path
        claimed.move(place)
        forget(path)
        logger.error("%s task %s is given up after %d runs: see %s", self._label, claimed.name, history.runs, place)


async def _limited(function: SpoolerFunction, task: Arguments, seconds: float) -> object:
    """Call the app's function and return its result; `_TOO_LATE` when it was cancelled after ``seconds``."""
    with anyio.CancelScope(deadline=anyio.current_time() + seconds):
        result = function(task)
        return await result if inspect.isawaitable(result) else result
    return _TOO_LATE
