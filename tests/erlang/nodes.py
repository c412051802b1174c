"""A node of this package's, for tests of all kinds."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from uwsgi_async.erlang.calling import Caller
from uwsgi_async.erlang.node import ErlangNode
from uwsgi_async.erlang.settings import NodeClaim, NodeSettings

PATIENCE = 30.0  # seconds
COOKIE = "tests"


@asynccontextmanager
async def a_node(
    alive: str = "",
    functions: Mapping[str, Callable[[Any], Any]] | None = None,
    rpc: Mapping[str, Callable[..., Any]] | None = None,
    *,
    cookie: str = COOKIE,
    ticktime: float = 60.0,
    largest: int = 16 << 20,
    caller: Caller | None = None,
) -> AsyncIterator[ErlangNode]:
    """Run a node; with ``alive`` it has the name ``alive``@127.0.0.1, and is registered when the block begins."""
    settings = NodeSettings(f"{alive}@127.0.0.1" if alive else "", cookie, ticktime, largest)
    claim = NodeClaim(settings, os.memfd_create("claim"))
    try:
        node = ErlangNode(settings, claim if alive else None, functions, (rpc or {}).get, caller)
        async with node.running():
            await node.ready()
            yield node
    finally:
        claim.close()
