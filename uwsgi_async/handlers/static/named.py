"""Files that an app names in the header X-Sendfile: the server sends them in the place of the app's body.

What lives here: `NamedFiles`, which says which files may be named, and `NamingResponse`. What does not: how a file is
sent (`cores.files`). uWSGI has this by its internal routing (its page "Snippets"), without a look at the path; the name
of the option is that of Apache's mod_xsendfile.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from uwsgi_async.cores.files import Transfer
from uwsgi_async.cores.response import Response
from uwsgi_async.handlers.static.conditions import http_date
from uwsgi_async.handlers.static.files import Found, Pin, Root, open_pinned

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection

logger = logging.getLogger("uwsgi_async")

_HEADER = "x-sendfile"


class NamedFiles:
    """The files that apps may name: those below some directories, wherever links lead."""

    def __init__(self, directories: Sequence[str]) -> None:
        self._roots = [Root(path) for path in directories]

    def find(self, path: bytes) -> Found | None:
        """Return the file at an absolute path; None, and a line in the log, if there is none or it may not be sent."""
        if not path.startswith(b"/"):
            logger.warning("X-Sendfile: expected an absolute path, got %r", os.fsdecode(path))
            return None
        with Pin(path) as pin:
            if not pin.is_file:
                logger.warning("X-Sendfile: there is no file %r", os.fsdecode(path))
                return None
            real = pin.real_path()
            for root in self._roots:
                if root.holds(real):
                    return open_pinned(pin, real, root)
        logger.warning("X-Sendfile: %r is not under a directory of the option xsendfile-path", os.fsdecode(real))
        return None


class NamingResponse(Response):
    """A response whose WSGI app may name a file instead of sending a body. ``files``: which ones.

    ASGI apps have the extension http.response.pathsend for that.
    """

    _replaced = False  # the app has named a file: what it sends is thrown away

    def __init__(
        self,
        files: NamedFiles,
        connection: Connection,
        http_1_1: bool,
        keep_alive: bool,
        head_only: bool,
        date: bool,
    ) -> None:
        super().__init__(connection, http_1_1, keep_alive, head_only, date)
        self._files = files

    def start(self, status: str, headers: list[tuple[str, str]]) -> None:
        """See `Response.start`. A file that may not be sent is answered with 404."""
        super().start(status, headers)  # which also looks whether they are headers at all
        self._drop_transfer()
        path = next((value for name, value in headers if name.lower() == _HEADER), None)
        self._replaced = path is not None
        if path is None:
            return
        found = self._files.find(path.encode("latin-1"))
        if found is None:
            super().start("404 Not Found", [("Content-Type", "text/plain")])
            return
        with found:
            rest = [(name, value) for name, value in headers if name.lower() not in (_HEADER, "content-length")]
            if not any(name.lower() == "last-modified" for name, _ in rest):
                rest.append(("Last-Modified", http_date(found.mtime)))
            super().start(status, [*rest, ("Content-Length", str(found.size))])
            self.transfer = Transfer(found.fd, 0, found.size, self._connection.pool.file_threads)

    def send_all_nowait(self, body: bytes) -> bytes:
        if self._replaced:
            return b"" if self.transfer is not None else super().send_all_nowait(b"")
        return super().send_all_nowait(body)

    async def send(self, chunk: bytes) -> None:
        if not self._replaced:
            await super().send(chunk)

    async def send_file(self, fd: int, offset: int, count: int, length: int | None = None) -> int:
        if self.transfer is not None and self._replaced:
            return count  # the app's own: the file that it has named is sent when this is None
        return await super().send_file(fd, offset, count, length)
