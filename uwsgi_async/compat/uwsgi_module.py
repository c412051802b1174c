"""The ``uwsgi`` module: what ``import uwsgi`` gives inside a served app.

Derived from `api` by one rule: a plain function is taken as it is, a coroutine function becomes a blocking face
(`cores.portal.wait_for`), unless the chapter has one of its own in ``BLOCKING``. ``_FACES`` is the one table of
differences: names whose blocking form is another function; ``_VALUES`` names what is a value there and a function here.
A name of uWSGI's that is not built yet raises an AttributeError that says so, so that ``hasattr`` stays honest.
"""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import asdict, fields
from types import ModuleType
from typing import TYPE_CHECKING, Any

from uwsgi_async.api import CHAPTERS, asynchronous, erlang, metrics, mules, process, queue, spooling
from uwsgi_async.api.information import InstanceInformation
from uwsgi_async.api.request import the_request
from uwsgi_async.compat.finding import decorators_found
from uwsgi_async.cores.core import current_request
from uwsgi_async.cores.portal import call_in_loop, in_event_loop, wait_for
from uwsgi_async.cores.request import Request
from uwsgi_async.cores.rpc import in_call
from uwsgi_async.errors import AddressError
from uwsgi_async.handlers.wsgi import start_response
from uwsgi_async.signals.raising import in_handler

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger("uwsgi_async")

_FASTFUNCS = 256  # slots
_ONLY_IF_GIVEN = frozenset({"mode", "pidfile", "spoolers"})

_LATER = frozenset(
    [
        "SymbolsImporter",
        "SymbolsZipImporter",
        "ZipImporter",
        "cluster",
        "cluster_best_node",
        "cluster_node_name",
        "cluster_nodes",
        "erlang_lock",
        "erlang_unlock",
        "i_am_the_lord",
        "lord_scroll",
        "scrolls",
        "send_multicast_message",
    ]
)


class UwsgiModule(ModuleType):
    """The module object. An app may set ``applications`` and the hooks, and fill ``fastfuncs``.

    ``applist``: the numbers of the loaded apps by their mountpoints. ``message_manager_marshal`` may be set and is
    never called: unmarshalling what comes over a network could hand over the process.
    """

    def __init__(self, name: str = "uwsgi") -> None:
        super().__init__(name, __doc__)
        self.applications: dict[str, Any] | None = None
        self.applist: dict[str, int] = {}
        self.fastfuncs: list[Callable[[], Any] | None] = [None] * _FASTFUNCS
        self.message_manager_marshal: Callable[..., Any] | None = None
        self._make_environ: Callable[[Request], dict[str, Any]] | None = None
        # In the module itself (PEP 562): in its class it would make every ``uwsgi.name`` three times as slow.
        self.__dict__["__getattr__"] = self._missing

    def note_apps(self, mountpoints: Iterable[str]) -> None:
        """Take note of the apps that are loaded, and of what they have set that has no effect."""
        self.applist = {mountpoint: number for number, mountpoint in enumerate(mountpoints)}
        if self.message_manager_marshal is not None:
            logger.warning(
                "uwsgi.message_manager_marshal is set and will not be called: marshalled data from the network could "
                "take over the process; receive text or JSON, by a request or by RPC"
            )

    def give_environs(self, make: Callable[[Request], dict[str, Any]] | None) -> None:
        """Let ``uwsgi.env`` be what ``make`` makes of the current request; None: apps run in threads, there is none."""
        self._make_environ = make

    def _missing(self, name: str) -> Any:
        if name == "env" and self._make_environ is not None and (request := current_request.get()) is not None:
            return self._make_environ(request)
        if name in _LATER:
            raise AttributeError(f"uwsgi.{name} is not built yet in uwsgi_async: see the README for what is")
        for chapter in CHAPTERS:
            if name in chapter.__all__ and hasattr(chapter, "OPTION"):
                raise AttributeError(f"uwsgi.{name} is only there when the option {chapter.OPTION} is given")
        raise AttributeError(f"module 'uwsgi' has no attribute '{name}'")


def make_module(information: InstanceInformation) -> UwsgiModule:
    """Return a ``uwsgi`` module for an instance."""
    module = UwsgiModule()
    for field in fields(information):
        value = getattr(information, field.name)
        if value is not None or field.name not in _ONLY_IF_GIVEN:
            setattr(module, field.name, value)
    for chapter in CHAPTERS:
        if not hasattr(chapter, "OPTION") or chapter.is_configured():
            faces = {**_FACES, **getattr(chapter, "BLOCKING", {})}
            for name in chapter.__all__:
                setattr(module, name, faces.get(name) or blocking_face(getattr(chapter, name)))
            for name in _VALUES.keys() & set(chapter.__all__):
                setattr(module, name, _VALUES[name]())
    for name in _ONLY_HERE:
        setattr(module, name, _FACES[name])
    return module


@contextmanager
def installed(module: UwsgiModule) -> Iterator[UwsgiModule]:
    """Put ``module`` where ``import uwsgi`` finds it, and `uwsgidecorators` too; afterwards what was there before."""
    before = sys.modules.get("uwsgi")
    sys.modules["uwsgi"] = module
    try:
        with decorators_found():
            yield module
    finally:
        if before is None:
            sys.modules.pop("uwsgi", None)
        else:
            sys.modules["uwsgi"] = before


def blocking_face(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the form of an API function that sync code calls.

    As in uWSGI, a function without arguments takes no notice of those that it gets.
    """
    if not inspect.iscoroutinefunction(function):
        return function if inspect.signature(function).parameters else _without_arguments(function)

    @functools.wraps(function)
    def face(*args: Any) -> Any:
        return wait_for(function, *args, name=function.__name__)

    return face


def _without_arguments(function: Callable[[], Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def face(*_ignored: Any) -> Any:
        return function()

    return face


def _async_sleep(seconds: float, /) -> bytes:
    """Sleep for ``seconds`` and give way; b"" so that it can be yielded.

    When fds are watched already, set the timeout of the wait instead, as real uWSGI always does: the sleep is then
    over at the next `suspend` or yield.
    """
    if in_handler.get() or in_call.get() or mules.mule_id() or spooling.i_am_the_spooler():
        wait_for(asynchronous.async_sleep, seconds, name="async_sleep")
        return b""
    watches = the_request().core.watches
    if watches.active:
        call_in_loop(watches.set_timeout, seconds)
    else:
        wait_for(asynchronous.async_sleep, seconds, name="async_sleep")
        watches.ready_fd, watches.timed_out = -1, True
    return b""


def _wait_fd_read(fd: int, timeout: int = 0, /) -> bytes:
    """Watch ``fd`` until the next `suspend` or yield. ``timeout``: seconds, 0 = none."""
    return _watch(fd, timeout, write=False)


def _wait_fd_write(fd: int, timeout: int = 0, /) -> bytes:
    """Watch ``fd`` for writing until the next `suspend` or yield. ``timeout``: seconds, 0 = none."""
    return _watch(fd, timeout, write=True)


def _watch(fd: int, timeout: int, *, write: bool) -> bytes:
    call_in_loop(functools.partial(asynchronous.watch, the_request(), fd, write=write, timeout=timeout))
    return b""


def _suspend() -> bool:
    """Give way to other cores; with watched fds, wait for the first of them or the timeout. Always True."""
    request = the_request()
    if in_event_loop():
        return wait_for(asynchronous.suspend, name="suspend")
    # In a thread of the request: the fds are the core's, the wait is the thread's.
    request.switches += 1
    if request.core.watches.active:
        wait_for(request.core.watches.wait)
    return True


def _async_connect(address: str, /) -> int:
    """Begin to connect to ``address``; return the fd, -1 on failure. `wait_fd_write`, then `is_connected`."""
    try:
        return asynchronous.begin_connect(address)
    except (OSError, AddressError):
        return -1


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Any:
    """The start_response of the current request."""
    return start_response(the_request(), status, headers, exc_info)


_WORKER_KEYS = (
    "id", "pid", "requests", "delta_requests", "signals", "exceptions", "status", "rss", "vsz", "running_time",
    "last_spawn", "respawn_count", "tx", "avg_rt",
)  # fmt: skip


def _workers() -> tuple[dict[str, Any], ...]:
    """The workers as dicts, as uWSGI gives them."""
    dicts = []
    for worker in process.workers():
        shown = {name: getattr(worker, name) for name in _WORKER_KEYS}
        dicts.append({**shown, "apps": tuple(asdict(app) for app in worker.apps)})
    return tuple(dicts)


_FACES: dict[str, Callable[..., Any]] = {
    "async_sleep": _async_sleep,
    "wait_fd_read": _wait_fd_read,
    "wait_fd_write": _wait_fd_write,
    "suspend": _suspend,
    "green_schedule": _suspend,
    "async_connect": _async_connect,
    "start_response": _start_response,
    "workers": _workers,
}
_VALUES: dict[str, Callable[[], object]] = {
    "queue_size": queue.queue_size,
    "erlang_node": erlang.erlang_node,
    "metrics": lambda: tuple(metric.name for metric in metrics.metrics()),
}
_ONLY_HERE = ("start_response",)
