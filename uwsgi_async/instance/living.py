"""The life of a process under a master, from its fork to its end, whatever its role is.

What lives here: `live`, and `Assignment`, what a fork server hands to it. What does not: what a role does (`worker`,
`spoolerprocess`), the fork (`forkserver`), who replaces it (`keeper`).
"""

from __future__ import annotations

import atexit
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from uwsgi_async.api.process import controlled
from uwsgi_async.api.rpc import functions
from uwsgi_async.compat.uwsgi_module import UwsgiModule
from uwsgi_async.cores.handover import Handover
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.channel import (
    Drain,
    Failed,
    Hello,
    Message,
    Publish,
    Published,
    Reopen,
    Retire,
    Sources,
    Worn,
)
from uwsgi_async.instance.control import BEAT, ProcessUnderMaster
from uwsgi_async.instance.dynamic import DynamicOptions
from uwsgi_async.instance.hanging import TRACEBACK
from uwsgi_async.instance.hooks import call_hook
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.loader import finish
from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.instance.names import name_process
from uwsgi_async.instance.resources import bind_to_cpus
from uwsgi_async.instance.sources import SourceReporter
from uwsgi_async.instance.state import SharedState
from uwsgi_async.instance.statistics.publish import Detail
from uwsgi_async.options.settings import Options
from uwsgi_async.signals.end import SignalEnd
from uwsgi_async.signals.messages import TO_PROCESS

logger = logging.getLogger("uwsgi_async")


EXIT_LOAD = 22
"""The exit status of a process that could not load its app, as in uWSGI (UWSGI_FAILED_APP_CODE)."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a process is to do. ``load``: gives the apps; called in the process. ``state``: is attached."""

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


def live(process: ProcessUnderMaster, assignment: Assignment, main: Callable[[Apps], Coroutine[Any, Any, None]]) -> int:
    """Load the app, await ``main`` with it, and say goodbye; return the process's exit status. Raises nothing."""

    def body(apps: Apps) -> None:
        call_hook(assignment.module, "post_fork_hook")
        finish(assignment.options.load)
        loop = assignment.options.loop
        anyio.run(
            main,
            apps,
            backend="trio" if loop.trio else "asyncio",
            backend_options={"use_uvloop": True} if loop.uvloop else {},
        )

    return live_with(process, assignment, body)


def live_with(process: ProcessUnderMaster, assignment: Assignment, body: Callable[[Apps], None]) -> int:
    """Do the same with a plain ``body``, outside any event loop, that calls the app's ``post_fork_hook`` itself."""
    try:
        _prepare_signals()
        name_process(assignment.options.names, f"uWSGI {process.role}")
        if process.role.kind == "worker":
            bind_to_cpus(assignment.options.resources, process.role.number)
        if not process.channel.send(Hello(os.getpid())):
            return 0  # nobody waits for it any more
        with controlled(process):
            if assignment.reporter is not None:
                assignment.reporter.begin()
            apps = assignment.load()
            if process.role.kind != "worker":
                functions().closed = f"{process.role} serves no calls; only what is registered at import is known to it"
            body(apps)
            _say_goodbye(assignment.module)
    except UwsgiAsyncError as error:
        if assignment.reporter is not None:
            process.channel.send_all((*assignment.reporter.report(), *assignment.reporter.report_failure(error)))
        process.channel.send(Failed(str(error)))
        logger.error("%s: %s", process.role, error, exc_info=error.__cause__)
        return EXIT_LOAD
    except SystemExit as error:  # in the app while it was imported, or in its hooks
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # the end of the process: raised again, it would run into the fork server's frames
        logger.exception("%s ends because of an error", process.role)
        return 1
    return 0


class Place:
    """A process's place, which it may leave to another one, once."""

    def __init__(self, process: ProcessUnderMaster) -> None:
        self._process = process
        self._told = False

    def leave(self, reason: str, *, asked: bool = False) -> None:
        """Tell the master that another process is to take the place; ``reason``: see `Worn`.

        Nothing happens as long as the one before this one has not ended: ask again. ``asked``: also when it is ending.
        """
        if (asked or not self._told) and self._process.step_aside():
            self._told = self._process.channel.send(Worn(reason))

    def keep(self) -> None:
        """Never leave it any more: the process ends anyway."""
        self._told = True


class Upkeep:
    """What every process under a master does with each beat, whatever its role."""

    def __init__(self, process: ProcessUnderMaster, assignment: Assignment) -> None:
        self._channel = process.channel
        self._assignment = assignment
        self._untold: list[Sources] = []

    def do(self) -> Options:
        """Publish counts of shared state, follow the log file, report what was imported; return the options now."""
        assignment = self._assignment
        assignment.state.publish()
        assignment.logs.follow()
        if assignment.reporter is not None:
            self._untold += assignment.reporter.report()
            while self._untold and self._channel.send(self._untold[0]):
                del self._untold[0]
        return assignment.dynamic.applied()


async def listen(
    process: ProcessUnderMaster, place: Place, assignment: Assignment, handle: Callable[[Message], None]
) -> Drain | None:
    """Do what the master says, until it says that this is the end; return that, None when the master is gone.

    ``handle``: gets the messages that are for the process's role.
    """
    while (message := await process.channel.receive()) is not None:
        if isinstance(message, Drain):
            return message
        if isinstance(message, Retire):
            place.leave("is to be replaced", asked=True)
        elif isinstance(message, Publish):
            process.publish(Detail(message.detail))
            process.channel.send(Published())
        elif isinstance(message, Reopen):
            assignment.logs.reopen()
        elif isinstance(message, TO_PROCESS):
            assignment.signals.receive(message)
        else:
            handle(message)
    assignment.logs.go_on_alone()
    return None


async def watch_sigterm(place: Place) -> None:
    """Leave the place when somebody sends SIGTERM to this process alone."""
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            await anyio.sleep(BEAT)  # if the whole group was meant, the master's word is on its way
            place.leave("has got SIGTERM")


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


def _say_goodbye(module: UwsgiModule) -> None:
    """Run what the app wants to run at the end of a process: uWSGI's hook, and Python's."""
    call_hook(module, "atexit")
    if threading.current_thread() is threading.main_thread():
        atexit._run_exitfuncs()
    sys.stdout.flush()
