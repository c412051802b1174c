"""Under somebody else's server: apps of ours as ASGI apps, and an instance that serves nothing itself.

What lives here: `asgi`, `services`. What does not: one request of a foreign server (`foreignrequest`), what an instance
is put together of (`server`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio

from uwsgi_async.cores.core import Core
from uwsgi_async.errors import NoInstanceError, UsageError, UwsgiAsyncError
from uwsgi_async.handlers.asgi.events import App as AsgiApp
from uwsgi_async.handlers.asgi.events import Receive, Scope, Send, single_callable
from uwsgi_async.handlers.detect import app_kind
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.calling import App
from uwsgi_async.instance.foreignrequest import answer
from uwsgi_async.instance.server import NOT_FOR_FUNCTIONS, Server, build_for, serve
from uwsgi_async.options.settings import Options

_NO_LIFESPAN = (
    "uwsgi_async.asgi(...) begins its instance when the server says lifespan.startup, and this server has not: "
    "turn lifespan on there (uvicorn and granian: --lifespan on)"
)


_REFUSED: Mapping[str, str] = {
    **NOT_FOR_FUNCTIONS,
    "sockets": "another server has the sockets here: leave this out, or use run()",
    "tls": "another server has the sockets here: leave this out, or use run()",
}
"""Options that mean nothing under another server, by their subsystem, and what to do instead."""


@asynccontextmanager
async def services(**options: Any) -> AsyncIterator[Server]:
    """Run an instance without sockets while the block runs: cache, locks, queue, spoolers, timers, mules.

    For programs that are served by another server: in the lifespan of a FastAPI app, for one. ``options``: as of `run`,
    but none that says where to listen. Each process has an instance of its own. Raises `OptionError`.
    """
    async with serve(lambda _module: {}, build_for(options, _REFUSED), sockets=False) as server:
        yield server


def asgi(app: App | Mapping[str, App], **options: Any) -> AsgiApp:
    """Return an ASGI 3 app for any ASGI server, with an instance of its own from its startup to its shutdown.

    ``app``: an async or sync app of WSGI's shape, or several by their mountpoints; they are called as under `run`, with
    the same ``options``, but none that says where to listen. Or an ASGI app: it is called as it is, and has the
    instance beside it. The server must speak lifespan. Raises `OptionError`.
    """
    apps = app if isinstance(app, Mapping) else {"": app}
    settings = build_for(options, _REFUSED)
    kinds = {mountpoint: _kind(each, settings) for mountpoint, each in apps.items()}
    if not any(kind.startswith("asgi") for kind in kinds.values()):
        return _Adapter(apps, settings)
    if list(apps) != [""]:
        raise UsageError("an ASGI app cannot be mounted beside others here: mount it with its framework, or use run()")
    return _Beside(single_callable(apps[""]) if kinds[""] == "asgi2" else apps[""], settings)


def _kind(app: App, options: Options) -> str:
    return app_kind(app) if options.app.app_kind == "auto" else options.app.app_kind


class _Foreign:
    """An ASGI app with an instance from its startup to its shutdown."""

    def __init__(self, apps: Apps, options: Options) -> None:
        self._apps = apps
        self._options = options
        self._running: Server | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._running is None:
            raise NoInstanceError(_NO_LIFESPAN)
        else:
            await self._answer(self._running, scope, receive, send)

    async def _answer(self, server: Server, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        begun = False
        try:
            async with serve(lambda _module: self._apps, self._options, sockets=False) as server:
                self._running = server
                begun = True
                await send({"type": "lifespan.startup.complete"})
                try:
                    await receive()
                finally:
                    self._running = None
        except UwsgiAsyncError as error:
            await send({"type": f"lifespan.{'shutdown' if begun else 'startup'}.failed", "message": str(error)})
        else:
            await send({"type": "lifespan.shutdown.complete"})


class _Adapter(_Foreign):
    """Calls handlers of ours with the requests of a foreign server, in as many cores as the options say."""

    def __init__(self, apps: Apps, options: Options) -> None:
        super().__init__(apps, options)
        self._room = anyio.Semaphore(options.cores.cores)
        self._free: list[Core] = []

    async def _answer(self, server: Server, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise UsageError(f"this app answers http requests, not {scope['type']}")
        async with self._room:
            core = self._free.pop() if self._free else server.pool.add_core()
            try:
                await answer(server, core, scope, receive, send)
            finally:
                self._free.append(core)


class _Beside(_Foreign):
    """Calls an ASGI app as it is; the instance is only there."""

    def __init__(self, app: AsgiApp, options: Options) -> None:
        super().__init__({"": app}, options)
        self._app = app

    async def _answer(self, server: Server, scope: Scope, receive: Receive, send: Send) -> None:
        (lifespan,) = server.lifespans
        await self._app({**scope, "state": lifespan.state.copy()}, receive, send)
