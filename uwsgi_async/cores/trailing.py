"""What follows a packet on its connection: a value, or the body of a call.

What lives here: `receive_trailing`. What does not: how much may follow, which each service knows (`cache`, `rpc`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uwsgi_async.errors import DisconnectedError

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection


async def receive_trailing(connection: Connection, rest: bytes, size: int) -> bytes:
    """Return the ``size`` bytes behind a packet, of which ``rest`` have come already.

    Raises `DisconnectedError` when the other side closes before, and what receiving raises.
    """
    data = bytearray(rest)
    while len(data) < size:
        received = await connection.receive()
        if not received:
            raise DisconnectedError(f"the other side closed the connection after {len(data)} of {size} bytes")
        data += received
    return bytes(data[:size])
