"""Which kind of app an app is. A third kind, ASGI, will find its place here."""

import functools
import inspect
from typing import Literal


def app_kind(app: object) -> Literal["async", "sync"]:
    """Return how ``app`` must be called: "async" for an ``async def``, an async generator function, or an object
    whose ``__call__`` is one of these; else "sync".
    """
    target = inspect.unwrap(app) if callable(app) else app
    while isinstance(target, functools.partial):
        target = target.func
    if not (inspect.isfunction(target) or inspect.ismethod(target) or inspect.isclass(target)):
        target = getattr(target, "__call__", target)  # noqa: B004 - the method itself is wanted
    if inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target):
        return "async"
    return "sync"
