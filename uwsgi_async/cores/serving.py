"""One request from its vars to its end, the same for every protocol: call the handler, and whatever happens leave
the client with an answer or a closed connection, the core idle, and a line in the log.

What lives here: `serve_request` and `Service`, what all requests of a worker share. What does not: reading
requests (`http`, `uwsgi`), calling apps (`handlers`).
"""

from __future__ import annotations

import logging
import os
import sys
import sysconfig
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from uwsgi_async.cores.core import current_request
from uwsgi_async.cores.response import Response
from uwsgi_async.errors import BadRequestError, DisconnectedError, PeerTimeoutError, WebSocketClosedError

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection
    from uwsgi_async.cores.request import Request
    from uwsgi_async.cores.websocket import WebSockets

logger = logging.getLogger("uwsgi_async")

Handler = Callable[["Request"], Awaitable[None]]

_OURS = os.path.dirname(os.path.dirname(__file__)) + os.sep
_STDLIB = sysconfig.get_paths()["stdlib"] + os.sep
_LIBRARIES = tuple(f"{os.sep}{name}{os.sep}" for name in ("anyio", "trio", "greenback", "outcome", "sniffio"))


@dataclass(slots=True)
class Service:
    """What the requests of a worker share. The log may be exchanged while requests run.

    ``log``: called with each request that has ended; with ``log_all`` False only with those that asked for it.
    ``on_end``: called with each request that has ended; None where nobody waits for that. ``wears_out``: whether the
    process is to be replaced when the app has raised this; None: never. ``response``: makes the `Response` of a
    request.
    """

    handler: Handler
    limit_post: int
    log: Callable[[Request], None]
    log_all: bool
    websockets: WebSockets
    on_end: Callable[[Request], None] | None = None
    wears_out: Callable[[BaseException], bool] | None = None
    response: Callable[[Connection, bool, bool, bool, bool], Response] = Response


async def serve_request(service: Service, request: Request) -> float:
    """Let the handler answer ``request``; when this returns or raises, the response is complete or refused.

    Returns when that was, in seconds on the poller's clock. Raises nothing but the event loop's cancellation.
    """
    core, response = request.core, request.response
    core.request = request
    current_request.set(request)
    try:
        await service.handler(request)
        if not response.complete:
            if response.transfer is not None:
                request.connection.pool.offload(core)
            await response.finish()
        elif request.websocket is not None:
            await request.websocket.end()
    except WebSocketClosedError as error:
        # An app that receives until the end ends here, as uWSGI's examples do.
        if not error.clean:
            _count_error(request)
            logger.info("%s: %s", _name(request), error)
        _refuse(request, 500)
    except DisconnectedError as error:
        _count_error(request)
        logger.info("%s: %s", _name(request), error)
        _refuse(request, 400)
        if not request.released:
            request.connection.close()
    except PeerTimeoutError as error:
        _count_error(request)
        logger.warning("%s: %s", _name(request), error)
        _refuse(request, 408)
    except BadRequestError as error:
        logger.warning("%s: refused with %d: %s", _name(request), error.status, error)
        _refuse(request, error.status)
    except (Exception, SystemExit) as error:
        core.exceptions += 1
        request.app_failed = True
        if isinstance(error, SystemExit):  # the process ends, but not with the requests of others
            request.connection.pool.worn = f"has been ended by its app ({_name(request)}: {error!r})"
        elif service.wears_out is not None and service.wears_out(error):
            request.connection.pool.worn = f"has raised an exception ({_name(request)}: {error!r}; reload-on-exception)"
        logger.exception("%s: the app raised an error", _name(request))
        if core.killed:
            _log_harakiri(request, error)
        _refuse(request, 504 if core.killed else 500)
    except BaseException as error:
        # The event loop's cancellation: a harakiri, or the server's end.
        if core.killed:
            _log_harakiri(request, error)
        _refuse(request, 504 if core.killed else 503)
        if not request.released:
            request.connection.linger()
        raise
    finally:
        if core.watches.active:
            core.watches.clear()
        core.request = None  # current_request still names it, and is asked whether its core does: see `the_request`
        core.requests += 1
        pool = request.connection.pool
        pool.requests += 1
        ended = core.poller.time()
        pool.running_time += ended - request.started
        pool.bytes_sent += response.header_bytes + response.body_bytes
        if service.on_end is not None:
            service.on_end(request)
        if service.log_all or request.log_this:
            service.log(request)
    return ended


def _refuse(request: Request, code: int) -> None:
    """End the response as `Response.refuse` does; a websocket by a close frame."""
    if request.websocket is not None:
        request.websocket.abort(code)
    request.response.refuse(code)


def _count_error(request: Request) -> None:
    """Note that the client went away or was too slow, while it sent or while it received."""
    if request.body.read_error:
        request.core.read_errors += 1
    else:
        request.response.write_error = True
        request.core.write_errors += 1


def _name(request: Request) -> str:
    method = request.vars.get("REQUEST_METHOD", "-")
    return f"{method if method.isprintable() else repr(method)} {request.vars.get('REQUEST_URI', '-')!r}"


def _log_harakiri(request: Request, error: BaseException) -> None:
    """Log where a request was waiting when it was cancelled, or where its thread is."""
    thread = sys._current_frames().get(request.thread) if request.thread else None
    stack = traceback.extract_tb(error.__traceback__) if thread is None else traceback.extract_stack(thread)
    logger.error(
        "HARAKIRI on core %d: %s had run %.3f s; %s %s",
        request.core.id, _name(request), request.elapsed,
        "it was waiting at" if thread is None else "its thread goes on at", _app_line(stack),
    )  # fmt: skip
    if request.connection.pool.options.harakiri_verbose:
        # Line by line: a message with line ends in it would be escaped, as all that a client may have sent.
        for line in "".join(stack.format()).splitlines():
            logger.error("%s", line)


def _app_line(stack: traceback.StackSummary) -> str:
    """Return ``file:line in function`` of the innermost frame that is the app's."""
    for frame in reversed(stack):
        path = frame.filename
        if path.startswith((_OURS, "<")) or any(name in path for name in _LIBRARIES):
            continue
        if path.startswith(_STDLIB) and "site-packages" not in path:
            continue
        return f"{path}:{frame.lineno} in {frame.name}()"
    return "an unknown line"
