"""What raises signals by itself: timers, crons, file monitors and probes.

What lives here: `Schedule`, which knows when each timer is due, and `Sources`, which waits and raises. What does not:
cron's rules (`cron`), inotify (`files`), connecting (`probes`). One of these lives in each instance: in the master, or
in the one process.

A timer is due at its beginning plus a whole number of its intervals, however late it was told before, so it does not
drift. When the process stood still for several intervals it is due once. Real uWSGI's timers are the same, but for
add_rb_timer, which counts each interval from the moment when it was noticed.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import anyio

from uwsgi_async.signals.cron import CronClock, matches
from uwsgi_async.signals.declare import Cron, FileMonitor, Probe, Source, Timer
from uwsgi_async.signals.files import FileMonitors
from uwsgi_async.signals.probes import watch_probe

logger = logging.getLogger("uwsgi_async")


@dataclass(slots=True, eq=False)
class Running:
    """A source at work. ``runs``: how often it has raised its signal; ``last``: unix seconds, 0.0 for never."""

    source: Source
    runs: int = 0
    last: float = 0.0


class Schedule:
    """Timers by the time when they are due, in seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Running, Timer]] = []
        self._number = itertools.count()
        self._kept: dict[Timer, list[float]] = {}

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, running: Running, timer: Timer, now: float) -> None:
        """Begin a timer. One of 0 seconds is never due."""
        if timer.seconds > 0:
            kept = self._kept.get(timer)
            when = kept.pop() if kept else now + timer.seconds
            heapq.heappush(self._heap, (when, next(self._number), running, timer))

    def clear(self) -> None:
        """Forget all timers, but not when those that run for ever are due: one that is added again goes on."""
        self._kept.clear()
        for when, _, _, timer in self._heap:
            if not timer.iterations:
                self._kept.setdefault(timer, []).append(when)
        self._heap.clear()

    @property
    def next(self) -> float:
        """When the next timer is due; infinite when none is."""
        return self._heap[0][0] if self._heap else inf

    def due(self, now: float) -> list[Running]:
        """Return the timers that are due by ``now``, each once, in the order of their times; they run on."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            when, _, running, timer = self._heap[0]
            due.append(running)
            if 0 < timer.iterations <= running.runs + 1:
                heapq.heappop(self._heap)
            else:
                following = when + ((now - when) // timer.seconds + 1) * timer.seconds
                if following <= now:  # by rounding
                    following += timer.seconds
                heapq.heapreplace(self._heap, (following, next(self._number), running, timer))
        return due


class Sources:
    """All sources of an instance. ``on_signal``: called with the number of each signal that is to be raised.

    ``clock``: unix seconds; ``now``: those of a clock that never goes back. To be used in one event loop; `run` in a
    task of it.
    """

    def __init__(
        self,
        on_signal: Callable[[int], None],
        clock: Callable[[], float] = time.time,
        now: Callable[[], float] = anyio.current_time,
    ) -> None:
        self.running: list[Running] = []
        self._on_signal = on_signal
        self._clock = clock
        self._now = now
        self._schedule = Schedule()
        self._crons: list[Running] = []
        self._cron_clock = CronClock(clock())
        self._had: dict[Cron, int] = {}  # the last minute of each
        self._files = FileMonitors()
        self._probes: list[Running] = []
        self._changed = anyio.Event()
        self._restarted = anyio.Event()

    def __repr__(self) -> str:
        return f"<Sources: {len(self.running)}>"

    def restart(self) -> None:
        """Forget all sources, but not when they were due: a timer that is added again, as by a reload, goes on."""
        self.running, self._crons, self._probes = [], [], []
        self._schedule.clear()
        self._files.clear()
        self._restarted.set()
        self._restarted = anyio.Event()
        self._changed.set()

    def add(self, source: Source) -> None:
        """Begin a source. One that cannot be is logged: the app has been told what could be known before."""
        running = Running(source)
        self.running.append(running)
        if isinstance(source, Timer):
            self._schedule.add(running, source, self._now())
        elif isinstance(source, Cron):
            self.look()
            self._crons.append(running)
            self._raise_if_due_now(running, source)
        elif isinstance(source, FileMonitor):
            self._files.add(source.path, running)
        else:
            self._probes.append(running)
        self._changed.set()

    async def run(self) -> None:
        """Raise signals until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch_files)
            tasks.start_soon(self._keep_probes)
            while True:
                self._changed = anyio.Event()
                self.look()
                with anyio.move_on_after(self._seconds_left()):
                    await self._changed.wait()

    def look(self) -> None:
        """Raise what is due now."""
        for running in self._schedule.due(self._now()):
            self._raise(running)
        if self._crons:
            crons = [running.source for running in self._crons]
            for index in list(self._cron_clock.due(self._clock(), crons)):  # type: ignore[arg-type]
                self._raise_cron(self._crons[index])

    def close(self) -> None:
        self._files.close()

    def _seconds_left(self) -> float:
        left = max(0.0, self._schedule.next - self._now())
        if self._crons:
            # Not longer than a second: the clock may be set meanwhile.
            left = min(left, 1.0, self._cron_clock.seconds_left(self._clock()))
        return left

    def _raise_if_due_now(self, running: Running, cron: Cron) -> None:
        """A cron that comes in the middle of its minute is due at once, as in uWSGI; but not again after a reload."""
        now = self._clock()
        if matches(cron, time.localtime(now)) and self._had.get(cron) != int(now // 60):
            self._raise_cron(running)

    def _raise_cron(self, running: Running) -> None:
        assert isinstance(running.source, Cron)
        self._had[running.source] = int(self._clock() // 60)
        self._raise(running)

    def _raise(self, running: Running) -> None:
        running.runs += 1
        running.last = self._clock()
        self._on_signal(running.source.signal)

    async def _watch_files(self) -> None:
        while True:
            for running in await self._files.changed():
                self._raise(running)

    async def _keep_probes(self) -> None:
        while True:
            restarted = self._restarted
            async with anyio.create_task_group() as tasks:
                begun = 0
                while self._restarted is restarted:
                    for running in self._probes[begun:]:
                        assert isinstance(running.source, Probe)
                        tasks.start_soon(watch_probe, running.source, running, self._raise)
                    begun = len(self._probes)
                    changed = self._changed
                    if self._restarted is restarted:
                        await changed.wait()
                        await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
