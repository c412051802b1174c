"""How a sync call waits for an async one: one place decides, by where the call stands.

In a core, or any task with a greenback portal: the task awaits, other cores go on. In a thread of this process: the
thread blocks, the event loop works. Where no server runs, as while an app is imported: the thread runs an event loop
of its own for this one call. On the event loop's own thread without a portal: an error that names the awaitable,
because waiting there would stop everything.

Where the loop of the thread is of no use, waiting is done in the loop of another thread, and this one blocks: in a
child that an app forks in the middle of a request, because the loop has stayed with the parent; and while an app is
imported, because nothing else runs yet (`without_loop`).
"""

from __future__ import annotations

import os
import threading
from asyncio import _get_running_loop
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio.from_thread
import greenback
from anyio.lowlevel import EventLoopToken, current_token
from sniffio import current_async_library_cvar, thread_local

from uwsgi_async.errors import NoLoopError, WouldBlockLoopError

T = TypeVar("T")

_tokens: list[EventLoopToken] = []
_without_loop: int | None = None  # the thread whose event loop is of no use


def open_to_threads() -> EventLoopToken:
    """Let threads of this process wait through the event loop that runs now, until `close_to_threads`."""
    token = current_token()
    _tokens.append(token)
    return token


def close_to_threads(token: EventLoopToken) -> None:
    _tokens.remove(token)


@contextmanager
def without_loop() -> Iterator[None]:
    """Let code in the block block the thread, and its event loop, when it waits: nobody else needs the loop."""
    global _without_loop
    before, _without_loop = _without_loop, threading.get_ident()
    try:
        yield
    finally:
        _without_loop = before


def wait_for(function: Callable[..., Coroutine[Any, Any, T]], *args: object, name: str = "") -> T:
    """Call the async ``function`` from sync code and return what it returns.

    ``name``: what the caller called, for the error. Raises `WouldBlockLoopError` on the event loop outside a
    portal.
    """
    if _without_loop is not None and _without_loop == threading.get_ident():
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(anyio.run, function, *args).result()
    try:
        return greenback.await_(function(*args))
    except RuntimeError:  # of the function itself, or because there is no portal and it has not been called at all
        # Not asked before: on asyncio it means a system call, and nearly always the answer is yes.
        if greenback.has_portal():
            raise
    if in_event_loop():
        name = name or getattr(function, "__name__", "this function")
        raise WouldBlockLoopError(
            f"{name} would block the event loop here: in async code use 'await uwsgi_async.{name}(...)'"
        )
    if not _tokens:
        return anyio.run(function, *args)
    return anyio.from_thread.run(function, *args, token=_tokens[-1])


def call_in_loop(function: Callable[..., T], *args: object) -> T:
    """Call a sync ``function`` of the event loop's from wherever we stand; it must not wait."""
    if in_event_loop():
        return function(*args)
    return anyio.from_thread.run_sync(function, *args, token=_token())


def in_event_loop() -> bool:
    """Whether the caller's thread is running an event loop now."""
    return _without_loop != threading.get_ident() and _library_running()


def _library_running() -> bool:
    """Whether an event loop runs in this thread: sniffio's two ways to know, without its third, the context.

    A thread may have been started with a copy of a task's context, as Django, Litestar and asyncio.to_thread do.
    """
    return thread_local.name is not None or _get_running_loop() is not None


def _after_fork() -> None:
    """In a child: whatever event loop was running has stayed with the parent."""
    global _without_loop
    _tokens.clear()
    # asyncio tells nothing of its loop in another process, but the context still does.
    ran = _library_running() or current_async_library_cvar.get(None) is not None
    _without_loop = threading.get_ident() if ran else None


os.register_at_fork(after_in_child=_after_fork)


def _token() -> EventLoopToken:
    if not _tokens:
        raise NoLoopError("no uwsgi_async server runs in this process, so there is nothing to wait in")
    return _tokens[-1]
