"""Memory without a name that all processes of an instance share, and its mapping in this process.

What lives here: `Memory`. What does not: what is in it (`queue`, `sharedarea`, `metrics`), and how it reaches other
processes (`instance.state` passes the file descriptor on).
"""

from __future__ import annotations

import mmap
import os
import platform
from typing import Final

from uwsgi_async.errors import OptionError

IN_ORDER: Final = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
"""Whether all processors see the stores of each in their order: there a reader can do without a lock (`areamemory`)."""


class Memory:
    """Bytes behind a file descriptor. ``map``: where this process sees them.

    Reading and writing through ``map`` cannot leave the memory: Python checks each position.
    """

    def __init__(self, fd: int, length: int = 0, offset: int = 0) -> None:
        """Map ``length`` bytes of ``fd`` (0: all of it) from ``offset``. Raises OSError and ValueError when it cannot.

        The fd belongs to the memory from then on.
        """
        self.fd = fd
        self.offset = offset
        self.map = mmap.mmap(fd, length, offset=offset)

    @classmethod
    def create(cls, name: str, length: int) -> Memory:
        """Return ``length`` bytes of new memory, all zero. ``name`` is only seen in /proc.

        Raises `OptionError` for more than the machine has.
        """
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if length > machine:
            raise OptionError(f"{name}: {length} bytes of memory are asked for, but the machine has only {machine}")
        fd = os.memfd_create(f"uwsgi_async {name}")
        try:
            os.ftruncate(fd, length)
            return cls(fd)
        except BaseException:
            os.close(fd)
            raise

    def __len__(self) -> int:
        return len(self.map)

    def __repr__(self) -> str:
        return f"<Memory fd={self.fd}, {len(self.map)} bytes>"

    def close(self) -> None:
        """Give back this process's mapping and descriptor; what an app still holds a view of stays mapped."""
        try:
            self.map.close()
        except BufferError:
            pass
        os.close(self.fd)
