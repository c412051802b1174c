"""The functions that an app lets others call by name: the table of one process.

What lives here: `Functions`. What does not: who calls them, over which protocol (`cores.rpc`, `api.rpc`). A table is
filled while the app is imported, and then it is the same in all workers, because they are forks; a worker that
registers later has a function of its own. Source: uWSGI's core/rpc.c, plugins/python/pyutils.c.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

logger = logging.getLogger("uwsgi_async")

LONGEST_NAME: Final = 255  # bytes
MOST_ARGUMENTS: Final = 255

RpcFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Registered:
    """A function under a name. ``argument_count``: as it was told, 0 = any; it is not enforced, as in uWSGI."""

    name: bytes
    function: RpcFunction
    argument_count: int = 0

    @property
    def is_async(self) -> bool:
        """Whether it must be awaited."""
        function = self.function
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class Functions:
    """Functions by name, ``most`` at most. They get bytes and return bytes; whatever else they do is no result.

    ``closed``: why none can be registered any more; "" while one can.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._functions: dict[bytes, Registered] = {}
        self.closed = ""

    def __repr__(self) -> str:
        return f"<Functions {', '.join(name.decode('utf-8', 'replace') for name in self._functions) or 'none'}>"

    @property
    def names(self) -> tuple[bytes, ...]:
        """All names, in the order in which they were registered first."""
        return tuple(self._functions)

    def register(self, name: bytes, function: RpcFunction, argument_count: int = 0) -> None:
        """Register a function, in the place of another one of that name.

        Raises ValueError for a name that cannot be, for more functions than `most`, and when the table is closed.
        """
        if self.closed:
            raise ValueError(f"unable to register rpc function: {self.closed}")
        if not 0 < len(name) <= LONGEST_NAME:
            raise ValueError(
                f"unable to register rpc function: its name must have 1 to {LONGEST_NAME} bytes, not {len(name)}"
            )
        if name not in self._functions and len(self._functions) >= self._most:
            raise ValueError(f"unable to register rpc function: there are {self._most} already (option rpc-max)")
        self._functions[name] = Registered(name, function, argument_count)

    def find(self, name: bytes) -> Registered | None:
        """Return the function of a name; None when there is none."""
        return self._functions.get(name)

    async def call(self, name: bytes, arguments: Sequence[bytes]) -> bytes | None:
        """Call a function, await it if it is ``async``, and return what it gives.

        None when there is no such function, or it gives no bytes; when it raises an error the log has that. The event
        loop's cancellation passes.
        """
        result = self.begin(name, arguments)
        return result if result is None or isinstance(result, bytes) else await result

    def begin(self, name: bytes, arguments: Sequence[bytes]) -> bytes | Awaitable[bytes | None] | None:
        """Call a function; return what it gives, or what is to be awaited for that. Its errors are logged."""
        registered = self._functions.get(name)
        if registered is None:
            return None
        try:
            result = registered.function(*arguments)
        except (Exception, SystemExit):  # noqa: BLE001 - whatever it is, it is logged, and the caller goes on
            _log_error(name)
            return None
        return _finish(name, result) if inspect.isawaitable(result) else _checked(name, result)


async def _finish(name: bytes, awaitable: Awaitable[Any]) -> bytes | None:
    try:
        result = await awaitable
    except (Exception, SystemExit):  # noqa: BLE001 - the same
        _log_error(name)
        return None
    return _checked(name, result)


def _checked(name: bytes, result: Any) -> bytes | None:
    if isinstance(result, bytes):
        return result or None  # there is no way to send an empty result
    if result is not None:
        logger.error(
            "the RPC function %r returned %s, which is no result: it must return bytes", name, type(result).__name__
        )
    return None


def _log_error(name: bytes) -> None:
    logger.exception("the RPC function %r raised an error", name)
