"""One task of an app's after the other: `Turns`.

anyio's Lock would do, but looks for a cancellation also when it is free, and so hides from an app that only looks
whether its client is still there (Starlette's ``is_disconnected``) that it is not.
"""

from __future__ import annotations

import anyio


class Turns:
    """Lets one task at a time go on. Waits only where another one has the turn."""

    __slots__ = ("_free", "_taken")

    def __init__(self) -> None:
        self._taken = False
        self._free: anyio.Event | None = None

    def __repr__(self) -> str:
        return f"<Turns {'taken' if self._taken else 'free'}>"

    async def take(self) -> None:
        """Wait until it is the caller's turn, which `give` ends."""
        while self._taken:
            if self._free is None:
                self._free = anyio.Event()
            await self._free.wait()
        self._taken = True

    def give(self) -> None:
        """Let the next one go on."""
        self._taken = False
        free, self._free = self._free, None
        if free is not None:
            free.set()
