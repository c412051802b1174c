"""The line before a lock, inside one process: who holds it, who is at its head, who waits behind.

What lives here: `Line`, which is first come, first served, for the tasks of every event loop and the threads of the
process. What does not: the other processes (`locks`): the one at the head of the line deals with them, alone.

An *owner* is whoever must not wait for itself: a core, a task, a thread. Owners are compared, nothing else.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal, Protocol, TypeVar

from uwsgi_async.fdwait.poller import open_poller

T = TypeVar("T")

Place = Literal["waiting", "head", "inside"]


class Waiter:
    """One task in the line. Its place only changes under the line's guard; the task is woken when it does."""

    __slots__ = ("_parker", "_poller", "_thread", "owner", "place", "shared")

    def __init__(self, owner: object, shared: bool) -> None:
        self.owner = owner
        self.shared = shared
        self.place: Place = "waiting"
        self._thread = threading.get_ident()
        self._poller = open_poller()
        self._parker = self._poller.backend.parker()

    def move(self, place: Place) -> None:
        """Note the new place and wake the task, in whichever thread it waits."""
        self.place = place
        if threading.get_ident() == self._thread:
            self._parker.unpark()
        else:
            self._poller.backend.call_soon_from_thread(self._parker.unpark)

    async def wait(self) -> None:
        """Wait until the place has changed."""
        while self.place == "waiting":
            await self._parker.park()

    def close(self) -> None:
        self._poller.release()


class Guard(Protocol):
    """What keeps the threads of the process apart."""

    def run(self, operation: Callable[..., T], *args: object) -> T:
        """Call ``operation`` while no other thread is inside; this one may be."""


class ThreadGuard:
    """A guard of one process."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def run(self, operation: Callable[..., T], *args: object) -> T:
        with self._lock:
            return operation(*args)


class Line:
    """Holders, the one at the head, and those behind. The methods are called under ``guard``, but `reset` and `stand`.

    ``guard``: one that is good in a child after a fork, too; None: one of the line's own.

    ``shared``: whether the holders hold together. The head has the line to itself, until it is inside or gives up.
    """

    __slots__ = ("__weakref__", "_given", "guard", "head", "holders", "shared", "waiters")

    def __init__(self, guard: Guard | None = None) -> None:
        self._given = guard
        self.reset()
        _lines.add(self)

    def reset(self) -> None:
        """Forget everybody: in a child after a fork, where nobody of the parent's is."""
        self.guard = self._given or ThreadGuard()
        self.holders: list[object] = []
        self.shared = False
        self.head: Waiter | None = None
        self.waiters: deque[Waiter] = deque()

    @asynccontextmanager
    async def stand(self, waiter: Waiter) -> AsyncIterator[None]:
        """Stand in line until ``waiter`` is at the head, or inside already; then the block runs.

        Who leaves and is not inside has given up, and the next one is called to the head. Who is inside must `leave`
        one day, also when this was cancelled.
        """
        try:
            self.guard.run(self._join, waiter)
            await waiter.wait()
            yield
        finally:
            self.guard.run(self._give_up, waiter)
            waiter.close()

    @property
    def deserted(self) -> bool:
        """Whether nobody holds and nobody waits."""
        return not self.holders and self.head is None and not self.waiters

    def joins(self, shared: bool) -> bool:
        """Whether one more may join the holders at once."""
        return shared and self.shared and bool(self.holders) and not self.waiters

    def enter(self, owner: object, shared: bool) -> None:
        """Let ``owner`` be a holder: there was nobody, or it `joins`."""
        self.holders.append(owner)
        self.shared = shared

    def enter_head(self, head: Waiter) -> None:
        """Let the head in, and if it shares, those who share and stand right behind it."""
        self.enter(head.owner, head.shared)
        head.place = "inside"
        self.head = None
        while head.shared and self.waiters and self.waiters[0].shared:
            waiter = self.waiters.popleft()
            self.holders.append(waiter.owner)
            waiter.move("inside")

    def leave(self, owner: object) -> bool:
        """Let ``owner`` leave, or somebody else when it is none of the holders; return whether nobody is left."""
        if owner in self.holders:
            self.holders.remove(owner)
        else:
            self.holders.pop()
        return not self.holders

    def call_next(self) -> None:
        """Call the next one to the head, if that is free."""
        if not self.holders and self.head is None and self.waiters:
            self.head = self.waiters.popleft()
            self.head.move("head")

    def _join(self, waiter: Waiter) -> None:
        self.waiters.append(waiter)
        self.call_next()

    def _give_up(self, waiter: Waiter) -> None:
        if waiter.place == "waiting":
            self.waiters.remove(waiter)
        elif waiter.place == "head":
            self.head = None
            self.call_next()


_lines: weakref.WeakSet[Line] = weakref.WeakSet()


def _reset_all() -> None:
    for line in list(_lines):
        line.reset()


os.register_at_fork(after_in_child=_reset_all)
