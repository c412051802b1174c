"""The handler in front of the app's: sends a file where the request names one.

What lives here: `StaticHandler`. What does not: finding, judging, describing and sending the file: its neighbours do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Mapping

from uwsgi_async.cores.files import send_file
from uwsgi_async.cores.request import Request
from uwsgi_async.cores.serving import Handler
from uwsgi_async.handlers.mounts import NO_APP
from uwsgi_async.handlers.static.conditions import NOT_MODIFIED, OK, PARTIAL, Selection, http_date, select
from uwsgi_async.handlers.static.files import Files, Found
from uwsgi_async.handlers.static.headers import Expiry, Variants, read_types, type_of
from uwsgi_async.options.forms import read_serve_mode
from uwsgi_async.options.loading import StaticOptions

_METHODS = ("GET", "HEAD")

Headers = list[tuple[str, str]]


class StaticHandler:
    """Answers with a file if the request is a GET or HEAD and names one that may be sent; else it is for ``app``."""

    def __init__(self, app: Handler, options: StaticOptions) -> None:
        self._app = app
        self._files = Files(options)
        self._types = read_types(options.mimefile)
        self._expiry = Expiry(options)
        self._variants = Variants(options)
        self._front = None if options.file_serve_mode is None else read_serve_mode(options.file_serve_mode)
        self._ranges = options.honour_range and self._front is None  # which the front server looks at
        self._docroot = options.check_static_docroot

    def __call__(self, request: Request) -> Awaitable[None]:
        vars = request.vars
        if vars.get("REQUEST_METHOD") not in _METHODS:
            return self._app(request)
        docroot = vars.get("DOCUMENT_ROOT", "") if self._docroot else ""
        found = self._files.find(vars.get("PATH_INFO", "").encode("latin-1"), docroot.encode("latin-1"))
        return self._app(request) if found is None else self._answer(request, found)

    async def _answer(self, request: Request, found: Found) -> None:
        request.app_id = request.app_requests = NO_APP
        request.core.static_requests += 1
        with found:
            if not self._variants.may_be(found.path):
                await self._send(request, found, found.path)
                return
            for coding, suffix in self._variants.accepted(request.vars.get("HTTP_ACCEPT_ENCODING", "")):
                variant = self._files.beside(found, suffix)
                if variant is not None:
                    with variant:
                        await self._send(request, variant, found.path, coding, varies=True)
                    return
            await self._send(request, found, found.path, varies=True)

    async def _send(
        self, request: Request, file: Found, name: bytes, coding: str = "", *, varies: bool = False
    ) -> None:
        """Send ``file``, or what the client wants of it; ``name``: the path that tells what it is."""
        response = request.response
        now = time.time()
        mtime = min(file.mtime, int(now))  # a date in the future is no Last-Modified (RFC 9110, 8.8.2.1)
        selection = select(request.vars, file.size, mtime, ranges=self._ranges)
        headers: Headers = []
        if selection.status in (OK, PARTIAL, NOT_MODIFIED):
            headers = self._described(request.vars, selection, name, coding, now, mtime)
            if varies:
                headers.append(("Vary", "Accept-Encoding"))
        elif selection.range:
            headers = [("Content-Range", selection.range)]
        if self._front is not None and selection.status == OK:
            headers = [(name, value) for name, value in headers if name != "Content-Length"]
            headers.insert(-2 if varies else -1, (self._front, file.path.decode("latin-1")))
            response.start(selection.status, headers)
            return
        response.start(selection.status, headers)
        if selection.count and not response.head_only:
            await send_file(request, file.fd, selection.start, selection.count)

    def _described(
        self, vars: Mapping[str, str], selection: Selection, name: bytes, coding: str, now: float, mtime: int
    ) -> Headers:
        """Return the headers of a file, in uWSGI's order; of one that has not changed only Expires."""
        headers: Headers = []
        kind = type_of(name, self._types) or ""
        expires = self._expiry.value(_subjects(vars, name, kind), now, mtime) if self._expiry else None
        if selection.status != NOT_MODIFIED:
            if coding:
                headers.append(("Content-Encoding", coding))
            if kind:
                headers.append(("Content-Type", kind))
        if expires is not None:
            headers.append(("Expires", expires))
        if selection.status != NOT_MODIFIED:
            headers.append(("Content-Length", str(selection.count)))
            if selection.range:
                headers.append(("Content-Range", selection.range))
            headers.append(("Last-Modified", http_date(mtime)))
        return headers


def _subjects(vars: Mapping[str, str], name: bytes, kind: str) -> Mapping[str, str]:
    """Return what the rules for Expires look at."""
    return {
        "path": os.fsdecode(name),
        "path_info": vars.get("PATH_INFO", ""),
        "uri": vars.get("REQUEST_URI", ""),
        "type": kind,
    }
