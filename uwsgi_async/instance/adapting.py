"""Keeping as many workers as the load needs: measuring it, and acting on what is decided.

What lives here: `Crew`, which starts and ends workers, and `adapt`. What does not: the decision (`cheaper`), one worker
(`keeper`).
"""

from __future__ import annotations

import logging
import math
import socket
import struct
import time
from collections.abc import Callable, Sequence

import anyio

from uwsgi_async.instance.cheaper import Cheaper, Load
from uwsgi_async.instance.keeper import Keeper
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.scoreboard import Field, Scoreboard
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

_STILL = 0.5 * 10**9  # nanoseconds without a heartbeat: the worker's loop is held by a request
_HALF = 0.5  # of the time between two looks, spent in requests: the worker counts as busy
_UNACKED = struct.Struct("4x4x4x4x4x4xI")  # tcpi_unacked in struct tcp_info <linux/tcp.h>: of a listener, its backlog


class Crew:
    """The workers of a generation, as many as there should be.

    ``keepers``: one for each worker that there may be. ``asked``: workers more, or less, that an operator wants.
    """

    def __init__(self, options: Options, board: Scoreboard, keepers: Sequence[Keeper]) -> None:
        self._options = options
        self._board = board
        self._keepers = keepers
        self._running: dict[int, float] = {}
        self._looked = time.monotonic()
        self._sent_home = anyio.Event()
        self.asked = 0
        self.cheaper = Cheaper(options.cheaper, len(keepers))

    def __repr__(self) -> str:
        return f"<Crew of {len(self.wanted)} of {len(self._keepers)} workers>"

    @property
    def wanted(self) -> list[Keeper]:
        """The keepers of the workers that should be there now."""
        return [keeper for keeper in self._keepers if keeper.wanted]

    def begin(self) -> None:
        """Start the workers that should be there at first."""
        for keeper in self._keepers[: self.cheaper.initial if self._options.cheaper.cheaper else None]:
            keeper.run()

    def adapt(self, load: Load) -> None:
        """Have as many workers as this load needs, or as were asked for.

        As in uWSGI a worker that is to go because it was asked for goes when one is not busy.
        """
        asked, self.asked = self.asked, 0
        wanted = self.cheaper.limit(asked, load) if asked else self.cheaper.decide(load)
        missing = wanted - self._adjust(wanted)
        if asked:
            self.asked = missing

    def _adjust(self, change: int) -> int:
        """Add so many workers, or take away as many: of those that are not busy, the oldest; return how many."""
        if change >= 0:
            for keeper in [keeper for keeper in self._keepers if not keeper.wanted][:change]:
                keeper.run()
            return change
        load = self._look()
        free = sorted((keeper for keeper in self.wanted if not load.busy[keeper.role.seat]), key=_born)[:-change]
        for keeper in free:
            logger.info("uwsgi-async worker %d cheaped.", keeper.role.number)
            keeper.end(hand_over=True)
        return -len(free)

    def send_home(self) -> None:
        """End all workers."""
        for keeper in self.wanted:
            keeper.end(hand_over=False)
        self._sent_home.set()

    async def wait_until_sent_home(self) -> None:
        """Wait until all workers have been told to end."""
        await self._sent_home.wait()
        self._sent_home = anyio.Event()

    def look(self, listeners: Sequence[Listener]) -> Load:
        """Return the load since the last look."""
        load = self._look(max((backlog(listener.sock) for listener in listeners), default=0))
        self._running, self._looked = dict(load.running), load.now
        return load

    def _look(self, waiting: int = 0) -> Load:
        now, beat = time.monotonic(), time.monotonic_ns()
        busy, running, rss = {}, {}, 0
        for keeper in self.wanted:
            row = self._board.row(keeper.role.seat)
            running[keeper.role.seat] = spent = row[Field.RUNNING_TIME] / 1e6
            lately = spent - self._running.get(keeper.role.seat, spent)
            held = bool(row[Field.HEARTBEAT]) and beat - row[Field.HEARTBEAT] > _STILL
            busy[keeper.role.seat] = bool(row[Field.BUSY]) or held or lately > _HALF * max(now - self._looked, 0.1)
            rss += row[Field.RSS]
        return Load(now, busy, running, waiting, rss)

    @property
    def requests(self) -> int:
        """Requests of all workers so far."""
        return sum(self._board.row(keeper.role.seat)[Field.REQUESTS] for keeper in self._keepers)


def _born(keeper: Keeper) -> float:
    return keeper.current.born if keeper.current is not None else math.inf


async def adapt(crew: Crew, options: Options, listeners: Sequence[Listener], stop: Callable[[], None]) -> None:
    """Adapt the number of workers to the load, until cancelled. ``stop``: ends the instance (option die-on-idle).

    With options that say nothing of it, it only starts all workers again when they have been sent home.
    """
    cheaper, idle = options.cheaper, _Idleness(options.cheaper.idle)
    while True:
        if not crew.wanted:
            logger.info("cheap mode enabled: waiting for socket connection...")
            await _connection(listeners)
            crew.begin()
            idle = _Idleness(cheaper.idle)
        if not cheaper.adapts:
            await crew.wait_until_sent_home()
            continue
        await anyio.sleep(cheaper.check_interval)
        if not crew.wanted:
            continue  # sent home meanwhile
        load = crew.look(listeners)
        if cheaper.cheaper:
            crew.adapt(load)
        if not all(keeper.ready for keeper in crew.wanted):
            idle = _Idleness(cheaper.idle)  # who has not begun to serve has not been idle
        elif idle.is_over(load, crew.requests):
            logger.info("workers have been inactive for more than %g seconds (option idle)", cheaper.idle)
            if cheaper.die_on_idle:
                stop()
                return
            crew.send_home()


class _Idleness:
    """Says when there has been no request for ``limit`` seconds; 0 = never."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._since: float | None = None
        self._requests = -1

    def is_over(self, load: Load, requests: int) -> bool:
        if any(load.busy.values()) or requests != self._requests or self._since is None:
            self._requests, self._since = requests, load.now
        return 0 < self._limit <= load.now - self._since


async def _connection(listeners: Sequence[Listener]) -> None:
    """Wait until a connection waits for being accepted."""
    async with anyio.create_task_group() as tasks:

        async def wait(listener: Listener) -> None:
            await anyio.wait_readable(listener.sock)
            tasks.cancel_scope.cancel()

        for listener in listeners:
            tasks.start_soon(wait, listener)


def backlog(sock: socket.socket) -> int:
    """Return how many connections of a listening socket nobody has accepted; 0 where the kernel does not tell."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return 0
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return 0
    return int(_UNACKED.unpack_from(info)[0])
