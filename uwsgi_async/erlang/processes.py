"""The processes of this node, as other nodes see them: those with a name, and those that erpc starts.

What lives here: `RegisteredProcess`, `SpawnedProcess`. What does not: which there are (`node`), what erpc asks
(`serving`).

A registered process handles one message at a time, in the order in which they came, as Erlang's do, and never ends
before its node does. It traps exits: what Erlang sends because of a link, or of exit(Pid, Reason), comes as the message
("EXIT", pid, reason). Functions run in tasks with a portal, so plain ones may call what waits.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import greenback

from uwsgi_async.erlang.calling import Caller
from uwsgi_async.erlang.connection import Connection
from uwsgi_async.erlang.messages import Down, Exit
from uwsgi_async.erlang.values import Pid, Reference, Term
from uwsgi_async.errors import NodeDownError, TermError

logger = logging.getLogger("uwsgi_async")

Function = Callable[[Any], Any]

OVERHEAD = 1024
"""Bytes that each message which waits counts more than it has: Python's objects are larger than their bytes."""


class RegisteredProcess:
    """A process with a name. ``number``: of its pid. ``functions``: has its own by its name, whichever it is now."""

    def __init__(self, name: str, number: int, functions: Mapping[str, Function], caller: Caller) -> None:
        self.name = name
        self.number = number
        self._functions = functions
        self._caller = caller
        self._mailbox: deque[tuple[Connection, Term, int]] = deque()
        self._news = anyio.Event()

    def __repr__(self) -> str:
        return f"<RegisteredProcess {self.name}: {len(self._mailbox)} messages>"

    def deliver(self, connection: Connection, message: Term, size: int) -> None:
        """Put a message into the mailbox. Raises `ErlangError` when too much waits."""
        size += OVERHEAD
        connection.pressure.hold(size)
        self._mailbox.append((connection, message, size))
        self._news.set()

    async def run(self) -> None:
        """Handle messages until cancelled."""
        await greenback.ensure_portal()
        while True:
            while not self._mailbox:
                self._news = anyio.Event()
                await self._news.wait()
            connection, message, size = self._mailbox.popleft()
            try:
                await self._caller.call(self._functions[self.name], message)
            except (Exception, SystemExit):
                logger.exception("the Erlang process %r: an error of its function", self.name)
            finally:
                connection.pressure.release(size)
            await anyio.lowlevel.checkpoint()


class SpawnedProcess:
    """A process that another node has started: it calls one function, and ends. ``pid``: as the other node sees it."""

    def __init__(self, connection: Connection, number: int) -> None:
        self.number = number
        self.pid = connection.pid(number)
        self._connection = connection
        self._monitors: dict[Reference, Pid] = {}
        self._links: set[Pid] = set()
        self._scope = anyio.CancelScope()
        self._killed: Term = None

    def __repr__(self) -> str:
        return f"<SpawnedProcess {self.pid!r}>"

    def monitor(self, reference: Reference, watcher: Pid) -> None:
        self._monitors[reference] = watcher

    def demonitor(self, reference: Reference) -> None:
        self._monitors.pop(reference, None)

    def link(self, other: Pid) -> None:
        self._links.add(other)

    def unlink(self, other: Pid) -> None:
        self._links.discard(other)

    def kill(self, reason: Term) -> None:
        """Cancel what it does; it ends with this reason."""
        self._killed = reason
        self._scope.cancel()

    async def run(self, body: Callable[[], Any]) -> None:
        """Await ``body``, which gives the reason of the end, and tell that to who wants to know it."""
        await greenback.ensure_portal()
        reason: Term = "killed"
        with self._scope:
            reason = await body()
        if self._scope.cancelled_caught:
            reason = "killed" if self._killed == "kill" else self._killed
        self._tell(reason)

    def _tell(self, reason: Term) -> None:
        told: list[Down | Exit] = [Down(self.pid, watcher, each, reason) for each, watcher in self._monitors.items()]
        told += [Exit(self.pid, other, reason) for other in self._links]
        try:
            self._connection.send_nowait(*told)
        except NodeDownError:
            pass  # nobody is there to hear it
        except TermError:
            logger.exception("%r cannot tell its end", self)
