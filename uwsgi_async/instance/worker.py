"""A worker: serves on the listeners it was given until the master, a limit or a signal ends it.

What lives here: `work`. What does not: what all processes under a master do (`living`), the fork (`forkserver`),
requests (`cores`), who replaces it (`keeper`), when it is worn out (`limits`).
"""

from __future__ import annotations

import logging
import time
from functools import partial

import anyio
from anyio.abc import TaskGroup

from uwsgi_async.cores.request import Request
from uwsgi_async.errors import AppLoadError
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.channel import Drain, Inherit, Message, Ready, Suspend
from uwsgi_async.instance.control import WorkerProcess
from uwsgi_async.instance.dynamic import DynamicOptions
from uwsgi_async.instance.erlang import NodeTask
from uwsgi_async.instance.hooks import await_hook
from uwsgi_async.instance.limits import Wear, worn_out
from uwsgi_async.instance.living import Assignment, Place, Upkeep, listen, live, watch_sigterm
from uwsgi_async.instance.scoreboard import Field
from uwsgi_async.instance.server import Server, serve_apps

logger = logging.getLogger("uwsgi_async")


def work(process: WorkerProcess, assignment: Assignment) -> int:
    """Serve until told to end; return the process's exit status. Raises nothing."""
    return live(process, assignment, partial(_serve, process, assignment))


async def _serve(process: WorkerProcess, assignment: Assignment, apps: Apps) -> None:
    failure: AppLoadError | None = None
    async with anyio.create_task_group() as tasks:
        try:
            await _serve_beside(tasks, process, assignment, apps)
        except AppLoadError as error:  # raised again below, outside the group that would wrap it
            failure = error
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _serve_beside(tasks: TaskGroup, process: WorkerProcess, assignment: Assignment, apps: Apps) -> None:
    """Serve, with what else the worker does in ``tasks``. Raises `AppLoadError` when an app cannot begin."""
    options = assignment.options
    process.accounts.loaded(apps, options)
    wear = _WearAndTear(process, assignment.dynamic)
    await await_hook(assignment.module, "post_fork_hook")

    count_app = process.accounts.count_app
    node = NodeTask(options, serves=True)

    def count(request: Request) -> None:
        process.accounts.count(request.connection.pool)
        if count_app is not None:
            count_app(request)

    async def before_end() -> None:
        await node.release()
        await assignment.signals.finish(options.cores.grace)

    async with serve_apps(
        apps,
        options,
        assignment.listeners,
        count,
        beside=(assignment.signals.run, node.run),
        before_end=before_end,
        handover=assignment.handover,
        leads=process.leads if options.process.processes > 1 else None,
    ) as server:
        process.pool = server.pool
        assignment.dynamic.changed = lambda: server.adopt(assignment.dynamic.applied())
        tasks.start_soon(_beat, process, server, wear, assignment)
        tasks.start_soon(watch_sigterm, wear.place)
        process.accounts.row[Field.READY] = 1
        process.channel.send(Ready())
        word = await _listen(process, server, wear, assignment)
        wear.place.keep()
        if word is None:
            logger.error("the master is gone: worker %d finishes its requests and ends", process.worker)
            server.let_go()
        else:
            tasks.start_soon(_listen, process, server, wear, assignment)  # the rest may take a while
            if word.hand_over:
                server.hand_over()
    await await_hook(assignment.module, "atexit")
    process.accounts.publish(server.pool)  # with what has ended since the last beat
    assignment.state.publish()


async def _listen(process: WorkerProcess, server: Server, wear: _WearAndTear, assignment: Assignment) -> Drain | None:
    """Do what the master says, until it says that this is the end; return that, None when the master is gone."""

    def handle(message: Message) -> None:
        if isinstance(message, Suspend):
            server.suspend(message.on)
        elif isinstance(message, Inherit):
            process.accounts.inherit({Field(int(number)): count for number, count in message.counts.items()})

    return await listen(process, wear.place, assignment, handle)


async def _beat(process: WorkerProcess, server: Server, wear: _WearAndTear, assignment: Assignment) -> None:
    """Publish the worker's state; look whether it is worn out, its log file moved, an option changed by another one."""
    upkeep = Upkeep(process, assignment)
    while True:
        process.accounts.publish(server.pool)
        process.accounts.note_signals(assignment.signals.handled)
        server.adopt(upkeep.do())
        wear.look()
        await process.accounts.beat()


class _WearAndTear:
    """Tells the master when the worker is worn out. ``place``: what it leaves then."""

    def __init__(self, process: WorkerProcess, dynamic: DynamicOptions) -> None:
        self._process = process
        self._dynamic = dynamic
        self._born = time.monotonic()
        self.place = Place(process)

    def look(self) -> None:
        row, age = self._process.accounts.row, time.monotonic() - self._born
        wear = Wear(self._process.worker, row[Field.DELTA_REQUESTS], age, row[Field.RSS], row[Field.VSZ])
        reason = worn_out(self._dynamic.applied().process, wear)
        if reason is None and self._process.pool is not None:
            reason = self._process.pool.worn_out()
        if reason is not None:
            self.place.leave(reason)
