"""The chapter of mules and farms: messages to processes that do what no client waits for (options ``mule``, ``farm``).

What lives here: the functions. What does not: the queues, and who takes messages from them (`mules`), the processes
(`instance.muleprocess`). Source: plugins/python/uwsgi_pymodule.c; uWSGI's page "uWSGI Mules"; 2.0.31 as measured.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from operator import index
from typing import Any, Final

from uwsgi_async.cores.portal import wait_for
from uwsgi_async.errors import MuleError
from uwsgi_async.mules.mule import BUFFER_SIZE, Mule, Source
from uwsgi_async.mules.queues import MuleQueues

__all__ = [
    "farm_get_msg",
    "farm_msg",
    "in_farm",
    "install_mule_msg_hook",
    "mule_get_msg",
    "mule_id",
    "mule_msg",
    "mule_msg_recv_size",
]

Message = str | bytes | bytearray | memoryview
MessageHook = Callable[[bytes], Any]

_queues: MuleQueues | None = None
_recv_size = BUFFER_SIZE
_hooks: list[MessageHook] = []
_process: Mule | None = None
_mule: ContextVar[Mule | None] = ContextVar("uwsgi_async.mule", default=None)


@contextmanager
def using(queues: MuleQueues) -> Iterator[None]:
    """Let the functions of this chapter use ``queues`` while the block runs."""
    global _queues, _hooks
    before, _queues, _hooks = (_queues, _hooks), queues, []
    try:
        yield
    finally:
        _queues, _hooks = before


def queues_of_instance() -> MuleQueues | None:
    """Return the queues of the instance that runs; None when it has no mules, and where none runs."""
    return _queues


def become(number: int, recv_size: int) -> Mule:
    """Let this whole process be a mule, and return it."""
    global _process, _recv_size
    assert _queues is not None
    _process, _recv_size = Mule(number, _queues), recv_size
    return _process


@contextmanager
def being(mule: Mule) -> Iterator[None]:
    """Let what is called in the block, and in tasks from there, be a mule of a process that is more than that."""
    token = _mule.set(mule)
    try:
        yield
    finally:
        _mule.reset(token)


def extra_hooks() -> Sequence[MessageHook]:
    """Return what `install_mule_msg_hook` has installed."""
    return _hooks


def mule_msg(message: Message, mule: int | str | bytes = 0) -> bool:
    """Send ``message`` to a mule, and return True when it has a place in its queue.

    ``mule``: the number of a mule, from 1; 0 is any mule, the first one that is free; str or bytes is any mule of that
    farm. Returns False, and the log says why, when the queue is full or the message is too long for it, about 200 KB
    unless the option mule-msg-size says otherwise. Does not wait. Whether a mule lives makes no difference: messages
    outlive it. Raises `MuleError` when there is no such mule or farm.
    """
    queues = _the_queues()
    data = _bytes(message)
    if isinstance(mule, str | bytes):
        name = mule.decode("utf-8", "replace") if isinstance(mule, bytes) else mule
        if name not in queues.farms:
            raise MuleError(f"unknown farm {name!r}: the instance has {_listed(queues)}")
        return queues.farms[name].send(data)
    try:
        number = index(mule)
    except TypeError:
        raise MuleError(f"invalid mule: expected a number, or the name of a farm, but {mule!r} came") from None
    if not 0 <= number <= len(queues.own):
        raise MuleError(f"invalid mule number {number}: the instance has {len(queues.own)}")
    return (queues.own[number - 1] if number else queues.shared).send(data)


def farm_msg(farm: str | bytes, message: Message) -> bool:
    """Send ``message`` to one mule of ``farm``, and return True when it has a place in its queue.

    As in uWSGI nothing happens when there is no such farm; then, and when the queue has no room, it returns False. In
    the `uwsgi` module it always returns None.
    """
    data = _bytes(message)
    name = farm.decode("utf-8", "replace") if isinstance(farm, bytes) else farm
    if not isinstance(name, str):
        raise TypeError(f"expected the name of a farm as str, not {type(farm).__name__}")
    queue = None if _queues is None else _queues.farms.get(name)
    return queue is not None and queue.send(data)


async def mule_get_msg(
    signals: object = True, farms: object = True, buffer_size: int = BUFFER_SIZE, timeout: float = -1
) -> bytes | None:
    """Wait for a message to this mule and return it: from its own queue, that of all mules, or those of its farms.

    ``signals``: as in uWSGI, False and None mean that a signal which this mule has handled ends the wait, with None.
    ``farms``: False and None leave messages to farms in their queues. ``buffer_size``: bytes; the rest of a longer
    message is lost, and the log tells it. ``timeout``: seconds, 0 is a look, and below 0 is for ever; when it is over
    the result is b"". Any number of threads and tasks of a mule may wait. A checkpoint. Raises `MuleError` in what is
    no mule, and ValueError for a size below 1.
    """
    mule, source = _the_mule("mule"), _wants(farms)
    size, seconds = _size(buffer_size), _seconds(timeout)
    return await mule.take(mule.source(mine=True, farms=source), size, seconds, signals=not _wants(signals))


async def farm_get_msg() -> bytes | None:
    """Wait for a message to a farm of this mule and return it. A checkpoint.

    Raises `MuleError` in what is no mule, and in a mule that is in no farm, which would wait for ever.
    """
    mule, source = _farm_source()
    return await mule.take(source, BUFFER_SIZE, None)


def in_farm(farm: str | None = None) -> bool | None:
    """Return True in a mule of ``farm``, or of any farm for None; None everywhere else."""
    mule = current_mule()
    if mule is None:
        return None
    return (bool(mule.farms) if farm is None else farm in mule.farms) or None


def mule_id() -> int:
    """Return the number of this mule, from 1; 0 in what is no mule."""
    mule = current_mule()
    return 0 if mule is None else mule.number


def mule_msg_recv_size() -> int:
    """Return how many bytes of a message reach the hooks (option mule-msg-recv-size)."""
    return _recv_size


def install_mule_msg_hook(hook: MessageHook) -> None:
    """Let ``hook`` be called with each message to a mule without a program, behind ``uwsgi.mule_msg_hook``.

    It may be ``async``. Call it while the app is imported, so that each mule has it.
    """
    if not callable(hook):
        raise TypeError(f"expected a function that is called with each message, not {type(hook).__name__}")
    _hooks.append(hook)


def current_mule() -> Mule | None:
    """Return the mule that the caller is part of; None for what is no mule."""
    return _mule.get() if _process is None else _process


def _mule_get_msg_blocking(
    signals: object = True, farms: object = True, buffer_size: int = BUFFER_SIZE, timeout: float = -1
) -> bytes | None:
    """Wait for a message in sync code: in a task with a portal, or in a thread, which then takes it by itself."""
    mule, source = _the_mule("mule"), _wants(farms)
    if threading.get_ident() == mule.loop_thread:
        return wait_for(mule_get_msg, signals, farms, buffer_size, timeout, name="mule_get_msg")
    size, seconds = _size(buffer_size), _seconds(timeout)
    return mule.take_in_thread(mule.source(mine=True, farms=source), size, seconds, signals=not _wants(signals))


def _farm_get_msg_blocking(*_ignored: object) -> bytes | None:
    """Wait the same way for a message to a farm."""
    mule, source = _farm_source()
    if threading.get_ident() == mule.loop_thread:
        return wait_for(farm_get_msg, name="farm_get_msg")
    return mule.take_in_thread(source, BUFFER_SIZE, None)


def _farm_msg_quietly(farm: str | bytes, message: Message, /) -> None:
    """Send a message to a farm; None, as in uWSGI."""
    farm_msg(farm, message)


BLOCKING: Final[dict[str, Callable[..., Any]]] = {
    "mule_get_msg": _mule_get_msg_blocking,
    "farm_get_msg": _farm_get_msg_blocking,
    "farm_msg": _farm_msg_quietly,
}
"""The functions that sync code calls in another form, by their names."""


def _farm_source() -> tuple[Mule, Source]:
    mule = _the_mule("farm")
    if not mule.farms:
        raise MuleError(f"mule {mule.number} is in no farm: it would wait for ever; put it into one by the option farm")
    return mule, mule.source(mine=False, farms=True)


def _the_mule(kind: str) -> Mule:
    mule = current_mule()
    if mule is None:
        raise MuleError(f"you can receive {kind} messages only in a mule !!!")
    return mule


def _the_queues() -> MuleQueues:
    if _queues is None:
        raise MuleError("no mule configured: give the instance one with the option mule or mules")
    return _queues


def _listed(queues: MuleQueues) -> str:
    return ", ".join(queues.farms) or "none"


def _wants(flag: object) -> bool:
    """Whether an argument asks for something: all does but False and None, as in uWSGI."""
    return flag is not False and flag is not None


def _size(size: int) -> int:
    number = index(size)
    if number < 1:
        raise ValueError(f"expected a buffer_size of at least 1 byte, but {size} came")
    return number


def _seconds(timeout: float) -> float | None:
    return None if timeout < 0 else float(timeout)


def _bytes(message: Message) -> bytes:
    if isinstance(message, str):
        return message.encode()
    if isinstance(message, bytes):
        return message
    if not isinstance(message, bytearray | memoryview):
        raise TypeError(f"a bytes-like object is required, not {type(message).__name__!r}")
    return bytes(message)
