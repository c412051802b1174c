"""One generation of an instance, seen from the master: a fork server and the workers that it forks.

What lives here: `Generation`, which keeps its workers alive until it is drained. What does not: when a generation
begins or ends (`master`), what happens inside the processes (`forkserver`, `worker`).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import anyio

from uwsgi_async.errors import AppLoadError
from uwsgi_async.instance.channel import Channel, Drain, Failed, Fork, Hello, Loaded, Message, Ready, Start, pair
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.reaper import Exit, Reaper
from uwsgi_async.instance.scoreboard import Field, Scoreboard
from uwsgi_async.instance.state import SharedState
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

_SHORT_LIFE = 1.0  # seconds; a worker that dies sooner is not replaced at once
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # seconds before it is replaced, doubled each time
_MOST_STARTS = 5  # of a worker that never served: then a generation that nobody depends on is given up
_STUCK = 1.0  # seconds of a still loop beyond the harakiri limit
_LOOK = 0.25  # seconds between two looks at the heartbeats
_LAST_WORDS = 1.0  # seconds to write a traceback after SIGABRT


@dataclass(slots=True)
class Worker:
    """One worker's process. ``pid``: 0 until it has said hello. ``killed``: it hung, and its end is on the way."""

    number: int
    channel: Channel
    pid: int = 0
    ready: bool = False
    killed: bool = False


class Generation:
    """A fork server and its workers.

    ``on_request``: called with each `Reload` or `Stop` that a worker sends. First `start`, then `keep` in a task of
    its own; ``all_ready`` is set when all workers serve, or when it is given up (see ``failed``); after `drain` the
    workers end, and then ``ended`` is set.
    """

    def __init__(
        self,
        options: Options,
        listeners: Sequence[Listener],
        state: SharedState,
        reaper: Reaper,
        on_request: Callable[[Message], None],
        reloads: int,
    ) -> None:
        self.options = options
        self.reloads = reloads
        self.board = Scoreboard.create(options.process.processes)
        self.workers: dict[int, Worker] = {}
        self.all_ready = anyio.Event()
        self.ended = anyio.Event()
        self.failed: str | None = None
        self._listeners = listeners
        self._state = state
        self._reaper = reaper
        self._on_request = on_request
        self._draining = False
        self._served = False
        self._idle = 0.0
        self._channel: Channel | None = None
        self._pid = 0

    def __repr__(self) -> str:
        ready = sum(worker.ready for worker in self.workers.values())
        return f"<Generation {self.reloads}, {ready} of {self.board.rows} workers ready>"

    async def start(self) -> None:
        """Start the fork server and wait until it has loaded the app. Raises `AppLoadError` when it cannot."""
        ours, theirs = pair()
        try:
            with theirs:
                inherited = [*(listener.sock.fileno() for listener in self._listeners), self.board.fd, *self._state.fds]
                self._pid = _spawn(theirs.fileno(), inherited)
        except BaseException:
            ours.close()
            raise
        self._channel = Channel(ours)
        self._channel.send(
            Start(
                options=_values(self.options),
                listeners=[(each.sock.fileno(), each.protocol, each.name, each.url) for each in self._listeners],
                board=self.board.fd,
                state=self._state.described(),
                master=os.getpid(),
                reloads=self.reloads,
            )
        )
        answer = await self._channel.receive()
        if not isinstance(answer, Loaded):
            ended = await self._reaper.wait(self._pid)
            self.close()
            raise AppLoadError(answer.reason if isinstance(answer, Failed) else f"the fork server {ended}")

    async def keep(self) -> None:
        """Keep all workers alive until the generation is drained, or has failed before it ever served."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch_heartbeats)
                async with anyio.create_task_group() as workers:
                    for number in range(1, self.board.rows + 1):
                        workers.start_soon(self._keep_worker, number)
                tasks.cancel_scope.cancel()
        finally:
            self.close()
            self.ended.set()

    def drain(self, idle: float) -> None:
        """Let the workers end; each keeps idle connections for ``idle`` seconds."""
        self._draining = True
        self._idle = idle
        for worker in self.workers.values():
            worker.channel.send(Drain(idle))

    def kill(self) -> None:
        """End what still lives at once."""
        self._draining = True
        for worker in self.workers.values():
            if worker.pid:
                self._reaper.kill(worker.pid, signal.SIGKILL)

    def close(self) -> None:
        """Let the fork server end. The workers do not need it."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    # --- one worker -------------------------------------------------------------------------------------------

    async def _keep_worker(self, number: int) -> None:
        pause, failures = 0.0, 0
        while not self._draining:
            began = time.monotonic()
            worker, ended = await self._run_worker(number)
            if self._draining:
                break
            self.board.row(number)[Field.RESPAWNS] += 1
            failures = 0 if worker.ready else failures + 1
            if failures >= _MOST_STARTS and not self._served:
                self.failed = self.failed or f"worker {number} {ended} {failures} times before it served"
                self._draining = True
                self.all_ready.set()
                break
            if ended.orderly:
                logger.info("worker %d (pid: %d) has ended: starting it again", number, worker.pid)
                pause = 0.0
            else:
                lived = time.monotonic() - began
                pause = 0.0 if lived > _SHORT_LIFE else min(max(2 * pause, _FIRST_PAUSE), _LONGEST_PAUSE)
                logger.error(
                    "worker %d (pid: %d) %s after %.1f s: starting it again%s",
                    number, worker.pid, ended, lived, f" in {pause:g} s" if pause else "",
                )  # fmt: skip
            await anyio.sleep(pause)

    async def _run_worker(self, number: int) -> tuple[Worker, Exit]:
        """Run a worker's process from its fork to its end."""
        worker = await self._fork(number)
        try:
            while (message := await worker.channel.receive()) is not None:
                self._handle(worker, message)
            if not worker.pid:
                return worker, Exit(0, "died at its start")
            # The end of its channel is nearly always the end of the process.
            with anyio.move_on_after(self.options.process.reload_mercy):
                return worker, await self._reaper.wait(worker.pid)
            self._reaper.kill(worker.pid, signal.SIGKILL)
            return worker, await self._reaper.wait(worker.pid)
        finally:
            row = self.board.row(number)
            row[Field.READY] = row[Field.BUSY] = row[Field.HEARTBEAT] = row[Field.DEADLINE] = 0
            worker.channel.close()
            del self.workers[number]

    async def _fork(self, number: int) -> Worker:
        ours, theirs = pair()
        worker = self.workers[number] = Worker(number, Channel(ours))
        with theirs:
            while self._channel is None or not self._channel.send(Fork(number), theirs.fileno()):
                await self._restart_fork_server()
        return worker

    def _handle(self, worker: Worker, message: Message) -> None:
        if isinstance(message, Hello):
            worker.pid = message.pid
            verb = "Respawned" if self.board.row(worker.number)[Field.RESPAWNS] else "spawned"
            logger.info("%s worker %d (pid: %d, cores: %d)", verb, worker.number, worker.pid, self.options.cores.cores)
        elif isinstance(message, Ready):
            worker.ready = True
            if self._draining:
                worker.channel.send(Drain(self._idle))
            elif len(self.workers) == self.board.rows and all(each.ready for each in self.workers.values()):
                self._served = True
                self.all_ready.set()
        elif isinstance(message, Failed):
            self.failed = message.reason
        else:
            self._on_request(message)

    async def _restart_fork_server(self) -> None:
        """Replace a fork server that has died. Only one worker's task does it, the others find it done."""
        if self._channel is not None:
            self.close()
            logger.error("the fork server %s: starting another", await self._reaper.wait(self._pid))
            try:
                await self.start()
            except AppLoadError as error:
                logger.error("the app cannot be loaded any more: %s", error)
        if self._channel is None:
            await anyio.sleep(_LONGEST_PAUSE)

    # --- hanging workers --------------------------------------------------------------------------------------

    async def _watch_heartbeats(self) -> None:
        limit = self.options.cores.harakiri
        while True:
            await anyio.sleep(_LOOK)
            now = time.monotonic_ns()
            for worker in list(self.workers.values()):
                row = self.board.row(worker.number)
                still = (now - row[Field.HEARTBEAT]) / 1e9 if row[Field.HEARTBEAT] else 0.0
                if worker.killed or not worker.pid:
                    continue
                if row[Field.DEADLINE] and now >= row[Field.DEADLINE]:
                    await self._abort(worker, "HARAKIRI (user) triggered")
                elif limit and still > limit + _STUCK:
                    await self._abort(worker, f"HARAKIRI: its event loop has not turned for {still:.1f} s")

    async def _abort(self, worker: Worker, reason: str) -> None:
        """End a worker that hangs. SIGABRT makes it write its traceback first."""
        worker.killed = True
        logger.error("worker %d (pid: %d): %s; it was in:", worker.number, worker.pid, reason)
        self._reaper.kill(worker.pid, signal.SIGABRT)
        with anyio.move_on_after(_LAST_WORDS):
            await self._reaper.wait(worker.pid)
            return
        self._reaper.kill(worker.pid, signal.SIGKILL)


def _values(options: Options) -> dict[str, Any]:
    """Return all options by the names of their fields, as `options.build.build` takes them."""
    values: dict[str, Any] = {}
    for part in fields(options):
        subsystem = getattr(options, part.name)
        values.update((field.name, getattr(subsystem, field.name)) for field in fields(subsystem))
    return values


def _spawn(channel: int, fds: Sequence[int]) -> int:
    """Start the fork server in a fresh interpreter with the master's import path; return its process id.

    It inherits ``channel`` and ``fds``, at the same numbers.
    """
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from uwsgi_async.instance.forkserver import main; sys.exit(main({channel}))"
    )
    inherited = [channel, *fds]
    for fd in inherited:
        os.set_inheritable(fd, True)
    try:
        return os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    finally:
        for fd in inherited:
            os.set_inheritable(fd, False)
