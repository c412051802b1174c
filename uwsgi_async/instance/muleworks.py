"""What mules in processes and mules in threads have in common.

What lives here: `ThisLoop`, `message_hooks`, `mule_section`. What does not: the two kinds themselves (`muleprocess`,
`mulethreads`), what they run (`mules.running`).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType
from typing import Any

from uwsgi_async.api.mules import MessageHook, extra_hooks
from uwsgi_async.cores.portal import call_in_loop, wait_for
from uwsgi_async.instance.scoreboard import Field
from uwsgi_async.mules.queues import MuleQueues

NO_LIMIT: AbstractContextManager[None] = nullcontext()
"""For what may take as long as it likes, and for where nobody would kill it."""


class ThisLoop:
    """The event loop of this process, for the thread of a mule."""

    def wait(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: object) -> Any:
        return wait_for(function, *args)

    def call(self, function: Callable[..., Any], *args: object) -> Any:
        return call_in_loop(function, *args)


def message_hooks(module: ModuleType) -> Sequence[MessageHook]:
    """Return what is called with each message, as the app has it now: ``uwsgi.mule_msg_hook``, then all installed."""
    hook = getattr(module, "mule_msg_hook", None)
    more = extra_hooks()
    return [hook, *more] if callable(hook) else more


def mule_section(queues: MuleQueues, number: int, program: str, row: Any) -> dict[str, Any]:
    """Return what is told of a mule. ``row``: of the scoreboard, or what can be indexed alike."""
    pid = row[Field.PID]
    return {
        "id": number,
        "pid": pid,
        "program": program,
        "farms": queues.farms_of(number),
        "status": "ended" if not pid else "starting" if not row[Field.READY] else "busy" if row[Field.BUSY] else "idle",
        "messages": row[Field.REQUESTS],
        "signals": row[Field.SIGNALS],
        "exceptions": row[Field.EXCEPTIONS],
        "respawn_count": row[Field.RESPAWNS],
        "last_spawn": row[Field.LAST_SPAWN] // 1_000_000,
        "rss": row[Field.RSS],
        "vsz": row[Field.VSZ],
        "waiting": queues.own[number - 1].waiting,
    }
