"""How functions of the app are called, for a message or a call of another node.

What lives here: `Caller`. What does not: which function that is (`processes`, `serving`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import anyio.to_thread


@dataclass(frozen=True, slots=True)
class Caller:
    """Calls functions as the instance calls its apps.

    ``harakiri``: seconds that a call may take; 0.0 is for ever. ``threads``: plain functions run in threads; else in
    the task, which has a portal, so that they may wait by the functions of the `uwsgi` module.
    """

    harakiri: float = 0.0
    threads: bool = False

    async def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function, await what it gives if that can be awaited, and return the value.

        Raises what it raises, and TimeoutError when its time is over; a thread goes on by itself then.
        """
        with anyio.move_on_after(self.harakiri or None):
            if self.threads and not inspect.iscoroutinefunction(function):
                called = partial(function, *arguments)
                result = await anyio.to_thread.run_sync(called, abandon_on_cancel=True)
            else:
                result = function(*arguments)
            return await result if inspect.isawaitable(result) else result
        raise TimeoutError(f"it took more than {self.harakiri:g} s (harakiri)")
