"""Several apps in one instance: which one serves a request.

What lives here: `Mounts`, which chooses by SCRIPT_NAME; `ScriptNames`, which finds SCRIPT_NAME by the path; the answer
where there is no app. What does not: calling an app (`wsgi`), loading it (`instance.loader`). An instance with one app
at "" and nothing else to choose from has none of these in its way.
Source: uWSGI, core/protocol.c, core/utils.c (uwsgi_get_app_id), plugins/python/wsgi_handlers.c.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from uwsgi_async.cores.request import Request
from uwsgi_async.cores.serving import Handler
from uwsgi_async.wire.vars import Vars

logger = logging.getLogger("uwsgi_async")

Apps = Mapping[str, Callable[..., Any]]
"""Apps by their mountpoints; an app's number in the log is its place."""

NO_APP = -1
"""The number that the log tells for a request that no app has seen."""


def default_mountpoint(apps: Iterable[str]) -> str | None:
    """Return where the default app is, which gets what no mountpoint fits: at "" or "/", else the first below "/"."""
    mountpoints = list(apps)
    for root in ("", "/"):
        if root in mountpoints:
            return root
    return next((mountpoint for mountpoint in mountpoints if mountpoint.startswith("/")), None)


class Mounts:
    """Gives each request to the app whose mountpoint is its UWSGI_APPID, or its SCRIPT_NAME.

    ``handlers``: by mountpoint. ``default``: the mountpoint of the app for all other requests; None: they are answered
    with 500. ``by_script_name``: False with the option ``ignore-script-name``.
    """

    def __init__(self, handlers: Mapping[str, Handler], default: str | None, *, by_script_name: bool = True) -> None:
        self._mounted = {
            mountpoint: _Mounted(number, handler) for number, (mountpoint, handler) in enumerate(handlers.items())
        }
        self._default = None if default is None else self._mounted[default]
        self._by_script_name = by_script_name
        for mountpoint, mounted in list(self._mounted.items()):
            self._mounted.setdefault(mountpoint.rstrip("/"), mounted)

    def __call__(self, request: Request) -> Awaitable[None]:
        vars = request.vars
        name = vars.get("UWSGI_APPID", "")
        if not name and self._by_script_name:
            name = vars.get("SCRIPT_NAME", "")
        mounted = self._mounted.get(name, self._default)
        if mounted is None:
            return answer_without_app(request)
        mounted.requests += 1
        request.app_id = mounted.number
        request.app_requests = mounted.requests
        return mounted.handler(request)


class _Mounted:
    """An app: its number, and how many requests it has had."""

    __slots__ = ("handler", "number", "requests")

    def __init__(self, number: int, handler: Handler) -> None:
        self.number = number
        self.handler = handler
        self.requests = 0


class ScriptNames:
    """Finds SCRIPT_NAME by the beginning of the path, and takes it from PATH_INFO: the option ``manage-script-name``.

    ``handler``: gets the request then. Of several mountpoints the longest counts, and only whole segments of the path
    are compared. A "/" at the end of a mountpoint does not count: PATH_INFO begins with one (PEP 3333).
    """

    def __init__(self, handler: Handler, mountpoints: Iterable[str]) -> None:
        self._handler = handler
        stripped = {mountpoint.rstrip("/") for mountpoint in mountpoints} - {""}
        self._mountpoints = sorted(stripped, key=len, reverse=True)

    def __call__(self, request: Request) -> Awaitable[None]:
        vars = request.vars
        managed = vars.managed
        if managed is None:
            managed = self._manage(vars)
            if vars.shared and managed is not vars:
                managed.shared = True
                vars.managed = managed
        request.vars = managed
        return self._handler(request)

    def _manage(self, vars: Vars) -> Vars:
        path = vars.get("PATH_INFO", "")
        for mountpoint in self._mountpoints:
            if path.startswith(mountpoint) and path[len(mountpoint) : len(mountpoint) + 1] in ("", "/"):
                managed = Vars(vars)
                managed.head = vars.head
                managed["SCRIPT_NAME"] = mountpoint
                managed["PATH_INFO"] = path[len(mountpoint) :]
                return managed
        return vars


async def answer_without_app(request: Request) -> None:
    """Answer as uWSGI does where no app is found, and say so in the log."""
    request.app_id = request.app_requests = NO_APP
    logger.error("--- no python application found, check your startup logs for errors ---")
    request.response.start("500 Internal Server Error", [("Connection", "close"), ("Content-Type", "text/plain")])
    await request.response.send_all(b"Internal Server Error")
