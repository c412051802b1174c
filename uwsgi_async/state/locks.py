"""Locks that an app holds as long as it likes, between all processes and cores of an instance.

What lives here: `Lock`, one of them, and `Locks`, the numbered ones of uWSGI (option ``locks``). What does not: the
line inside a process (`line`), locks for a few instructions (`mutex`), the documented functions (`api.locks`).

Each lock is two bytes of a file without a name, locked with fcntl(2) for the whole process. Why not open file
description locks: those have no holder that could be asked for, and a forked child would hold them too. A lock is
free when its process unlocks it, or ends in whatever way; one task at a time, the head of the line, contends with
other processes for it:

- The *turnstile* is locked before the lock itself, and unlocked when that is ours. So a process that unlocks and
  locks again stands behind the one that waits, and nobody starves.
- Who finds a byte locked waits for the bell and for the end of the process that holds it. The bell is rung after
  each unlocking that somebody waits for: waiters look before they wait, so no change is missed. Nobody polls.

The file is never mapped and never opened again: to close any descriptor of it would drop all locks of the process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final

import anyio

from uwsgi_async.errors import DeadlockError
from uwsgi_async.options.settings import LockOptions
from uwsgi_async.state.bell import Bell, Listener
from uwsgi_async.state.line import Line, Waiter

_FLOCK = struct.Struct("hhqqi4x")  # struct flock of <fcntl.h>
_BUSY = (errno.EAGAIN, errno.EACCES)


class _Byte:
    """One byte of the lock file."""

    __slots__ = ("_exclusive", "_fd", "_free", "_shared")

    def __init__(self, fd: int, position: int) -> None:
        self._fd = fd
        self._exclusive, self._shared, self._free = (
            _FLOCK.pack(kind, os.SEEK_SET, position, 1, 0) for kind in (fcntl.F_WRLCK, fcntl.F_RDLCK, fcntl.F_UNLCK)
        )

    def lock(self, shared: bool) -> bool:
        """Lock it for this process; False when another process has it."""
        try:
            fcntl.fcntl(self._fd, fcntl.F_SETLK, self._shared if shared else self._exclusive)
        except OSError as error:
            if error.errno in _BUSY:
                return False
            raise
        return True

    def unlock(self) -> None:
        fcntl.fcntl(self._fd, fcntl.F_SETLK, self._free)

    def holder(self, shared: bool = False) -> int | None:
        """Return the id of another process whose lock is in the way; 0: one out of sight; None: there is none."""
        answer = _FLOCK.unpack(fcntl.fcntl(self._fd, fcntl.F_GETLK, self._shared if shared else self._exclusive))
        return None if answer[0] == fcntl.F_UNLCK else answer[4]


class Lock:
    """One lock. It belongs to the process; inside, to an owner (see `line`)."""

    def __init__(self, name: str, fd: int, position: int, bell: Bell) -> None:
        self.name = name
        self._turnstile, self._byte = _Byte(fd, position), _Byte(fd, position + 1)
        self._bell = bell
        self._line = Line()
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
        line = self._line
        with line.guard:
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
            if not line.deserted or self._must_be_polite() or not self._byte.lock(shared):
                return False
            line.enter(owner, shared)
            return True

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
                    with self._line.guard:
                        self._line.enter_head(waiter)
        except BaseException:
            if waiter.place == "inside":
                self.release(owner)
            raise

    def release(self, owner: object, *, only_owner: bool = False) -> bool:
        """Unlock it; return False when it was not locked by this process.

        Any core of the process may unlock it, as in uWSGI; ``only_owner``: nobody but ``owner`` (else False).
        """
        line = self._line
        with line.guard:
            if not line.holders or (only_owner and owner not in line.holders):
                return False
            if line.leave(owner):
                self._unlock()
                line.call_next()
        return True

    def holder(self) -> int | None:
        """Return the id of a process that holds it; 0: one out of sight; None: nobody does."""
        return os.getpid() if self._line.holders else self._byte.holder()

    def held_by(self, owner: object, *, shared: bool = False) -> bool:
        """Whether ``owner`` holds it, alone unless ``shared``."""
        return owner in self._line.holders and (shared or not self._line.shared)

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
                await _obtain(self._byte, shared, listener)
            finally:
                self._turnstile.unlock()
                self._bell.ring()
        self._polite = False

    def _unlock(self) -> None:
        self._byte.unlock()
        # Whoever takes the turnstile later than this finds the lock free.
        if self._turnstile.holder() is not None:
            self._polite = True
            self._bell.ring()


async def _obtain(byte: _Byte, shared: bool, listener: Listener) -> None:
    while True:
        listener.forget()
        if byte.lock(shared):
            return
        holder = byte.holder(shared)
        if holder is None:
            continue
        if listener.watched != holder:
            listener.watch(holder)  # and look again: it may have ended, and its number be another's by now
        else:
            await listener.wait()


class Locks:
    """The numbered locks of an instance, 0 to ``count``."""

    INVALID: Final = "Invalid lock number"

    def __init__(self, fd: int, bell: Bell, count: int) -> None:
        self._fd = fd
        self._bell = bell
        self._locks = [Lock(f"lock {number}", fd, 2 * number, bell) for number in range(count + 1)]

    @classmethod
    def create(cls, options: LockOptions) -> Locks:
        return cls(os.memfd_create("uwsgi_async locks"), Bell.create(), options.locks)

    @classmethod
    def attach(cls, described: Any) -> Locks:
        fd, bell, count = described
        return cls(fd, Bell(bell), count)

    def __repr__(self) -> str:
        return f"<Locks 0 to {len(self._locks) - 1}>"

    def __len__(self) -> int:
        return len(self._locks)

    def __getitem__(self, number: int) -> Lock:
        """Return a lock by its number. Raises ValueError beyond the last, as uWSGI does."""
        if not 0 <= number < len(self._locks):
            raise ValueError(f"{self.INVALID}: {number} is not in 0 to {len(self._locks) - 1} (option locks)")
        return self._locks[number]

    @property
    def fds(self) -> Sequence[int]:
        return (self._fd, self._bell.fd)

    def described(self) -> Any:
        return [self._fd, self._bell.fd, len(self._locks) - 1]

    async def maintain(self) -> None:
        """Nothing needs to be looked after."""
        await anyio.sleep_forever()

    def publish(self) -> None:
        """Nothing is kept back."""

    def sections(self) -> Mapping[str, Any]:
        """Tell who holds each lock: process ids."""
        return {"locks": [{f"user {number}": lock.holder() or 0} for number, lock in enumerate(self._locks)]}

    def close(self) -> None:
        os.close(self._fd)
        self._bell.close()


def release_all(owner: object) -> list[Lock]:
    """Unlock all that ``owner`` holds in this process; return them. It looks at every lock: for rare cases."""
    released = []
    for lock in list(_all):
        while lock.release(owner, only_owner=True):
            released.append(lock)
    return released


_all: weakref.WeakSet[Lock] = weakref.WeakSet()
