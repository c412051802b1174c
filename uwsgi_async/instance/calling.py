"""From the loaded apps to the one handler that all requests of a worker go through.

What lives here: `make_handler`, `Calling`. What does not: the handlers (`handlers`), loading (`loader`).
What is not configured is not there: one app without static files is called by its own handler alone.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from uwsgi_async.api import asynchronous
from uwsgi_async.compat.uwsgi_module import UwsgiModule
from uwsgi_async.cores.request import Request
from uwsgi_async.cores.serving import Handler
from uwsgi_async.handlers.asgi import AsgiHandler, Lifespan
from uwsgi_async.handlers.asgi.events import single_callable
from uwsgi_async.handlers.asgi.files import FileSender
from uwsgi_async.handlers.asgi.scope import Scopes
from uwsgi_async.handlers.detect import app_kind
from uwsgi_async.handlers.environ import AsyncInput, Environ, SyncInput
from uwsgi_async.handlers.mounts import Apps, Mounts, ScriptNames, default_mountpoint
from uwsgi_async.handlers.static import StaticHandler
from uwsgi_async.handlers.wsgi import AsyncHandler, SyncHandler, ThreadHandler
from uwsgi_async.options.loading import AppOptions
from uwsgi_async.options.settings import Options

App = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Calling:
    """What answers requests, and the lifespans of the ASGI apps that it calls: to be started before the first one."""

    handler: Handler
    lifespans: Sequence[Lifespan]


def make_handler(apps: Apps, options: Options) -> Calling:
    """Return what answers a request, made of all ``apps`` and what the options put before them.

    Call it on the event loop's thread, with the ``uwsgi`` module in place.
    """
    callers = _Callers(options.app, options.cores.cores)
    return Calling(_make_handler(apps, options, callers), callers.lifespans)


def _make_handler(apps: Apps, options: Options, callers: _Callers) -> Handler:
    static = options.static.serves_files()
    default = None if options.app.no_default_app else default_mountpoint(apps)
    if default is not None and is_plain(apps, options):
        return callers.handler(apps[default])
    by_script_name = not options.app.ignore_script_name
    handler: Handler = Mounts(
        {mountpoint: callers.handler(app) for mountpoint, app in apps.items()}, default, by_script_name=by_script_name
    )
    if static:
        handler = StaticHandler(handler, options.static)
    if options.app.manage_script_name:
        handler = ScriptNames(handler, apps)
    return handler


def is_plain(apps: Apps, options: Options) -> bool:
    """Whether every request is for the one app that there is."""
    default = None if options.app.no_default_app else default_mountpoint(apps)
    return default in ("", "/") and len(apps) == 1 and not options.static.serves_files()


class _Callers:
    """Makes the handler of each app; apps of one kind share what their environs begin with, and the threads."""

    def __init__(self, options: AppOptions, cores: int) -> None:
        self._options = options
        self._cores = cores
        self._threads = anyio.CapacityLimiter(options.threads) if options.threads > 0 else None
        self._async_environ: Environ | None = None
        self._sync_environ: Environ | None = None
        self._asgi_handlers: dict[int, Handler] = {}
        self._files: FileSender | None = None
        self.lifespans: list[Lifespan] = []

    def handler(self, app: App) -> Handler:
        """Return what calls ``app``, by its kind."""
        kind = self._options.app_kind if self._options.app_kind != "auto" else app_kind(app)
        if kind in ("asgi", "asgi2"):
            return self._asgi_handler(app, single_callable(app) if kind == "asgi2" else app)
        if kind == "async":
            if self._async_environ is None:
                self._async_environ = self._environ(AsyncInput, asynchronous)
            return AsyncHandler(app, self._async_environ)
        if self._sync_environ is None:
            module = sys.modules["uwsgi"]
            assert isinstance(module, UwsgiModule)
            self._sync_environ = self._environ(SyncInput, module)
            module.give_environs(self._sync_environ.make if self._threads is None else None)
        if self._threads is not None:
            return ThreadHandler(app, self._sync_environ, self._threads)
        return SyncHandler(app, self._sync_environ, _give_way)

    def _asgi_handler(self, app: App, called: App) -> Handler:
        """Return what calls an ASGI app, which has one lifespan at however many mountpoints it is."""
        handler = self._asgi_handlers.get(id(app))
        if handler is None:
            lifespan = Lifespan(called, self._options.lifespan)
            self.lifespans.append(lifespan)
            self._files = self._files or FileSender()
            handler = self._asgi_handlers[id(app)] = AsgiHandler(called, Scopes(lifespan.state), self._files)
        return handler

    def _environ(self, input_type: Callable[[Request], object], waiting: Any) -> Environ:
        extra = {
            "uwsgi.version": b"2.0.31",
            "uwsgi.node": socket.gethostname().encode(),
            "x-wsgiorg.fdevent.timeout": None,
            "x-wsgiorg.fdevent.readable": waiting.wait_fd_read,
            "x-wsgiorg.fdevent.writable": waiting.wait_fd_write,
        }
        multithread = self._threads is not None and input_type is SyncInput
        return Environ(input_type, multithread=multithread, cores=self._cores, extra=extra)


async def _give_way(request: Request, environ: dict[str, Any]) -> None:
    """A generator app has yielded: let others run, wait for what it watches, tell it how that ended."""
    await asynchronous.suspend()
    watches = request.core.watches
    environ["x-wsgiorg.fdevent.timeout"] = True if watches.timed_out else None
    environ["uwsgi.ready_fd"] = watches.ready_fd if watches.ready_fd >= 0 else None
    watches.timed_out = False
