"""A mule's process under a master: its program, or the hooks for its messages, until the master or a signal ends it.

What lives here: `run_mule`. What does not: what all processes under a master do (`living`), the messages and the
program (`mules`), a mule in an instance that is one process (`mulethreads`).

The program has the main thread, where plain code may block and where Python delivers signals; the event loop, in which
signals' handlers, ``async`` code and the master's words are, runs in a thread beside it. When the mule is to end, a
program that has a message finishes it: it gets SystemExit when it asks for the next one. A program that has none gets
SystemExit where it stands, as uWSGI ends a mule at once.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final

import anyio

from uwsgi_async.api import mules
from uwsgi_async.cores.portal import call_in_loop, close_to_threads, open_to_threads, wait_for
from uwsgi_async.fdwait.poller import open_poller
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.channel import Ready
from uwsgi_async.instance.control import BEAT, HelperProcess
from uwsgi_async.instance.erlang import NodeTask
from uwsgi_async.instance.hooks import await_hook, call_hook
from uwsgi_async.instance.living import Assignment, Place, Upkeep, listen, live_with
from uwsgi_async.instance.loader import finish
from uwsgi_async.instance.muleworks import NO_LIMIT, ThisLoop, message_hooks
from uwsgi_async.instance.roles import mule_programs
from uwsgi_async.instance.scoreboard import Field
from uwsgi_async.mules.mule import Mule
from uwsgi_async.mules.running import MuleRunner, Work

logger = logging.getLogger("uwsgi_async")

_LOOK: Final = 0.05  # seconds between two looks at a mule that is to end
_INSIST: Final = 1.0  # seconds until a program that has caught its SystemExit gets another one
_GRACE: Final = 1.0  # seconds for what was cancelled because it took too long


def run_mule(process: HelperProcess, assignment: Assignment) -> int:
    """Run the mule until it is told to end; return the process's exit status. Raises nothing."""
    options = assignment.options.mules
    mule = mules.become(process.role.number, options.mule_msg_recv_size)
    assignment.signals.harakiri = 0.0  # a mule has its own
    work = Work(
        program=mule_programs(assignment.options)[mule.number - 1],
        hooks=partial(message_hooks, assignment.module),
        size=options.mule_msg_recv_size,
        limit=partial(_limited, process, options.mule_harakiri) if options.mule_harakiri else lambda: NO_LIMIT,
        harakiri=options.mule_harakiri,
        is_main=True,
    )
    return live_with(process, assignment, _MuleLife(process, assignment, mule, MuleRunner(mule, work, ThisLoop())).run)


@contextmanager
def _limited(process: HelperProcess, seconds: float) -> Iterator[None]:
    """Let the master kill the process when the block takes longer, and what was cancelled has had its time, too."""
    this = object()
    process.limit(this, seconds + _GRACE)
    try:
        yield
    finally:
        process.limit(this, 0)


class _MuleLife:
    """The two threads of a mule's process."""

    def __init__(self, process: HelperProcess, assignment: Assignment, mule: Mule, runner: MuleRunner) -> None:
        self._process = process
        self._assignment = assignment
        self._mule = mule
        self._runner = runner
        self._main = threading.get_ident()
        self._up = threading.Event()
        self._over: anyio.Event | None = None
        self._terminated = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._interrupted = 0.0
        self._counted = {each: process.row[each] for each in (Field.REQUESTS, Field.EXCEPTIONS, Field.SIGNALS)}
        process.busy = lambda: int(runner.working > 0 or mule.seems_busy)

    def run(self, _apps: Apps) -> None:
        """Run the mule in this thread, and its event loop in another one."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        thread = threading.Thread(target=self._run_loop, name="event loop", daemon=True)
        thread.start()
        self._up.wait()
        module = self._assignment.module
        try:
            call_hook(module, "post_fork_hook")
            wait_for(await_hook, module, "post_fork_hook")
            finish(self._assignment.options.load)
            self._runner.run()
        except SystemExit as error:
            if error.code:
                raise
        finally:
            signal.signal(signal.SIGTERM, _ignore)
            if thread.is_alive():
                wait_for(await_hook, module, "atexit")
                call_in_loop(self._end)
                thread.join()

    def _end(self) -> None:
        if self._over is not None:
            self._over.set()

    def _run_loop(self) -> None:
        loop = self._assignment.options.loop
        try:
            anyio.run(
                self._attend,
                backend="trio" if loop.trio else "asyncio",
                backend_options={"use_uvloop": True} if loop.uvloop else {},
            )
        except BaseException:
            logger.exception("%s ends because of an error in its event loop", self._process.role)
            os._exit(1)

    async def _attend(self) -> None:
        process, signals = self._process, self._assignment.signals
        signals.call, signals.on_handled = self._runner.handle, self._mule.note_signal
        self._over = over = anyio.Event()
        with ExitStack() as stack:
            poller = open_poller()
            stack.callback(poller.release)
            stack.callback(close_to_threads, open_to_threads())
            async with anyio.create_task_group() as beside:
                signals.thread = self._mule.loop_thread = threading.get_ident()
                beside.start_soon(signals.run)
                beside.start_soon(NodeTask(self._assignment.options, serves=False).run)
                beside.start_soon(self._beat)
                beside.start_soon(self._wait_for_the_end)
                process.row[Field.READY] = 1
                process.channel.send(Ready())
                self._up.set()
                await over.wait()
                beside.cancel_scope.cancel()
        self._publish()
        self._assignment.state.publish()

    async def _wait_for_the_end(self) -> None:
        """Wait until the mule is to end, and see to it that it does."""
        async with anyio.create_task_group() as tasks:

            async def note_sigterm() -> None:
                await anyio.wait_readable(self._terminated)
                tasks.cancel_scope.cancel()

            tasks.start_soon(note_sigterm)
            if await listen(self._process, Place(self._process), self._assignment, lambda _message: None) is None:
                logger.error("the master is gone: %s ends", self._process.role)
            tasks.cancel_scope.cancel()
        self._mule.end()
        await self._assignment.signals.finish(self._assignment.options.mules.mule_reload_mercy)
        self._runner.stop()
        while True:
            if not self._runner.working and not self._mule.is_busy() and not self._runner.interrupt():
                self._interrupt_program()
            await anyio.sleep(_LOOK)

    def _interrupt_program(self) -> None:
        """Raise SystemExit in the main thread, unless it will hear of the end by itself."""
        now = time.monotonic()
        if self._runner.has_program and not self._mule.knows(self._main) and now - self._interrupted > _INSIST:
            self._interrupted = now
            signal.pthread_kill(self._main, signal.SIGTERM)

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        """End the program, or the whole mule in good order when somebody else has sent this."""
        if self._interrupted:
            raise SystemExit(0)
        os.eventfd_write(self._terminated, 1)

    async def _beat(self) -> None:
        """Publish what the process does; keep up with the rest of the instance."""
        upkeep = Upkeep(self._process, self._assignment)
        while True:
            self._mule.is_busy()  # forgets who has ended
            self._publish()
            upkeep.do()
            await anyio.sleep(BEAT)

    def _publish(self) -> None:
        row = self._process.row
        self._process.publish()
        row[Field.REQUESTS] = self._before(Field.REQUESTS) + self._mule.taken
        row[Field.DELTA_REQUESTS] = self._mule.taken
        row[Field.EXCEPTIONS] = self._before(Field.EXCEPTIONS) + self._runner.errors
        row[Field.SIGNALS] = self._before(Field.SIGNALS) + self._assignment.signals.handled

    def _before(self, field: Field) -> int:
        """Return what the processes of this mule before this one have counted."""
        return self._counted[field]


def _ignore(_number: int, _frame: Any) -> None:
    pass
