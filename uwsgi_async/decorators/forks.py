"""What is called in each process of an instance after its fork: the decorator `postfork`, and its chain.

What lives here: these, and the hook that the instance calls (`instance.hooks`). What does not: who forks.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable
from functools import partial, wraps
from types import ModuleType
from typing import Any, ParamSpec, TypeVar, overload

from uwsgi_async.api.process import worker_id

logger = logging.getLogger("uwsgi_async")

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

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
        chain(f)
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

    chain(here_async if inspect.iscoroutinefunction(function) else here)
    return function


def chain(function: Callable[[], Any]) -> None:
    """Put a function into the chain, and see to it that the chain is called."""
    postfork_chain.append(function)
    module = sys.modules.get("uwsgi")
    if module is not None and (hook := getattr(module, "post_fork_hook", None)) is not postfork_chain_hook:
        if hook is None:
            take_hooks(module)
        else:
            logger.warning(
                "%s will not run after a fork: uwsgi.post_fork_hook is %s; let it call postfork_chain_hook()",
                name_of(function),
                name_of(hook),
            )


def postfork_chain_hook() -> None:
    """Call the plain functions of the chain. Importing `uwsgidecorators` makes this ``uwsgi.post_fork_hook``."""
    for function in postfork_chain:
        if not inspect.iscoroutinefunction(function):
            try:
                function()
            except Exception:
                logger.exception("%s raised an error (@postfork)", name_of(function))


async def _await_postfork_chain() -> None:
    for function in postfork_chain:
        if inspect.iscoroutinefunction(function):
            try:
                await function()
            except Exception:
                logger.exception("%s raised an error (@postfork)", name_of(function))


postfork_chain_hook.in_loop = _await_postfork_chain  # type: ignore[attr-defined]  # see instance.hooks


def take_hooks(module: ModuleType) -> None:
    """Set the hooks of a ``uwsgi`` module, as importing uWSGI's decorators does."""
    module.post_fork_hook = postfork_chain_hook  # type: ignore[attr-defined]


def name_of(function: Callable[..., Any]) -> str:
    """Return what a function is called in a log."""
    return getattr(function, "__qualname__", repr(function))
