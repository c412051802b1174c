"""What a process has of a lock, towards the other processes: it is free again when the process ends in whatever way.

What lives here: `ByteClaim` and `WordClaim`, the two kinds of `Claim`, and `Presence`. What does not: who inside the
process has the lock (`line`), how it is waited for (`locks`).

A byte claim is a byte of a file, locked with fcntl(2) for the whole process. Why not open file description locks:
those have no holder that could be asked for, and a forked child would hold them too. It can be shared by several
processes, and costs 0.7 microseconds each way.

A word claim is a word of shared memory in which the process has written its *token*; so it costs what a mutex costs.
Who finds a token there asks whether its process lives: each one has a byte of a file locked, at its token, as long as
it lives. So the kernel tells it, and a process number that is used again confuses nobody.

The file is never mapped and never opened again: to close any descriptor of it would drop all locks of the process.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
import weakref
from collections.abc import Callable
from typing import Final, Protocol

from uwsgi_async.state.mutex import Mutex

_FLOCK = struct.Struct("hhqqi4x")  # struct flock of <fcntl.h>
_BUSY = (errno.EAGAIN, errno.EACCES)
_NAMESPACE: Final = 1 << 32  # more than any process number


class Claim(Protocol):
    """``shared``: with other processes that share it."""

    def lock(self, shared: bool = False) -> bool:
        """Lock it for this process; False when another process has it."""

    def unlock(self) -> None:
        """Give it back, if this process has it."""

    def holder(self, shared: bool = False) -> int | None:
        """Return the id of a process whose claim is in the way; 0: one out of sight; None: there is none."""


class ByteClaim:
    """One byte of the file ``fd``."""

    __slots__ = ("_exclusive", "_fd", "_free", "_shared")

    def __init__(self, fd: int, position: int) -> None:
        self._fd = fd
        self._exclusive, self._shared, self._free = (
            _FLOCK.pack(kind, os.SEEK_SET, position, 1, 0) for kind in (fcntl.F_WRLCK, fcntl.F_RDLCK, fcntl.F_UNLCK)
        )

    def lock(self, shared: bool = False) -> bool:
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
        """Return the id of *another* process; what this one has is not in its own way."""
        answer = _FLOCK.unpack(fcntl.fcntl(self._fd, fcntl.F_GETLK, self._shared if shared else self._exclusive))
        return None if answer[0] == fcntl.F_UNLCK else answer[4]


class Presence:
    """That this process lives, for those who find its token. ``token``: 0 until `take`, and in a forked child again.

    ``forget``: called with a new token, to wipe out what a process of before has left under it.
    """

    __slots__ = ("__weakref__", "_fd", "_forget", "_taking", "token")

    def __init__(self, fd: int, forget: Callable[[int], None]) -> None:
        self._fd = fd
        self._forget = forget
        self.reset()
        _presences.add(self)

    def __repr__(self) -> str:
        return f"<Presence {self.token}>"

    def reset(self) -> None:
        """In a child after a fork: it is another process."""
        self.token = 0
        self._taking = threading.Lock()

    def take(self) -> None:
        """Get a token. Not inside of any mutex."""
        with self._taking:
            if self.token == 0:
                token = os.getpid()
                while not ByteClaim(self._fd, token).lock():
                    token += _NAMESPACE  # a process of another pid namespace has the same number
                self._forget(token)
                self.token = token

    def process(self, token: int) -> int | None:
        """Return the id of the process with this token, 0: it is out of sight; None: it has ended."""
        return os.getpid() if token == self.token else ByteClaim(self._fd, token).holder()


class WordClaim:
    """One word of shared memory. ``mutex``: around all that is done with it, reentrant. It cannot be shared."""

    __slots__ = ("_mutex", "_number", "_presence", "_words")

    def __init__(self, words: memoryview, number: int, mutex: Mutex, presence: Presence) -> None:
        self._words = words
        self._number = number
        self._mutex = mutex
        self._presence = presence

    def lock(self, shared: bool = False) -> bool:
        """Lock it; False also when this process has it already. Raises ValueError for ``shared``."""
        if shared:
            raise ValueError("this lock cannot be shared")
        if self._presence.token == 0:
            self._presence.take()
        return self._mutex.run(self._lock)

    def unlock(self) -> None:
        self._mutex.run(self.wipe, self._presence.token)

    def holder(self, shared: bool = False) -> int | None:
        """Return the id of the process that has it, also when it is this one."""
        token = self._words[self._number]
        if token == 0:
            return None
        process = self._presence.process(token)
        if process is None:
            self._mutex.run(self._free)
        return process

    def _lock(self) -> bool:
        token = self._words[self._number]
        if token and self._presence.process(token) is not None:
            return False
        self._words[self._number] = self._presence.token
        return True

    def _free(self) -> None:
        """Free it if its holder is dead."""
        token = self._words[self._number]
        if token and self._presence.process(token) is None:
            self._words[self._number] = 0

    def wipe(self, token: int) -> None:
        """Free it if it is held under this token. Inside of the mutex."""
        if self._words[self._number] == token:
            self._words[self._number] = 0


_presences: weakref.WeakSet[Presence] = weakref.WeakSet()


def _reset_all() -> None:
    for presence in list(_presences):
        presence.reset()


os.register_at_fork(after_in_child=_reset_all)
