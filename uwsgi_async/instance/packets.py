"""Who may do what over a socket of the uwsgi protocol, besides sending requests.

What lives here: `packet_handlers`. What does not: what the packets do (`cores.cache`). Whoever can open a UNIX socket
may use all that is served; everybody can open a TCP socket, so there it must be allowed by the option uwsgi-allow. Real
uWSGI allows all to everybody.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from uwsgi_async.api.cache import local_caches
from uwsgi_async.cores.cache import CacheService
from uwsgi_async.cores.uwsgi import PacketHandler
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.options.settings import Options
from uwsgi_async.wire.uwsgi import MODIFIER_CACHE, Packet

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection

logger = logging.getLogger("uwsgi_async")

_NAMES: Final = {MODIFIER_CACHE: "cache"}


def packet_handlers(options: Options, listener: Listener) -> Mapping[int, PacketHandler]:
    """Return the handlers of a listener's packets by their modifier1."""
    handlers: dict[int, PacketHandler] = {MODIFIER_CACHE: CacheService(local_caches()).serve}
    if listener.sock.family in (socket.AF_INET, socket.AF_INET6):
        for modifier, name in _NAMES.items():
            if name not in options.sockets.uwsgi_allow:
                handlers[modifier] = _refuse
    return handlers


async def _refuse(connection: Connection, packet: Packet, rest: bytes) -> None:
    name = _NAMES[packet.modifier1]
    logger.warning(
        "%s asked for the %s (modifier1 %d) over TCP, which is not allowed; to allow it to everybody: uwsgi-allow = %s",
        connection.peer, name, packet.modifier1, name,
    )  # fmt: skip
