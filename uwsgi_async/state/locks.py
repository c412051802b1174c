"""Locks that an app holds as long as it likes, between all processes and cores of an instance.

What lives here: `Lock`, one of them, and `Locks`, the numbered ones of uWSGI (option ``locks``). What does not: the
line inside a process (`line`), what a process has of a lock (`claims`), locks for a few instructions (`mutex`), the
documented functions (`api.locks`).

Each lock is two claims. A lock is free when its process unlocks it, or ends in whatever way; one task at a time, the
head of the line, contends with other processes for it:

- The *turnstile* is claimed before the lock itself, and given back when that is ours. So a process that unlocks and
  locks again stands behind the one that waits, and nobody starves.
- Who finds a claim taken waits for the bell and for the end of the process that has it. The bell is rung after
  each unlocking that somebody waits for: waiters look before they wait, so no change is missed. Nobody polls.

Where nobody waits, the numbered locks go a short way: one mutex of `mutex` is around the line and the claims.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import anyio

from uwsgi_async.errors import DeadlockError
from uwsgi_async.options.settings import LockOptions
from uwsgi_async.state.bell import Bell, Listener
from uwsgi_async.state.claims import Claim, Presence, WordClaim
from uwsgi_async.state.line import Guard, Line, Waiter
from uwsgi_async.state.memory import Memory
from uwsgi_async.state.mutex import Mutex, trylock, unlock

_LOCK_SIZE: Final = 128  # bytes of shared memory for a numbered lock: a mutex and two words
_HELD, _TURNSTILE = 0, 1  # the words: tokens of processes


class Lock:
    """One lock. It belongs to the process; inside, to an owner (see `line`)."""

    def __init__(self, name: str, turnstile: Claim, claim: Claim, bell: Bell, guard: Guard | None = None) -> None:
        self.name = name
        self._turnstile, self._claim = turnstile, claim
        self._bell = bell
        self._line = Line(guard)
        self._polite = False
        _all.add(self)

    def __repr__(self) -> str:
        line = self._line
        return f"<Lock {self.name}: {len(line.holders)} hold it here, {len(line.waiters) + bool(line.head)} wait>"

    def acquire_nowait(self, owner: object, *, shared: bool = False) -> bool:
        """Lock it if that needs no waiting; return whether it is ours.

        ``shared``: with others who share it. Raises `DeadlockError` when ``owner`` holds it and so would wait for
        itself; who shares it may share it once more.
        """
        return self._line.guard.run(self._acquire_nowait, owner, shared)

    async def acquire(self, owner: object, *, shared: bool = False) -> None:
        """Lock it; wait in line, behind all who came before. A checkpoint only when it has to wait.

        Raises `DeadlockError` as `acquire_nowait` does.
        """
        if self.acquire_nowait(owner, shared=shared):
            return
        waiter = Waiter(owner, shared)
        try:
            async with self._line.stand(waiter):
                if waiter.place == "head":
                    await self._contend(shared)
                    self._line.guard.run(self._line.enter_head, waiter)
        except BaseException:
            if waiter.place == "inside":
                self.release(owner)
            raise

    def release(self, owner: object, *, only_owner: bool = False) -> bool:
        """Unlock it; return False when it was not locked by this process.

        Any core of the process may unlock it, as in uWSGI; ``only_owner``: nobody but ``owner`` (else False).
        """
        return self._line.guard.run(self._release, owner, only_owner)

    def holder(self) -> int | None:
        """Return the id of a process that holds it; 0: one out of sight; None: nobody does."""
        return os.getpid() if self._line.holders else self._claim.holder()

    def held_by(self, owner: object, *, shared: bool = False) -> bool:
        """Whether ``owner`` holds it, alone unless ``shared``."""
        return owner in self._line.holders and (shared or not self._line.shared)

    def _acquire_nowait(self, owner: object, shared: bool) -> bool:
        line = self._line
        if owner in line.holders:
            if not (shared and line.shared):
                raise DeadlockError(
                    f"{self.name} is held by the very core, task or thread that asks for it: to wait would be a "
                    f"deadlock; unlock it first"
                )
            line.enter(owner, shared)
            return True
        if line.joins(shared):
            line.enter(owner, shared)
            return True
        if not line.deserted or self._must_be_polite() or not self._claim.lock(shared):
            return False
        line.enter(owner, shared)
        return True

    def _release(self, owner: object, only_owner: bool) -> bool:
        line = self._line
        if not line.holders or (only_owner and owner not in line.holders):
            return False
        if line.leave(owner):
            self._unlock()
            line.call_next()
        return True

    def _must_be_polite(self) -> bool:
        """Whether another process was waiting when this one unlocked, and still is."""
        if self._polite:
            self._polite = self._turnstile.holder() is not None
        return self._polite

    async def _contend(self, shared: bool) -> None:
        """Get the lock from the other processes: through the turnstile."""
        with self._bell.listen() as listener:
            await _obtain(self._turnstile, False, listener)
            try:
                await _obtain(self._claim, shared, listener)
            finally:
                self._turnstile.unlock()
                self._bell.ring()
        self._polite = False

    def _unlock(self) -> None:
        self._claim.unlock()
        # Whoever takes the turnstile later than this finds the lock free.
        if self._turnstile.holder() is not None:
            self._polite = True
            self._bell.ring()


async def _obtain(claim: Claim, shared: bool, listener: Listener) -> None:
    while True:
        listener.forget()
        if claim.lock(shared):
            return
        holder = claim.holder(shared)
        if holder is None:
            continue
        if listener.watched != holder:
            listener.watch(holder)  # and look again: it may have ended, and its number be another's by now
        else:
            await listener.wait()


class NumberedLock(Lock):
    """A lock whose claims are words; it cannot be shared. Its mutex and words are in ``control``.

    ``acquire_quickly``, ``release_quickly``: the short way, and False when the long one has to be gone; they get an
    owner, and for unlocking whether nobody else may do it.
    """

    def __init__(self, number: int, control: Memory, presence: Presence, bell: Bell) -> None:
        at = number * _LOCK_SIZE
        mutex = Mutex(control.map, at)
        words = memoryview(control.map)[at + Mutex.SIZE : at + _LOCK_SIZE].cast("Q")
        held, turnstile = (WordClaim(words, word, mutex, presence) for word in (_HELD, _TURNSTILE))
        super().__init__(f"lock {number}", turnstile, held, bell, mutex)
        self._presence = presence
        self._words = words
        self.acquire_quickly, self.release_quickly = _quick_functions(self._line, words, mutex, presence)

    def acquire_nowait(self, owner: object, *, shared: bool = False) -> bool:
        if not shared and self.acquire_quickly(owner):
            return True
        if self._presence.token == 0:
            self._presence.take()
        return super().acquire_nowait(owner, shared=shared)

    def release(self, owner: object, *, only_owner: bool = False) -> bool:
        return self.release_quickly(owner, only_owner) or super().release(owner, only_owner=only_owner)

    def holder(self) -> int | None:
        return self._claim.holder() if self._words[_HELD] else None


def _quick_functions(
    line: Line, words: memoryview, mutex: Mutex, presence: Presence
) -> tuple[Callable[[object], bool], Callable[[object, bool], bool]]:
    """Return functions that lock and unlock while nobody waits, else False: closures, as `mutex` tells."""
    reference = mutex.reference

    def acquire(owner: object) -> bool:
        try:
            code = trylock(reference)
            if code:
                mutex.wait(code)
            if words[_HELD] or words[_TURNSTILE] or line.holders or line.head or line.waiters or not presence.token:
                return False
            line.holders = [owner]
            line.shared = False
            words[_HELD] = presence.token
            return True
        finally:
            unlock(reference)

    def release(owner: object, only_owner: bool) -> bool:
        try:
            code = trylock(reference)
            if code:
                mutex.wait(code)
            if words[_TURNSTILE] or line.head or line.waiters or not line.holders:
                return False
            if only_owner and owner not in line.holders:
                return False
            words[_HELD] = 0
            line.holders = []
            return True
        finally:
            unlock(reference)

    return acquire, release


class Locks:
    """The numbered locks of an instance, 0 to ``count``."""

    INVALID: Final = "Invalid lock number"

    def __init__(self, fd: int, control: Memory, bell: Bell, count: int) -> None:
        self._fd = fd
        self._control = control
        self._bell = bell
        self._count = count
        self._presence = Presence(fd, self._forget)
        self._making = threading.Lock()
        self._locks: list[NumberedLock | None] = [None] * (count + 1)

    @classmethod
    def create(cls, options: LockOptions) -> Locks:
        """Return locks 0 to the option. Raises `OptionError` when there is no memory for them."""
        control = Memory.create("locks", (options.locks + 1) * _LOCK_SIZE)
        for number in range(options.locks + 1):
            Mutex(control.map, number * _LOCK_SIZE).initialize(reentrant=True)
        return cls(os.memfd_create("uwsgi_async lock holders"), control, Bell.create(), options.locks)

    @classmethod
    def attach(cls, described: Any) -> Locks:
        fd, control, bell, count = described
        return cls(fd, Memory(control), Bell(bell), count)

    def __repr__(self) -> str:
        return f"<Locks 0 to {self._count}>"

    def __len__(self) -> int:
        return self._count + 1

    def __getitem__(self, number: int) -> NumberedLock:
        """Return a lock by its number. Raises ValueError beyond the last, as uWSGI does."""
        if not 0 <= number <= self._count:
            raise ValueError(f"{self.INVALID}: {number} is not in 0 to {self._count} (option locks)")
        return self._locks[number] or self._first_use(number)

    @property
    def fds(self) -> Sequence[int]:
        return (self._fd, self._control.fd, self._bell.fd)

    def described(self) -> Any:
        return [*self.fds, self._count]

    async def maintain(self) -> None:
        """Nothing needs to be looked after."""
        await anyio.sleep_forever()

    def publish(self) -> None:
        """Nothing is kept back."""

    def sections(self) -> Mapping[str, Any]:
        """Tell who holds each lock: process ids."""
        return {"locks": [{f"user {number}": self[number].holder() or 0} for number in range(len(self))]}

    def close(self) -> None:
        """Give back what this process holds; what is still locked is free then."""
        self._locks = [None] * len(self)  # each keeps the memory mapped
        os.close(self._fd)
        self._control.close()
        self._bell.close()

    def _first_use(self, number: int) -> NumberedLock:
        with self._making:
            lock = self._locks[number]
            if lock is None:
                lock = self._locks[number] = NumberedLock(number, self._control, self._presence, self._bell)
        return lock

    def _forget(self, token: int) -> None:
        """Free what a dead process has left that had the same number as this one, and wake who waits for it."""
        for number in range(len(self)):
            at = number * _LOCK_SIZE
            words = memoryview(self._control.map)[at + Mutex.SIZE : at + _LOCK_SIZE].cast("Q")
            if token in words:
                mutex = Mutex(self._control.map, at)
                for word in (_HELD, _TURNSTILE):
                    mutex.run(WordClaim(words, word, mutex, self._presence).wipe, token)
                self._bell.ring()


def release_all(owner: object) -> list[Lock]:
    """Unlock all that ``owner`` holds in this process; return them. It looks at every lock: for rare cases."""
    released = []
    for lock in list(_all):
        while lock.release(owner, only_owner=True):
            released.append(lock)
    return released


_all: weakref.WeakSet[Lock] = weakref.WeakSet()
