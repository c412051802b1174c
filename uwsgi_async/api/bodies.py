"""The chapter of what goes in and out of a request in bulk: chunks that the client sends, files that it gets.

Each function raises `NoRequestError` (a SystemError, as in uWSGI) outside a request.
Source: uWSGI, "The Chunked input API"; core/chunked.c, plugins/python/uwsgi_pymodule.c.
"""

from __future__ import annotations

import os
from math import inf
from typing import Any

from uwsgi_async.api.request import the_request
from uwsgi_async.cores.portal import call_in_loop
from uwsgi_async.errors import BadRequestError, ChunkedInputError

__all__ = ["chunked_read", "chunked_read_nb", "sendfile"]


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
    Returns True; None when the path cannot be opened. Raises `DisconnectedError` (an OSError) when the client is
    gone.
    """
    request = the_request()
    if isinstance(file, (str, bytes)):
        try:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        file = fd
    fd = file if isinstance(file, int) else file.fileno()
    try:
        count = size or max(os.fstat(fd).st_size - pos, 0)
        await request.response.send_file(fd, pos, count)
    finally:
        if isinstance(file, int):
            os.close(fd)
        else:
            file.close()
    return True
