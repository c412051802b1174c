"""The decorators around a call: `lock`, `thread`, `harakiri`.

What lives here: these. What does not: locks (`api.locks`), who kills a worker whose time is over (`instance.hanging`).
"""

from __future__ import annotations

import inspect
import math
import threading
import time
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import anyio
import sniffio

from uwsgi_async.api import locks
from uwsgi_async.api.process import set_user_harakiri
from uwsgi_async.decorators.forks import name_of

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


def lock(function: Callable[P, R]) -> Callable[P, R]:
    """Run the function under lock 0 of the instance: one call at a time, in all processes together.

    An ``async def`` waits for the lock as a task does. The lock is freed when the function raises.
    """
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def locked_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            async with locks.lock():
                return await function(*args, **kwargs)

        return locked_async  # type: ignore[return-value]

    @wraps(function)
    def locked(*args: P.args, **kwargs: P.kwargs) -> R:
        with locks.locked():
            return function(*args, **kwargs)

    return locked


def thread(function: F) -> Callable[..., F]:
    """Let a call start a thread that runs the function, and return the function, as in uWSGI.

    The thread is a daemon: nobody waits for it. An ``async def`` gets an event loop of its own there.
    """

    @wraps(function)
    def start(*args: Any, **kwargs: Any) -> F:
        run = partial(function, *args, **kwargs)
        if inspect.iscoroutinefunction(function):
            run = partial(anyio.run, run, backend=_library())
        threading.Thread(target=run, name=name_of(function), daemon=True).start()
        return function

    return start


def harakiri(seconds: int) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Give a call of the function ``seconds`` at most.

    A plain function that takes longer kills its worker, as in uWSGI, because nothing else could end it; that needs a
    master. An ``async def`` is cancelled alone and raises TimeoutError. The time is taken back when the function ends,
    also by an error.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def limited_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with anyio.move_on_after(seconds):
                    return await function(*args, **kwargs)
                raise TimeoutError(f"{name_of(function)} took more than {seconds} s (@harakiri)")

            return limited_async  # type: ignore[return-value]

        @wraps(function)
        def limited(*args: P.args, **kwargs: P.kwargs) -> R:
            deadline = _deadlines.begin(seconds)
            try:
                return function(*args, **kwargs)
            finally:
                _deadlines.end(deadline)

        return limited

    return decorate


class _Deadlines:
    """When which call of a process must be over. The process has one user harakiri, for the earliest of them."""

    def __init__(self) -> None:
        self._deadlines: list[float] = []
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<deadlines of {len(self._deadlines)} calls>"

    def begin(self, seconds: int) -> float:
        deadline = time.monotonic() + seconds
        with self._lock:
            self._deadlines.append(deadline)
            self._set()
        return deadline

    def end(self, deadline: float) -> None:
        with self._lock:
            self._deadlines.remove(deadline)
            self._set()

    def _set(self) -> None:
        if self._deadlines:
            set_user_harakiri(max(1, math.ceil(min(self._deadlines) - time.monotonic())))
        else:
            set_user_harakiri(0)


_deadlines = _Deadlines()


def _library() -> str:
    """The event loop that runs here, or asyncio in a thread without one."""
    try:
        return sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return "asyncio"
