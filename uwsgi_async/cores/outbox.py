"""What goes out on a connection that several tasks send on: each piece whole, in the order of the calls.

What lives here: `Outbox`. What does not: the socket (`connection`), what is sent (`websocket`). Bytes that the socket
has not taken stay here, whoever wanted to send them, and go before everything else. So a task that is cancelled while
it sends never leaves half a piece behind which another one begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection


class Outbox:
    """The outgoing side of ``connection``. ``sent``: bytes that were given to it."""

    __slots__ = ("_connection", "_line", "_position", "_unsent", "sent")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._unsent = b""
        self._position = 0  # in `_unsent`: what is before it was taken
        self._line: anyio.Lock | None = None  # of those who wait for the socket to take bytes, while there are any
        self.sent = 0

    def __repr__(self) -> str:
        return f"<Outbox with {self.unsent} bytes>"

    @property
    def unsent(self) -> int:
        """Bytes that the socket has not taken."""
        return len(self._unsent) - self._position

    async def send(self, data: bytes) -> None:
        """Send ``data`` behind those who wait already; what is cancelled while it waits there is not sent at all.

        Raises as `Connection.send`.
        """
        if self._line is None:
            if not self._unsent:
                self.post(data)
                if not self._unsent:
                    return
                data = b""
            self._line = anyio.Lock()
        line = self._line
        try:
            async with line:
                await self._send_unsent()
                self.sent += len(data)
                self._unsent = data
                await self._send_unsent()
        finally:
            if self._line is line and not line.locked():
                self._line = None

    async def flush(self) -> None:
        """Send what is unsent. Raises as `Connection.send`."""
        if self._unsent:
            await self.send(b"")

    def post(self, data: bytes) -> None:
        """Send ``data`` as far as the socket takes it now, and keep the rest for whoever comes next.

        Raises `DisconnectedError`.
        """
        self.sent += len(data)
        self._unsent = self._unsent[self._position :] + data if self._unsent else data
        self._position = 0
        if self._line is None and self._unsent:
            self._push()

    def clear(self) -> None:
        """Forget what is unsent: the connection is over."""
        self._unsent, self._position = b"", 0

    def _push(self) -> None:
        rest = memoryview(self._unsent)[self._position :] if self._position else self._unsent
        self._position += self._connection.send_nowait(rest)
        if self._position == len(self._unsent):
            self.clear()

    async def _send_unsent(self) -> None:
        while self._unsent:
            self._push()
            if self._unsent:
                await self._connection.wait_writable()
