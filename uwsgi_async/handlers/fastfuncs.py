"""Packets of modifier1 26: call a function that the app has put at a number, and send what it returns.

What lives here: `FastFuncs`. What does not: the packet (`wire.uwsgi`), who may send one (`instance.packets`). uWSGI had
them until 1.0: no environ, no start_response, no head of a response, no line in the log. Source: uWSGI 1.0.1,
uwsgi_request_fastfunc.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from uwsgi_async.errors import AppError, PeerError
from uwsgi_async.wire.uwsgi import Packet

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection

logger = logging.getLogger("uwsgi_async")

FASTFUNC: Final = 26
"""The modifier1 of these packets."""


class FastFuncs:
    """Answers a packet by the function at its modifier2. ``functions``: the app may change it at any time.

    A function has no arguments and returns bytes or an iterable of bytes; it may be ``async def``, or an async
    generator. It runs in the core, so it may wait as an app does. Where there is none, or it raises an error, the
    connection is closed.
    """

    def __init__(self, functions: Sequence[Callable[[], Any] | None]) -> None:
        self._functions = functions

    async def __call__(self, connection: Connection, packet: Packet, rest: bytes) -> None:
        number = packet.modifier2
        function = self._functions[number] if number < len(self._functions) else None
        if function is None:
            logger.warning("-- there is no fastfunc %d --", number)
            return
        try:
            await _answer(connection, function)
        except PeerError:
            raise
        except Exception:
            logger.exception("fastfunc %d raised an error", number)


async def _answer(connection: Connection, function: Callable[[], Any]) -> None:
    result = function()
    if inspect.isawaitable(result):
        result = await result
    if isinstance(result, bytes):
        await connection.send(result)
    elif isinstance(result, AsyncIterable):
        async for chunk in result:
            await connection.send(chunk)
    elif isinstance(result, Iterable) and not isinstance(result, str):
        for chunk in result:
            await connection.send(chunk)
    elif result is not None:
        raise AppError(f"a fastfunc must return bytes or an iterable of bytes, not {type(result).__name__}")
