"""Files that an app names instead of sending their bytes: the extensions "Path Send" and "Zero Copy Send".

What lives here: `FileSender`. What does not: sending without holding the event loop up (`cores.files`).
Source: the ASGI specification, "Extensions".
"""

from __future__ import annotations

import os

import anyio

from uwsgi_async.cores.files import send_part
from uwsgi_async.cores.response import Response
from uwsgi_async.errors import AppError
from uwsgi_async.handlers.asgi.events import Message

_THREADS = 8  # that read from a slow disk at once


class FileSender:
    """Sends files for the apps of one event loop."""

    def __init__(self) -> None:
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def send_path(self, response: Response, path: object) -> None:
        """Send the whole file at ``path``, absolute. Raises OSError when it cannot be opened, `AppError`, TypeError."""
        if not isinstance(path, str):
            raise TypeError(f"expected a str as the path of http.response.pathsend, got {type(path).__name__}")
        if not os.path.isabs(path):
            raise AppError(f"expected an absolute path in http.response.pathsend, got {path!r}")
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            await response.send_head(size)
            await send_part(response, fd, 0, size, self._threads)
        finally:
            os.close(fd)

    async def send_open(self, response: Response, message: Message) -> None:
        """Send from an open file, which stays the app's. Raises what its ``fileno`` and ``tell`` do."""
        file = message["file"]
        fd = file.fileno()
        offset = message.get("offset")
        start = file.tell() if offset is None else offset
        count = message.get("count")
        if count is None:
            count = max(os.fstat(fd).st_size - start, 0)
        await response.send_head(None if message.get("more_body") else count)
        await send_part(response, fd, start, count, self._threads)
