"""The chapter of signals: numbers from 0 to 255 that make some process of the instance run a handler.

What lives here: the functions. What does not: where signals go and what is raised by itself (`signals`). Source:
plugins/python/uwsgi_pymodule.c; uWSGI's pages "The uWSGI Signal Framework" and "The uWSGI cron-like interface".

Numbers are taken modulo 256, as uWSGI takes them. A signal that `signal` has taken is not lost when the process dies
that raised it, or the one that was to handle it: then another one gets it, so a handler that was killed runs again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from operator import index
from typing import Any, Final, TypeVar

import anyio
from anyio.abc import ByteStream

from uwsgi_async.cores.portal import call_in_loop, in_event_loop, wait_for
from uwsgi_async.errors import NoInstanceError, NoLoopError, SignalError
from uwsgi_async.signals.cron import check as check_cron
from uwsgi_async.signals.declare import Cron, FileMonitor, Probe, Source, Timer
from uwsgi_async.signals.end import Handler, SignalEnd
from uwsgi_async.signals.values import SignalStatistics
from uwsgi_async.wire.address import AbstractAddress, TcpAddress, UnixAddress, parse_address
from uwsgi_async.wire.uwsgi import MODIFIER_SIGNAL, encode_packet

__all__ = [
    "add_cron",
    "add_file_monitor",
    "add_ms_timer",
    "add_probe",
    "add_rb_timer",
    "add_timer",
    "register_signal",
    "signal",
    "signal_received",
    "signal_registered",
    "signal_wait",
]

T = TypeVar("T")

_REMOTE_TIMEOUT: Final = 4.0  # seconds, uWSGI's default of socket-timeout
_ANSWER: Final = 4  # bytes of a packet without payload

_end: SignalEnd | None = None
_received: ContextVar[int] = ContextVar("uwsgi_async.signal_received", default=0)


@contextmanager
def using(end: SignalEnd) -> Iterator[None]:
    """Let the functions of this chapter use ``end`` while the block runs."""
    global _end
    before, _end = _end, end
    try:
        yield
    finally:
        _end = before


def current_end() -> SignalEnd | None:
    """Return what this process has to do with signals; None outside an instance."""
    return _end


def register_signal(signal: int, who: str, function: Handler) -> None:
    """Let ``function`` be called with the number whenever ``signal`` comes to this process.

    ``who``: the target, see docs/signals.md: "" or "worker", "workers", "worker1", "active-workers", "mule", "farm_web"
    and so on. ``function``: plain, and then it may call what waits, or ``async``; what it returns is ignored. Register
    while the app is imported, so that all workers have it; a process that registers later is the only one that runs it.
    Raises `SignalError` for a target that cannot be, and for a number that is registered twice at import.
    """
    _call(_the_end().register, _number(signal), _text(who, "a target"), function)


async def signal(signal: int, node: str | None = None) -> None:
    """Raise ``signal``, here or in the instance that serves the uwsgi protocol at ``node``.

    Waits only when as many as may wait (option signal-bufsize) are there; in a handler it does not wait for that but
    raises `SignalQueueFullError`. Of another instance: raises OSError when it does not answer within 4 seconds,
    `SignalError` when it has refused.
    """
    if node is not None:
        await _signal_remote(_number(signal), _text(node, "an address"))
    elif not _call(_the_end().raiser.raise_nowait, number := _number(signal)):
        await _the_end().raiser.raise_signal(number)


def try_signal(signal: int) -> bool:
    """Raise ``signal`` without waiting; False when as many wait as may. For those who have nobody that could wait."""
    return _call(_the_end().raiser.raise_nowait, _number(signal))


def signal_registered(signal: int) -> bool | None:
    """Return True when this process has a handler for ``signal``; None when not."""
    return (_number(signal) in _the_end().handlers) or None


async def signal_wait(signal: int | None = None) -> int:
    """Wait until ``signal``, or any for None, has come to this process and its handler, if it has one, is done.

    Returns its number; in the `uwsgi` module b"", and `signal_received` gives the number. Any number of cores may wait,
    and all that wait for a signal are woken by it. A signal for any worker comes to one where somebody waits for it.
    """
    number = await _the_end().waiters.wait(None if signal is None else _number(signal))
    _received.set(number)
    return number


def signal_received() -> int:
    """Return the number that has ended the last `signal_wait` of this request or task; 0 when there was none."""
    return _received.get()


async def signal_statistics() -> SignalStatistics:
    """Return what is registered in the instance, and what has happened so far: last runs, last errors, queues.

    Of timers, crons, file monitors and probes the first 500; the stats server tells all.
    """
    return await _the_end().ask()


def add_timer(signal: int, seconds: int) -> None:
    """Raise ``signal`` every ``seconds``, for the first time in ``seconds``. 0: never. Raises `SignalError` below 0."""
    _add(Timer(_number(signal), float(_from_zero(index(seconds), "seconds"))))


def add_ms_timer(signal: int, milliseconds: int) -> None:
    """Raise ``signal`` every ``milliseconds``. 0: never. Raises `SignalError` below 0."""
    _add(Timer(_number(signal), _from_zero(index(milliseconds), "milliseconds") / 1000))


def add_rb_timer(signal: int, seconds: int, iterations: int = 0) -> None:
    """Raise ``signal`` every ``seconds``, ``iterations`` times; 0 is for ever. Raises `SignalError` below 0."""
    times = _from_zero(index(iterations), "iterations")
    _add(Timer(_number(signal), float(_from_zero(index(seconds), "seconds")), times, "rb_timer"))


def add_cron(signal: int, minute: int, hour: int, day: int, month: int, weekday: int) -> bool:
    """Raise ``signal`` in each minute, of the local time, that matches; True, as in uWSGI.

    Of each number: -1 is any, -n is each that n divides. ``day`` 1 to 31, ``month`` 1 to 12, ``weekday`` 0 to 7, where
    0 and 7 are Sunday. With a day and a weekday from 0, either is enough. A minute that matches now counts. Raises
    `SignalError` for a number that no clock shows.
    """
    cron = Cron(_number(signal), index(minute), index(hour), index(day), index(month), index(weekday))
    try:
        check_cron(cron)
    except ValueError as error:
        raise SignalError(f"unable to add cron: {error}") from None
    _add(cron)
    return True


def add_file_monitor(signal: int, path: str) -> None:
    """Raise ``signal`` when the file at ``path`` is made, changed, renamed or removed; of a directory, a file in it.

    Changes that come together are one signal. The path need not be there, but its directory must: else `SignalError`.
    """
    absolute = os.path.abspath(_text(path, "a path"))
    if not os.path.isdir(os.path.dirname(absolute)):
        raise SignalError(f"unable to add file monitor: the directory of {absolute} is not there")
    _add(FileMonitor(_number(signal), absolute))


def add_probe(signal: int, kind: str, address: str, timeout: int = 0, freq: int = 0) -> None:
    """Raise ``signal`` when ``address`` can no longer be connected to, and when it can again.

    ``kind``: "connect", the only one that uWSGI brought itself. ``timeout``: seconds of one try, 0 is 4. ``freq``:
    seconds between two, 0 is 1. Raises `SignalError` for another kind, `AddressError` for what is no address.
    """
    if _text(kind, "a kind") != "connect":
        raise SignalError(f"unable to add probe: expected the kind connect, but {kind!r} came")
    parsed = parse_address(_text(address, "an address"))
    if not isinstance(parsed, TcpAddress | UnixAddress | AbstractAddress):
        raise SignalError(f"unable to add probe: expected an address to connect to, but {address!r} came")
    seconds = float(_from_zero(timeout, "timeout") or _REMOTE_TIMEOUT)
    _add(Probe(_number(signal), address, seconds, float(_from_zero(freq, "freq") or 1)))


def _signal_blocking(signal: int, node: str | None = None, /) -> None:
    """Raise a signal from sync code. Waits only when the queue is full."""
    if node is not None:
        wait_for(_signal_remote, _number(signal), _text(node, "an address"), name="signal")
    elif not _call(_the_end().raiser.raise_nowait, number := _number(signal)):
        wait_for(_the_end().raiser.raise_signal, number, name="signal")


def _signal_wait_blocking(signal: int | None = None, /) -> bytes:
    """Wait for a signal; `signal_received` gives its number."""
    number = wait_for(_the_end().waiters.wait, None if signal is None else _number(signal), name="signal_wait")
    _received.set(number)
    return b""


BLOCKING: dict[str, Callable[..., Any]] = {"signal": _signal_blocking, "signal_wait": _signal_wait_blocking}
"""The functions that sync code calls in another form, by their names."""


async def _signal_remote(signal: int, node: str) -> None:
    try:
        with anyio.fail_after(_REMOTE_TIMEOUT):
            async with await _connect(node) as stream:
                await stream.send(encode_packet(MODIFIER_SIGNAL, signal))
                answer = b""
                while len(answer) < _ANSWER:
                    answer += await stream.receive(_ANSWER - len(answer))
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
        raise OSError(f"unable to deliver signal {signal} to node {node}: {error or 'no answer'}") from error
    if answer[3] != 1:
        raise SignalError(f"node {node} rejected signal {signal}")


async def _connect(node: str) -> ByteStream:
    match parse_address(node):
        case TcpAddress(host, port):
            return await anyio.connect_tcp(host or "127.0.0.1", port)
        case UnixAddress(path):
            return await anyio.connect_unix(path)
        case AbstractAddress(name):
            return await anyio.connect_unix(f"\0{name}")
    raise SignalError(f"expected the address of another instance, but {node!r} came")


def _add(source: Source) -> None:
    _call(_the_end().declare, source)


def _call(function: Callable[..., T], *args: object) -> T:
    """Call a function that belongs to the thread of the event loop from wherever we stand."""
    if _the_end().thread == threading.get_ident() or in_event_loop():
        return function(*args)
    try:
        return call_in_loop(function, *args)
    except NoLoopError:  # nothing serves yet, so nobody else calls it
        return function(*args)


def _number(signal: int) -> int:
    return index(signal) & 255


def _text(value: str, what: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected {what} as str, not {type(value).__name__}")
    return value


def _from_zero(value: int, what: str) -> int:
    if value < 0:
        raise SignalError(f"expected {what} from 0, but {value} came")
    return value


def _the_end() -> SignalEnd:
    if _end is None:
        raise NoInstanceError("no uwsgi_async instance runs in this process, so there are no signals")
    return _end
