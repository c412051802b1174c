"""WSGI apps, sync and async: call the app, send what it returns.

What lives here: `SyncHandler` (PEP 3333, in the core's task), `ThreadHandler` (the same in a thread), `AsyncHandler`
(the same shape with ``async def``), and `start_response`, which all of them give to the app. What does not: the
environ (`environ`), framing (`cores.response`).
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import AsyncIterable, Callable, Iterable
from types import CoroutineType, MethodType
from typing import Any

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint

from uwsgi_async.cores.files import send_file
from uwsgi_async.cores.portal import wait_for
from uwsgi_async.cores.request import Request
from uwsgi_async.cores.response import Response
from uwsgi_async.errors import AppError
from uwsgi_async.handlers.environ import Environ, FileWrapper

logger = logging.getLogger("uwsgi_async")

App = Callable[[dict[str, Any], Callable[..., "Write"]], Any]

_FILE_CHUNK = 1 << 30


Write = Callable[[bytes], None]


def start_response(request: Request, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Write:
    """Set status and headers, and return `write`: the ``start_response`` of PEP 3333, bound to its request.

    Raises TypeError for anything but str and a list of pairs of str, OSError when the head has been sent (with
    ``exc_info``: the app's own error again, as PEP 3333 says).
    """
    response = request.response
    if response.head_sent:
        if exc_info:
            try:
                raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        raise OSError("headers already sent")
    if not isinstance(headers, list):
        raise TypeError("http headers must be in a python list")
    response.start(status, headers)
    return MethodType(write, request)


def write(request: Request, data: bytes, /) -> None:
    """Send ``data`` now (PEP 3333's old way); waits while the client does not take it."""
    if not isinstance(data, bytes):
        raise TypeError(f"write() takes bytes, not {type(data).__name__}")
    wait_for(request.response.send, data, name="write")


class AsyncHandler:
    """Calls ``async def app(environ, start_response)``.

    The app returns a list, an iterable or an async iterable of bytes, or is itself an async generator.
    """

    def __init__(self, app: App, environ: Environ) -> None:
        self._app = app
        self._environ = environ

    async def __call__(self, request: Request) -> None:
        result = self._app(self._environ.make(request), MethodType(start_response, request))
        if type(result) is CoroutineType or inspect.isawaitable(result):
            result = await result
        if type(result) is list and len(result) == 1 and type(result[0]) is bytes and not request.response.head_sent:
            rest = request.response.send_all_nowait(result[0])
            if rest:
                await request.response.send_rest(rest)
        elif isinstance(result, AsyncIterable):
            await _send_async(request, result)
        else:
            await _send_result(request, result)


class SyncHandler:
    """Calls ``def app(environ, start_response)`` in the core's own task.

    What the app waits for through `uwsgi_async` gives way to the other cores; what blocks by itself stops them all
    (then `ThreadHandler` is the right one). ``before_resume`` is called with environ and request after each turn
    that a generator app gave.
    """

    def __init__(self, app: App, environ: Environ, give_way: Callable[[Request, dict[str, Any]], Any]) -> None:
        self._app = app
        self._environ = environ
        self._give_way = give_way

    async def __call__(self, request: Request) -> None:
        environ = self._environ.make(request)
        result = self._app(environ, MethodType(start_response, request))
        if type(result) is list and len(result) == 1 and type(result[0]) is bytes and not request.response.head_sent:
            rest = request.response.send_all_nowait(result[0])
            if rest:
                await request.response.send_rest(rest)
            return

        async def give_way() -> None:
            await self._give_way(request, environ)

        await _send_result(request, result, give_way)


class ThreadHandler:
    """Calls ``def app(environ, start_response)`` in one of the threads of ``limiter``, for code that really blocks.

    A request that is cancelled (harakiri) leaves its thread running: Python cannot stop a thread. The pool keeps it in
    ``abandoned`` until it ends.
    """

    def __init__(self, app: App, environ: Environ, limiter: anyio.CapacityLimiter) -> None:
        self._app = app
        self._environ = environ
        self._limiter = limiter

    async def __call__(self, request: Request) -> None:
        environ = self._environ.make(request)
        abandoned = request.connection.pool.abandoned

        def call() -> Any:
            request.thread = threading.get_ident()
            try:
                result = self._app(environ, MethodType(start_response, request))
                if result is None or isinstance(result, (bytes, list, tuple, FileWrapper)):
                    return result
                return _drain_in_thread(request, result)
            finally:
                request.thread = 0
                abandoned.pop(request, None)

        try:
            result = await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._limiter)
        except BaseException:
            if request.thread:
                abandoned[request] = request.core.poller.time()
                if not request.thread:  # it has ended between these two lines
                    abandoned.pop(request, None)
            raise
        await _send_result(request, result)


def _drain_in_thread(request: Request, result: Iterable[object]) -> None:
    """Send an iterable's chunks from the app's thread, because its next item may block."""
    try:
        for chunk in result:
            data = _checked(chunk)
            if data:
                wait_for(request.response.send, data)
    finally:
        _close(result)


async def _send_result(request: Request, result: object, give_way: Callable[[], Any] | None = None) -> None:
    """Send what a WSGI app returned, then call its ``close``."""
    response = request.response
    try:
        if result is None:
            return
        if isinstance(result, bytes):
            await _send_known(response, result)
        elif isinstance(result, (list, tuple)):
            await _send_known(response, b"".join([_checked(chunk) for chunk in result]))
        elif isinstance(result, FileWrapper):
            await _send_wrapped(request, result)
        elif hasattr(result, "read") and not hasattr(result, "__next__"):
            await _send_wrapped(request, FileWrapper(result))
        else:
            await _send_iterable(request, result, give_way)
    finally:
        _close(result)


async def _send_known(response: Response, body: bytes) -> None:
    if response.head_sent:
        await response.send(body)
    else:
        await response.send_all(body)


async def _send_iterable(request: Request, result: object, give_way: Callable[[], Any] | None) -> None:
    if not isinstance(result, Iterable):
        raise AppError(f"the app must return an iterable of bytes, not {type(result).__name__}")
    for chunk in result:
        data = _checked(chunk)
        if data:
            await request.response.send(data)
        if give_way is not None:
            await give_way()
        else:
            await checkpoint()


async def _send_async(request: Request, result: AsyncIterable[object]) -> None:
    try:
        async for chunk in result:
            data = _checked(chunk)
            if data:
                await request.response.send(data)
            else:
                await checkpoint()
    finally:
        close = getattr(result, "aclose", None)
        if close is not None:
            with anyio.CancelScope(shield=True):
                await close()


async def _send_wrapped(request: Request, wrapper: FileWrapper) -> None:
    """Send a file by sendfile(2) when it is a real one, else chunk by chunk."""
    filelike = wrapper.filelike
    try:
        fd = filelike.fileno()
        offset = filelike.tell()
        size = filelike.seek(0, 2) - offset
        filelike.seek(offset)
    except (AttributeError, OSError, ValueError):
        for chunk in wrapper:
            await request.response.send(_checked(chunk))
        return
    if size > 0:
        await send_file(request, fd, offset, size)


def _checked(chunk: object) -> bytes:
    """Return a chunk as bytes. As uWSGI: None is skipped, other things are skipped with a line in the log."""
    if isinstance(chunk, bytes):
        return chunk
    if isinstance(chunk, (bytearray, memoryview)):
        return bytes(chunk)
    if chunk is not None:
        logger.error("[ERROR] Unhandled object from iterator: %r; the app must give bytes", chunk)
    return b""


def _close(result: object) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()
