"""A worker: serves on the listeners it was given until the master, a limit or a signal ends it.

What lives here: `work`, the life of a worker's process from its fork to its end. What does not: the fork
(`forkserver`), requests (`cores`), who replaces it (`master`).
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import CancelScope

from uwsgi_async.api.process import controlled
from uwsgi_async.compat.uwsgi_module import UwsgiModule
from uwsgi_async.cores.request import Request
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.channel import Channel, Drain, Failed, Hello, Ready
from uwsgi_async.instance.control import WorkerProcess
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.loader import finish
from uwsgi_async.instance.scoreboard import Field
from uwsgi_async.instance.server import Server, serve_apps
from uwsgi_async.instance.state import SharedState
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

_BEAT = 0.25  # seconds between two looks at what is not counted request by request
_IDLE = 5.0  # seconds that a worker which is replaced keeps idle connections, for the request that may be on its way
_MEGABYTE = 1 << 20

EXIT_LOAD = 3
"""A worker's exit status when it could not load its app."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a worker is to do. ``load``: gives the apps; called in the worker's process. ``state``: is attached."""

    options: Options
    listeners: Sequence[Listener]
    load: Callable[[], Apps]
    module: UwsgiModule
    state: SharedState


def work(process: WorkerProcess, assignment: Assignment) -> int:
    """Serve until told to end; return the process's exit status."""
    faulthandler.enable()  # the master ends a worker that hangs by SIGABRT, and this names the line where it hung
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # for the whole foreground group: the master passes on what they mean
    process.channel.send(Hello(os.getpid()))
    options = assignment.options
    loop = options.loop
    try:
        with controlled(process):
            apps = assignment.load()
            hook = getattr(assignment.module, "post_fork_hook", None)
            if hook is not None:
                hook()
            finish(options.load)
            anyio.run(
                _serve,
                process,
                apps,
                assignment,
                backend="trio" if loop.trio else "asyncio",
                backend_options={"use_uvloop": True} if loop.uvloop else {},
            )
            _call_atexit(assignment.module)
    except UwsgiAsyncError as error:
        process.channel.send(Failed(str(error)))
        logger.error("worker %d: %s", process.worker, error, exc_info=error.__cause__)
        return EXIT_LOAD
    return 0


async def _serve(process: WorkerProcess, apps: Apps, assignment: Assignment) -> None:
    options = assignment.options
    done = anyio.Event()
    most = options.process.max_requests

    def count(request: Request) -> None:
        pool = request.connection.pool
        process.accounts.count(pool)
        if most and pool.requests >= most and not done.is_set():
            logger.info("worker %d has served %d requests (option max-requests)", process.worker, most)
            done.set()

    async with anyio.create_task_group() as watch:
        async with serve_apps(apps, options, assignment.listeners, count) as server:
            process.pool = server.pool
            watch.start_soon(_beat, process, server, assignment, done)
            process.accounts.row[Field.READY] = 1
            process.channel.send(Ready())
            idle = 0.0
            async with anyio.create_task_group() as waiting:
                waiting.start_soon(_wait, done.wait, waiting.cancel_scope)
                waiting.start_soon(_wait_for_sigterm, waiting.cancel_scope)
                idle = await _listen(process.channel, waiting.cancel_scope) or _IDLE
            await server.retire(idle)
        watch.cancel_scope.cancel()
    assignment.state.publish()


async def _wait(event: Callable[[], Any], scope: CancelScope) -> None:
    await event()
    scope.cancel()


async def _wait_for_sigterm(scope: CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            scope.cancel()
            return


async def _listen(channel: Channel, scope: CancelScope) -> float | None:
    """Wait for the master's word to end, or for the master's own end; return the seconds to keep idle connections."""
    idle = 0.0
    while (message := await channel.receive()) is not None:
        if isinstance(message, Drain):
            idle = message.idle
            break
    else:
        logger.error("the master is gone: worker %d finishes its requests and ends", os.getpid())
    scope.cancel()
    return idle


async def _beat(process: WorkerProcess, server: Server, assignment: Assignment, done: anyio.Event) -> None:
    """Publish the worker's state, and end it when it has grown too old or too large."""
    limits = assignment.options.process
    lifetime, rss = limits.max_worker_lifetime, limits.reload_on_rss
    born = time.monotonic()
    while True:
        process.accounts.publish(server.pool)
        assignment.state.publish()
        if not done.is_set():
            if lifetime and time.monotonic() - born >= lifetime:
                logger.info("worker %d has lived %g s (option max-worker-lifetime)", process.worker, lifetime)
                done.set()
            elif rss and process.accounts.row[Field.RSS] > rss * _MEGABYTE:
                logger.info("worker %d uses more than %d MB (option reload-on-rss)", process.worker, rss)
                done.set()
        await anyio.sleep(_BEAT)


def _call_atexit(module: UwsgiModule) -> None:
    hook = getattr(module, "atexit", None)
    if hook is not None:
        try:
            hook()
        except Exception:
            logger.exception("uwsgi.atexit raised an error")
    sys.stdout.flush()
