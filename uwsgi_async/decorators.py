"""uWSGI's decorators, for plain functions and for ``async def``: what ``uwsgidecorators`` has, for any program.

What lives here: the decorators, and what they keep until an instance is there. What does not: the module that a served
app imports as ``uwsgidecorators`` (`compat.uwsgidecorators`), what the functions they call do (`api`). Source: uWSGI's
uwsgidecorators.py 2.0.31, its page "uWSGI API - Python decorators"; `mstimer` is uWSGI 2.1's.

In an instance a decorator takes effect at once. In a program that calls `uwsgi_async.run` later, what was decorated
before is registered with each instance that begins.
"""

from __future__ import annotations

import inspect
import logging
import math
import sys
import threading
import time
from collections.abc import Callable
from functools import partial, wraps
from types import ModuleType
from typing import Any, Final, ParamSpec, TypeVar, overload

import anyio
import sniffio

from uwsgi_async.api import locks, signals
from uwsgi_async.api.process import set_user_harakiri, worker_id
from uwsgi_async.errors import SignalError

__all__ = [
    "cron",
    "filemon",
    "get_free_signal",
    "harakiri",
    "lock",
    "mstimer",
    "postfork",
    "rbtimer",
    "signal",
    "thread",
    "timer",
]

logger = logging.getLogger("uwsgi_async")

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

_SIGNALS: Final = 256
_LATER: Final = frozenset(
    ["erlang", "farm", "mule", "mulefunc", "muleloop", "mulemsg", "rpc", "spool", "spoolforever", "spoolraw"]
)


def __getattr__(name: str) -> Any:
    if name in _LATER:
        raise AttributeError(f"the decorator {name} is not built yet in uwsgi_async: see the README for what is")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


# --- signals ------------------------------------------------------------------------------------------------------


class _BeforeInstances:
    """What was decorated while no instance was there: it is registered with each that begins."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []
        self.numbers: set[int] = set()

    def __repr__(self) -> str:
        return f"<signals {sorted(self.numbers)}, registered when an instance begins>"

    def register(self) -> None:
        for call in self.calls:
            call()


_before = _BeforeInstances()


def get_free_signal() -> int:
    """Return the lowest number that has no handler in this process. Raises `SignalError` when all have one."""
    has_instance = signals.current_end() is not None
    for number in range(_SIGNALS):
        if not (signals.signal_registered(number) if has_instance else number in _before.numbers):
            return number
    raise SignalError("No free uwsgi signal available")


def signal(num: int, *, target: str = "") -> Callable[[F], F]:
    """Make the function the handler of the signal ``num``. ``target``: as for `register_signal`."""
    return lambda function: _register(function, num, target)


def timer(secs: int, *, signum: int | None = None, target: str = "") -> Callable[[F], F]:
    """Call the function every ``secs`` seconds. ``signum``: the signal that is used; None is a free one."""
    return lambda function: _register(function, signum, target, signals.add_timer, secs)


def mstimer(msecs: int, *, signum: int | None = None, target: str = "") -> Callable[[F], F]:
    """Call the function every ``msecs`` milliseconds."""
    return lambda function: _register(function, signum, target, signals.add_ms_timer, msecs)


def rbtimer(secs: int, *, iterations: int = 0, signum: int | None = None, target: str = "") -> Callable[[F], F]:
    """Call the function every ``secs`` seconds, ``iterations`` times; 0 is for ever, as uWSGI's, which has no other."""
    return lambda function: _register(function, signum, target, signals.add_rb_timer, secs, iterations)


def cron(
    minute: int, hour: int, day: int, month: int, dayweek: int, *, signum: int | None = None, target: str = ""
) -> Callable[[F], F]:
    """Call the function in each minute that matches. See `add_cron` for what the numbers mean."""
    when = (minute, hour, day, month, dayweek)
    return lambda function: _register(function, signum, target, signals.add_cron, *when)


def filemon(fsobj: str, *, signum: int | None = None, target: str = "") -> Callable[[F], F]:
    """Call the function when something happens to the file, or in the directory, ``fsobj``."""
    return lambda function: _register(function, signum, target, signals.add_file_monitor, fsobj)


def _register(function: F, signum: int | None, target: str, add: Callable[..., object] | None = None, *words: Any) -> F:
    """Register ``function``, now or when an instance begins, and then call ``add`` with its number and ``words``."""
    number = get_free_signal() if signum is None else signum

    def register() -> None:
        signals.register_signal(number, target, function)
        if add is not None:
            add(number, *words)

    if signals.current_end() is None:
        _before.calls.append(register)
        _before.numbers.add(number & (_SIGNALS - 1))
    else:
        register()
    return function


# --- after a fork -------------------------------------------------------------------------------------------------

postfork_chain: list[Callable[[], Any]] = []
"""What is called in each process of the instance after its fork, in this order; first what is no ``async def``."""


@overload
def postfork(f: Callable[P, R]) -> Callable[P, R]: ...
@overload
def postfork(f: int) -> Callable[[F], F]: ...
def postfork(f: Any) -> Any:
    """Call the function in each process after its fork: ``@postfork``, or ``@postfork(2)`` in worker 2 alone.

    Plain functions are called before the event loop begins, ``async def`` ones in it, before the process serves. An
    error is logged, and the next function is called.
    """
    if callable(f):
        _chain(f)
        return f
    return partial(_postfork_in, f)


def _postfork_in(worker: int, function: F) -> F:
    @wraps(function)
    def here() -> Any:
        return function() if worker in (0, worker_id()) else None

    @wraps(function)
    async def here_async() -> None:
        if worker in (0, worker_id()):
            await function()

    _chain(here_async if inspect.iscoroutinefunction(function) else here)
    return function


def _chain(function: Callable[[], Any]) -> None:
    postfork_chain.append(function)
    module = sys.modules.get("uwsgi")
    if module is not None and (hook := getattr(module, "post_fork_hook", None)) is not postfork_chain_hook:
        if hook is None:
            take_hooks(module)
        else:
            logger.warning(
                "%s will not run after a fork: uwsgi.post_fork_hook is %s; let it call postfork_chain_hook()",
                _name(function),
                _name(hook),
            )


def postfork_chain_hook() -> None:
    """Call the plain functions of the chain. Importing `uwsgidecorators` makes this ``uwsgi.post_fork_hook``."""
    for function in postfork_chain:
        if not inspect.iscoroutinefunction(function):
            try:
                function()
            except Exception:
                logger.exception("%s raised an error (@postfork)", _name(function))


async def _await_postfork_chain() -> None:
    for function in postfork_chain:
        if inspect.iscoroutinefunction(function):
            try:
                await function()
            except Exception:
                logger.exception("%s raised an error (@postfork)", _name(function))


postfork_chain_hook.in_loop = _await_postfork_chain  # type: ignore[attr-defined]  # see instance.hooks


def take_hooks(module: ModuleType) -> None:
    """Set the hooks of a ``uwsgi`` module, as importing uWSGI's decorators does."""
    module.post_fork_hook = postfork_chain_hook  # type: ignore[attr-defined]


def begin(module: ModuleType) -> None:
    """Register what was decorated before there was an instance. For an instance that begins in a user's program."""
    _before.register()
    if postfork_chain:
        take_hooks(module)


# --- around a call ------------------------------------------------------------------------------------------------


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
        threading.Thread(target=run, name=_name(function), daemon=True).start()
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
                raise TimeoutError(f"{_name(function)} took more than {seconds} s (@harakiri)")

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


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))
