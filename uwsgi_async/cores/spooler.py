"""The spooler for other instances: what comes in uwsgi packets of modifier1 17, and what goes back.

What lives here: `SpoolService`. What does not: who may ask (`instance.packets`), the task's file (`spooler`). As in
uWSGI's plugins/spooler/spooler_plugin.c the payload is the task, there is no body, and the answer's modifier2 is 1, or
0 when the task was refused.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import anyio.to_thread

from uwsgi_async.errors import BadRequestError, SpoolError
from uwsgi_async.spooler.table import Spoolers
from uwsgi_async.spooler.task import Task
from uwsgi_async.wire.uwsgi import MODIFIER_ANSWER, Packet, decode_items, encode_packet

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection

logger = logging.getLogger("uwsgi_async")

_DECORATED: Final = b"ud_spool_func"  # the function that `decorators.spooler` would call
_PICKLED: Final = b"args"


class SpoolService:
    """Answers the packets of modifier1 17. ``spoolers``: None when the instance has none."""

    def __init__(self, spoolers: Spoolers | None) -> None:
        self._spoolers = spoolers

    def __repr__(self) -> str:
        return f"<SpoolService of {self._spoolers!r}>"

    async def serve(self, connection: Connection, packet: Packet, rest: bytes) -> None:
        """Write the task of one packet."""
        try:
            await self._write(packet.payload)
        except (BadRequestError, ValueError, SpoolError) as error:
            logger.warning("%s: a task was refused: %s", connection.peer or "-", error)
            await connection.send(encode_packet(MODIFIER_ANSWER, 0))
        else:
            await connection.send(encode_packet(MODIFIER_ANSWER, 1))

    async def _write(self, payload: bytes) -> None:
        if self._spoolers is None:
            raise ValueError("this instance has no spooler")
        fields = decode_items(payload)
        if _DECORATED in fields and _PICKLED in fields:
            raise ValueError("its arguments are pickled, and nothing is unpickled that came over a network")
        await anyio.to_thread.run_sync(self._spoolers.write, Task(fields))
