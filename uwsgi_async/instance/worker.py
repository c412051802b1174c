"""A worker: serves on the listeners it was given until the master, a limit or a signal ends it.

What lives here: `work`, the life of a worker's process from its fork to its end. What does not: the fork
(`forkserver`), requests (`cores`), who replaces it (`keeper`), when it is worn out (`limits`).
"""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import anyio

from uwsgi_async.api.process import controlled
from uwsgi_async.compat.uwsgi_module import UwsgiModule
from uwsgi_async.cores.handover import Handover
from uwsgi_async.cores.request import Request
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.channel import (
    Drain,
    Failed,
    Hello,
    Inherit,
    Publish,
    Published,
    Ready,
    Reopen,
    Retire,
    Sources,
    Suspend,
    Worn,
)
from uwsgi_async.instance.control import BEAT, WorkerProcess
from uwsgi_async.instance.dynamic import DynamicOptions
from uwsgi_async.instance.hanging import TRACEBACK
from uwsgi_async.instance.hooks import await_hook, call_hook
from uwsgi_async.instance.limits import Wear, worn_out
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.loader import finish
from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.instance.names import name_process
from uwsgi_async.instance.resources import bind_to_cpus
from uwsgi_async.instance.scoreboard import Field
from uwsgi_async.instance.server import Server, serve_apps
from uwsgi_async.instance.sources import SourceReporter
from uwsgi_async.instance.state import SharedState
from uwsgi_async.instance.statistics.publish import Detail
from uwsgi_async.options.settings import Options
from uwsgi_async.signals.end import SignalEnd
from uwsgi_async.signals.messages import TO_PROCESS

logger = logging.getLogger("uwsgi_async")


EXIT_LOAD = 22
"""A worker's exit status when it could not load its app, as in uWSGI (UWSGI_FAILED_APP_CODE)."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is to do. ``load``: gives the apps; called in the worker's process. ``state``: is attached."""

    options: Options
    listeners: Sequence[Listener]
    handover: Handover
    load: Callable[[], Apps]
    module: UwsgiModule
    state: SharedState
    logs: ProcessLogs
    dynamic: DynamicOptions
    reporter: SourceReporter | None
    signals: SignalEnd


def work(process: WorkerProcess, assignment: Assignment) -> int:
    """Serve until told to end; return the process's exit status. Raises nothing."""
    try:
        _prepare_signals()
        name_process(assignment.options.names, f"uWSGI worker {process.worker}")
        bind_to_cpus(assignment.options.resources, process.worker)
        if not process.channel.send(Hello(os.getpid())):
            return 0  # nobody waits for it any more
        with controlled(process):
            if assignment.reporter is not None:
                assignment.reporter.begin()
            apps = assignment.load()
            process.accounts.loaded(apps, assignment.options)
            call_hook(assignment.module, "post_fork_hook")
            finish(assignment.options.load)
            loop = assignment.options.loop
            anyio.run(
                _serve,
                process,
                apps,
                assignment,
                backend="trio" if loop.trio else "asyncio",
                backend_options={"use_uvloop": True} if loop.uvloop else {},
            )
            _say_goodbye(assignment.module)
    except UwsgiAsyncError as error:
        if assignment.reporter is not None:
            process.channel.send_all((*assignment.reporter.report(), *assignment.reporter.report_failure(error)))
        process.channel.send(Failed(str(error)))
        logger.error("worker %d: %s", process.worker, error, exc_info=error.__cause__)
        return EXIT_LOAD
    except SystemExit as error:  # in the app while it was imported, or in its hooks
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # the end of the process: raised again, it would run into the fork server's frames
        logger.exception("worker %d ends because of an error", process.worker)
        return 1
    return 0


def _prepare_signals() -> None:
    """Let the master decide about what a whole foreground group gets, and name the line where this process hangs.

    No signal is ignored, because programs that the app starts would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR2):
        signal.signal(number, _ignore)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    faulthandler.enable()
    faulthandler.register(TRACEBACK)


def _ignore(_number: int, _frame: object) -> None:
    pass


async def _serve(process: WorkerProcess, apps: Apps, assignment: Assignment) -> None:
    options = assignment.options
    wear = _WearAndTear(process, assignment.dynamic)
    await await_hook(assignment.module, "post_fork_hook")

    count_app = process.accounts.count_app

    def count(request: Request) -> None:
        process.accounts.count(request.connection.pool)
        if count_app is not None:
            count_app(request)

    async with anyio.create_task_group() as tasks:
        async with serve_apps(
            apps,
            options,
            assignment.listeners,
            count,
            beside=(assignment.signals.run,),
            before_end=partial(assignment.signals.finish, options.cores.grace),
            handover=assignment.handover,
            leads=process.leads if options.process.processes > 1 else None,
        ) as server:
            process.pool = server.pool
            assignment.dynamic.changed = lambda: server.adopt(assignment.dynamic.applied())
            tasks.start_soon(_beat, process, server, wear, assignment)
            tasks.start_soon(_watch_sigterm, wear)
            process.accounts.row[Field.READY] = 1
            process.channel.send(Ready())
            word = await _listen(process, server, wear, assignment)
            wear.silence()
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
        tasks.cancel_scope.cancel()


async def _listen(process: WorkerProcess, server: Server, wear: _WearAndTear, assignment: Assignment) -> Drain | None:
    """Do what the master says, until it says that this is the end; return that, None when the master is gone."""
    while (message := await process.channel.receive()) is not None:
        if isinstance(message, Drain):
            return message
        if isinstance(message, Retire):
            wear.report("is to be replaced", asked=True)
        elif isinstance(message, Suspend):
            server.suspend(message.on)
        elif isinstance(message, Publish):
            process.publish(Detail(message.detail))
            process.channel.send(Published())
        elif isinstance(message, Reopen):
            assignment.logs.reopen()
        elif isinstance(message, TO_PROCESS):
            assignment.signals.receive(message)
        elif isinstance(message, Inherit):
            process.accounts.inherit({Field(int(number)): count for number, count in message.counts.items()})
    assignment.logs.go_on_alone()
    return None


async def _watch_sigterm(wear: _WearAndTear) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            await anyio.sleep(BEAT)  # if the whole group was meant, the master's word is on its way
            wear.report("has got SIGTERM")


async def _beat(process: WorkerProcess, server: Server, wear: _WearAndTear, assignment: Assignment) -> None:
    """Publish the worker's state; look whether it is worn out, its log file moved, an option changed by another one."""
    reporter, untold = assignment.reporter, list[Sources]()
    while True:
        process.accounts.publish(server.pool)
        process.accounts.note_signals(assignment.signals.handled)
        assignment.state.publish()
        assignment.logs.follow()
        server.adopt(assignment.dynamic.applied())
        wear.look()
        if reporter is not None:
            untold += reporter.report()
            while untold and process.channel.send(untold[0]):
                del untold[0]
        await process.accounts.beat()


class _WearAndTear:
    """Tells the master when the worker is worn out, once."""

    def __init__(self, process: WorkerProcess, dynamic: DynamicOptions) -> None:
        self._process = process
        self._dynamic = dynamic
        self._born = time.monotonic()
        self._reported = False

    def look(self) -> None:
        row, age = self._process.accounts.row, time.monotonic() - self._born
        wear = Wear(self._process.worker, row[Field.DELTA_REQUESTS], age, row[Field.RSS], row[Field.VSZ])
        reason = worn_out(self._dynamic.applied().process, wear)
        if reason is None and self._process.pool is not None:
            reason = self._process.pool.worn_out()
        if reason is not None:
            self.report(reason)

    def silence(self) -> None:
        """Report no more: the process ends anyway."""
        self._reported = True

    def report(self, reason: str, *, asked: bool = False) -> None:
        if (asked or not self._reported) and self._process.step_aside():
            self._reported = self._process.channel.send(Worn(reason))


def _say_goodbye(module: UwsgiModule) -> None:
    """Run what the app wants to run at the end of a process: uWSGI's hook, and Python's."""
    call_hook(module, "atexit")
    if threading.current_thread() is threading.main_thread():
        atexit._run_exitfuncs()
    sys.stdout.flush()
