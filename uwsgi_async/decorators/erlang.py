"""The decorator `erlang`: a function that is a process of the instance's Erlang node.

What lives here: this. What does not: the node and its processes (`api.erlang`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from uwsgi_async.api.erlang import erlang_register_process

F = TypeVar("F", bound=Callable[..., Any])


def erlang(name: str) -> Callable[[F], F]:
    """Call the function with each message that is sent to the process ``name`` of this node; see there for the rest."""

    def decorate(function: F) -> F:
        erlang_register_process(name, function)
        return function

    return decorate
