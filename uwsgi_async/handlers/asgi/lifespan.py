"""The lifespan of an app: its beginning before the first request of an event loop, its end behind the last one.

What lives here: `Lifespan`. What does not: when a process begins and ends (`instance`).
An app that raises an error instead of an answer does not know the protocol, and is served all the same; with the option
``lifespan = on`` it is not. Only ``lifespan.startup.failed`` says that the app cannot be served.
Source: the ASGI specification, "Lifespan Protocol".
"""

from __future__ import annotations

import logging
from typing import Any

import anyio
import greenback
from anyio.abc import TaskGroup

from uwsgi_async.errors import AppError, AppLoadError
from uwsgi_async.handlers.asgi.events import App, Message
from uwsgi_async.handlers.asgi.scope import VERSION
from uwsgi_async.options.loading import LifespanMode

logger = logging.getLogger("uwsgi_async")

_SPEC_VERSION = "2.0"
_PATIENCE = 10.0  # seconds until the log says that an app takes long


class Lifespan:
    """One app's lifespan in one event loop: `start`, requests, `stop`.

    ``state``: what the app keeps for its requests. ``mode``: "on": the app must know the protocol; "auto": it may;
    "off": it is not asked.
    """

    def __init__(self, app: App, mode: LifespanMode) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._mode = mode
        self._stage = "new"
        self._failure: str | None = None
        self._error: BaseException | None = None
        self._changed = anyio.Event()
        self._stopping = anyio.Event()

    def __repr__(self) -> str:
        return f"<Lifespan {self._stage}>"

    async def start(self, tasks: TaskGroup) -> None:
        """Let the app begin, in a task of its own, and wait until it has.

        Raises `AppLoadError` when the app says that it cannot, or with "on" when it does not know the protocol.
        """
        if self._mode == "off":
            return
        tasks.start_soon(self._run, name="uwsgi_async lifespan")
        await self._reach("started", "failed", "ended", what="lifespan.startup")
        if self._stage == "failed":
            message = (self._failure or "").rstrip()
            for line in message.splitlines():
                logger.error("%s", line)
            raise AppLoadError(
                f"the app's lifespan.startup has failed: {message.rpartition(chr(10))[2] or 'no reason'}"
            )
        if self._stage == "ended":
            self._take_as_unsupported()

    async def stop(self, seconds: float) -> None:
        """Let the app end, and wait until it has, ``seconds`` at most. Nothing happens unless it has begun."""
        if self._stage != "started":
            return
        self._stopping.set()
        with anyio.move_on_after(seconds) as limit:
            await self._reach("ended", what="lifespan.shutdown")
        if limit.cancelled_caught:
            logger.warning("the app did not answer lifespan.shutdown within %g s", seconds)

    async def _run(self) -> None:
        await greenback.ensure_portal()  # so sync code in the app's beginning may wait, as in a core
        scope = {
            "type": "lifespan",
            "asgi": {"version": VERSION, "spec_version": _SPEC_VERSION},
            "state": self.state,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except (Exception, SystemExit) as error:
            self._error = error
            if self._stage in ("started", "stopped"):
                logger.exception("the app's lifespan has raised an error")
        if self._stage != "failed":
            if self._stage == "started" and not self._stopping.is_set() and self._error is None:
                logger.warning("the app's lifespan has ended while the app is served: it will not hear of its end")
            self._become("ended")

    async def _receive(self) -> Message:
        if self._stage == "new":
            self._become("starting")
            return {"type": "lifespan.startup"}
        if self._stage in ("stopped", "failed"):
            self._become("ended" if self._stage == "stopped" else "failed")
            await anyio.sleep_forever()
        await self._stopping.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and self._stage == "starting":
            self._become("started")
        elif kind == "lifespan.startup.failed" and self._stage == "starting":
            self._failure = str(message.get("message", ""))
            self._become("failed")
        elif kind == "lifespan.shutdown.complete" and self._stopping.is_set():
            self._become("stopped")
        elif kind == "lifespan.shutdown.failed" and self._stopping.is_set():
            logger.error("the app's lifespan.shutdown has failed: %s", message.get("message", ""))
            self._become("stopped")
        else:
            raise AppError(
                f"expected an answer to the last event of the lifespan, which is {self._stage}; got {kind!r}"
            )

    def _become(self, stage: str) -> None:
        self._stage = stage
        self._changed.set()
        self._changed = anyio.Event()

    async def _reach(self, *stages: str, what: str) -> None:
        """Wait until the app is at one of ``stages``; say so when it takes long."""
        with anyio.move_on_after(_PATIENCE):
            await self._until(stages)
            return
        logger.warning("the app has not answered %s for %g s; still waiting", what, _PATIENCE)
        await self._until(stages)

    async def _until(self, stages: tuple[str, ...]) -> None:
        while self._stage not in stages:
            await self._changed.wait()

    def _take_as_unsupported(self) -> None:
        reason = "it has returned" if self._error is None else f"it has raised {self._error!r}"
        if self._mode == "on":
            raise AppLoadError(
                f"the app has not answered lifespan.startup: {reason}; lifespan = auto serves such an app"
            ) from self._error
        logger.info("the app does not support lifespan: %s", reason)
