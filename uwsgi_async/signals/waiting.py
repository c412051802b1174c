"""Who waits for signals in a process.

What lives here: `Waiters`. What does not: when a signal has been handled (`end`), where a signal goes because somebody
waits for it (`dispatch`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

from uwsgi_async.signals.dispatch import ANY
from uwsgi_async.signals.messages import FromProcess, Waiting


class Waiter:
    """One task that waits. ``signal``: what it has got."""

    __slots__ = ("event", "signal")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.signal = 0


class Waiters:
    """All who wait in a process. ``send``: tells the router for what."""

    def __init__(self, send: Callable[[FromProcess], bool]) -> None:
        self._send = send
        self._waiters: dict[int, list[Waiter]] = {}

    def __repr__(self) -> str:
        return f"<Waiters for {sorted(self._waiters)}>"

    async def wait(self, signal: int | None) -> int:
        """Wait until a signal has been handled here, ``signal`` or any for None; return its number."""
        with self._waiting(ANY if signal is None else signal) as waiter:
            await waiter.event.wait()
            return waiter.signal

    def tell(self, signal: int) -> bool:
        """Wake all who wait for ``signal``; False when nobody does."""
        waiters = [*self._waiters.get(signal, ()), *self._waiters.get(ANY, ())]
        for waiter in waiters:
            if not waiter.event.is_set():
                waiter.signal = signal
                waiter.event.set()
        return bool(waiters)

    @contextmanager
    def _waiting(self, number: int) -> Iterator[Waiter]:
        waiter = Waiter()
        waiters = self._waiters.setdefault(number, [])
        waiters.append(waiter)
        if len(waiters) == 1:
            self._send(Waiting(number, True))
        try:
            yield waiter
        finally:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[number]
                self._send(Waiting(number, False))
