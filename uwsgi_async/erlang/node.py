"""The Erlang node of one process: its connections to other nodes, and what their messages do here.

What lives here: `ErlangNode`. What does not: the bytes (`handshake`, `messages`, `terms`), one connection
(`connection`), the name (`naming`), what Erlang's own functions ask (`serving`).

The process that has the instance's name connects under it. All others, and programs without an instance, let each node
give them a name when they connect (DFLAG_NAME_ME), so no two processes ever speak under the same one.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from functools import partial
from itertools import count
from typing import Any

import anyio
from anyio.abc import ByteStream, SocketStream, TaskGroup

from uwsgi_async.erlang.calling import Caller
from uwsgi_async.erlang.connection import Connection
from uwsgi_async.erlang.dialing import SETUP_TIME, dial, shake_hands
from uwsgi_async.erlang.handshake import Acceptor, LocalNode, Session, SimultaneousError, Status
from uwsgi_async.erlang.messages import (
    Demonitor,
    Down,
    Exit,
    Link,
    Message,
    Monitor,
    Send,
    SpawnReply,
    SpawnRequest,
    Unlink,
    Unlinked,
)
from uwsgi_async.erlang.naming import NodeName
from uwsgi_async.erlang.peer import Peer
from uwsgi_async.erlang.processes import OVERHEAD, Function, RegisteredProcess, SpawnedProcess
from uwsgi_async.erlang.serving import (
    SERVERS,
    Call,
    FindFunction,
    Outcome,
    Request,
    answer_to,
    apply,
    exit_reason,
    request_of,
    spawned_call,
)
from uwsgi_async.erlang.settings import NodeClaim, NodeSettings
from uwsgi_async.erlang.values import Pid, Reference, Term
from uwsgi_async.errors import ErlangError, NodeDownError, TermError

logger = logging.getLogger("uwsgi_async")

_LINKED, _MONITORED = 1, 2  # flags of SpawnReply


class ErlangNode:
    """A node. It works between `run` and its cancellation.

    ``claim``: on the name; None for a process that is never to have it. ``functions``: of the registered processes, by
    name; it may grow. ``find``: gives the functions for RPC. ``caller``: calls all of them.
    """

    def __init__(
        self,
        settings: NodeSettings,
        claim: NodeClaim | None = None,
        functions: Mapping[str, Function] | None = None,
        find: FindFunction = lambda _name: None,
        caller: Caller | None = None,
    ) -> None:
        self._settings = settings
        self._name = None if claim is None or not settings.name else NodeName(claim, self._welcome)
        self._functions = functions or {}
        self._find = find
        self._caller = caller or Caller()
        self._peers: dict[str, Peer] = {}
        self._connections: set[Connection] = set()
        self._numbers = count(2)  # of processes; 1 is the one that calls
        self._registered: dict[str, RegisteredProcess] = {}
        self._by_number: dict[tuple[Connection | None, int], RegisteredProcess | SpawnedProcess] = {}
        self._tasks: TaskGroup | None = None
        self._context: Context | None = None

    def __repr__(self) -> str:
        return f"<ErlangNode {self._settings.name or '(no name)'}: {len(self._connections)} connections>"

    # --- life -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Be a node until cancelled; then the other nodes get what is on its way."""
        async with self.running():
            await anyio.sleep_forever()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Be a node while the block runs."""
        self._context = copy_context()
        try:
            async with anyio.create_task_group() as self._tasks:
                if self._name is not None:
                    self._tasks.start_soon(self._name.keep)
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        async with anyio.create_task_group() as ending:
                            for connection in list(self._connections):
                                ending.start_soon(connection.finish)
                    self._tasks.cancel_scope.cancel()
        finally:
            self._tasks = None

    def release_name(self) -> None:
        """Let another process of the instance have the name: this one is going to end."""
        if self._name is not None:
            self._name.release()

    async def ready(self) -> None:
        """Wait until it is clear under which name this process connects."""
        if self._name is not None:
            await self._name.decided.wait()

    # --- for the functions of the API -------------------------------------------------------------------------

    def peer(self, name: str) -> Peer:
        """Return what is known of the node ``name``."""
        if name not in self._peers:
            self._peers[name] = Peer(name)
        return self._peers[name]

    async def connect(self, name: str) -> Connection:
        """Return the connection to a node; it is made if there is none. Raises `NodeDownError`, `ErlangError`."""
        peer = self.peer(name)
        if peer.connection is not None:
            return peer.connection
        await self.ready()
        async with peer.lock:
            if peer.connection is None:
                await self._dial(peer)
            if peer.connection is None:
                raise NodeDownError(f"{name} has ended the connection at once")
            return peer.connection

    async def disconnect(self, name: str) -> None:
        """End the connections to a node, when it has got all that was sent."""
        for connection in [each for each in self._connections if each.session.peer == name]:
            await connection.finish()

    async def rpc(self, name: str, module: str, function: str, arguments: list[Term]) -> Term:
        """Call a function of a node, as rpc:call there. Raises `NodeDownError`, `ErlangError`, `TermError`."""
        connection = await self.connect(name)
        return await self.peer(name).call(connection, module, function, arguments)

    async def send(self, name: str, to: Pid | str, message: Term) -> None:
        """Send a message to a process of a node. Raises the same."""
        connection = await self.connect(name)
        await connection.send(Send(connection.main, to, message))

    async def receive(self, name: str) -> Term:
        """Wait for a message of a node; None when the connection ends before. Raises `NodeDownError`, `ErlangError`."""
        peer = self.peer(name)
        peer.is_listened_to = True
        if not peer.has_messages:
            await self.connect(name)
        return await peer.receive()

    # --- connections ------------------------------------------------------------------------------------------

    @property
    def _local(self) -> LocalNode:
        """Who this node says that it is."""
        named = None if self._name is None else self._name.local
        return LocalNode(self._settings.host, 0) if named is None else named

    async def _dial(self, peer: Peer) -> None:
        with anyio.CancelScope() as peer.dialing:
            try:
                dialed = await dial(peer.name, self._local, self._settings.cookie.encode())
            except SimultaneousError:
                await self._await_other(peer)
                return
            finally:
                peer.dialing = None
            self._begin(*dialed)
            return
        await self._await_other(peer)  # it was called off, because the other node has connected meanwhile

    async def _await_other(self, peer: Peer) -> None:
        """Wait for the connection that the other node is making."""
        with anyio.move_on_after(SETUP_TIME):
            while peer.connection is None:  # noqa: ASYNC110 - rare and short
                await anyio.sleep(0.01)
        if peer.connection is None:
            raise NodeDownError(f"{peer.name} was connecting to this node itself, and has not come to an end")

    async def _welcome(self, stream: SocketStream) -> None:
        """Shake hands with a node that has connected."""
        local = self._local
        side = Acceptor(local, self._settings.cookie.encode(), partial(self._judge, local))
        try:
            with anyio.fail_after(SETUP_TIME):
                accepted = await shake_hands(stream, side)
        except TimeoutError:
            logger.error("Erlang node %s: a node that has connected did not shake hands", local.name)
        except ErlangError as error:
            logger.error("Erlang node %s: %s", local.name, error)
        else:
            dialing = self.peer(accepted[1].peer).dialing
            if dialing is not None:
                dialing.cancel()
            self._begin(*accepted)

    def _judge(self, local: LocalNode, name: str) -> Status:
        """Decide about a node that says that this is its name, and has not shown yet that it has the cookie."""
        if name == local.name:
            return "not_allowed"
        peer = self._peers.get(name)
        if peer is None:
            return "ok"
        if peer.dialing is not None:
            return "nok" if name < local.name else "ok_simultaneous"
        return "ok" if self._named_connection(peer, local) is None else "alive"

    def _named_connection(self, peer: Peer, local: LocalNode) -> Connection | None:
        connection = peer.connection
        return connection if connection is not None and connection.session.local == local else None

    def _begin(self, stream: ByteStream, session: Session, rest: bytes) -> None:
        peer = self.peer(session.peer)
        before = self._named_connection(peer, session.local)
        if before is not None:
            before.close("the node has connected again")
        connection = Connection(
            stream,
            session,
            rest,
            ticktime=self._settings.ticktime,
            largest=self._settings.largest,
            handle=self._handle,
            on_end=self._ended,
        )
        self._connections.add(connection)
        if peer.connection is None:
            peer.connection = connection
        self._start(connection.run)

    def _ended(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.peer(connection.session.peer).ended(connection)

    def _start(self, function: Callable[..., Any], *args: Any) -> None:
        """Start a task that inherits nothing of who happens to need it."""
        assert self._tasks is not None
        assert self._context is not None
        self._context.copy().run(self._tasks.start_soon, function, *args)

    # --- what messages do -------------------------------------------------------------------------------------

    def _handle(self, connection: Connection, message: Message, size: int) -> None:
        match message:
            case Send():
                self._deliver(connection, message, size)
            case SpawnRequest():
                self._spawn(connection, message, size)
            case Down():
                self.peer(connection.session.peer).fail(message.reference, message.reason)
            case Monitor() | Demonitor() | Link() | Unlink() | Exit():
                self._relate(connection, message, size)
            case _:
                pass  # answers to what this node never asks, and operations without a meaning for it

    def _deliver(self, connection: Connection, message: Send, size: int) -> None:
        if isinstance(message.to, str) and message.to in SERVERS:
            request = request_of(message.to, message.message)
            if request is not None:
                self._serve(connection, request, size)
            return
        process = self._process(connection, message.to)
        if isinstance(process, RegisteredProcess):
            process.deliver(connection, message.message, size)
        elif not isinstance(process, SpawnedProcess):  # which reads no messages
            self._deliver_to_none(connection, message, size)

    def _deliver_to_none(self, connection: Connection, message: Send, size: int) -> None:
        """Keep a message for who receives from that node. As in Erlang one that nobody wants is lost, with a word."""
        if not self.peer(connection.session.peer).deliver(connection, message.message, size):
            logger.warning(
                "!!! unregistered erlang process requested, dumping it !!! (%r, from %s)",
                message.to, connection.session.peer,
            )  # fmt: skip

    def _process(self, connection: Connection, to: Pid | str | Reference) -> RegisteredProcess | SpawnedProcess | None:
        """Return the process that is meant; None when it is not there, or is the one that calls and receives."""
        if isinstance(to, str):
            return self._registered_process(to)
        if isinstance(to, Reference):
            return None
        number = connection.number_of(to)
        return self._by_number.get((None, number)) or self._by_number.get((connection, number))

    def _registered_process(self, name: str) -> RegisteredProcess | None:
        process = self._registered.get(name)
        if process is None and name in self._functions:
            process = RegisteredProcess(name, next(self._numbers), self._functions, self._caller)
            self._registered[name] = self._by_number[None, process.number] = process
            self._start(process.run)
        return process

    def _exists(self, connection: Connection, to: Pid | str) -> bool:
        if isinstance(to, str):
            return to in SERVERS or self._registered_process(to) is not None
        return connection.number_of(to) == connection.number_of(connection.main) or (
            self._process(connection, to) is not None
        )

    def _relate(self, connection: Connection, message: Monitor | Demonitor | Link | Unlink | Exit, size: int) -> None:
        """Do what links and monitors need. Processes with a name never end before the connection does."""
        process = self._process(connection, message.to)
        spawned = process if isinstance(process, SpawnedProcess) else None
        match message:
            case Monitor(sender, to, reference):
                if spawned is not None:
                    spawned.monitor(reference, sender)
                elif not self._exists(connection, to):
                    connection.send_nowait(Down(to, sender, reference, "noproc"))
            case Demonitor() if spawned is not None:
                spawned.demonitor(message.reference)
            case Demonitor():
                for each in list(self._by_number.values()):
                    if isinstance(each, SpawnedProcess):
                        each.demonitor(message.reference)
            case Link(sender, to):
                if spawned is not None:
                    spawned.link(sender)
                elif not self._exists(connection, to):
                    connection.send_nowait(Exit(to, sender, "noproc"))
            case Unlink(number, sender, to):
                if spawned is not None:
                    spawned.unlink(sender)
                connection.send_nowait(Unlinked(number, to, sender))
            case Exit(sender, _to, reason):
                if spawned is not None:
                    spawned.kill(reason)
                elif isinstance(process, RegisteredProcess):
                    process.deliver(connection, ("EXIT", sender, reason), size)

    # --- calls of functions -----------------------------------------------------------------------------------

    def _serve(self, connection: Connection, request: Request, size: int) -> None:
        if request.call is None:
            answer = answer_to(request, Outcome("yes"), connection.main)
            if answer is not None:
                connection.send_nowait(answer)
            return
        process = SpawnedProcess(connection, next(self._numbers))
        self._start_process(connection, process, size, partial(self._answer, connection, request, request.call))

    async def _answer(self, connection: Connection, request: Request, call: Call) -> Term:
        outcome = await self._apply(connection, call)
        answer = answer_to(request, outcome, connection.main)
        if answer is not None and connection.is_up:
            await connection.send(answer)
        return "normal"

    def _spawn(self, connection: Connection, request: SpawnRequest, size: int) -> None:
        """Start a process for another node, if it is one that calls a function by erpc."""
        wanted = spawned_call(request)
        options = request.options
        reply = next(
            (each[1] for each in options if isinstance(each, tuple) and len(each) == 2 and each[0] == "reply"), "yes"
        )
        if isinstance(wanted, str):
            if reply in ("yes", "error_only"):
                connection.send_nowait(SpawnReply(request.reference, request.sender, 0, wanted))
            return
        process = SpawnedProcess(connection, next(self._numbers))
        flags = 0
        if "link" in options:
            process.link(request.sender)
            flags |= _LINKED
        if "monitor" in options or any(isinstance(each, tuple) and each[:1] == ("monitor",) for each in options):
            process.monitor(request.reference, request.sender)
            flags |= _MONITORED
        if reply in ("yes", "success_only"):
            connection.send_nowait(SpawnReply(request.reference, request.sender, flags, process.pid))
        self._start_process(connection, process, size, partial(self._execute, connection, *wanted))

    async def _execute(self, connection: Connection, call: Call, reference: Reference | None) -> Term:
        return exit_reason(call, reference, await self._apply(connection, call))

    async def _apply(self, connection: Connection, call: Call) -> Outcome:
        def whereis(name: str) -> Pid | None:
            process = self._registered_process(name)
            return None if process is None else connection.pid(process.number)

        return await apply(call, self._find, whereis, self._caller)

    def _start_process(
        self, connection: Connection, process: SpawnedProcess, size: int, body: Callable[[], Any]
    ) -> None:
        connection.pressure.hold(size + OVERHEAD)
        self._by_number[connection, process.number] = process

        async def run() -> None:
            try:
                await process.run(body)
            except (NodeDownError, TermError) as error:
                logger.error("Erlang node %s: a call was not answered: %s", connection.session.peer, error)
            finally:
                del self._by_number[connection, process.number]
                connection.pressure.release(size + OVERHEAD)

        self._start(run)
