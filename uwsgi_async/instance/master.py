"""The master: owns the listeners, keeps a generation of workers alive, reloads and stops. It runs no user code.

What lives here: `run_master`. What does not: one generation (`generation`), the single process (`server`).
A reload starts a second generation and drains the first only when all workers of the second serve. If the second
cannot be started, the first goes on.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack

import anyio
from anyio.abc import TaskGroup

from uwsgi_async.errors import UsageError, UwsgiAsyncError
from uwsgi_async.instance.channel import Message, Reload, Stop
from uwsgi_async.instance.generation import Generation
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.reaper import Reaper, adopt_descendants
from uwsgi_async.instance.server import open_listeners
from uwsgi_async.instance.state import SharedState
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

_IDLE = 5.0  # seconds that workers which are replaced keep idle connections: a request may be on its way

_SIGNALS = (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


async def run_master(options: Options, read_options: Callable[[], Options]) -> None:
    """Run an instance with a master until it is told to stop.

    ``read_options``: called at each reload, for options that have changed. Raises `UwsgiAsyncError` when the instance
    cannot be started: then nothing is left running.
    """
    with ExitStack() as stack:
        listeners = open_listeners(options, stack)
        if options.process.pidfile is not None:
            stack.callback(_write_pidfile(options.process.pidfile))
        state = SharedState.create(options)
        stack.callback(state.close)
        adopt_descendants()
        master = Master(listeners, state, read_options)
        await master.run(options)


class Master:
    """The life of the master. `reload` and `stop` may be called at any time, from its event loop."""

    def __init__(self, listeners: list[Listener], state: SharedState, read_options: Callable[[], Options]) -> None:
        self._listeners = listeners
        self._state = state
        self._read_options = read_options
        self._reaper = Reaper()
        self._generation: Generation | None = None
        self._reloads = 0
        self._reload_wanted = False
        self._reloading = False
        self._stopping = False
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<Master {os.getpid()}: {self._generation!r}>"

    async def run(self, options: Options) -> None:
        """Start the first generation and serve until `stop`. Raises `UwsgiAsyncError` when it cannot be started."""
        error: UwsgiAsyncError | None = None
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            async with anyio.create_task_group() as watch:
                watch.start_soon(self._watch_signals, signals)
                watch.start_soon(self._state.maintain)
                try:
                    async with anyio.create_task_group() as self._tasks:
                        logger.info("spawned the master process (pid: %d)", os.getpid())
                        self._generation = await self._begin(options)
                        if self._stopping:
                            self._generation.drain(0)
                        for listener in self._listeners:
                            logger.info("*** uwsgi-async serves %s ***", listener.url or listener.name)
                except* UwsgiAsyncError as errors:
                    error = next(each for each in _leaves(errors) if isinstance(each, UwsgiAsyncError))
                watch.cancel_scope.cancel()
        if error is not None:
            raise error
        logger.info("goodbye to uwsgi-async.")

    def reload(self) -> None:
        """Begin a graceful reload; one that is asked for while another runs begins behind it, once."""
        if self._stopping or self._tasks is None:
            return
        if self._reloading:
            self._reload_wanted = True
            return
        self._reloading = True
        self._tasks.start_soon(self._reload)

    def stop(self, reason: str) -> None:
        """Drain the workers and end; asked for a second time, kill them."""
        if self._stopping:
            logger.info("%s: killing the workers", reason)
            if self._generation is not None:
                self._generation.kill()
            return
        logger.info("%s: finishing the running requests", reason)
        self._stopping = True
        if self._generation is not None and self._tasks is not None:
            self._generation.drain(0)
            self._tasks.start_soon(self._kill_late, self._generation)

    async def _begin(self, options: Options) -> Generation:
        """Start a generation and wait until all its workers serve."""
        assert self._tasks is not None
        generation = Generation(options, self._listeners, self._state, self._reaper, self._handle, self._reloads)
        await generation.start()
        self._tasks.start_soon(generation.keep)
        await generation.all_ready.wait()
        if generation.failed is not None:
            raise UsageError(generation.failed)
        return generation

    async def _reload(self) -> None:
        began = time.monotonic()
        logger.info("reloading: starting new workers, the old ones serve until these do")
        old = self._generation
        assert old is not None
        self._reloads += 1
        try:
            new = await self._begin(self._read_options())
        except UwsgiAsyncError as error:
            self._reloads -= 1
            logger.error("the reload has failed, the old workers go on: %s", error)
        else:
            self._generation = new
            old.drain(_IDLE)
            logger.info("reloaded in %.2f s: the new workers serve", time.monotonic() - began)
            if self._tasks is not None:
                self._tasks.start_soon(self._kill_late, old)
            if self._stopping:
                new.drain(0)
        self._reloading = False
        if self._reload_wanted:
            self._reload_wanted = False
            self.reload()

    async def _kill_late(self, generation: Generation) -> None:
        """Kill the workers of a drained generation that need longer than the mercy allows."""
        mercy = generation.options.process.reload_mercy
        with anyio.move_on_after(mercy):
            await generation.ended.wait()
            return
        logger.error("%d workers have not ended within %g s (option reload-mercy)", len(generation.workers), mercy)
        generation.kill()

    def _handle(self, message: Message) -> None:
        if isinstance(message, Reload):
            self.reload()
        elif isinstance(message, Stop):
            self.stop("stop() was called")

    async def _watch_signals(self, signals: AsyncIterator[signal.Signals]) -> None:
        async for number in signals:
            if number == signal.SIGCHLD:
                self._reaper.collect()
                self._state.mend()
            elif number == signal.SIGHUP:
                self.reload()
            else:
                self.stop(f"{signal.Signals(number).name} received")


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for each in group.exceptions:
        leaves += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return leaves


def _write_pidfile(path: str) -> Callable[[], None]:
    """Write this process's id to ``path``; return what removes the file again."""
    try:
        with open(path, "w") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        raise UsageError(f"pidfile: cannot write {path!r}: {error.strerror}") from error

    def remove() -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass

    return remove
