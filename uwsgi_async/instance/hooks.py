"""What an app may have assigned to the ``uwsgi`` module to be called: after a fork, after each request, at the end.

What lives here: `call_hook`, `await_hook`, `AfterRequests`. What does not: when a process begins and ends (`worker`,
`server`). A hook that raises is told in the log, and everything goes on, as in uWSGI. A plain hook may have an
attribute ``in_loop``, a coroutine function: its other half, such as the coroutine functions of `decorators.postfork`.
Source: plugins/python, uwsgi_python_post_fork, uwsgi_after_request_wsgi, uwsgi_python_atexit.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import anyio.to_thread

from uwsgi_async.cores.request import Request
from uwsgi_async.cores.serving import Handler

logger = logging.getLogger("uwsgi_async")

Hook = Callable[[], Any]


def call_hook(module: ModuleType, name: str) -> None:
    """Call a plain hook, if there is one. Outside the event loop, so that it may begin one of its own."""
    hook = getattr(module, name, None)
    if hook is not None and not inspect.iscoroutinefunction(hook):
        try:
            hook()
        except Exception:
            logger.exception("uwsgi.%s raised an error", name)


async def await_hook(module: ModuleType, name: str) -> None:
    """Await an ``async def`` hook, or what a plain one has ``in_loop``, if there is one."""
    hook = getattr(module, name, None)
    hook = getattr(hook, "in_loop", hook)
    if inspect.iscoroutinefunction(hook):
        try:
            await hook()
        except Exception:
            logger.exception("uwsgi.%s raised an error", name)


class AfterRequests:
    """Calls ``hook`` when a request has been answered, before its line is logged; also after one that has failed.

    ``in_thread``: the apps run in threads, and so does a plain hook. It has no arguments, but the functions of the
    current request work in it.
    """

    def __init__(self, handler: Handler, hook: Hook, *, in_thread: bool) -> None:
        self._handler = handler
        self._hook = hook
        self._in_thread = in_thread and not inspect.iscoroutinefunction(hook)

    async def __call__(self, request: Request) -> None:
        try:
            await self._handler(request)
            if not request.response.complete:
                await request.response.finish()
        finally:
            try:
                await self._call()
            except Exception:
                logger.exception("uwsgi.after_req_hook raised an error")

    async def _call(self) -> None:
        if self._in_thread:
            await anyio.to_thread.run_sync(self._hook)
            return
        result = self._hook()
        if inspect.isawaitable(result):
            await result


def with_hook(handler: Handler, module: ModuleType, *, in_thread: bool) -> Handler:
    """Return ``handler``, with the module's ``after_req_hook`` behind it when there is one now."""
    hook = getattr(module, "after_req_hook", None)
    return handler if hook is None else AfterRequests(handler, hook, in_thread=in_thread)
