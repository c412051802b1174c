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
            await _read_in_thread(fd, start, size, threads)
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


async def _read_in_thread(fd: int, start: int, size: int, threads: anyio.CapacityLimiter) -> None:
    """Read a piece into the kernel's memory. The thread has a descriptor of its own: it may outlive the request."""
    own = [os.dup(fd)]
    try:
        await anyio.to_thread.run_sync(_read, own, start, size, limiter=threads, abandon_on_cancel=True)
    finally:
        _close(own)  # nothing is left to close, unless the thread was never begun


def _read(own: list[int], start: int, size: int) -> None:
    with suppress(IndexError):  # given up before it began
        fd = own.pop()
        try:
            with suppress(OSError):  # sendfile will meet the same trouble, and tell
                os.pread(fd, size, start)
        finally:
            os.close(fd)


def _close(own: list[int]) -> None:
    """Close what nobody has taken yet. Who takes a descriptor off the list closes it: `list.pop` has one winner."""
    with suppress(IndexError):
        os.close(own.pop())
