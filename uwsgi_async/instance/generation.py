"""One generation of an instance, seen from the master: a fork server and the workers that it forks.

What lives here: `Generation`, which keeps its workers until it is drained. What does not: when a generation begins or
ends (`master`), one worker (`keeper`), the fork server (`spawning`), what happens inside the processes (`forkserver`,
`worker`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

import anyio
from anyio.abc import TaskGroup

from uwsgi_async.api.statistics import InstanceStatistics
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.instance import roles
from uwsgi_async.instance.adapting import Crew, adapt
from uwsgi_async.instance.channel import Message, Publish, Reopen, Sources, Stop
from uwsgi_async.instance.cheapspoolers import start_when_needed
from uwsgi_async.instance.dynamic import DynamicOptions
from uwsgi_async.instance.hanging import watch_processes
from uwsgi_async.instance.keeper import Circumstances, Keeper, Process
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.muleworks import mule_section
from uwsgi_async.instance.reaper import Reaper
from uwsgi_async.instance.scoreboard import Field, Header, Scoreboard, State
from uwsgi_async.instance.signalling import begin_generation
from uwsgi_async.instance.sources import WatchedSources
from uwsgi_async.instance.spawning import ForkServer, Holdings
from uwsgi_async.instance.statistics.collect import collect
from uwsgi_async.instance.statistics.publish import Detail
from uwsgi_async.options.settings import Options
from uwsgi_async.signals.targets import Kind

logger = logging.getLogger("uwsgi_async")

_PUBLISH = 0.2  # seconds that a worker has to write down what it does; it may hang


class Generation:
    """A fork server and its workers.

    ``on_request``: called with each `Reload` or `Stop` that a worker sends. ``before``: the one that it is to replace.
    First `start`, then `keep` in a task of its own; ``all_ready`` is set when all workers serve, or when it is given
    up (see ``failed``); after `drain` the workers end, and then ``ended`` is set. ``sources``: what it has imported,
    with py-autoreload.
    """

    def __init__(
        self,
        options: Options,
        holdings: Holdings,
        reaper: Reaper,
        on_request: Callable[[Message], None],
        reloads: int,
        before: Generation | None = None,
    ) -> None:
        self.options = options
        self.reloads = reloads
        self.board = Scoreboard.create(options.process.processes, options.cores.cores, len(roles.others(options)))
        self.board.header[Header.MASTER] = os.getpid()
        self.board.header[Header.RELOADS] = reloads
        self.dynamic = DynamicOptions.create(options)
        self.signals = begin_generation(holdings.router, options)
        self.all_ready = anyio.Event()
        self.ended = anyio.Event()
        self.failed: UwsgiAsyncError | None = None
        self._state = State.STARTING
        self._listeners = holdings.listeners
        self.sources: WatchedSources = WatchedSources(None if before is None else before.sources)
        self._forks = ForkServer(self.dynamic, holdings, self.board, reaper, reloads, self.sources.add, self.signals)
        self._reaper = reaper
        self._turns = holdings.turns
        self._queues = holdings.state.mule_queues
        self._on_request = on_request
        self._keepers: list[Keeper] = []  # of the workers
        self._others: list[Keeper] = []
        self._crew: Crew | None = None
        self._drained = anyio.Event()
        self._served = False

    def __repr__(self) -> str:
        ready = sum(keeper.ready for keeper in self._keepers)
        return f"<Generation {self.reloads}, {ready} of {self.board.rows} workers ready>"

    @property
    def state(self) -> State:
        """What it does; while no worker serves, it starts."""
        if self._state is State.SERVING and not any(keeper.ready for keeper in self._keepers):
            return State.STARTING
        return self._state

    @property
    def processes(self) -> list[Process]:
        """The processes of all roles, as far as they live."""
        return [process for keeper in (*self._keepers, *self._others) for process in keeper.processes]

    async def start(self) -> None:
        """Start the fork server and wait until it has loaded the app. Raises as `ForkServer.start`."""
        try:
            await self._forks.start()
        except BaseException:
            self._close()
            raise

    async def keep(self) -> None:
        """Keep all workers alive until the generation is drained, or has failed before it ever served."""
        try:
            async with anyio.create_task_group() as helpers:
                helpers.start_soon(self._forks.keep)
                helpers.start_soon(watch_processes, self.dynamic, self.board, lambda: self.processes)
                async with anyio.create_task_group() as tasks:
                    self._crew = self._begin(Circumstances(
                        self.options, self.board, self._forks, self._reaper, tasks, self.signals,
                        self._turns, self._pass_on, self._note_ready, self._give_up,
                    ))  # fmt: skip
                    helpers.start_soon(self._adapt, self._crew)
                    self._watch_cheap_spoolers(helpers)
                    await self._drained.wait()
                helpers.cancel_scope.cancel()
        finally:
            await self._forks.end()
            self._close()
            self.ended.set()

    def reopen_logs(self) -> None:
        """Let all processes open their log files again."""
        self._forks.reopen_log()
        for process in self.processes:
            process.channel.send(Reopen())

    def drain(self, hand_over: bool) -> None:
        """Let the workers end. ``hand_over``: another generation goes on, and gets their idle connections."""
        self._drained.set()
        self._become(State.DRAINING)
        for keeper in (*self._keepers, *self._others):
            keeper.end(hand_over)

    def tell_files(self) -> None:
        """Tell the fork server which files it has to remove when this process dies."""
        self._forks.tell_files()

    def adjust(self, change: int) -> bool:
        """Have so many workers more, or less; return whether their number is one that can be adapted."""
        if self._crew is None or not self.options.cheaper.cheaper:
            return False
        self._crew.asked += change
        return True

    def go_cheap(self) -> None:
        """Let all workers end; they come back with the next connection."""
        if self._crew is not None and not self._drained.is_set():
            self._crew.send_home()

    def suspend(self, on: bool) -> None:
        """Let the workers accept no connections, or go on."""
        for keeper in self._keepers:
            keeper.suspend(on)

    async def replace_workers(self, *, chain: bool = False, brutal: bool = False) -> bool:
        """Let new processes take the workers' places; return whether all of them came to serve.

        ``chain``: one after the other, and no further behind one that does not serve. ``brutal``: see `Keeper.replace`.
        """
        served: list[bool] = []

        async def replace(keeper: Keeper) -> None:
            served.append(await keeper.replace(brutal=brutal))

        if chain:
            for keeper in self._keepers:
                await replace(keeper)
                if not served[-1]:
                    break
        else:
            async with anyio.create_task_group() as tasks:
                for keeper in self._keepers:
                    tasks.start_soon(replace, keeper)
        return all(served)

    async def replace_others(self, kind: Kind) -> None:
        """Let new processes take the places of those of one kind that are no workers."""
        async with anyio.create_task_group() as tasks:
            for keeper in self._others:
                if keeper.role.kind == kind:
                    tasks.start_soon(keeper.replace)

    async def look(self, listeners: Sequence[Listener], detail: Detail) -> InstanceStatistics | None:
        """Let the workers write down what they do, and return the statistics; None when it has ended.

        It does not wait long for a worker that hangs. One call at a time.
        """
        asked = []
        for process in self.processes:
            process.published = anyio.Event()
            if process.ready and not process.draining and process.channel.send(Publish(detail)):
                asked.append(process.published)
        with anyio.move_on_after(_PUBLISH):
            for published in asked:
                await published.wait()
        return None if self.board.closed else collect(self.board, listeners, detail)

    def sections(self) -> dict[str, Any]:
        """Return what is told of its mules, if there are any."""
        queues = self._queues
        if queues is None or self.board.closed:
            return {}
        mules = [role for role in roles.others(self.options) if role.kind == "mule"]
        programs = roles.mule_programs(self.options)
        rows = (self.board.row(role.seat) for role in mules)
        return {
            "mules": [mule_section(queues, number, programs[number - 1], row) for number, row in enumerate(rows, 1)]
        }

    def kill(self) -> None:
        """End what still lives at once."""
        self._drained.set()
        for keeper in (*self._keepers, *self._others):
            keeper.kill()

    def _close(self) -> None:
        self.board.close()
        self.dynamic.close()
        self.signals.end()

    def _begin(self, circumstances: Circumstances) -> Crew:
        self._keepers = [Keeper(role, circumstances) for role in roles.workers(self.options)]
        self._others = [Keeper(role, circumstances) for role in roles.others(self.options)]
        crew = Crew(self.options, self.board, self._keepers)
        for keeper in self._others:
            if not self._drained.is_set() and not roles.is_cheap(self.options, keeper.role):
                keeper.run()
        if self.options.cheaper.cheap:
            self._note_ready()  # whoever comes first will find a worker
        elif not self._drained.is_set():
            crew.begin()
        return crew

    async def _adapt(self, crew: Crew) -> None:
        """Adapt the number of workers to the load until the generation is drained."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(adapt, crew, self.options, self._listeners, lambda: self._on_request(Stop()))
            await self._drained.wait()
            tasks.cancel_scope.cancel()

    def _watch_cheap_spoolers(self, tasks: TaskGroup) -> None:
        cheap = [keeper for keeper in self._others if roles.is_cheap(self.options, keeper.role)]
        for path in {keeper.role.path for keeper in cheap}:
            tasks.start_soon(
                start_when_needed,
                [keeper for keeper in cheap if keeper.role.path == path],
                lambda: self.options.spooler.spooler_frequency,
                lambda keeper: not self.board.row(keeper.role.seat)[Field.BUSY],
                self._drained.is_set,
            )

    def _become(self, state: State) -> None:
        self._state = state
        if not self.board.closed:
            self.board.header[Header.STATE] = state

    def _pass_on(self, message: Message) -> None:
        if isinstance(message, Sources):
            self.sources.add(message)
        else:
            self._on_request(message)

    def _note_ready(self) -> None:
        all_keepers = (*self._keepers, *self._others)
        # A mule waits for the one of the generation before, which ends when this one serves.
        if all(keeper.ready for keeper in all_keepers if keeper.wanted and not keeper.role.alone):
            self._served = True
            self._become(State.SERVING)
            self.all_ready.set()

    def _give_up(self, reason: UwsgiAsyncError) -> None:
        """A worker does not come to serve: nobody depends on this generation as long as it has not served."""
        if not self._served:
            self.failed = self.failed or reason
            self.drain(hand_over=True)
            self.all_ready.set()
