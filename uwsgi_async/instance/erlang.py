"""The Erlang node of one process of an instance.

What lives here: `NodeTask`, `find_function`. What does not: the node (`erlang.node`), its functions (`api.erlang`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uwsgi_async.api import erlang, rpc
from uwsgi_async.erlang.calling import Caller
from uwsgi_async.erlang.node import ErlangNode
from uwsgi_async.options.settings import Options


class NodeTask:
    """What a process does for Erlang: nothing, unless one of its options is given.

    ``serves``: whether this process may take the name of the instance's node, so that others reach it.
    """

    def __init__(self, options: Options, *, serves: bool) -> None:
        claim = erlang.current_claim()
        self._node = None
        if claim is not None:
            own = claim if serves else None
            caller = Caller(options.cores.harakiri, options.app.threads > 0)
            self._node = ErlangNode(claim.settings, own, erlang.registered(), find_function, caller)

    def __repr__(self) -> str:
        return f"<NodeTask of {self._node!r}>"

    async def run(self) -> None:
        """Be a node until cancelled."""
        if self._node is not None:
            with erlang.being(self._node):
                await self._node.run()

    async def release(self, _seconds: float = 0.0) -> None:
        """Let another process have the name, because this one is going to end."""
        if self._node is not None:
            self._node.release_name()


def find_function(name: str) -> Callable[..., Any] | None:
    """Return the function that the app has registered by `register_rpc`; None when there is none of that name."""
    found = rpc.functions().find(name.encode())
    return None if found is None else found.function
