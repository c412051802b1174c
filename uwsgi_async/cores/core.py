"""One core: a persistent task that handles one request at a time.

What lives here: `Core` and `CoreStatistics`. What does not: who gives it connections (`pool`), how a connection
is read and answered (`connection`, `http`, `uwsgi`), which app runs (`handlers`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import anyio
import greenback

from uwsgi_async.fdwait.poller import Poller
from uwsgi_async.fdwait.watch import Watches
from uwsgi_async.state.locks import release_all

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection
    from uwsgi_async.cores.request import Request

logger = logging.getLogger("uwsgi_async")

current_request: ContextVar[Request | None] = ContextVar("uwsgi_async.request", default=None)
"""The request that the running code belongs to: in its core, in the tasks it started, in its threads."""


@dataclass(frozen=True, slots=True)
class CoreStatistics:
    """What one core does and has done.

    ``running``: seconds since its request began, 0.0 when it is idle. ``read_errors``, ``write_errors``: requests whose
    client went away, or was too slow. ``static_requests``, ``routed_requests``, ``offloaded_requests``: what uWSGI
    counts. ``request_start``: unix seconds when its request began, 0.0 when it is idle; ``vars``: of that request.
    """

    id: int
    state: Literal["idle", "busy"]
    requests: int
    harakiri: int
    exceptions: int
    running: float
    uri: str
    read_errors: int = 0
    write_errors: int = 0
    static_requests: int = 0
    routed_requests: int = 0
    offloaded_requests: int = 0
    request_start: float = 0.0
    vars: Mapping[str, str] = field(default_factory=dict)


_COUNTS = (
    *("requests", "harakiri", "exceptions", "read_errors", "write_errors"),
    *("static_requests", "offloaded_requests"),
)


class WorkQueue(Protocol):
    """Where a core gets its work: the pool."""

    def take_nowait(self, core: Core) -> Connection | None: ...

    async def take(self, core: Core) -> Connection: ...


class Core:
    """A task that takes readable connections from the pool and serves them, one at a time.

    ``id`` is 0 to N-1, ``requests`` the number of requests it has finished (uWSGI's ``request_id()``).
    """

    __slots__ = (
        "_scope",
        "exceptions",
        "harakiri",
        "id",
        "killed",
        "offloaded_requests",
        "parker",
        "poller",
        "read_errors",
        "request",
        "requests",
        "row",
        "static_requests",
        "task",
        "waking",
        "watches",
        "write_errors",
    )

    def __init__(self, number: int, poller: Poller) -> None:
        self.id = number
        self.poller = poller
        self.parker = poller.backend.parker()
        self.watches = Watches(poller, self.parker)
        self.requests = self.harakiri = self.exceptions = self.row = 0
        self.read_errors = self.write_errors = self.static_requests = self.offloaded_requests = 0
        self.request: Request | None = None
        self.task: object = None
        self.killed = self.waking = False
        # Not made here: the pool makes cores in a callback, where anyio does not know a loop that it has not begun.
        self._scope: anyio.CancelScope | None = None

    def __repr__(self) -> str:
        state = "idle" if self.request is None else f"serving {self.request!r}"
        return f"<Core {self.id}, {self.requests} requests, {state}>"

    async def run(self, pool: WorkQueue) -> None:
        """Serve what ``pool`` gives, until an app leaves a context variable behind.

        Then it returns, for `Pool` to run it again in a task, and so a context, of its own: the next request must not
        see what this one has left. An error of the server's own is logged; the core lives on.
        """
        await greenback.ensure_portal()  # from here on, sync code in this task may await
        self.task = self.poller.backend.current_task()
        current_request.set(None)
        clean = len(copy_context())
        while True:
            # One scope for many requests, renewed only after a harakiri: entering one costs microseconds.
            with anyio.CancelScope() as self._scope:
                try:
                    while not self.killed:
                        connection = pool.take_nowait(self) or await pool.take(self)
                        await connection.protocol.serve(connection, self)
                        if len(copy_context()) != clean:
                            return
                except Exception:  # the app's errors end in its handler: this one is ours
                    logger.exception("core %d: an error in the server itself; the connection is lost", self.id)
            self._clear_up()

    async def serve_alone(self, serve: Callable[[], Awaitable[object]]) -> None:
        """Let ``serve`` serve one request in the caller's task: as `run` does, where somebody else has the connections.

        Returns also when harakiri has ended the request.
        """
        await greenback.ensure_portal()
        self.task = self.poller.backend.current_task()
        with anyio.CancelScope() as self._scope:
            await serve()
        self._clear_up()

    def _clear_up(self) -> None:
        """Go on after a harakiri. uWSGI kills the whole process, and so what it holds is free."""
        if self.killed:
            self.killed = False
            for lock in release_all(self):
                logger.error("core %d: harakiri has unlocked %s, which the request held", self.id, lock.name)

    def kill(self) -> None:
        """Cancel the request that runs, and nothing else (harakiri)."""
        if self.request is not None and not self.killed and self._scope is not None:
            self.killed = True
            self.harakiri += 1
            self._scope.cancel()

    def give_counts(self, other: Core) -> None:
        """Let ``other`` have what this one has counted."""
        for name in _COUNTS:
            setattr(other, name, getattr(other, name) + getattr(self, name))
            setattr(self, name, 0)

    def statistics(self) -> CoreStatistics:
        request = self.request
        running = 0.0 if request is None else self.poller.time() - request.started
        return CoreStatistics(
            id=self.id,
            state="idle" if request is None else "busy",
            requests=self.requests,
            harakiri=self.harakiri,
            exceptions=self.exceptions,
            running=running,
            uri="" if request is None else request.vars.get("REQUEST_URI", ""),
            read_errors=self.read_errors,
            write_errors=self.write_errors,
            static_requests=self.static_requests,
            offloaded_requests=self.offloaded_requests,
            request_start=0.0 if request is None else time.time() - running,
            vars={} if request is None else request.vars.copy(),
        )
