"""The environ of PEP 3333, from a request's vars.

What lives here: `Environ`, which adds the keys that uWSGI adds, the objects behind ``wsgi.input`` and
``wsgi.file_wrapper``, and `scheme_of`. What does not: calling the app (`wsgi`).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from uwsgi_async.cores.portal import wait_for
from uwsgi_async.cores.request import Request, RequestBody
from uwsgi_async.wire.vars import Vars


class FileWrapper:
    """``wsgi.file_wrapper``: a file to send, through sendfile(2) where it has a file descriptor.

    ``filelike`` must have ``read``; ``block_size`` is the size in bytes of a chunk when sendfile cannot be used.
    """

    def __init__(self, filelike: Any, block_size: int = 32768) -> None:
        if not hasattr(filelike, "read"):
            raise AttributeError("object has no attribute 'read'")
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.filelike.read(self.block_size):
            yield chunk


class AsyncInput:
    """``wsgi.input`` of an async handler: `await` each read, or iterate with ``async for``."""

    __slots__ = ("_body", "_request")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._body = request.body

    async def read(self, size: int | None = -1) -> bytes:
        """Return ``size`` bytes, fewer only at the end; all that is left with -1 or None."""
        return await self._body.read(-1 if size is None else size)

    async def readline(self, size: int | None = -1) -> bytes:
        return await self._body.readline(-1 if size is None else size)

    async def readlines(self, hint: int | None = -1) -> list[bytes]:
        return await self._body.readlines(-1 if hint is None else hint)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._body.__aiter__()

    def fileno(self) -> int:
        return self._request.connection.fd

    def close(self) -> None:
        """Do nothing: the server owns the connection."""


class SyncInput:
    """``wsgi.input`` of a sync handler: reads give way to other cores while they wait. PEP 3333."""

    __slots__ = ("_body", "_position", "_request")

    def __init__(self, request: Request) -> None:
        self._request = request
        self._body: RequestBody = request.body
        self._position = 0

    def read(self, size: int | None = -1) -> bytes:
        size = -1 if size is None else size
        data = self._body.buffered(size)
        if data is None:
            data = wait_for(self._body.read, size, name="wsgi.input.read")
        self._position += len(data)
        return data

    def readline(self, size: int | None = -1) -> bytes:
        data = wait_for(self._body.readline, -1 if size is None else size, name="wsgi.input.readline")
        self._position += len(data)
        return data

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        lines = wait_for(self._body.readlines, -1 if hint is None else hint, name="wsgi.input.readlines")
        self._position += sum(map(len, lines))
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def tell(self) -> int:
        return self._position

    def seek(self, *_args: int) -> int:
        raise OSError("wsgi.input cannot seek: the body is read while it arrives")

    def fileno(self) -> int:
        return self._request.connection.fd

    def close(self) -> None:
        """Do nothing: the server owns the connection."""


class Environ:
    """Makes environs: the keys that are the same for all requests are put together once.

    ``extra``: further keys, such as ``uwsgi.version`` and the ``x-wsgiorg.fdevent`` functions of the floor above.
    """

    def __init__(
        self, input_type: Callable[[Request], object], *, multithread: bool, cores: int, extra: dict[str, object]
    ) -> None:
        self._input_type = input_type
        self._number_cores = cores > 1
        self._base: dict[str, object] = {
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": multithread,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            **extra,
        }

    def make(self, request: Request) -> dict[str, Any]:
        """Return a fresh environ: the app may keep it and change it."""
        vars = request.vars
        if vars.environ is not None:
            environ = vars.environ.copy()
        else:
            environ = self._without_input(vars)
            if vars.shared:
                vars.environ = environ.copy()
        environ["wsgi.input"] = self._input_type(request)
        if self._number_cores:
            environ["uwsgi.core"] = request.core.id
        return environ

    def _without_input(self, vars: Vars) -> dict[str, Any]:
        """Return what is the same for all requests with these variables."""
        return {**vars, **self._base, "wsgi.url_scheme": scheme_of(vars)}


def scheme_of(vars: Vars) -> str:
    """Return how the client speaks: "http", "https", or what a front end says in UWSGI_SCHEME."""
    https = vars.get("HTTPS", "")
    secure = https.startswith("1") or https.lower().startswith("on")
    return vars.get("UWSGI_SCHEME") or ("https" if secure else "http")
