"""One worker, or another role, seen from the master: always a process, whatever becomes of the ones before it.

What lives here: `Keeper`, which keeps one worker, and `Process`, one process of it. What does not: how many workers
there are (`generation`, `cheaper`), what else there is (`roles`), what happens inside the processes (`worker`,
`spoolerprocess`), the fork (`spawning`). Where it says "worker", any role is meant.

A process that is worn out (`limits`) goes on serving until another one serves in its place, so nobody waits. One that
dies is replaced at once; one that dies at once is replaced ever more slowly (`backoff`).
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

import anyio
from anyio.abc import TaskGroup

from uwsgi_async.errors import AppLoadError, BrokenError, UwsgiAsyncError
from uwsgi_async.instance.backoff import Backoff
from uwsgi_async.instance.channel import (
    Channel,
    Drain,
    Failed,
    Hello,
    Inherit,
    Message,
    Published,
    Ready,
    Reload,
    Retire,
    Sources,
    Stop,
    Suspend,
    Worn,
)
from uwsgi_async.instance.reaper import Child, Exit, Reaper
from uwsgi_async.instance.roles import Role, cores_of, mercy_of
from uwsgi_async.instance.scoreboard import COUNTERS, Field, Scoreboard
from uwsgi_async.instance.spawning import ForkServer
from uwsgi_async.options.settings import Options
from uwsgi_async.signals.messages import FROM_PROCESS
from uwsgi_async.signals.router import Generation as SignalGeneration

logger = logging.getLogger("uwsgi_async")

_STUCK = 600_000_000  # nanoseconds without a heartbeat, of which there are four a second
_MOST_STARTS = 5  # of a process that never served: then a generation that nobody depends on is given up
_TIDY_UP = 1.0  # seconds between the end of a process's channel and the end of the process


class Process:
    """One process of a worker. ``child``: None until it has said hello. ``over``: it is worn out, or has ended.

    ``published``: it has answered the last `Publish`.
    """

    def __init__(self, role: Role, channel: Channel, signals: SignalGeneration, board: Scoreboard) -> None:
        self.role = role
        self.channel = channel
        self.port = signals.connect(role.kind, role.number, channel.send, role.path)
        self.port.receiver.stuck = lambda: self.stuck(board)
        self.child: Child | None = None
        self.born = time.monotonic()
        self.ready = self.aside = self.draining = self.killed = False
        self.failed: UwsgiAsyncError | None = None
        self.exit: Exit | None = None
        self.published = anyio.Event()
        self.over = anyio.Event()
        self.gone = anyio.Event()
        self.listening = anyio.CancelScope()

    def __repr__(self) -> str:
        return f"<Process of {self.role}, pid {self.pid}>"

    @property
    def pid(self) -> int:
        """0 as long as it is not known."""
        return 0 if self.child is None else self.child.pid

    def row(self, board: Scoreboard) -> memoryview:
        """Return the row of the scoreboard that this process writes."""
        return board.spare(self.role.seat) if self.aside else board.row(self.role.seat)

    def stuck(self, board: Scoreboard) -> bool:
        """Whether something, such as a request that computes, holds its event loop."""
        return self.ready and time.monotonic_ns() - self.row(board)[Field.HEARTBEAT] > _STUCK

    def drain(self, hand_over: bool) -> None:
        """Let it end. ``hand_over``: others go on, and get its idle connections."""
        if not self.draining:
            self.draining = True
            self.port.retire()
            self.channel.send(Drain(hand_over))

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.killed = True
        self.port.retire()
        if self.child is not None:
            self.child.kill(number)
        elif self.draining:
            self.listening.cancel()  # the fork server does not come to fork it, and nobody waits for it


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the keepers of a generation share.

    ``turns``: of the whole instance: who has one of these is the only one of its name, in all generations, that has a
    process. ``on_request``: called with each `Reload`, `Stop` and `Sources` of a process. ``on_ready``: a worker serves
    that did not before. ``on_hopeless``: called with the reason when a worker has never served and does not come to it.
    """

    options: Options
    board: Scoreboard
    forks: ForkServer
    reaper: Reaper
    tasks: TaskGroup
    signals: SignalGeneration
    turns: dict[str, anyio.Lock]
    on_request: Callable[[Message], None]
    on_ready: Callable[[], None]
    on_hopeless: Callable[[UwsgiAsyncError], None]


class Keeper:
    """Keeps a process of ``role`` from `run` until `end`; then it may be run again."""

    def __init__(self, role: Role, circumstances: Circumstances) -> None:
        self.role = role
        self.current: Process | None = None
        self.leaving: Process | None = None
        self.served = False
        self._shared = circumstances
        self._backoff = Backoff(circumstances.options.process.forkbomb_delay)
        self._inheritance: dict[Field, int] = {}
        self._wanted = self._running = self._hand_over = False
        self._waiting = anyio.CancelScope()
        self._news = anyio.Event()
        self._suspended = False

    def __repr__(self) -> str:
        return f"<Keeper of {self.role}: {self.current!r}>"

    @property
    def ready(self) -> bool:
        """Whether a process of the worker serves now."""
        return any(process.ready for process in self.processes)

    @property
    def processes(self) -> list[Process]:
        """Its processes that live, none to two."""
        return [process for process in (self.leaving, self.current) if process is not None]

    @property
    def wanted(self) -> bool:
        """Whether it is between `run` and `end`."""
        return self._wanted

    def run(self) -> None:
        """Begin; after `end`, when its last process has ended or makes room for another one."""
        self._wanted = True
        if not self._running:
            self._running = True
            self._shared.tasks.start_soon(self._run, name=str(self.role))
        elif self.current is not None and self.current.draining and not self.current.aside:
            self.current.channel.send(Retire())  # its requests may take long

    def end(self, hand_over: bool) -> None:
        """Let the processes end. ``hand_over``: other workers go on, and get their idle connections."""
        self._wanted = False
        self._hand_over = hand_over
        self._waiting.cancel()
        self._tell_news()
        for process in self.processes:
            self._drain(process, hand_over)

    def kill(self) -> None:
        """End it at once."""
        self._wanted = False
        self._waiting.cancel()
        self._tell_news()
        for process in self.processes:
            process.draining = True
            process.kill()

    def suspend(self, on: bool) -> None:
        """Let its processes, also those to come, accept no connections; or let them go on."""
        self._suspended = on
        for process in self.processes:
            process.channel.send(Suspend(on))

    async def replace(self, *, brutal: bool = False) -> bool:
        """Let a new process take the place of the one that serves; return whether it came to serve.

        ``brutal``: the old one is killed first, with the requests that it has.
        """
        old = self.current
        if old is None or not self._wanted:
            return True  # the next one is new anyway
        if brutal:
            old.draining = True  # its end is wanted, and no reason to wait before the next one
            old.kill()
        elif self.role.alone:
            self._drain(old, hand_over=False)
        elif not old.aside:
            old.channel.send(Retire())
            self._shared.tasks.start_soon(self._kill_deaf, old)
        await self._until(lambda: self.current not in (old, None))
        new = self.current
        await self._until(lambda: new is None or new.ready or new.gone.is_set())
        return new is not None and new.ready

    async def _kill_deaf(self, process: Process) -> None:
        """Kill a process that does not answer when its place is asked for."""
        mercy, _ = mercy_of(self._shared.options, self.role)
        with anyio.move_on_after(mercy):
            await process.over.wait()
            return
        logger.error("%s (pid: %d) has not answered within %g s: killing it", self.role, process.pid, mercy)
        process.kill()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds or the worker is not wanted any more."""
        while self._wanted and not condition():
            await self._news.wait()

    def _tell_news(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def wait(self) -> None:
        """Wait until none of its processes lives."""
        while processes := self.processes:
            await processes[0].gone.wait()

    async def _run(self) -> None:
        turn = self._shared.turns.setdefault(str(self.role), anyio.Lock()) if self.role.alone else None
        while self._wanted:
            with anyio.CancelScope() as self._waiting:
                if turn is not None:
                    await turn.acquire()  # the process of another generation has ended
            if self._waiting.cancelled_caught:
                continue
            try:
                await self._keep()
            finally:
                if turn is not None:
                    turn.release()
        self._running = False

    async def _keep(self) -> None:
        failures, pause = 0, 0.0
        while self._wanted:
            with anyio.CancelScope() as self._waiting:
                await anyio.sleep(pause)
                await self._make_room()
                shared = self._shared
                channel = await shared.forks.fork(self.role)
                process = Process(self.role, channel, shared.signals, shared.board)
            if self._waiting.cancelled_caught:
                continue
            self.leaving, self.current = self.current, process
            self._tell_news()
            self._shared.tasks.start_soon(self._accompany, process)
            if not self._wanted:
                self._drain(process, self._hand_over)
            await process.over.wait()
            if not self._wanted:
                break
            self._shared.board.row(self.role.seat)[Field.RESPAWNS] += 1
            pause = 0.0 if process.exit is None else self._pause_after(process, process.exit)
            failures = 0 if process.ready else failures + 1
            if (process.failed is not None or failures >= _MOST_STARTS) and not self.role.alone:
                words = f"{self.role} {process.exit} {failures} times before it served"
                self._shared.on_hopeless(process.failed or BrokenError(words))

    async def _make_room(self) -> None:
        """Wait until at most one process lives, and that one has moved to the spare row."""
        while self.leaving is not None:
            await self.leaving.gone.wait()
        if self.current is not None and not self.current.aside:
            await self.current.gone.wait()

    def _pause_after(self, process: Process, end: Exit) -> float:
        """Log the end of a process that nobody has asked for, and return the seconds until the next one begins."""
        if process.draining:
            return 0.0
        if end.orderly and process.ready and not self.role.alone:
            logger.info("%s (pid: %d) has ended: starting it again", self.role, process.pid)
            return 0.0
        lived = time.monotonic() - process.born
        pause = self._backoff.next(lived if process.ready else 0.0)
        logger.error(
            "%s (pid: %d) %s after %.1f s: starting it again%s",
            self.role, process.pid, end, lived, f" in {pause:g} s" if pause else "",
        )  # fmt: skip
        return pause

    # --- one process ------------------------------------------------------------------------------------------

    async def _accompany(self, process: Process) -> None:
        """Listen to a process until its end, and clear up behind it."""
        try:
            await self._listen(process)
            process.exit = await self._bury(process)
        finally:
            process.exit = process.exit or Exit(1, "was given up")
            process.channel.close()
            process.port.close()
            self._settle(process)
            process.over.set()
            process.gone.set()
            self._tell_news()

    async def _listen(self, process: Process) -> None:
        try:
            with process.listening:
                while (message := await process.channel.receive()) is not None:
                    self._handle(process, message)
        except (BrokenError, OSError) as error:
            logger.error("%s (pid: %d): %s: killing it", self.role, process.pid, error)
            process.kill()

    async def _bury(self, process: Process) -> Exit:
        """Wait for the end of a process whose channel has closed. That is nearly always the end itself."""
        if process.child is None:
            return Exit(1, "died at its start")
        with anyio.move_on_after(_TIDY_UP):
            return await process.child.wait()
        process.kill()
        return await process.child.wait()

    def _settle(self, process: Process) -> None:
        """Clear the row, and hand on what it has counted after it was replaced."""
        row = process.row(self._shared.board)
        for field in (
            Field.PID,
            Field.READY,
            Field.BUSY,
            Field.HEARTBEAT,
            Field.DEADLINE,
            Field.TASK_DEADLINE,
            Field.RSS,
            Field.VSZ,
        ):
            row[field] = 0
        if process.aside:
            for field in COUNTERS:
                self._inheritance[field] = self._inheritance.get(field, 0) + row[field]
                row[field] = 0
        if process is self.leaving:
            self.leaving = None
        elif process is self.current:
            self.current, self.leaving = self.leaving, None
        self._bequeath()

    def _bequeath(self) -> None:
        heir = self.current
        if not self._inheritance or heir is None or not heir.ready or heir.aside:
            return
        counts = {str(int(field)): count for field, count in self._inheritance.items()}
        if heir.channel.send(Inherit(counts)):
            self._inheritance.clear()

    def _handle(self, process: Process, message: Message) -> None:
        if isinstance(message, Hello):
            process.child = self._shared.reaper.adopt(message.pid)
            verb = "Respawned" if self._shared.board.row(self.role.seat)[Field.RESPAWNS] else "spawned"
            cores = cores_of(self._shared.options, self.role)
            logger.info("%s %s (pid: %d, cores: %d)", verb, self.role, message.pid, cores)
            if process.killed:
                process.kill()
        elif isinstance(message, Ready):
            self._note_ready(process)
        elif isinstance(message, Worn):
            logger.info("%s (pid: %d) %s: another one takes its place", self.role, process.pid, message.reason)
            process.aside = True
            process.over.set()
        elif isinstance(message, Published):
            process.published.set()
        elif isinstance(message, FROM_PROCESS):
            process.port.take(message)
        elif isinstance(message, Failed):
            process.failed = AppLoadError(message.reason)
        elif isinstance(message, Reload | Stop | Sources):
            self._shared.on_request(message)

    def _note_ready(self, process: Process) -> None:
        process.ready = self.served = True
        self._tell_news()
        if self._suspended:
            process.channel.send(Suspend(True))
        if not self._wanted:
            self._drain(process, self._hand_over)
            return
        process.port.open()
        if self.leaving is not None and process is self.current:
            self._drain(self.leaving, hand_over=True)
        self._bequeath()
        self._shared.on_ready()

    def _drain(self, process: Process, hand_over: bool) -> None:
        if not process.draining:
            self._shared.tasks.start_soon(self._kill_late, process)
        process.drain(hand_over)

    async def _kill_late(self, process: Process) -> None:
        mercy, option = mercy_of(self._shared.options, self.role)
        with anyio.move_on_after(mercy):
            await process.gone.wait()
            return
        logger.error(
            "%s (pid: %d) has not ended within %g s (option %s): killing it",
            self.role, process.pid, mercy, option,
        )  # fmt: skip
        process.kill()
