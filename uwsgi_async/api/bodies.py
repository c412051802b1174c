"""The chapter of what goes in and out of a request in bulk: chunks that the client sends, files that it gets.

Each function raises `NoRequestError` (a SystemError, as in uWSGI) outside a request.
Source: uWSGI, "The Chunked input API"; core/chunked.c, plugins/python/uwsgi_pymodule.c.
"""

from __future__ import annotations

import os
from math import inf
from typing import Any

from uwsgi_async.api.request import the_request
from uwsgi_async.cores.files import send_file
from uwsgi_async.cores.portal import call_in_loop
from uwsgi_async.errors import BadRequestError, ChunkedInputError

__all__ = ["chunked_read", "chunked_read_nb", "offload", "sendfile"]


async def chunked_read(timeout: float = 0) -> bytes:
    """Return the next chunk of the request's body, whole, as the client has framed it; b"" at the end and ever after.

    ``timeout``: seconds that the client may be silent; 0 is the option chunked-input-timeout, which by default is
    socket-timeout; less than 0 is without end. Of a body that has a length instead of chunks, what has come is returned
    as if it were one: so a front end may have put the chunks together.

    Raises an OSError, as in uWSGI: `PeerTimeoutError` (call again to go on), `DisconnectedError`, and
    `ChunkedInputError` for what is no chunk, or one larger than the option chunked-input-limit.
    """
    request = the_request()
    options = request.connection.pool.options
    timeout = timeout or options.chunked_input_timeout
    try:
        return await request.body.read_chunk(
            options.chunked_input_limit, inf if timeout < 0 else timeout if timeout > 0 else None
        )
    except BadRequestError as error:
        raise _of_chunks(error) from error


def chunked_read_nb() -> bytes | None:
    """Return what `chunked_read` would if the whole chunk is there already, else None. Raises as `chunked_read`."""
    request = the_request()
    try:
        return request.body.read_chunk_nowait(request.connection.pool.options.chunked_input_limit)
    except BadRequestError as error:
        raise _of_chunks(error) from error


def _of_chunks(error: BadRequestError) -> ChunkedInputError:
    return error if isinstance(error, ChunkedInputError) else ChunkedInputError(error.status, str(error))


def _chunked_read_nb() -> bytes | None:
    return call_in_loop(chunked_read_nb)


BLOCKING = {"chunked_read_nb": _chunked_read_nb}
"""In a thread of a request the connection is the event loop's."""


async def sendfile(file: Any, chunk: int = 0, pos: int = 0, size: int = 0) -> bool | None:
    """Send a file as a part of the body, by sendfile(2). Call start_response before.

    ``file``: a path (str or bytes), an open fd or an object with ``fileno()``; fd and object are closed afterwards,
    as in uWSGI. ``chunk`` means nothing. ``pos``: bytes to skip; ``size``: bytes to send, 0 = to the end.
    Returns True; None when the path cannot be opened. With the option offload-threads it does not wait: the file goes
    out when the app has returned, or sends more. Raises `DisconnectedError` (an OSError) when the client is gone.
    """
    request = the_request()
    opened = _open(file)
    if opened is None:
        return None
    with opened as fd:
        await send_file(request, fd, pos, size or max(os.fstat(fd).st_size - pos, 0))
    return True


async def offload(file: Any, size: int = 0) -> bytes:
    """Send a file as a part of the body when the app has returned, without its core: ``return [await offload(path)]``.

    ``file``: as of `sendfile`, closed afterwards. ``size``: bytes to send, 0 = all. Returns b"". Call start_response
    before; what the app sends later comes behind the file, and waits for it. In uWSGI 2.0.31 it does nothing. Raises
    ValueError when the file cannot be opened, `DisconnectedError` when the client is gone.
    """
    request = the_request()
    opened = _open(file)
    if opened is None:
        raise ValueError(f"unable to offload the request: {file!r} cannot be opened")
    with opened as fd:
        await request.response.offload(fd, 0, size or os.fstat(fd).st_size, request.connection.pool.file_threads)
    return b""


def _open(file: Any) -> _Opened | None:
    """Return the file, to be used in a ``with`` block, which closes it; None when the path cannot be opened."""
    if isinstance(file, (str, bytes)):
        try:
            file = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
    return _Opened(file)


class _Opened:
    def __init__(self, file: Any) -> None:
        self._file = file
        self._fd: int = file if isinstance(file, int) else file.fileno()

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        if isinstance(self._file, int):
            os.close(self._fd)
        else:
            self._file.close()
