"""The name of a node: taken by one process of the instance, registered with epmd, listened under.

What lives here: `NodeName`. What does not: who may take it (`settings.NodeClaim`), what becomes of those who connect
(`node`).

The registration lasts as long as the connection to epmd, so the name is free at once when the process dies, and another
process of the instance takes it. When epmd dies the node stays what it is, and registers again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
from anyio.abc import SocketStream

from uwsgi_async.erlang import epmd
from uwsgi_async.erlang.handshake import LocalNode
from uwsgi_async.erlang.settings import NodeClaim, epmd_port
from uwsgi_async.errors import ErlangError, NodeDownError

logger = logging.getLogger("uwsgi_async")

_LOOK: Final = 0.25  # seconds between two looks whether the name is free
_RETRY: Final = 1.0  # seconds until epmd is asked again
_ANSWER: Final = 5.0  # seconds that epmd has for its answer
_MOST_STRANGERS: Final = 128  # connections in the handshake at once
_HERE: Final = "localhost"


class NodeName:
    """Gets the name for this process, and keeps it. ``local``: None while this process does not have it.

    ``decided``: set when the first try has an end, so that who connects knows under which name. ``on_stranger``:
    awaited with each connection that comes.
    """

    def __init__(self, claim: NodeClaim, on_stranger: Callable[[SocketStream], Awaitable[None]]) -> None:
        self.local: LocalNode | None = None
        self.decided = anyio.Event()
        self._claim = claim
        self._on_stranger = on_stranger
        self._strangers = 0
        self._scope = anyio.CancelScope()
        self._complaint = ""

    def __repr__(self) -> str:
        return f"<NodeName {self._claim.settings.name}{'' if self.local is None else ', held'}>"

    async def keep(self) -> None:
        """Take the name when it is free, and hold it until `release`, or cancelled."""
        try:
            with self._scope:
                while not self._claim.take():
                    self.decided.set()
                    await anyio.sleep(_LOOK)
                while True:
                    try:
                        await self._hold()
                    except (OSError, ErlangError) as error:
                        self._complain(str(error))
                    self.decided.set()
                    await anyio.sleep(_RETRY)
        finally:
            self.decided.set()
            self._claim.give_back()

    def release(self) -> None:
        """Let another process have the name. Connections that are up stay."""
        self._scope.cancel()

    async def _hold(self) -> None:
        """Listen, register, and keep both up. Raises OSError when the host of the name is not here."""
        host = self._claim.settings.host
        try:
            listener = await anyio.create_tcp_listener(local_host=host, local_port=0)
        except OSError as error:
            raise ErlangError(f"cannot listen at {host}, the host of its name: {error.strerror or error}") from error
        async with listener, anyio.create_task_group() as tasks:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            tasks.start_soon(listener.serve, self._accept)
            while True:
                try:
                    await self._register(port)
                except (OSError, ErlangError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
                    self._complain(str(error) or "epmd has closed the connection")
                self.decided.set()
                await anyio.sleep(_RETRY)

    async def _register(self, port: int) -> None:
        """Register, and return when epmd has forgotten it."""
        alive = self._claim.settings.name.partition("@")[0]
        where = epmd_port()
        try:
            stream = await anyio.connect_tcp(_HERE, where)
        except OSError as error:
            raise NodeDownError(f"no epmd answers at {_HERE}:{where}: start one with 'epmd -daemon'") from error
        async with stream:
            await stream.send(epmd.encode_alive(alive, port))
            received = b""
            with anyio.fail_after(_ANSWER):
                while (creation := epmd.decode_alive(received)) is None:
                    received += await stream.receive()
            if self.local is None:
                self.local = LocalNode(self._claim.settings.name, creation)
            logger.info("Erlang node %s registered on port %d", self._claim.settings.name, port)
            self._complaint = ""
            self.decided.set()
            while True:  # it says nothing more; the end of the connection is the end of the registration
                await stream.receive()

    async def _accept(self, stream: SocketStream) -> None:
        if self._strangers >= _MOST_STRANGERS or self.local is None:
            await anyio.aclose_forcefully(stream)
            return
        self._strangers += 1
        try:
            await self._on_stranger(stream)
        finally:
            self._strangers -= 1

    def _complain(self, words: str) -> None:
        """Log why the name is not registered, once for each reason."""
        if words != self._complaint:
            self._complaint = words
            logger.error("Erlang node %s: %s; trying again", self._claim.settings.name, words)
