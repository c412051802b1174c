"""The chapter of workers and process control.

What lives here: the functions, and `ProcessControl`, which an instance puts in place when it starts. What does not:
processes (`instance`). Source: plugins/python/uwsgi_pymodule.c; uWSGI 2.0.31 as measured.
"""

from __future__ import annotations

import logging
import operator
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from uwsgi_async.api.statistics import InstanceStatistics, WorkerStatistics
from uwsgi_async.cores.backlog import backlog
from uwsgi_async.errors import NoInstanceError

__all__ = [
    "accepting",
    "listen_queue",
    "masterpid",
    "ready",
    "reload",
    "set_user_harakiri",
    "stop",
    "total_requests",
    "worker_id",
    "workers",
]


logger = logging.getLogger("uwsgi_async")


class ProcessControl(Protocol):
    """What a process of an instance knows of the others, and can ask the master for."""

    @property
    def worker(self) -> int: ...

    @property
    def master(self) -> int: ...

    def workers(self) -> tuple[WorkerStatistics, ...]: ...

    def statistics(self) -> InstanceStatistics: ...

    def reload(self) -> bool: ...

    def stop(self) -> bool: ...

    def accept(self, flag: bool) -> None: ...

    def is_ready(self) -> bool: ...

    def set_deadline(self, seconds: int) -> None: ...


_control: ProcessControl | None = None
_sockets: Sequence[socket.socket] = ()


@contextmanager
def controlled(control: ProcessControl) -> Iterator[None]:
    """Let the functions of this chapter ask ``control`` while the block runs."""
    global _control
    before, _control = _control, control
    try:
        yield
    finally:
        _control = before


@contextmanager
def listening(sockets: Sequence[socket.socket]) -> Iterator[None]:
    """Say at which sockets this process serves while the block runs, for `listen_queue`."""
    global _sockets
    before, _sockets = _sockets, sockets
    try:
        yield
    finally:
        _sockets = before


def workers() -> tuple[WorkerStatistics, ...]:
    """Return what each worker does and has done. The `uwsgi` module gives dicts."""
    return _the_control().workers()


def statistics() -> InstanceStatistics:
    """Return what the whole instance does and has done: what the stats server tells, as frozen values.

    This worker's part is of this moment; what the others do is as they wrote it down last, a quarter of a second ago
    at most, and the vars of their requests are only there when the stats server was asked meanwhile.
    """
    return _the_control().statistics()


def worker_id() -> int:
    """Return the number of this worker, from 1; 0 in any other process."""
    return 0 if _control is None else _control.worker


def masterpid() -> int:
    """Return the master's process id; 0 without a master."""
    return 0 if _control is None else _control.master


def total_requests() -> int:
    """Return how many requests the workers have finished."""
    return sum(worker.requests for worker in _the_control().workers())


def reload() -> bool | None:
    """Ask the master for a graceful reload. True; None without a master."""
    return _the_control().reload() or None


def stop() -> bool | None:
    """Ask the master to stop the instance gracefully. True; None without a master."""
    return _the_control().stop() or None


def accepting(flag: int = 1) -> None:
    """Say whether this worker takes requests, for `workers` and the statistics."""
    _the_control().accept(bool(operator.index(flag)))


def listen_queue(number: int = 0) -> int:
    """Return how many connections wait in the kernel for the socket ``number``, from 0; 0 where that cannot be told.

    Raises ValueError when there is no such socket.
    """
    number = operator.index(number)
    if not 0 <= number < len(_sockets):
        raise ValueError(f"unable to find socket {number}")
    return backlog(_sockets[number])[0]


def ready() -> bool | None:
    """Return True when this worker serves; None before, while the app is imported."""
    return (_control is not None and _control.is_ready()) or None


def set_user_harakiri(seconds: int) -> None:
    """Kill this worker in ``seconds`` unless it is called again before; 0 takes that back. Needs a master."""
    seconds = operator.index(seconds)
    if masterpid() == 0:
        logger.warning("!!! unable to set user harakiri without the master process !!!")
    if seconds < 0:
        raise ValueError(f"expected seconds from 0, but {seconds} came")
    _the_control().set_deadline(seconds)


def _the_control() -> ProcessControl:
    if _control is None:
        raise NoInstanceError("no uwsgi_async instance runs in this process")
    return _control
