"""Which kind of app an app is.

What lives here: `app_kind`. What does not: calling apps (`wsgi`, `asgi`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Literal

Kind = Literal["async", "sync", "asgi", "asgi2"]


def app_kind(app: object) -> Kind:
    """Return how ``app`` must be called, by its signature first and then by what calling it gives.

    "asgi": it takes three arguments and not two (scope, receive, send). "asgi2": it takes one (the older form of ASGI).
    "async": an ``async def``, an async generator function, or an object whose ``__call__`` is one of these, that takes
    environ and start_response. Else "sync".
    """
    target = inspect.unwrap(app) if callable(app) else app
    while isinstance(target, functools.partial):
        target = target.func
    if not (inspect.isfunction(target) or inspect.ismethod(target) or inspect.isclass(target)):
        target = getattr(target, "__call__", target)  # noqa: B004 - the method itself is wanted
    if callable(app) and not _takes(app, 2):
        if _takes(app, 3):
            return "asgi"
        if _takes(app, 1):
            return "asgi2"
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        return "async"
    return "sync"


def _takes(app: Callable[..., Any], count: int) -> bool:
    """Whether ``app`` can be called with so many positional arguments; True when that cannot be known."""
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
