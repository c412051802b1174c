"""What a mule does, in a thread: it runs its program, or gives each message to the hooks of the app.

What lives here: `MuleRunner`. What does not: taking messages (`mule`), when a mule begins and ends
(`instance.muleprocess`, `instance.mulethreads`), how its event loop, which runs in another thread, is called.

A mule without a program does one thing at a time, in one thread, as in uWSGI: also plain handlers of signals are called
there. What is ``async`` runs in the event loop.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import select
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from contextvars import copy_context
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol

import anyio

from uwsgi_async.errors import AppLoadError
from uwsgi_async.mules.mule import Mule
from uwsgi_async.signals.end import Handler, call
from uwsgi_async.signals.raising import in_handler

logger = logging.getLogger("uwsgi_async")

Hook = Callable[[bytes], Any]


class Loop(Protocol):
    """The event loop, from the thread of a mule."""

    def wait(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: object) -> Any:
        """Await what the function returns, there."""

    def call(self, function: Callable[..., Any], *args: object) -> Any:
        """Call a function there."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a mule does. ``program``: a script, ``module:callable``, or "" for ``hooks``, which are asked for each time.

    ``size``: bytes of a message that reaches the hooks. ``limit``: what runs in this block is killed when it takes too
    long; ``harakiri``: seconds after which what is ``async`` is cancelled, 0.0 is never. ``is_main``: this is the main
    thread of a process of its own.
    """

    program: str
    hooks: Callable[[], Sequence[Hook]]
    size: int
    limit: Callable[[], AbstractContextManager[None]]
    harakiri: float
    is_main: bool


@dataclass(slots=True)
class _Job:
    """A handler that the mule's thread is to call."""

    handler: Handler
    signal: int
    done: anyio.Event = field(default_factory=anyio.Event)
    result: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        in_handler.set(True)
        self.result = self.handler(self.signal)


class MuleRunner:
    """Runs a mule: `run` in its thread, `handle` in the event loop."""

    def __init__(self, mule: Mule, work: Work, loop: Loop) -> None:
        self.mule = mule
        self.errors = 0
        self.working = 0  # hooks and handlers that run now
        self._work = work
        self._loop = loop
        self._jobs: deque[_Job] = deque()
        self._news = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._serving = self._stopped = False

    def __repr__(self) -> str:
        return f"<MuleRunner of {self.mule!r}: {self._work.program or 'hooks'}>"

    # --- the thread of the mule -------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the program, or give messages to the hooks until `stop`. Raises what the program raises."""
        program = self._work.program
        if not program:
            self._serve()
        elif program.endswith(".py"):
            _run_script(program, self._work.is_main)
        else:
            result = find_program(program)()
            if inspect.isawaitable(result):
                self._loop.wait(self.mule.run, lambda: result)

    def _serve(self) -> None:
        source = self.mule.source(mine=True, farms=True)
        with select.epoll() as all_news, select.epoll() as jobs:
            all_news.register(source.fileno(), select.EPOLLIN)
            for epoll in (all_news, jobs):
                epoll.register(self._news, select.EPOLLIN)
            self._serving = True
            while not self._stopped or self._jobs:
                if self._jobs:
                    self._do(self._jobs.popleft())
                    continue
                message = None if self.mule.ending else source.take(self._work.size)
                if message is not None:
                    self.mule.taken += 1
                    self._give(message)
                    continue
                epoll = jobs if self.mule.ending else all_news  # the queues may be full
                if any(fd == self._news for fd, _ in epoll.poll()):
                    os.eventfd_read(self._news)

    def _give(self, message: bytes) -> None:
        """Give a message to all hooks."""
        hooks = self._work.hooks()
        if not hooks:
            logger.info("*** mule %d received a %d bytes message ***", self.mule.number, len(message))
        for hook in hooks:
            self.working += 1
            try:
                with self._work.limit():
                    result = hook(message)
                    if result is not None and inspect.isawaitable(result):
                        self._loop.wait(self._await, result)
            except Exception:
                self.errors += 1
                logger.exception(
                    "mule %d: an error in %r for a message of %d bytes", self.mule.number, hook, len(message)
                )
            finally:
                self.working -= 1

    def _do(self, job: _Job) -> None:
        try:
            with self._work.limit():
                copy_context().run(job.run)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the handler was called
            job.error = error
        self._loop.call(job.done.set)

    # --- the event loop ---------------------------------------------------------------------------------------

    async def handle(self, handler: Handler, signal: int) -> None:
        """Call the handler of a signal, where it belongs; for `SignalEnd.call`."""
        self.working += 1
        try:
            if self._serving and not inspect.iscoroutinefunction(handler):
                await self._handle_in_thread(_Job(handler, signal))
            else:
                await self._await(call(handler, signal))
        except Exception:
            self.errors += 1
            raise
        finally:
            self.working -= 1

    async def _handle_in_thread(self, job: _Job) -> None:
        self._jobs.append(job)
        os.eventfd_write(self._news, 1)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        if inspect.isawaitable(job.result):
            await self._await(job.result)

    async def _await(self, result: Awaitable[Any]) -> None:
        seconds = self._work.harakiri
        with self._work.limit(), anyio.move_on_after(seconds or None) as scope:
            await result
        if scope.cancelled_caught:
            raise TimeoutError(f"it took more than {seconds:g} s (mule-harakiri)")

    def stop(self) -> None:
        """Let `run` return, when what runs now is done. Messages are given out no more."""
        self.mule.end()
        self._stopped = True
        os.eventfd_write(self._news, 1)

    def interrupt(self) -> bool:
        """Cancel an ``async`` program; False when it is none, or has not begun."""
        return self.mule.interrupt()

    @property
    def has_program(self) -> bool:
        """Whether it may run what does not hear of the end: its program, or what is called before it serves."""
        return not self._serving

    def close(self) -> None:
        os.close(self._news)


def find_program(program: str) -> Callable[[], Any]:
    """Return the function that ``module:callable`` names. Raises `AppLoadError`."""
    name, _, attribute = program.partition(":")
    try:
        found: Any = importlib.import_module(name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise AppLoadError(f"mule: {program} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise AppLoadError(f"mule: expected {program} to be callable, but it is {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _run_script(path: str, is_main: bool) -> None:
    """Run a file as ``__main__``. Raises `AppLoadError` when there is none."""
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        raise AppLoadError(f"mule: {path} cannot be read (looked in {os.getcwd()!r}): {error.strerror}") from error
    module = ModuleType("__main__")
    module.__file__ = os.path.abspath(path)
    module.__dict__["__builtins__"] = __builtins__
    if is_main:  # else it is that of the program that the instance runs in
        sys.modules["__main__"] = module
    exec(compile(source, path, "exec"), module.__dict__)
