"""Sending an open file without holding the event loop up.

What lives here: `send_part`. What does not: sendfile(2) itself (`cores.connection`).
sendfile waits for the disk when a page is not in memory, and with it all cores. So the file goes out in pieces; for
each the kernel is asked whether it has the last page (preadv2 with RWF_NOWAIT), and if not, or if it cannot tell, a
thread reads the piece first.
"""

from __future__ import annotations

import os
from contextlib import suppress

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint

from uwsgi_async.cores.response import Response

_PIECE = 256 * 1024  # bytes


async def send_part(response: Response, fd: int, start: int, count: int, threads: anyio.CapacityLimiter) -> None:
    """Send ``count`` bytes of the file from ``start``; fewer when it has become shorter. Raises as `Response.send`."""
    end = start + count
    while start < end:
        size = min(_PIECE, end - start)
        if not _is_in_memory(fd, start + size - 1):
            await anyio.to_thread.run_sync(_read, os.dup(fd), start, size, limiter=threads, abandon_on_cancel=True)
        if await response.send_file(fd, start, size) < size:
            return
        start += size
        if start < end:
            await checkpoint()


def _is_in_memory(fd: int, offset: int) -> bool:
    try:
        os.preadv(fd, [bytearray(1)], offset, os.RWF_NOWAIT)
    except OSError:  # it is not, or this file system cannot tell
        return False
    return True


def _read(fd: int, start: int, size: int) -> None:
    """Read a piece into the kernel's memory. Closes ``fd``, which is its own: the request may be over before."""
    try:
        with suppress(OSError):  # sendfile will meet the same trouble, and tell
            os.pread(fd, size, start)
    finally:
        os.close(fd)
