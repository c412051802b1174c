"""Sending an open file without holding the event loop up, and where that is asked for without holding a core.

What lives here: `send_file`, `Transfer`, `send_part`. What does not: sendfile(2) itself (`connection`), the task that a
transfer runs in when the app has returned (`serving`, `pool`).
sendfile waits for the disk when a page is not in memory, and with it all cores. So the file goes out in pieces; for
each the kernel is asked whether it has the last page (preadv2 with RWF_NOWAIT), and if not, or if it cannot tell, a
thread reads the piece first.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from uwsgi_async.cores.request import Request
    from uwsgi_async.cores.response import Response

_PIECE = 256 * 1024  # bytes


async def send_file(request: Request, fd: int, start: int, count: int) -> None:
    """Send ``count`` bytes of a file from ``start`` as a part of the body; ``fd`` is not needed afterwards.

    With the option offload-threads they are sent when the handler has returned, or sends more. Raises as
    `Response.send`.
    """
    pool = request.connection.pool
    if pool.options.offload_threads:
        await request.response.offload(fd, start, count, pool.file_threads)
    else:
        await send_part(request.response, fd, start, count, pool.file_threads)


class Transfer:
    """A part of a file that is to be sent, with a file descriptor of its own. Run or drop it once."""

    __slots__ = ("_count", "_fd", "_start", "_threads")

    def __init__(self, fd: int, start: int, count: int, threads: anyio.CapacityLimiter) -> None:
        self._fd = os.dup(fd)
        self._start = start
        self._count = count
        self._threads = threads

    def __repr__(self) -> str:
        return f"<Transfer of {self._count} bytes>"

    async def run(self, response: Response) -> None:
        try:
            await send_part(response, self._fd, self._start, self._count, self._threads)
        finally:
            self.drop()

    def drop(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


async def send_part(response: Response, fd: int, start: int, count: int, threads: anyio.CapacityLimiter) -> None:
    """Send ``count`` bytes of the file from ``start``; fewer when it has become shorter. Raises as `Response.send`."""
    end = start + count
    while start < end:
        size = min(_PIECE, end - start)
        if not _is_in_memory(fd, start + size - 1):
            await _read_in_thread(fd, start, size, threads)
        if await response.send_file(fd, start, size, count) < size:
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
