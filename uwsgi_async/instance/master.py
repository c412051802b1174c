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
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from uwsgi_async.api.statistics import InstanceStatistics
from uwsgi_async.cores.handover import Handover
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.instance.channel import Message, Reload, Stop
from uwsgi_async.instance.controls import Controls
from uwsgi_async.instance.daemon import Launch
from uwsgi_async.instance.generation import Generation
from uwsgi_async.instance.logs.collector import Collector
from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.instance.logs.rotator import Rotator
from uwsgi_async.instance.notify import Notifier
from uwsgi_async.instance.reaper import Reaper, adopt_descendants
from uwsgi_async.instance.scoreboard import Header, State
from uwsgi_async.instance.server import open_listeners
from uwsgi_async.instance.spawning import Holdings, Zygote
from uwsgi_async.instance.standing import take_place
from uwsgi_async.instance.state import SharedState
from uwsgi_async.instance.statistics.collect import collect
from uwsgi_async.instance.statistics.publish import Detail
from uwsgi_async.instance.statistics.server import StatsServer, open_local_stats, open_stats
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

_SIGNALS = (signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR2)


async def run_master(options: Options, logs: ProcessLogs, read_options: Callable[[], Options], launch: Launch) -> None:
    """Run an instance with a master until it is told to stop.

    ``logs``: of this process. ``read_options``: called at each reload, for options that have changed. ``launch``: is
    told of the start. Raises `UwsgiAsyncError` when the instance cannot be started: then nothing is left running.
    """
    with ExitStack() as stack:
        listeners = open_listeners(options, stack)
        faces = open_stats(options, stack)
        opened = (*listeners, *(face.listener for face in faces))
        files = [listener.file for listener in opened if listener.file is not None]
        files += take_place(options, stack)
        faces += open_local_stats(stack)
        state = SharedState.create(options)
        stack.callback(state.close)
        handover = Handover.create()
        stack.callback(handover.close)
        sockets = [listener.sock.fileno() for listener in listeners]
        zygote = Zygote([*sockets, *handover.filenos(), *state.fds], options.loop.name)
        stack.callback(zygote.close)
        adopt_descendants()
        if options.system.daemonize is not None:
            launch.report()
        holdings = Holdings(listeners, handover, files, state, Collector(logs), zygote)
        master = Master(options, holdings, Rotator(logs, options.loggers), read_options)
        controls = Controls(options, master, stack)
        files += controls.files  # the same list as in holdings: the guardian removes them
        state.observe(master.glance)
        await master.run(launch, StatsServer(options.stats, faces, master), controls)


class Master:
    """The life of the master. `reload` and `stop` may be called at any time, from its event loop."""

    def __init__(
        self, options: Options, holdings: Holdings, rotator: Rotator, read_options: Callable[[], Options]
    ) -> None:
        self.options = options  # of the last generation that came to serve
        self._notifier = Notifier.from_environment()
        self._holdings = holdings
        self._rotator = rotator
        self._read_options = read_options
        self._reaper = Reaper()
        self._generation: Generation | None = None
        self._generations: list[Generation] = []  # all that have not ended
        self._beginning: Generation | None = None
        self._newest: Generation | None = None
        self._start = anyio.CancelScope()
        self._started = time.time_ns() // 1000
        self._reloads = self._failed_reloads = 0
        self._reload_wanted: tuple[str, bool] | None = None  # why, and whether brutally
        self._reloading = False
        self._stopping = False
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<Master {os.getpid()}: {self._generation!r}>"

    async def run(self, launch: Launch, stats: StatsServer, controls: Controls) -> None:
        """Start the first generation and serve until `stop`. Raises `UwsgiAsyncError` when it cannot be started."""
        error: UwsgiAsyncError | None = None
        with anyio.open_signal_receiver(*_SIGNALS) as signals:
            async with anyio.create_task_group() as watch:
                watch.start_soon(self._watch_signals, signals)
                watch.start_soon(stats.run)
                watch.start_soon(self._holdings.state.maintain)
                await watch.start(self._holdings.output.run)
                watch.start_soon(self._rotator.run, self._reopen_logs)
                watch.start_soon(self._notifier.feed_watchdog)
                await controls.start(watch)
                try:
                    async with anyio.create_task_group() as self._tasks:
                        logger.info("spawned the master process (pid: %d)", os.getpid())
                        self._generation = await self._begin(self.options)
                        if self._generation is not None:
                            for name in dict.fromkeys(each.url or each.name for each in self._holdings.listeners):
                                logger.info("*** uwsgi-async serves %s ***", name)
                            launch.report()
                            self._notifier.ready("the workers serve")
                except* UwsgiAsyncError as errors:
                    error = next(each for each in _leaves(errors) if isinstance(each, UwsgiAsyncError))
                watch.cancel_scope.cancel()
        if error is not None:
            raise error
        logger.info("goodbye to uwsgi-async.")

    @property
    def state(self) -> State:
        """Whether the instance serves: during a reload the old generation does."""
        generation = self._generation or self._newest
        return State.STARTING if generation is None else generation.state

    async def look(self, detail: Detail) -> InstanceStatistics | None:
        """Return the statistics, for the stats server; None before there is a generation and behind the last one."""
        generation = self._generation or self._newest
        if generation is None:
            return None
        found = await generation.look(self._holdings.listeners, detail)
        return None if found is None else replace(found, sections=self._holdings.state.sections())

    def glance(self, detail: Detail) -> InstanceStatistics | None:
        """Return the statistics as they were when the workers last wrote them down, a moment ago, without sections."""
        generation = self._generation or self._newest
        if generation is None or generation.board.closed:
            return None
        return collect(generation.board, self._holdings.listeners, detail)

    def reload(self, reason: str, *, brutal: bool = False) -> None:
        """Begin a reload; one that is asked for while another runs begins behind it, once.

        ``brutal``: the old workers are killed as soon as the new ones serve, with the requests that they have.
        """
        if self._stopping or self._tasks is None:
            return
        if self.options.reload.exit_on_reload:
            self.stop(f"{reason}, and exit-on-reload")
            return
        if self._reloading:
            self._reload_wanted = reason, brutal
            return
        self._reloading = True
        self._tasks.start_soon(self._reload, reason, brutal)

    def stop(self, reason: str, *, brutal: bool = False) -> None:
        """Drain the workers and end; ``brutal``, or asked for a second time: kill them."""
        if self._stopping or brutal:
            self._begin_stop(reason)
            logger.info("%s: killing the workers", reason)
            for generation in self._generations:
                generation.kill()
            return
        logger.info("%s: finishing the running requests", reason)
        self._begin_stop(reason)
        for generation in self._generations:
            if generation is self._beginning:
                generation.kill()  # it does not serve yet, so nobody waits for it
            else:
                generation.drain(hand_over=False)

    def _begin_stop(self, reason: str) -> None:
        self._stopping = True
        self._start.cancel()
        self._notifier.stopping(reason)

    def reopen_logs(self) -> None:
        """Open the log files again, in all processes."""
        self._rotator.reopen()

    async def _begin(self, options: Options) -> Generation | None:
        """Start a generation and wait until all its workers serve; None when the instance is stopped meanwhile."""
        assert self._tasks is not None
        if self._stopping:
            return None
        generation = Generation(options, self._holdings, self._reaper, self._handle, self._reloads)
        generation.board.header[Header.STARTED] = self._started
        generation.board.header[Header.FAILED_RELOADS] = self._failed_reloads
        self._newest = generation
        with anyio.CancelScope() as self._start:
            await generation.start()
            self._beginning = generation
            self._generations.append(generation)
            self._tasks.start_soon(self._keep, generation)
            await generation.all_ready.wait()
        self._beginning = None
        if generation.failed is not None:
            await generation.ended.wait()
            raise generation.failed
        return None if self._stopping else generation

    async def _keep(self, generation: Generation) -> None:
        try:
            await generation.keep()
        finally:
            self._generations.remove(generation)

    async def _reload(self, reason: str, brutal: bool) -> None:
        began = time.monotonic()
        logger.info("%s: reloading: starting new workers, the old ones serve until these do", reason)
        self._notifier.reloading(reason)
        old = self._generation
        assert old is not None
        self._reloads += 1
        try:
            new = await self._begin(self._read_options())
        except (UwsgiAsyncError, OSError) as error:
            self._reloads -= 1
            self._failed_reloads += 1
            if not old.board.closed:
                old.board.header[Header.FAILED_RELOADS] = self._failed_reloads
            logger.error("the reload has failed, the old workers go on: %s", error)
            self._notifier.ready(f"the reload has failed, the old workers go on: {error}")
        else:
            if new is None:
                return
            self._generation, self.options = new, new.options
            if new.options.loggers.log_reopen:
                self._rotator.reopen()
            if new.options.loggers != old.options.loggers:
                logger.warning("the options of the log have changed: the workers follow, the master does at a restart")
            if brutal:
                old.kill()
            else:
                old.drain(hand_over=True)
            logger.info("reloaded in %.2f s: the new workers serve", time.monotonic() - began)
            self._notifier.ready("the new workers serve")
        self._reloading = False
        if self._reload_wanted is not None:
            (reason, brutal), self._reload_wanted = self._reload_wanted, None
            self.reload(reason, brutal=brutal)

    def _reopen_logs(self) -> None:
        for generation in self._generations:
            generation.reopen_logs()

    def _handle(self, message: Message) -> None:
        if isinstance(message, Reload):
            self.reload("reload() was called")
        elif isinstance(message, Stop):
            self.stop("stop() was called")

    async def _watch_signals(self, signals: AsyncIterator[signal.Signals]) -> None:
        async for number in signals:
            if number == signal.SIGCHLD:
                self._reaper.collect()
                self._holdings.state.mend()
            elif number == signal.SIGHUP:
                self.reload("SIGHUP received")
            elif number == signal.SIGUSR2:
                self._rotator.reopen()
            elif number == signal.SIGTERM and not _dies_on_term(self.options):
                self.reload("SIGTERM received", brutal=True)
            else:
                self.stop(f"{signal.Signals(number).name} received")


def _dies_on_term(options: Options) -> bool:
    return options.process.die_on_term and not options.process.no_die_on_term


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for each in group.exceptions:
        leaves += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return leaves
