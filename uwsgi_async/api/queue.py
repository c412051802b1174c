"""The chapter of the queue: a ring of slots that all processes and cores of the instance share (option ``queue``).

In the `uwsgi` module these functions are only there when the option is given; here each raises `NotConfiguredError`
without it. Source: plugins/python/uwsgi_pymodule.c, core/queue.c; uWSGI's page "The uWSGI queue framework".
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from uwsgi_async.errors import NotConfiguredError
from uwsgi_async.state.queue import Queue
from uwsgi_async.state.values import Data, to_bytes

__all__ = [
    "queue_get",
    "queue_last",
    "queue_pop",
    "queue_pull",
    "queue_pull_slot",
    "queue_pull_wait",
    "queue_push",
    "queue_set",
    "queue_size",
    "queue_slot",
]

OPTION = "queue"
"""The option without which the functions are not in the `uwsgi` module."""

_queue: Queue | None = None


@contextmanager
def using(queue: Queue) -> Iterator[None]:
    """Let the functions of this chapter use ``queue`` while the block runs."""
    global _queue
    before, _queue = _queue, queue
    try:
        yield
    finally:
        _queue = before


def is_configured() -> bool:
    """Return whether the instance that runs has a queue."""
    return _queue is not None


def queue_push(message: Data, /) -> bool | None:
    """Write into the next slot, over what is there, and move on. True; None when the message is empty or too long.

    A message has ``queue-blocksize`` - 16 bytes at most. When more than all slots are in use, the oldest are lost.
    """
    return (_queue or _the_queue()).push(message if message.__class__ is bytes else to_bytes(message)) or None


def queue_pop() -> bytes | None:
    """Move one slot back, and return and remove what is there: last in, first out.

    None when that slot is empty; the position has moved then, too.
    """
    return (_queue or _the_queue()).pop()


def queue_pull() -> bytes | None:
    """Return and remove what is in the next slot to pull, and move on: first in, first out.

    None, and nothing moves, when that slot is empty. The position is another one than that of push and pop.
    """
    return (_queue or _the_queue()).pull()


async def queue_pull_wait(timeout: float | None = None) -> bytes | None:
    """Wait for an item as `queue_pull` returns it, while other cores run.

    ``timeout``: seconds; None and 0 are none. None after the timeout. Within a process the first who waits is served
    first. A wait that is cancelled has taken nothing. A checkpoint only when it has to wait.
    """
    queue = _the_queue()
    with anyio.move_on_after(timeout or None):
        return await queue.pull_wait()
    return None


def queue_get(slot: int, /) -> bytes | None:
    """Return what is in a slot, 0 to `queue_size` - 1, and leave it there. None when it is empty or there is none."""
    try:
        return _queue.get(slot)  # type: ignore[union-attr]
    except (AttributeError, TypeError):  # no queue, or no int
        return _the_queue().get(operator.index(slot))


def queue_set(slot: int, message: Data, /) -> bool | None:
    """Write into a slot; no position moves. True; None when there is no such slot, as well as for `queue_push`."""
    slot = slot if slot.__class__ is int else operator.index(slot)
    return (_queue or _the_queue()).set(slot, message if message.__class__ is bytes else to_bytes(message)) or None


def queue_last(count: int = 0, /) -> bytes | list[bytes | None] | None:
    """Return what was pushed last, and leave it there; with ``count`` a list of so many, the newest first.

    None stands for an empty slot. The list has all slots at most. Raises ValueError for a negative ``count``.
    """
    queue = _the_queue()
    count = operator.index(count)
    if count < 0:
        raise ValueError(f"queue_last: expected a count from 0, but {count} came")
    return queue.last(count) if count else queue.last(1)[0]


def queue_slot() -> int:
    """Return the next slot that `queue_push` writes."""
    return (_queue or _the_queue()).position


def queue_pull_slot() -> int:
    """Return the next slot that `queue_pull` looks at."""
    return (_queue or _the_queue()).pull_position


def queue_size() -> int:
    """Return the number of slots. In the `uwsgi` module it is the number itself."""
    return (_queue or _the_queue()).size


def _the_queue() -> Queue:
    if _queue is None:
        raise NotConfiguredError("this instance has no queue: give it one with the option queue, such as queue = 100")
    return _queue
