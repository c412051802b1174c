"""Signals from other instances: what comes in uwsgi packets of modifier1 110, and what goes back.

What lives here: `SignalService`. What does not: who may ask (`instance.packets`), where the signal goes (`signals`). As
in uWSGI's plugins/signal/signal_plugin.c modifier2 is the number, and the answer's modifier2 is 1, or 0 when the signal
was refused because its queue is full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio

from uwsgi_async.signals.end import SignalEnd
from uwsgi_async.wire.uwsgi import MODIFIER_ANSWER, Packet, encode_packet

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection

_PATIENCE: Final = 2.0  # seconds in which a full queue must get shorter; the other side waits 4


class SignalService:
    """Answers the packets of modifier1 110."""

    def __init__(self, end: SignalEnd) -> None:
        self._end = end

    def __repr__(self) -> str:
        return f"<SignalService of {self._end!r}>"

    async def serve(self, connection: Connection, packet: Packet, rest: bytes) -> None:
        """Raise the signal of one packet."""
        done = self._end.raiser.raise_nowait(packet.modifier2)
        if not done:
            with anyio.move_on_after(_PATIENCE):
                await self._end.raiser.raise_signal(packet.modifier2)
                done = True
        await connection.send(encode_packet(MODIFIER_ANSWER, done))
