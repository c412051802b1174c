"""Who may do what over a socket of the uwsgi protocol, besides sending requests.

What lives here: `packet_handlers`, `served_modifiers`, `rpc_of`. What does not: what the packets do (`cores.cache`,
`cores.rpc`, `cores.signals`, `handlers.fastfuncs`). Whoever can open a UNIX socket may use all that is served;
everybody can open a TCP socket, so there it must be allowed by the option uwsgi-allow. Real uWSGI allows all to
everybody.
"""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from uwsgi_async.api import rpc, spooler
from uwsgi_async.api.cache import local_caches
from uwsgi_async.api.dynamic import warning_message
from uwsgi_async.api.signals import current_end
from uwsgi_async.cores.cache import CacheService
from uwsgi_async.cores.ping import PingService
from uwsgi_async.cores.rpc import RpcService
from uwsgi_async.cores.signals import SignalService
from uwsgi_async.cores.spooler import SpoolService
from uwsgi_async.cores.uwsgi import ALWAYS_SERVED, PacketHandler
from uwsgi_async.handlers.fastfuncs import FASTFUNC, FastFuncs
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.options.settings import Options
from uwsgi_async.peers.functions import Functions
from uwsgi_async.wire.uwsgi import (
    MODIFIER_CACHE,
    MODIFIER_PING,
    MODIFIER_RPC,
    MODIFIER_SIGNAL,
    MODIFIER_SPOOL,
    Packet,
)

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection

logger = logging.getLogger("uwsgi_async")

_NAMES: Final = {
    MODIFIER_CACHE: "cache",
    MODIFIER_PING: "ping",
    MODIFIER_RPC: "rpc",
    MODIFIER_SIGNAL: "signals",
    MODIFIER_SPOOL: "spooler",
}


def rpc_of(options: Options) -> rpc.Rpc:
    """Return what a process has of RPC before its app has registered any function."""
    return rpc.Rpc(Functions(options.rpc.rpc_max), options.cores.socket_timeout, options.rpc.rpc_max_size)


def packet_handlers(options: Options, listener: Listener) -> Mapping[int, PacketHandler]:
    """Return the handlers of a listener's packets by their modifier1."""
    handlers: dict[int, PacketHandler] = {
        MODIFIER_CACHE: CacheService(local_caches()).serve,
        MODIFIER_PING: PingService(warning_message).serve,
        MODIFIER_SPOOL: SpoolService(spooler.current()).serve,
        FASTFUNC: FastFuncs(sys.modules["uwsgi"].fastfuncs),  # whoever has put a function there has allowed it
    }
    if rpc.has_instance():
        handlers[MODIFIER_RPC] = _rpc_service(options).serve
    end = current_end()
    if end is not None:
        handlers[MODIFIER_SIGNAL] = SignalService(end).serve
    if listener.sock.family in (socket.AF_INET, socket.AF_INET6):
        for modifier, name in _NAMES.items():
            if name not in options.sockets.uwsgi_allow:
                handlers[modifier] = _refuse
    return handlers


def served_modifiers(options: Options, listeners: Iterable[Listener]) -> frozenset[int]:
    """Return the values of modifier1 that are served at one of these listeners at least."""
    served: set[int] = set()
    for listener in listeners:
        if listener.protocol == "uwsgi":
            handlers = packet_handlers(options, listener)
            served |= ALWAYS_SERVED | {number for number, handler in handlers.items() if handler is not _refuse}
    return frozenset(served)


def _rpc_service(options: Options) -> RpcService:
    return RpcService(
        rpc.functions(),
        largest=options.rpc.rpc_max_size,
        harakiri=options.cores.harakiri,
        threads=options.app.threads > 0,
    )


async def _refuse(connection: Connection, packet: Packet, rest: bytes) -> None:
    name = _NAMES[packet.modifier1]
    logger.warning(
        "%s asked for the %s (modifier1 %d) over TCP, which is not allowed; to allow it to everybody: uwsgi-allow = %s",
        connection.peer, name, packet.modifier1, name,
    )  # fmt: skip
