"""Another node, as this process knows it: the connection to it, what has come from it, who waits for what.

What lives here: `Peer`. What does not: how connections are made (`dialing`), what messages do (`node`).
"""

from __future__ import annotations

from collections import deque

import anyio

from uwsgi_async.erlang.connection import Connection
from uwsgi_async.erlang.messages import Demonitor, Monitor, Send
from uwsgi_async.erlang.processes import OVERHEAD
from uwsgi_async.erlang.serving import REX
from uwsgi_async.erlang.values import Reference, Term
from uwsgi_async.errors import NodeDownError


class _Call:
    """One call that waits for its answer."""

    __slots__ = ("answer", "connection", "error", "event")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.event = anyio.Event()
        self.answer: Term = None
        self.error = ""


class Peer:
    """The node ``name``. ``connection``: None while there is none.

    ``is_listened_to``: whether messages to no registered process are kept, until somebody receives them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.connection: Connection | None = None
        self.dialing: anyio.CancelScope | None = None
        self.lock = anyio.Lock()
        self.is_listened_to = False
        self._inbox: deque[tuple[Connection, Term, int]] = deque()
        self._news = anyio.Event()
        self._calls: dict[Reference, _Call] = {}

    def __repr__(self) -> str:
        return f"<Peer {self.name}: {len(self._inbox)} messages, {len(self._calls)} calls>"

    @property
    def has_messages(self) -> bool:
        """Whether somebody can receive without waiting."""
        return bool(self._inbox)

    # --- what comes -------------------------------------------------------------------------------------------

    def deliver(self, connection: Connection, message: Term, size: int) -> bool:
        """Take a message to no registered process; False when nobody would ever want it. Raises `ErlangError`."""
        match message:
            case (Reference() as reference, answer) if reference in self._calls:
                self._finish(reference, answer)
                return True
        if not self.is_listened_to:
            return False
        size += OVERHEAD
        connection.pressure.hold(size)
        self._inbox.append((connection, message, size))
        self._wake()
        return True

    def fail(self, reference: Reference, reason: Term) -> None:
        """Take note that who was called has ended before it answered."""
        self._finish(reference, None, f"{REX} of {self.name} has ended: {reason!r}")

    def ended(self, connection: Connection) -> None:
        """Take note that a connection has ended: nobody waits for answers over it any more."""
        for reference, call in list(self._calls.items()):
            if call.connection is connection:
                self._finish(reference, None, str(connection.down()))
        if self.connection is connection:
            self.connection = None
        self._wake()

    def _finish(self, reference: Reference, answer: Term, error: str = "") -> None:
        call = self._calls.pop(reference, None)
        if call is not None:
            call.answer, call.error = answer, error
            call.event.set()

    def _wake(self) -> None:
        self._news.set()

    # --- what is asked ----------------------------------------------------------------------------------------

    async def call(self, connection: Connection, module: str, function: str, arguments: list[Term]) -> Term:
        """Let the node call a function, and return what its rpc:call gives. Raises `NodeDownError`, `TermError`."""
        reference, call = connection.reference(), _Call(connection)
        own = connection.main
        asked = Send(own, REX, ("$gen_call", (own, reference), ("call", module, function, arguments, "user")))
        self._calls[reference] = call
        connection.pressure.waiting += 1
        connection.pressure.notify()
        try:
            await connection.send(Monitor(own, REX, reference), asked)
            await call.event.wait()
        finally:
            connection.pressure.waiting -= 1
            self._calls.pop(reference, None)
            if connection.is_up and not call.error:
                connection.send_nowait(Demonitor(own, REX, reference))
        if call.error:
            raise NodeDownError(call.error)
        return call.answer

    async def receive(self) -> Term:
        """Wait for a message and return it; None when the connection ends before one has come."""
        while not self._inbox:
            connection = self.connection
            if connection is None:
                return None
            self._news = anyio.Event() if self._news.is_set() else self._news
            connection.pressure.waiting += 1
            connection.pressure.notify()
            try:
                await self._news.wait()
            finally:
                connection.pressure.waiting -= 1
        connection, message, size = self._inbox.popleft()
        connection.pressure.release(size)
        return message
