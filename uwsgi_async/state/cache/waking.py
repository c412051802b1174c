"""Wake those who sleep for LMDB's lock although nobody will wake them.

What lives here: `Waker`. What does not: when it is used (`memory`, `caches`).

LMDB's lock is a robust mutex of the C library, on a futex. When it is unlocked, one sleeper is woken. If that one is
killed before it runs, and somebody else has taken the lock meanwhile, the mark that there are more sleepers is lost:
they sleep until another process comes and has to wait as well. (The kernel wakes the next one only when the lock is
free: handle_futex_death in kernel/futex/core.c.) Waking all of them does no harm, because a sleeper looks again before
it takes the lock; so it is done after each death that is noticed, and now and then.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from typing import Final

# Where the two mutexes are in LMDB's file of locks: struct MDB_txninfo in mdb.c. At a wrong place nobody would wake.
_MUTEXES: Final = (24, 64)
_WAKE: Final = 1  # FUTEX_WAKE
_ALL: Final = 0x7FFFFFFF
_SYSCALLS: Final = {
    "x86_64": 202,
    "aarch64": 98,
    "riscv64": 98,
    "ppc64le": 221,
    "s390x": 238,
    "armv7l": 240,
    "i686": 240,
}

LOCKS_SIZE: Final = mmap.PAGESIZE
"""The bytes that the file of locks must have before a `Waker` is made."""


class Waker:
    """Wakes the sleepers of one file of locks, ``fd``."""

    __slots__ = ("_address", "_anchor", "_map", "_number", "_syscall")

    def __init__(self, fd: int) -> None:
        self._number = _SYSCALLS.get(platform.machine(), -1)
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._map = mmap.mmap(fd, LOCKS_SIZE)
        self._anchor: ctypes.c_char | None = ctypes.c_char.from_buffer(self._map)
        self._address = ctypes.addressof(self._anchor)

    def __call__(self) -> int:
        """Wake all who sleep; return how many that were."""
        woken = 0
        if self._number >= 0:
            for offset in _MUTEXES:
                place = ctypes.c_void_p(self._address + offset)
                woken += max(self._syscall(ctypes.c_long(self._number), place, _WAKE, _ALL, None, None, 0), 0)
        return woken

    def close(self) -> None:
        """Give the memory back."""
        self._anchor = None
        self._number = -1
        self._map.close()
