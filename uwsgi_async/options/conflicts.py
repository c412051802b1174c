"""Options that exclude each other, or need each other: what no single value can tell.

What lives here: `conflicts`. What does not: what single values may be (`values`), what only the machine can tell
(`instance.checks`).
"""

from __future__ import annotations

from collections.abc import Iterator

from uwsgi_async.options.mules import contradictions, programs
from uwsgi_async.options.settings import Options


def conflicts(options: Options) -> list[str]:
    """Return a sentence for each contradiction; without any the instance can be started, as far as this tells."""
    return list(_conflicts(options))


def _conflicts(options: Options) -> Iterator[str]:
    if options.loop.trio and options.loop.uvloop:
        yield "trio and uvloop exclude each other: uvloop is an event loop of asyncio; give one of them"
    if options.system.daemonize is not None and options.system.daemonize2 is not None:
        yield "daemonize and daemonize2 exclude each other: give the one that says when to go to the background"
    if options.app.app_kind in ("async", "asgi") and options.app.threads:
        yield f"app-kind = {options.app.app_kind} and threads exclude each other: threads are for sync apps"
    if 0 < options.process.processes <= options.cheaper.cheaper:
        yield (
            f"cheaper is the least number of workers and processes the most, so {options.cheaper.cheaper} must be less "
            f"than {options.process.processes}: give more processes"
        )
    if options.sockets.reuse_port and options.cheaper.adapts:
        yield (
            "reuse-port gives each worker a socket of its own, also one that is not there: give it without cheaper, "
            "cheap and idle"
        )
    yield from contradictions(options.mules, programs(options.mules, options.configuration.read))
