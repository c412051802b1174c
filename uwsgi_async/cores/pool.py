"""The pool: gives readable connections to cores, in order, and looks after every deadline.

What lives here: `Pool` and `PoolStatistics`. What does not: sockets (`listener`, `connection`), the app.

How a connection gets a core: its event puts it into ``ready``; after the batch of events the poller runs `pump`,
which wakes one idle core, the warmest. That core serves one ready connection after the other. As long as handlers
do not wait, one task serves them all and the event loop need not turn in between. When a handler does wait, the
loop turns, `pump` runs again and wakes twice as many. So hello-world requests cost no task switch, and sleeping
requests a few loop turns together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from sniffio import current_async_library_cvar

from uwsgi_async.cores.core import Core, CoreStatistics
from uwsgi_async.cores.cork import Cork
from uwsgi_async.fdwait.poller import Poller
from uwsgi_async.fdwait.timers import Timer
from uwsgi_async.options.settings import CoreOptions

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection
    from uwsgi_async.cores.request import Request

_FILE_THREADS = 8
# Set in the context of a task that its core has left, so that the task ends after its request as one whose context an
# app has changed: see `Core.run`.
_left: ContextVar[bool] = ContextVar("uwsgi_async.left", default=False)
# A core that never had to wait gives the event loop a turn after so many connections.
_SERVE_IN_A_ROW = 64


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """What the pool does.

    ``waiting``: readable connections that no core was free for; ``longest_wait``: seconds that the longest one
    waited so far in the pool's life; ``connections``: open ones; ``cores``: the cores that have been started.
    """

    max_cores: int
    busy: int
    waiting: int
    longest_wait: float
    connections: int
    max_connections: int
    requests: int
    cores: tuple[CoreStatistics, ...]


class Pool:
    """The cores of a worker and the connections they serve.

    ``requests``, ``running_time`` (seconds) and ``bytes_sent`` (heads and bodies) count the requests that have ended.
    ``abandoned``: requests that were cancelled while their threads go on, and since when. ``worn``: why the app wants
    this process to be replaced, as the end of a sentence.
    ``packets``: those that are handled now and are no requests, such as the calls of functions.
    ``longest_wait``: seconds that a readable connection waited for a core at most, in the pool's life.
    ``file_threads``: how many threads read files at once, where the disk has to be waited for.
    """

    def __init__(self, options: CoreOptions, poller: Poller, tasks: TaskGroup) -> None:
        self.options = options
        self.poller = poller
        self.closing = False
        self.connections: set[Connection] = set()
        self.ready: deque[Connection] = deque()
        self.cork = Cork(poller)
        self.requests = self.bytes_sent = self.packets = 0
        self.running_time = 0.0
        self.worn: str | None = None
        self.abandoned: dict[Request, float] = {}
        self.on_connection_closed: Callable[[], None] = lambda: None
        self._tasks = tasks
        self._context = copy_context()
        # Cores are started in callbacks, where anyio knows an event loop that it has not begun by the context alone.
        self._context.run(current_async_library_cvar.set, poller.backend.name)
        self._cores: list[Core] = []
        self._offloaded: set[Core] = set()  # whose tasks send a file yet, while others go on in their places
        self.file_threads = anyio.CapacityLimiter(options.offload_threads or _FILE_THREADS)
        self._idle: list[Core] = []
        self._wake_next = 1
        self._waking = 0
        self.longest_wait = 0.0
        self._drained: anyio.Event | None = None
        limits = (options.harakiri, options.header_timeout, options.keepalive_timeout, options.socket_timeout)
        self._sweep_interval = min(1.0, *(limit / 4 for limit in limits if limit > 0))
        if options.blocking_limit > 0:
            self._sweep_interval = min(self._sweep_interval, options.blocking_limit / 4)
        poller.add_pump(self.pump)
        self._sweep_timer: Timer = poller.timers.call_later(self._sweep_interval, self._sweep)

    def __repr__(self) -> str:
        return (
            f"<Pool of {self.options.cores} cores: {self.busy} busy, {len(self.ready)} waiting, "
            f"{len(self.connections)} connections>"
        )

    @property
    def busy(self) -> int:
        """Cores that handle a request, or a packet that is none, now."""
        return self.packets + sum(core.request is not None for core in self._cores)

    @property
    def cores(self) -> Sequence[Core]:
        """The cores that have been started."""
        return self._cores

    def enqueue(self, connection: Connection) -> None:
        """Let a readable connection wait for a core. `Connection.on_event` does the same, for each request."""
        connection.ready_since = self.poller.heartbeat
        self.ready.append(connection)

    def pump(self) -> bool:
        """Send what waits, wake cores for ready connections. Returns True to be called again on the next turn."""
        if self.cork:
            self.cork.flush()
        if not self.ready:
            return False
        waited = self.poller.heartbeat - self.ready[0].ready_since
        if waited > self.longest_wait:
            self.longest_wait = waited
        if self._waking:
            return True  # those who were woken have not run yet: they may be enough
        wake = min(self._wake_next, len(self.ready))
        while wake > 0 and self._wake_one():
            wake -= 1
        self._wake_next = min(self._wake_next * 2, 64)
        return wake == 0

    def take_nowait(self, core: Core) -> Connection | None:
        """Return the next connection for ``core``; None when `take` must be awaited for it."""
        core.row += 1
        if core.waking or core.row >= _SERVE_IN_A_ROW or not self.ready:
            return None
        return self.ready.popleft()

    async def take(self, core: Core) -> Connection:
        """Return the next connection for ``core``; sleep until there is one."""
        if self.cork:
            self.cork.flush()
        self._note_awake(core)
        if core.row >= _SERVE_IN_A_ROW:
            self.poller.turn()
            await checkpoint()
        core.row = 0
        while (connection := self.take_nowait(core)) is None:
            core.row = 0  # what it looked for in vain, because others were quicker, is no row of its own
            self._wake_next = 1  # one task has kept up with all of them: the next batch begins with one again
            if self._drained is not None and self.busy == 0:
                self._drained.set()
            self._idle.append(core)
            try:
                await core.parker.park()
            finally:
                if not self._note_awake(core):  # cancelled
                    self._idle.remove(core)
        return connection

    def offload(self, core: Core) -> None:
        """Let another task take requests in the place of ``core``, whose own has only a file to send yet.

        That is bound to the end by socket-timeout, not by harakiri.
        """
        fresh = Core(core.id, self.poller)
        core.give_counts(fresh)
        core.offloaded_requests = 1
        self._cores[self._cores.index(core)] = fresh
        self._offloaded.add(core)
        _left.set(True)
        self._context.copy().run(self._start, fresh)

    def add_core(self) -> Core:
        """Return a new core that gets no connections from here: who asks for it gives it its requests."""
        core = Core(self.options.cores - 1 - len(self._cores), self.poller)
        self._cores.append(core)
        return core

    def begin_closing(self) -> None:
        """Keep no connection alive from now on."""
        self.closing = True

    async def drained(self) -> None:
        """Wait until no request runs, waits or has arrived in part. Accept no more before."""
        self.cork.flush()
        while (
            self.busy or self._offloaded or self.ready or any(connection.unfinished for connection in self.connections)
        ):
            self._drained = anyio.Event()
            self.on_connection_closed = self._drained.set
            await self._drained.wait()

    def worn_out(self) -> str | None:
        """Return why this process should be replaced, as the end of a sentence; None when it need not.

        What goes on though harakiri has cancelled it is such a reason: a thread cannot be stopped, and an app may
        refuse to end. ``harakiri_graceful_timeout`` is what they get.
        """
        mercy, now = self.options.harakiri_graceful_timeout, self.poller.time()
        if any(now - since > mercy for since in list(self.abandoned.values())):
            return f"has a thread that goes on {mercy:g} s after harakiri has cancelled its request"
        for core in self._cores:
            if core.killed and core.request is not None and core.request.elapsed > self.options.harakiri + mercy:
                return f"has a request that goes on {mercy:g} s after harakiri has cancelled it"
        return self.worn

    def close(self) -> None:
        """Stop giving out connections and looking after deadlines."""
        self.cork.flush()
        self.closing = True
        self.poller.remove_pump(self.pump)
        self.poller.timers.cancel(self._sweep_timer)

    def statistics(self) -> PoolStatistics:
        return PoolStatistics(
            max_cores=self.options.cores,
            busy=self.busy,
            waiting=len(self.ready),
            longest_wait=self.longest_wait,
            connections=len(self.connections),
            max_connections=self.options.max_connections,
            requests=self.requests,
            cores=tuple(core.statistics() for core in sorted(self._cores, key=lambda core: core.id)),
        )

    def _wake_one(self) -> bool:
        if self._idle:
            core = self._idle.pop()
            self._note_waking(core)
            core.parker.unpark()
            return True
        if len(self._cores) < self.options.cores:
            # Started on demand, from the highest number down, as uWSGI gives them out.
            core = Core(self.options.cores - 1 - len(self._cores), self.poller)
            self._cores.append(core)
            self._note_waking(core)
            self._context.copy().run(self._start, core)
            return True
        return False

    def _start(self, core: Core) -> None:
        self._tasks.start_soon(self._run, core, name=f"uwsgi_async core {core.id}")

    async def _run(self, core: Core) -> None:
        await core.run(self)
        if core in self._offloaded:
            self._offloaded.discard(core)
            core.give_counts(next(other for other in self._cores if other.id == core.id))
            if self._drained is not None:
                self._drained.set()
            return
        # It has come back because its context is no longer clean: a fresh task, made in a fresh context, goes on.
        self._context.copy().run(self._start, core)

    def _note_waking(self, core: Core) -> None:
        core.waking = True
        self._waking += 1

    def _note_awake(self, core: Core) -> bool:
        """Note that ``core`` runs; return whether `pump` had woken it."""
        if not core.waking:
            return False
        core.waking = False
        self._waking -= 1
        return True

    def _sweep(self) -> None:
        """End what is over its time: one look at everything is cheaper than a timer for each."""
        self._sweep_timer = self.poller.timers.call_later(self._sweep_interval, self._sweep)
        self.cork.sweep()
        now = self.poller.time()
        for connection in list(self.connections):
            if connection.deadline <= now:
                connection.expire()
        harakiri = self.options.harakiri
        if harakiri > 0:
            for core in self._cores:
                if core.request is not None and now - core.request.started >= harakiri:
                    core.kill()
