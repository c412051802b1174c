"""The chapter of locks: between all processes and cores of the instance.

Lock 0 is always there; the option ``locks`` adds more. A lock is kept until it is unlocked, also when the request
ends; it is free when its process ends in whatever way. Source: plugins/python/uwsgi_pymodule.c; uWSGI's page "Locks".
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any

from uwsgi_async.cores.owner import current_owner
from uwsgi_async.cores.portal import wait_for
from uwsgi_async.errors import NoInstanceError
from uwsgi_async.state.locks import Lock, Locks, NumberedLock

__all__ = ["is_locked", "lock", "unlock"]

_locks: Locks | None = None


@contextmanager
def using(locks: Locks) -> Iterator[None]:
    """Let the functions of this chapter use ``locks`` while the block runs."""
    global _locks
    before, _locks = _locks, locks
    try:
        yield
    finally:
        _locks = before


class Locking:
    """What `lock` returns: await it, or use it in ``async with``."""

    __slots__ = ("_lock", "_owner", "_shared")

    def __init__(self, lock: Lock, *, shared: bool = False) -> None:
        self._lock = lock
        self._shared = shared
        self._owner: object = None

    def __repr__(self) -> str:
        return f"<Locking of {self._lock!r}>"

    def __await__(self) -> Generator[Any, Any, None]:
        return self._lock.acquire(current_owner(), shared=self._shared).__await__()

    async def __aenter__(self) -> None:
        self._owner = current_owner()
        await self._lock.acquire(self._owner, shared=self._shared)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Somebody may have unlocked it meanwhile, as anyone in uWSGI may: then it is perhaps another's by now.
        self._lock.release(self._owner, only_owner=True)


def lock(number: int = 0, /) -> Locking:
    """Lock it: ``async with lock(1): ...``, or ``await lock(1)`` and `unlock` later.

    Waits in line, behind all who came before; other cores go on. A checkpoint only when it has to wait. Raises
    ValueError for a number beyond the option ``locks``, `DeadlockError` when this core, or task, holds it already.
    """
    return Locking(_lock(number))


def unlock(number: int = 0, /) -> None:
    """Unlock it, whichever core of this process has locked it.

    Does nothing when it is free or another process holds it. Raises ValueError as `lock` does.
    """
    lock = _lock(number)
    if not lock.release_quickly(None, False):
        lock.release(None)


def is_locked(number: int = 0, /) -> bool:
    """Return whether anybody holds it, this core included. Raises ValueError as `lock` does."""
    return _lock(number).holder() is not None


def acquire_and_wait(lock: Lock, name: str, *, shared: bool = False) -> None:
    """Lock it from sync code: in a core other cores go on, elsewhere the thread waits. ``name``: what was called."""
    owner = current_owner()
    if not lock.acquire_nowait(owner, shared=shared):
        wait_for(partial(lock.acquire, owner, shared=shared), name=name)


@contextmanager
def locked(number: int = 0, /) -> Iterator[None]:
    """Hold the lock while the block of sync code runs; in a core other cores go on while it waits."""
    held, owner = _lock(number), current_owner()
    acquire_and_wait(held, "lock")
    try:
        yield
    finally:
        held.release(owner, only_owner=True)


def _lock_blocking(number: int = 0, /) -> None:
    lock, owner = _lock(number), current_owner()
    if not (lock.acquire_quickly(owner) or lock.acquire_nowait(owner)):
        wait_for(partial(lock.acquire, owner), name="lock")


BLOCKING: dict[str, Callable[..., Any]] = {"lock": _lock_blocking}
"""The functions that sync code calls in another form, by their names."""


def _lock(number: int) -> NumberedLock:
    if _locks is None:
        raise NoInstanceError("no uwsgi_async instance runs in this process, so there are no locks")
    return _locks[number]
