"""Whether the instance is alive, for others: what comes in uwsgi packets of modifier1 100, and what goes back.

What lives here: `PingService`. What does not: who may ask (`instance.packets`). As in uWSGI's
plugins/ping/ping_plugin.c the answer's modifier2 is 1, and its payload is the warning of `uwsgi.set_warning_message`,
mostly empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from uwsgi_async.wire.uwsgi import MODIFIER_PING, Packet, encode_packet

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection

_PONG: Final = 1


class PingService:
    """Answers the packets of modifier1 100. ``warning``: returns what a ping is answered with, in bytes."""

    def __init__(self, warning: Callable[[], bytes]) -> None:
        self._warning = warning

    async def serve(self, connection: Connection, packet: Packet, rest: bytes) -> None:
        """Answer one packet."""
        await connection.send(encode_packet(MODIFIER_PING, _PONG, self._warning()))
