"""The mules of an instance that is one process: each has a thread, and the event loop of the process.

What lives here: `MuleThreads`. What does not: what a mule runs (`mules.running`), mules under a master (`muleprocess`).
A thread that runs a program of plain code cannot be stopped from outside: it ends when it asks for its next message.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from functools import partial
from types import ModuleType
from typing import Any, Final

import anyio
import anyio.from_thread
from anyio.lowlevel import current_token

from uwsgi_async.api import mules
from uwsgi_async.cores.portal import wait_for
from uwsgi_async.instance.backoff import Backoff
from uwsgi_async.instance.hooks import await_hook, call_hook
from uwsgi_async.instance.muleworks import NO_LIMIT, ThisLoop, message_hooks, mule_section
from uwsgi_async.instance.roles import mule_programs
from uwsgi_async.instance.scoreboard import Field
from uwsgi_async.instance.signalling import SingleSignals
from uwsgi_async.mules.mule import Mule
from uwsgi_async.mules.queues import MuleQueues
from uwsgi_async.mules.running import MuleRunner, Work
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

_LAST_MOMENTS: Final = 1.0  # seconds for an async program that was cancelled
_LOOK: Final = 0.05  # seconds between two looks at a mule that is to end


class MuleThreads:
    """All mules of a process, from `run` until `finish`. Without mules nothing happens."""

    def __init__(self, options: Options, module: ModuleType, signals: SingleSignals) -> None:
        queues = mules.queues_of_instance()
        self._queues = queues
        self._mules: list[_MuleThread] = []
        if queues is not None:
            self._mules = [
                _MuleThread(Mule(number, queues), program, options, module, signals)
                for number, program in enumerate(mule_programs(options), 1)
            ]

    def __repr__(self) -> str:
        return f"<MuleThreads {self._mules}>"

    async def run(self) -> None:
        """Run all mules until cancelled."""
        async with anyio.create_task_group() as tasks:
            for mule in self._mules:
                tasks.start_soon(mule.run)

    async def finish(self, seconds: float) -> None:
        """Let the mules end what they do, ``seconds`` at most."""
        async with anyio.create_task_group() as tasks:
            for mule in self._mules:
                tasks.start_soon(mule.finish, seconds)

    def close(self) -> None:
        """Give back what the mules hold. For the end, and for a start that has failed."""
        for mule in self._mules:
            mule.close()

    def sections(self) -> dict[str, Any]:
        """Return what is told in the statistics."""
        if self._queues is None:
            return {}
        return {"mules": [mule.section(self._queues) for mule in self._mules]}


class _MuleThread:
    def __init__(self, mule: Mule, program: str, options: Options, module: ModuleType, signals: SingleSignals) -> None:
        self._mule = mule
        self._options = options
        self._module = module
        self._work = Work(
            program=program,
            hooks=partial(message_hooks, module),
            size=options.mules.mule_msg_recv_size,
            limit=lambda: NO_LIMIT,
            harakiri=options.mules.mule_harakiri,
            is_main=False,
        )
        self._end, self._port = signals.connect_mule(mule.number)
        self._runner = MuleRunner(mule, self._work, ThisLoop())
        self._thread: threading.Thread | None = None
        self._over = anyio.Event()
        self._began = 0
        self._starts = self._errors = 0

    def __repr__(self) -> str:
        return repr(self._mule)

    async def run(self) -> None:
        self._mule.loop_thread = threading.get_ident()
        with mules.being(self._mule):
            self._end.call = lambda handler, signal: self._runner.handle(handler, signal)
            self._end.on_handled = self._mule.note_signal
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._end.run)
                self._port.open()
                await self._keep()

    async def _keep(self) -> None:
        """Start the mule whenever it has ended, until it is to end."""
        backoff = Backoff(self._options.process.forkbomb_delay)
        while not self._mule.ending:
            ended = anyio.Event()
            self._thread = threading.Thread(
                target=self._live,
                args=(current_token(), ended),
                name=f"mule {self._mule.number}",
                daemon=True,
            )
            self._began, self._starts = time.time_ns() // 1000, self._starts + 1
            began = time.monotonic()
            self._thread.start()
            await ended.wait()
            self._thread.join()
            self._thread = None
            self._errors += self._runner.errors
            if self._mule.ending:
                break
            pause = backoff.next(time.monotonic() - began)
            logger.error(
                "mule %d has ended: starting it again%s", self._mule.number, f" in {pause:g} s" if pause else ""
            )
            self._runner.close()
            self._runner = MuleRunner(self._mule, self._work, ThisLoop())
            with anyio.move_on_after(pause):
                await self._over.wait()
        self._over.set()
        await anyio.sleep_forever()  # its handlers of signals go on until all is over

    def _live(self, token: Any, ended: anyio.Event) -> None:
        try:
            with mules.being(self._mule):
                call_hook(self._module, "post_fork_hook")
                wait_for(await_hook, self._module, "post_fork_hook")
                self._runner.run()
        except SystemExit as error:
            if error.code:
                logger.error("mule %d: exit(%r)", self._mule.number, error.code)
        except BaseException:
            logger.exception("mule %d ends because of an error", self._mule.number)
        finally:
            try:
                anyio.from_thread.run_sync(ended.set, token=token)
            except RuntimeError:
                pass  # the event loop has not waited

    async def finish(self, seconds: float) -> None:
        self._mule.end()
        self._port.retire()
        with anyio.move_on_after(seconds, shield=True):
            await self._end.finish(seconds)
            self._runner.stop()
            while self._thread is not None:
                if not self._runner.working and not self._mule.is_busy():
                    self._runner.interrupt()
                with anyio.move_on_after(_LOOK):
                    await self._over.wait()
        self._runner.stop()
        if self._runner.interrupt():  # it has had its time
            with anyio.move_on_after(_LAST_MOMENTS, shield=True):
                await self._over.wait()
        if self._thread is not None:
            logger.error("mule %d has not ended within %g s: its thread goes on", self._mule.number, seconds)

    def close(self) -> None:
        """Give back what the mule holds, unless its thread goes on."""
        if self._thread is None:
            self._runner.close()
            self._mule.close()

    def section(self, queues: MuleQueues) -> dict[str, Any]:
        runs = self._thread is not None
        row = dict.fromkeys(Field, 0) | {
            Field.PID: os.getpid() if runs else 0,
            Field.READY: int(runs),
            Field.BUSY: int(self._runner.working > 0 or self._mule.seems_busy),
            Field.REQUESTS: self._mule.taken,
            Field.SIGNALS: self._end.handled,
            Field.EXCEPTIONS: self._errors + self._runner.errors,
            Field.RESPAWNS: max(self._starts - 1, 0),
            Field.LAST_SPAWN: self._began,
        }
        return mule_section(queues, self._mule.number, self._work.program, row)
