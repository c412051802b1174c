"""A spooler's process under a master: runs tasks until the master, its number of tasks or a signal ends it.

What lives here: `run_spooler`. What does not: what all processes under a master do (`living`), the tasks (`spooling`,
`spooler`), a spooler in an instance that is one process (`server`).
"""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Final

import anyio
from anyio.abc import TaskStatus

from uwsgi_async.api import spooler
from uwsgi_async.cores.portal import close_to_threads, open_to_threads
from uwsgi_async.fdwait.poller import open_poller
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.channel import Ready
from uwsgi_async.instance.control import BEAT, HelperProcess
from uwsgi_async.instance.erlang import NodeTask
from uwsgi_async.instance.hooks import await_hook
from uwsgi_async.instance.importing import import_any
from uwsgi_async.instance.living import Assignment, Place, Upkeep, listen, live, watch_sigterm
from uwsgi_async.instance.scoreboard import Field
from uwsgi_async.instance.spooling import SpoolerTasks
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

_NICE: Final = 19  # as in uWSGI: requests come first


def run_spooler(process: HelperProcess, assignment: Assignment) -> int:
    """Run tasks until told to end; return the process's exit status. Raises nothing."""
    spoolers = spooler.current()
    assert spoolers is not None
    spoolers.process = process.role.number - 1
    return live(process, _importing(assignment), partial(_run, process, assignment))


def _importing(assignment: Assignment) -> Assignment:
    """Return the assignment with ``spooler-import`` behind the app."""

    def load() -> Apps:
        apps = assignment.load()
        for name in assignment.options.spooler.spooler_import:
            import_any(name)
        return apps

    return replace(assignment, load=load)


async def _run(process: HelperProcess, assignment: Assignment, _apps: Apps) -> None:
    options, spoolers, number = assignment.options, spooler.current(), process.role.number - 1
    assert spoolers is not None
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    os.chdir(options.spooler.spooler_chdir or spoolers.directories[number])
    await await_hook(assignment.module, "post_fork_hook")
    tasks = SpoolerTasks(assignment.module, spoolers, [number], partial(_guard, process, options))
    process.busy = lambda: tasks.running
    place = Place(process)
    with ExitStack() as stack:
        poller = open_poller()
        stack.callback(poller.release)
        stack.callback(close_to_threads, open_to_threads())
        async with anyio.create_task_group() as beside:
            beside.start_soon(assignment.signals.run)
            beside.start_soon(NodeTask(options, serves=False).run)
            beside.start_soon(_beat, process, assignment, tasks)
            beside.start_soon(watch_sigterm, place)
            await beside.start(_run_tasks, tasks, place)
            process.row[Field.READY] = 1
            process.channel.send(Ready())
            word = await listen(process, place, assignment, lambda _message: None)
            place.keep()
            if word is None:
                logger.error("the master is gone: %s finishes its tasks and ends", process.role)
            await tasks.finish(options.cores.grace)
            await assignment.signals.finish(options.cores.grace)
            beside.cancel_scope.cancel()
    await await_hook(assignment.module, "atexit")
    process.publish()
    assignment.state.publish()


def _guard(process: HelperProcess, options: Options, run: object, seconds: float) -> None:
    """Let the master end this process when a task is neither over nor cancelled in time."""
    process.limit(run, seconds + options.cores.harakiri_graceful_timeout if seconds else 0)


async def _beat(process: HelperProcess, assignment: Assignment, tasks: SpoolerTasks) -> None:
    """Publish what the process does; count its signals; keep up with the rest of the instance."""
    signals, upkeep = assignment.signals, Upkeep(process, assignment)
    before, counted = process.row[Field.SIGNALS], 0
    while True:
        process.publish()
        process.row[Field.SIGNALS] = before + signals.handled
        tasks.count_signals(signals.handled - counted)
        counted = signals.handled
        upkeep.do()
        await anyio.sleep(BEAT)


async def _run_tasks(tasks: SpoolerTasks, place: Place, *, task_status: TaskStatus[None]) -> None:
    """Run tasks until told to end, or until the process has done enough; then leave its place to another one."""
    await tasks.run(task_status=task_status)
    while tasks.worn:
        place.leave("has done its tasks")
        await anyio.sleep(BEAT)
