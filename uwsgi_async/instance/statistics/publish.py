"""A worker's side of the statistics: it writes down what its cores do, where every process of the instance may read.

What lives here: `CorePublisher`, `AppPublisher`, `LagMeter`. What does not: the worker's own row (`control.Accounts`),
reading (`collect`). This runs four times a second, and when somebody looks; for each request only where there are
several apps to count.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from enum import IntEnum
from itertools import islice

from uwsgi_async.cores.core import Core
from uwsgi_async.cores.pool import Pool
from uwsgi_async.cores.request import Request
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.loader import seconds_of
from uwsgi_async.instance.scoreboard import (
    MOST_APPS,
    MOUNTPOINT_SIZE,
    VARS_SIZE,
    AppField,
    CoreField,
    Field,
    Scoreboard,
)

MICROS = 1_000_000

_MOST_AT_ONCE = 500  # cores that are written without anybody looking: a millisecond of work, four times a second
_LAG_WINDOW = 30.0  # seconds; two of them are remembered

# They let somebody else act as the client, and the statistics have many readers. uWSGI shows them.
_SECRETS = frozenset({"HTTP_AUTHORIZATION", "HTTP_COOKIE", "HTTP_PROXY_AUTHORIZATION", "HTTP_X_API_KEY"})
_HIDDEN = "(hidden)"


class Detail(IntEnum):
    """How much somebody who looks wants to see. Each level has what is before it."""

    WORKERS = 0
    CORES = 1
    VARS = 2


class CorePublisher:
    """Writes the rows of a worker's cores. A core's counts go on from those of the processes before this one."""

    def __init__(self, board: Scoreboard, worker: int) -> None:
        self._board = board
        self._worker = worker
        self._wall = 0.0  # of the clock of the day, when the poller's clock is 0
        self._next = 0
        self._before = [board.core(worker, core) for core in range(board.cores)]
        for core, numbers in enumerate(self._before):
            numbers[CoreField.STARTED] = 0
            board.write_core(worker, core, numbers)

    def publish(self, pool: Pool, detail: Detail) -> None:
        """Write down what each core does, for somebody who looks."""
        if detail >= Detail.CORES:
            self._publish_all(pool, 0, len(pool.cores), detail)

    def publish_some(self, pool: Pool) -> None:
        """Write down what the cores do, so many at most that nobody has to wait for it, and the others next time."""
        last = self._next + _MOST_AT_ONCE
        self._publish_all(pool, self._next, last, Detail.CORES)
        self._next = last if last < len(pool.cores) else 0

    def _publish_all(self, pool: Pool, first: int, last: int, detail: Detail) -> None:
        if not self._wall:
            self._wall = time.time() - pool.poller.time()
        for core in islice(pool.cores, first, last):
            if core.id < self._board.cores:
                self._publish(core, detail is Detail.VARS)

    def _publish(self, core: Core, vars: bool) -> None:
        board, worker, request = self._board, self._worker, core.request
        started = 0 if request is None else int((self._wall + request.started) * MICROS)
        before = self._before[core.id]
        board.write_core(
            worker,
            core.id,
            (
                before[CoreField.REQUESTS] + core.requests,
                before[CoreField.STATIC_REQUESTS] + core.static_requests,
                before[CoreField.ROUTED_REQUESTS],
                before[CoreField.OFFLOADED_REQUESTS] + core.offloaded_requests,
                before[CoreField.WRITE_ERRORS] + core.write_errors,
                before[CoreField.READ_ERRORS] + core.read_errors,
                before[CoreField.EXCEPTIONS] + core.exceptions,
                before[CoreField.HARAKIRIS] + core.harakiri,
                started,
            ),
        )
        if vars and request is not None:
            board.write_vars(worker, core.id, started, encode_vars(request.vars))


def encode_vars(vars: Mapping[str, str]) -> bytes:
    """Return the vars as they stand on the scoreboard, without secrets; those that do not fit are left out."""
    data = bytearray()
    for name, value in vars.items():
        text = f"{name}={_HIDDEN if name in _SECRETS else value}"
        item = text.replace("\0", "?").encode("latin-1", "replace") + b"\0"
        if len(data) + len(item) <= VARS_SIZE:
            data += item
    return bytes(data)


def decode_vars(data: bytes) -> dict[str, str]:
    """Return what `encode_vars` made of vars. Bytes that are no UTF-8 are replaced: JSON cannot carry them."""
    pairs = (item.partition("=") for item in data.decode("utf-8", "replace").split("\0")[:-1])
    return {name: value for name, _, value in pairs}


class AppPublisher:
    """Counts the requests of each app, and writes the apps' rows. Counts go on from those of the processes before.

    ``count``: to be called with each request that has ended; None when there is one app that gets all of them.
    """

    def __init__(self, board: Scoreboard, worker: int, apps: Apps, *, plain: bool) -> None:
        self._board = board
        self._worker = worker
        self._plain = plain
        self._apps = [(id(app), seconds_of(apps, mountpoint)) for mountpoint, app in apps.items()][:MOST_APPS]
        before = [board.app(worker, number) for number in range(len(self._apps))]
        self._requests = [numbers[AppField.REQUESTS] for numbers in before]
        self._exceptions = [numbers[AppField.EXCEPTIONS] for numbers in before]
        for number, mountpoint in enumerate(islice(apps, MOST_APPS)):
            board.write_mountpoint(worker, number, mountpoint.encode()[:MOUNTPOINT_SIZE])
        self._write()
        board.row(worker)[Field.APPS] = len(self._apps)

    @property
    def count(self) -> Callable[[Request], None] | None:
        return None if self._plain else self._count

    def publish(self, requests: int, exceptions: int) -> None:
        """Write down what the apps have done. ``requests`` and ``exceptions``: of the whole worker."""
        if self._plain:
            self._requests, self._exceptions = [requests], [exceptions]
        self._write()

    def _write(self) -> None:
        interpreter = id(sys.modules)
        for number, (address, seconds) in enumerate(self._apps):
            counts = self._requests[number], self._exceptions[number]
            self._board.write_app(self._worker, number, (int(seconds), interpreter, address, *counts))

    def _count(self, request: Request) -> None:
        if 0 <= request.app_id < len(self._apps):
            self._requests[request.app_id] += 1
            self._exceptions[request.app_id] += request.app_failed


class LagMeter:
    """By how much an event loop was late at most, in the last half or whole minute. Times are seconds."""

    def __init__(self) -> None:
        self._since = self._current = self._before = 0.0

    @property
    def longest(self) -> float:
        return max(self._current, self._before)

    def note(self, lag: float, now: float) -> None:
        """Note that at ``now`` something came ``lag`` seconds late."""
        if now - self._since >= _LAG_WINDOW:
            self._since, self._before, self._current = now, self._current, 0.0
        self._current = max(self._current, lag)
