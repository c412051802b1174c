"""A lock for the few instructions that change shared memory; the kernel frees it when its holder dies.

What lives here: `Mutex`. What does not: locks that an app holds while it waits for something (`locks`).

It is a robust POSIX mutex (pthread_mutexattr_setrobust(3)) in the memory that it guards. Locking and unlocking it
costs 0.12 microseconds from Python, two calls of fcntl(2) cost 1.3. It belongs to a thread, so it also keeps the
threads of one process apart. A process that is killed inside leaves the memory as it was then: who guards several
words by it must be able to finish or undo what it finds (see `queue.Queue`).

`Mutex.run` is the plain way. What is called most writes it out, with `trylock` and `unlock`, to save the call:

    try:
        code = trylock(mutex.reference)
        if code:
            mutex.wait(code)
        ...
    finally:
        if mutex.nested:
            mutex.nested = False
        else:
            unlock(mutex.reference)

These are calls of C functions on purpose: Python looks for signals when a Python function is entered, and a
KeyboardInterrupt between locking and `try`, or before unlocking, would leave the mutex locked for ever. Unlocking what
is not ours is an error number and nothing more.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import time
from collections.abc import Callable
from typing import TypeVar

from uwsgi_async.errors import BrokenError, DeadlockError, NoInstanceError

T = TypeVar("T")

# <pthread.h> of glibc and musl on Linux.
_PROCESS_SHARED, _ROBUST, _RECURSIVE, _ERRORCHECK = 1, 1, 1, 2

_SPINS = 30  # tries before the thread sleeps: what is done inside takes about a microsecond
_SLICE = 0.1  # seconds of one sleep: between two of them Python looks for signals


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


_libc = ctypes.PyDLL(None)  # keeps the GIL: for calls that never wait
_timedlock = ctypes.CDLL(None).pthread_mutex_timedlock
_libc.pthread_mutex_consistent.argtypes = [ctypes.c_void_p]
_libc.pthread_mutex_init.argtypes = [ctypes.c_void_p, ctypes.c_void_p]

# Without argtypes, which would have each argument converted: they get `Mutex.reference`, and nothing else.
trylock = _libc.pthread_mutex_trylock
"""Lock it if it is free. 0; or an error number, which is for `Mutex.wait`."""
unlock = _libc.pthread_mutex_unlock
"""Unlock it if it is this thread's."""
unlock.restype = None


class Mutex:
    """One mutex at ``offset`` of shared memory. `initialize` it once, before anyone else can see the memory.

    The memory stays mapped as long as this object lives, so a thread that is inside never loses it. To let go of it,
    put a `NoMutex` in this object's place.
    """

    SIZE = 64
    """Bytes that a mutex takes at most, on any Linux system."""

    __slots__ = ("_address", "_buffer", "nested", "reference")

    def __init__(self, memory: mmap.mmap, offset: int) -> None:
        self._buffer = (ctypes.c_char * self.SIZE).from_buffer(memory, offset)
        self._address = ctypes.addressof(self._buffer)
        self.reference = ctypes.byref(self._buffer)
        self.nested = False

    def __repr__(self) -> str:
        return f"<Mutex at {self._address:#x}>"

    def initialize(self, *, reentrant: bool = False) -> None:
        """Make it a free mutex, whatever was there. Raises `BrokenError` on a system without robust mutexes.

        ``reentrant``: a thread that is inside may come in once more.
        """
        attributes = ctypes.create_string_buffer(64)
        _check(_libc.pthread_mutexattr_init(attributes))
        _check(_libc.pthread_mutexattr_setpshared(attributes, _PROCESS_SHARED))
        _check(_libc.pthread_mutexattr_setrobust(attributes, _ROBUST))
        _check(_libc.pthread_mutexattr_settype(attributes, _RECURSIVE if reentrant else _ERRORCHECK))
        _check(_libc.pthread_mutex_init(self._address, attributes))

    def run(self, operation: Callable[..., T], *args: object) -> T:
        """Call ``operation`` while no other thread of any process is inside. It must not wait for anything.

        Raises `DeadlockError` when this thread is inside already, and the mutex is not reentrant: a signal handler or a
        finalizer has interrupted an operation and asked for another one.
        """
        try:
            code = trylock(self.reference)
            if code:
                self.wait(code)
            return operation(*args)
        finally:
            if self.nested:
                self.nested = False
            else:
                unlock(self.reference)

    def wait(self, code: int) -> None:
        """Get the mutex that was not free at once, or whose holder has died. ``code``: what `trylock` has given.

        Raises `DeadlockError` as `run`; then ``nested`` says that there is nothing to unlock.
        """
        for _ in range(_SPINS):
            if code != errno.EBUSY:
                break
            code = trylock(self.reference)
        while code in (errno.EBUSY, errno.ETIMEDOUT):
            until = time.time() + _SLICE
            code = _timedlock(self.reference, ctypes.byref(_Timespec(int(until), int(until % 1 * 1e9))))
        if code == errno.EOWNERDEAD:
            _libc.pthread_mutex_consistent(self._address)
        elif code == errno.EDEADLK:
            self.nested = True
            raise DeadlockError(
                "this thread is in the middle of an operation on the same shared memory: a signal handler or a "
                "finalizer (__del__) must not start another one"
            )
        elif code:
            raise BrokenError(f"a mutex in shared memory cannot be locked: {os.strerror(code)}")


class NoMutex:
    """Takes the place of a `Mutex` when its memory is closed: nobody comes in any more."""

    def run(self, operation: Callable[..., T], *args: object) -> T:
        raise NoInstanceError("this shared memory is closed: the uwsgi_async instance that it belonged to has ended")


def _check(code: int) -> None:
    if code:
        raise BrokenError(f"this system has no robust process-shared mutexes: {os.strerror(code)}")
