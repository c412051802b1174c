"""The decorator `rpc`: a function that other instances call by name.

What lives here: this. What does not: the functions of an instance (`api.rpc`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from uwsgi_async.api.rpc import has_instance, register_rpc
from uwsgi_async.decorators.signals import before

F = TypeVar("F", bound=Callable[..., Any])


def rpc(name: str) -> Callable[[F], F]:
    """Let others call the function by ``name``: it gets bytes and returns bytes, and may be ``async def``.

    Before there is an instance it is registered with each that begins.
    """
    return partial(_register, name)


def _register(name: str, function: F) -> F:
    if has_instance():
        register_rpc(name, function)
    else:
        before.calls.append(partial(register_rpc, name, function))
    return function
