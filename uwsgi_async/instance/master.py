"""The master: owns the listeners, keeps a generation of workers alive, reloads and stops. It runs no user code.

What lives here: `run_master`. What does not: one generation (`generation`), the single process (`server`).
A reload starts a second generation and drains the first only when all workers of the second serve. If the second
cannot be started, the first goes on.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import anyio
from anyio.abc import TaskGroup

from uwsgi_async.api.statistics import InstanceStatistics
from uwsgi_async.cores.handover import Handover
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.instance.channel import Message, Reload, Stop
from uwsgi_async.instance.controls import SIGNALS, Controls, watch_signals
from uwsgi_async.instance.daemon import Launch
from uwsgi_async.instance.generation import Generation
from uwsgi_async.instance.logs.collector import Collector
from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.instance.logs.rotator import Rotator
from uwsgi_async.instance.notify import Notifier
from uwsgi_async.instance.ownfile import OwnFile
from uwsgi_async.instance.prefork import fork_zygote
from uwsgi_async.instance.reaper import Reaper, adopt_descendants
from uwsgi_async.instance.scoreboard import Header, State
from uwsgi_async.instance.server import open_listeners
from uwsgi_async.instance.signalling import make_router
from uwsgi_async.instance.snmp import make_server, open_snmp
from uwsgi_async.instance.sources import WatchedSources
from uwsgi_async.instance.spawning import Holdings, Zygote
from uwsgi_async.instance.standing import take_place, write_pidfile
from uwsgi_async.instance.state import SharedState
from uwsgi_async.instance.statistics.collect import collect
from uwsgi_async.instance.statistics.publish import Detail
from uwsgi_async.instance.statistics.server import StatsServer, open_local_stats, open_stats
from uwsgi_async.options.reread import keep_fixed
from uwsgi_async.options.settings import Options
from uwsgi_async.signals.targets import Kind
from uwsgi_async.signals.values import document

logger = logging.getLogger("uwsgi_async")

_PATIENCE = 10.0  # seconds after which a reload that does not come to its end gives way to another


def run_master(options: Options, logs: ProcessLogs, read_options: Callable[[], Options], launch: Launch) -> None:
    """Run an instance with a master until it is told to stop. It has an event loop of its own: any kind will do.

    ``logs``: of this process. ``read_options``: called at each reload, for options that have changed. ``launch``: is
    told of the start. Raises `UwsgiAsyncError` when the instance cannot be started: then nothing is left running.
    """
    with ExitStack() as stack:
        listeners = open_listeners(options, stack)
        faces = open_stats(options, stack)
        snmp_socket = open_snmp(options.snmp, stack)
        opened = (*listeners, *(face.listener for face in faces))
        files = [listener.file for listener in opened if listener.file is not None]
        files += take_place(options, stack)
        faces += open_local_stats(stack)
        first = fork_zygote(options.loop.name)  # before there are threads, a loop, and databases that do not survive it
        if first is not None:
            stack.callback(first.channel.close)
        state = SharedState.create(options)
        stack.callback(state.close)
        handover = Handover.create()
        stack.callback(handover.close)
        sockets = [listener.sock.fileno() for listener in listeners]
        zygote = Zygote(first, [*sockets, *handover.filenos(), *state.fds], options.loop.name)
        stack.callback(zygote.close)
        adopt_descendants()
        if options.system.daemonize is not None:
            launch.report()

        async def run() -> None:
            holdings = Holdings(listeners, handover, files, state, Collector(logs), zygote, make_router(options))
            master = Master(options, holdings, Rotator(logs, options.loggers), read_options)
            controls = Controls(options, master, stack)
            files.extend(controls.files)  # the same list as in holdings: the guardian removes them
            stack.callback(_remove, files)
            state.observe(master.glance)
            snmp = make_server(snmp_socket, state, master.glance)
            stats = StatsServer(options.stats, faces, master)
            await master.run(launch, controls, [stats.run] if snmp is None else [stats.run, snmp.run])

        anyio.run(run)


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
        self._generation: Generation | None = None  # that serves
        self._generations: list[Generation] = []  # all that have not ended
        self._newest: Generation | None = None
        self._start = anyio.CancelScope()
        self._started = time.time_ns() // 1000
        self._reloads = self._failed_reloads = 0
        self._reload_wanted: tuple[str, bool] | None = None  # why, and whether brutally
        self._reloading = True  # the start is none, but what is asked for meanwhile has to wait as well
        self._began = 0.0
        self._replacing = self._suspended = self._stopping = False
        self._tasks: TaskGroup | None = None

    def __repr__(self) -> str:
        return f"<Master {os.getpid()}: {self._generation!r}>"

    async def run(
        self, launch: Launch, controls: Controls, beside: Iterable[Callable[[], Coroutine[Any, Any, None]]]
    ) -> None:
        """Start the first generation and serve until `stop`. Raises `UwsgiAsyncError` when it cannot be started.

        ``beside``: run in tasks, as long as the master lives.
        """
        error: UwsgiAsyncError | None = None
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            async with anyio.create_task_group() as watch:
                watch.start_soon(watch_signals, self, signals)
                for each in beside:
                    watch.start_soon(each)
                watch.start_soon(self._holdings.state.maintain)
                await watch.start(self._holdings.output.run)
                watch.start_soon(self._rotator.run, self._reopen_logs)
                watch.start_soon(self._notifier.feed_watchdog)
                await controls.start(watch)
                watch.start_soon(self._holdings.router.run)
                try:
                    async with anyio.create_task_group() as self._tasks:
                        logger.info("spawned the master process (pid: %d)", os.getpid())
                        self._generation = await self._begin(self.options)
                        if self._generation is not None:
                            self._holdings.router.adopt(self._generation.signals)
                            for name in dict.fromkeys(each.url or each.name for each in self._holdings.listeners):
                                logger.info("*** uwsgi-async serves %s ***", name)
                            launch.report()
                            self._end_reload("the workers serve")
                except* UwsgiAsyncError as errors:
                    error = next(each for each in _leaves(errors) if isinstance(each, UwsgiAsyncError))
                await self._holdings.zygote.end()
                watch.cancel_scope.cancel()
        if error is not None:
            raise error
        logger.info("goodbye to uwsgi-async.")

    @property
    def sources(self) -> WatchedSources | None:
        """What the workers that serve have imported."""
        return None if self._generation is None else self._generation.sources

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
        return None if found is None else replace(found, sections=self._sections())

    def _sections(self) -> dict[str, Any]:
        generation = self._generation or self._newest
        mules = {} if generation is None else generation.sections()
        return {**self._holdings.state.sections(), **mules, "signals": document(self._holdings.router.statistics())}

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
        elif self._reloading:
            self._reload_wanted = reason, brutal
            lasted = time.monotonic() - self._began
            if self._generation is not None and lasted > _PATIENCE:
                logger.error("%s: the reload that still runs after %.0f s is given up", reason, lasted)
                self._call_off()
        else:
            self._reloading = True
            self._tasks.start_soon(self._reload, reason, brutal)

    def replace_workers(self, reason: str, *, chain: bool = False, brutal: bool = False) -> None:
        """Replace the workers of the running generation: with lazy-apps, they load the app again.

        ``chain``: one after the other, which needs the memory of one more only. Without lazy-apps it means `reload`:
        the code is in all workers at once. ``brutal``: see `Generation.replace_workers`.
        """
        generation = self._generation
        if self._stopping or self._tasks is None or generation is None:
            return
        if chain and not generation.options.process.lazy_apps:
            self.reload(f"{reason} (without lazy-apps, all workers have the code at once)")
        elif self._reloading or self._replacing:
            logger.warning("%s: the workers are being replaced already", reason)
        else:
            self._replacing = True
            self._tasks.start_soon(self._replace_workers, generation, reason, chain, brutal)

    def replace_others(self, reason: str, kind: Kind) -> None:
        """Replace the processes of one kind that are no workers, such as the spoolers, in the running generation."""
        if not self._stopping and self._tasks is not None and self._generation is not None:
            logger.info("%s: replacing the %ss", reason, kind)
            self._tasks.start_soon(self._generation.replace_others, kind)

    def adjust_workers(self, reason: str, change: int) -> None:
        """Have so many workers more, or less, as far as the options ``processes`` and ``cheaper`` allow it."""
        if self._generation is None or not self._generation.adjust(change):
            logger.warning("%s: the number of workers is fixed (there is no option cheaper)", reason)

    def go_cheap(self, reason: str) -> None:
        """Let all workers end, and start them again when the next connection waits."""
        if self._generation is not None and not self._stopping:
            logger.info("%s: going cheap...", reason)
            self._generation.go_cheap()

    def stop(self, reason: str, *, brutal: bool = False) -> None:
        """Drain the workers and end; ``brutal``, or asked for a second time: kill them."""
        brutal = brutal or self._stopping
        logger.info("%s: %s", reason, "killing the workers" if brutal else "finishing the running requests")
        if not self._stopping:
            self._notifier.stopping(reason)
        self._stopping = True
        self._call_off()
        for generation in self._generations:
            if brutal:
                generation.kill()
            else:
                generation.drain(hand_over=False)

    def suspend_or_resume(self) -> None:
        """Let the workers accept no connections, or go on if they are suspended."""
        self._suspended = not self._suspended
        logger.info("*** %s ***", "suspended: no connection is accepted" if self._suspended else "resumed")
        if self._generation is not None:
            self._generation.suspend(self._suspended)

    def log_statistics(self) -> None:
        """Write what each worker does and has done to the log."""
        found = self.glance(Detail.WORKERS)
        for each in () if found is None else found.workers:
            logger.info(
                "worker %d (pid: %d) is %s: %d requests, %d exceptions, %d harakiris, %d respawns, "
                "%d MB of memory, %d ms a request",
                each.id, each.pid, each.status.decode(), each.requests, each.exceptions, each.harakiri_count,
                each.respawn_count, each.rss >> 20, each.avg_rt // 1000,
            )  # fmt: skip

    def write_pidfiles(self) -> None:
        """Write this process's id to the pidfiles, where it is not there any more."""
        paths = {"pidfile": self.options.process.pidfile, "pidfile2": self.options.system.pidfile2}
        files = self._holdings.files
        for option, path in paths.items():
            if path is None or any(file.path == os.path.abspath(path) and file.is_there() for file in files):
                continue
            try:
                self.exchange_file(None, write_pidfile(option, path))
            except UwsgiAsyncError as error:
                logger.error("%s", error)

    def exchange_file(self, old: OwnFile | None, new: OwnFile) -> None:
        """See to it that ``new`` is removed in the end, and not ``old``; also when this process is killed."""
        files = self._holdings.files
        if old in files:
            files.remove(old)
        files.append(new)
        for generation in self._generations:
            generation.tell_files()

    def collect_ends(self) -> None:
        """Note which processes have ended, and put in order what they may have left."""
        self._reaper.collect()
        self._holdings.state.mend()
        for generation in self._generations:
            if not generation.board.closed:
                generation.board.header[Header.ZYGOTE] = self._holdings.zygote.pid

    def rotate_log(self) -> None:
        """Rename the log file and begin another, in all processes."""
        self._rotator.rotate()

    def reopen_logs(self) -> None:
        """Open the log files again, in all processes."""
        self._rotator.reopen()

    # --- generations ------------------------------------------------------------------------------------------

    async def _begin(self, options: Options) -> Generation | None:
        """Start a generation and wait until all its workers serve; None when it was called off meanwhile."""
        assert self._tasks is not None
        if self._stopping:
            return None
        generation = Generation(options, self._holdings, self._reaper, self._handle, self._reloads, self._generation)
        generation.board.header[Header.STARTED] = self._started
        generation.board.header[Header.FAILED_RELOADS] = self._failed_reloads
        self._newest = generation
        with anyio.CancelScope() as self._start:
            await generation.start()
            self._generations.append(generation)
            generation.tell_files()  # there may be others since it was begun
            self._tasks.start_soon(self._keep, generation)
            await generation.all_ready.wait()
        if self._start.cancel_called:
            return None
        if generation.failed is not None:
            await generation.ended.wait()
            raise generation.failed
        return generation

    async def _keep(self, generation: Generation) -> None:
        try:
            await generation.keep()
        finally:
            self._generations.remove(generation)

    def _call_off(self) -> None:
        """Give up the generation that does not serve yet: nobody depends on it."""
        if self._newest is not None and self._newest is not self._generation:
            self._start.cancel()
            self._newest.kill()

    async def _reload(self, reason: str, brutal: bool) -> None:
        self._began = time.monotonic()
        logger.info("%s: reloading: starting new workers, the old ones serve until these do", reason)
        self._notifier.reloading(reason)
        self._reloads += 1
        try:
            options, unchanged = keep_fixed(self.options, self._read_options())
            for sentence in unchanged:
                logger.warning("%s", sentence)
            new = await self._begin(options)
        except Exception as error:  # whatever it is, the old ones serve
            ours = isinstance(error, (UwsgiAsyncError, OSError))
            logger.error("the reload has failed, the old workers go on: %s", error, exc_info=None if ours else error)
            self._go_on(f"the reload has failed, the old workers go on: {error}")
        else:
            if new is not None:
                self._replace(new, brutal)
            elif not self._stopping:
                self._go_on("the reload was given up, the old workers go on")

    def _replace(self, new: Generation, brutal: bool) -> None:
        """Let the old generation end; the new one serves already."""
        old = self._generation
        assert old is not None
        self._generation, self.options = new, new.options
        self._holdings.router.adopt(new.signals)
        if new.options.loggers.log_reopen:
            self._rotator.reopen()
        if new.options.loggers != old.options.loggers:
            logger.warning("the options of the log have changed: the workers follow, the master does at a restart")
        if brutal:
            old.kill()
        else:
            old.drain(hand_over=True)
        logger.info("reloaded in %.2f s: the new workers serve", time.monotonic() - self._began)
        if self._suspended:
            self._suspended = False
            logger.info("*** resumed: the new workers were never suspended ***")
        self._end_reload("the new workers serve")

    def _go_on(self, status: str) -> None:
        """Let the old generation go on, for the new one does not serve."""
        assert self._generation is not None
        self._reloads -= 1
        self._failed_reloads += 1
        if not self._generation.board.closed:
            self._generation.board.header[Header.FAILED_RELOADS] = self._failed_reloads
        if self._newest is not None and self._newest is not self._generation:
            self._generation.sources.update(self._newest.sources)  # the mistake may be in a file that is new
        self._newest = self._generation
        self._end_reload(status)

    def _end_reload(self, status: str) -> None:
        self._notifier.ready(status)
        self._reloading = False
        if self._reload_wanted is not None:
            (reason, brutal), self._reload_wanted = self._reload_wanted, None
            self.reload(reason, brutal=brutal)

    async def _replace_workers(self, generation: Generation, reason: str, chain: bool, brutal: bool) -> None:
        began = time.monotonic()
        logger.info("%s: replacing the workers%s", reason, " one after the other" if chain else "")
        if await generation.replace_workers(chain=chain, brutal=brutal):
            logger.info("replaced all workers in %.2f s", time.monotonic() - began)
        else:
            logger.error("a new process does not serve: the workers are not all replaced")
        self._replacing = False

    def _reopen_logs(self) -> None:
        self._holdings.zygote.reopen_log(self._holdings.output.console)
        for generation in self._generations:
            generation.reopen_logs()

    def _handle(self, message: Message) -> None:
        if isinstance(message, Reload):
            self.reload("reload() was called")
        elif isinstance(message, Stop):
            self.stop("stop() was called")


def _remove(files: Iterable[OwnFile]) -> None:
    for file in files:
        file.remove()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for each in group.exceptions:
        leaves += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return leaves
