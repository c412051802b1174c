"""Signals that a process raises: at once as long as there is room, and else by waiting for it.

What lives here: `Raiser`, one a process. What does not: what it is told by the router (`end`), handlers (`end`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

import anyio

from uwsgi_async.errors import SignalQueueFullError
from uwsgi_async.signals.dispatch import MOST_RAISED
from uwsgi_async.signals.messages import Accepted, FromProcess, Raise

_RETRY = 0.02  # seconds until the channel may have room again
_START = 5.0  # seconds for which a signal waits until this process serves

in_handler: ContextVar[bool] = ContextVar("uwsgi_async.in_signal_handler", default=False)
"""Whether the code that runs is a handler's."""


class Raiser:
    """Raises signals. ``send``: gives a message to the router; False when it cannot now.

    ``importing``: nobody will make room, because the app is still imported. ``serving``: the router is being heard.
    """

    def __init__(self, send: Callable[[FromProcess], bool], *, importing: bool) -> None:
        self.importing = importing
        self.serving = False
        self._send = send
        self._room = MOST_RAISED
        self._full = False
        self._waiting: list[anyio.Event] = []

    def __repr__(self) -> str:
        return f"<Raiser with room for {self._room}>"

    def raise_nowait(self, signal: int) -> bool:
        """Raise a signal; False when that has to wait. When it returns True the signal outlives this process."""
        if self._room <= 0 or not self._send(Raise(bytes([signal]))):
            return False
        self._room -= 1
        return True

    async def raise_signal(self, signal: int) -> None:
        """Raise a signal, and wait as long as its queue is full.

        In a handler it does not wait for a queue, which may be the one that the handler keeps from getting shorter: it
        raises `SignalQueueFullError`.
        """
        while not self.raise_nowait(signal):
            if self.importing or (self._full and in_handler.get()) or not await self._wait():
                raise SignalQueueFullError(f"signal {signal} is not raised: {self._why()}")

    def accept(self, message: Accepted) -> None:
        """Take the router's word that there is room again, or that there is none."""
        self._room += message.count
        self._full = message.full
        for event in self._waiting:
            event.set()

    async def _wait(self) -> bool:
        """Wait until it is worth another try; False when nothing comes from the router."""
        event = anyio.Event()
        self._waiting.append(event)
        try:
            with anyio.move_on_after(_RETRY if self._room > 0 else None if self.serving else _START):
                await event.wait()
            return self.serving or event.is_set()
        finally:
            self._waiting = [each for each in self._waiting if each is not event]

    def _why(self) -> str:
        if not self.serving:
            return f"{MOST_RAISED} are on their way, and this process does not serve yet, so it cannot wait"
        return "the queue of its target is full (option signal-bufsize), and a handler may not wait for that"
