"""How many workers there should be: the load in, a number of workers more or less out.

What lives here: `Cheaper` and uWSGI's algorithms, which decide and do nothing. What does not: measuring the load and
acting on the decision (`adapting`). The algorithms are uWSGI's, and so are their names and defaults. Source:
core/master_utils.c, plugins/cheaper_busyness; uWSGI's page "The uWSGI cheaper subsystem".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from uwsgi_async.options.cheaper import CheaperOptions

logger = logging.getLogger("uwsgi_async")

_TOLERANCE = 3  # windows in a row that are neither busy nor quiet: then counting the quiet ones begins anew


@dataclass(frozen=True, slots=True)
class Load:
    """What is known when it is decided.

    ``now``: seconds of any clock. ``busy``: of each worker that is to be there, by its number: whether it runs a
    request. ``running``: seconds that each has spent in requests in its life. ``backlog``: connections that the kernel
    holds. ``rss``: bytes of all of them.
    """

    now: float
    busy: Mapping[int, bool]
    running: Mapping[int, float]
    backlog: int = 0
    rss: int = 0

    @property
    def active(self) -> int:
        return len(self.busy)


class Algorithm(Protocol):
    """One way to decide. It remembers what it has seen."""

    def decide(self, load: Load, may_grow: bool) -> int:
        """Return how many workers to add, or -1 to take one away. `Cheaper` keeps it within the limits."""


class Cheaper:
    """Decides by the algorithm that the options name, within their limits.

    ``most``: workers that there may be; ``least``: those that are there in any case.
    """

    def __init__(self, options: CheaperOptions, most: int) -> None:
        self.least = options.cheaper
        self.most = most
        self._options = options
        self._algorithm = _ALGORITHMS[options.cheaper_algo](options)

    def __repr__(self) -> str:
        return f"<Cheaper {self._options.cheaper_algo}, {self.least} to {self.most} workers>"

    @property
    def initial(self) -> int:
        """Workers to start with."""
        return min(max(self._options.cheaper_initial, self.least), self.most)

    def decide(self, load: Load) -> int:
        """Return how many workers to add; negative to take away."""
        if self._is_too_much(load):
            return -1
        wanted = self._algorithm.decide(load, may_grow=not self._is_enough(load) and load.active < self.most)
        return max(min(wanted, self.most - load.active), min(self.least - load.active, 0))

    def limit(self, asked: int, load: Load) -> int:
        """Return how many of the workers that an operator has asked for there shall be; negative to take away.

        As in uWSGI he may have less than the option cheaper says, but one in any case.
        """
        if self._is_too_much(load):
            return -1
        if asked > 0 and self._is_enough(load):
            logger.warning("cheaper: the workers use %d bytes (option cheaper-rss-limit-soft): none is added", load.rss)
            return 0
        return max(min(asked, self.most - load.active), min(1 - load.active, 0))

    def _is_too_much(self, load: Load) -> bool:
        hard = self._options.cheaper_rss_limit_hard
        if not hard or load.rss < hard or load.active <= 1:
            return False
        logger.warning("cheaper: the workers use %d bytes (option cheaper-rss-limit-hard): one ends", load.rss)
        return True

    def _is_enough(self, load: Load) -> bool:
        return 0 < self._options.cheaper_rss_limit_soft <= load.rss


class Spare:
    """Add workers when none was free for some cycles; take one away when more than one is free for as long."""

    def __init__(self, options: CheaperOptions) -> None:
        self._options = options
        self._overload = self._idle = 0

    def decide(self, load: Load, may_grow: bool) -> int:
        limit = self._options.cheaper_overload
        busy = sum(load.busy.values())
        if busy < load.active:
            self._overload = max(self._overload - 1, 0)
        else:
            self._overload += 1
            self._idle = 0
        if may_grow and self._overload >= limit:
            self._overload = 0
            return self._options.cheaper_step
        if self._overload or load.active - busy == 1:
            return 0
        self._idle += 1
        return -1 if self._idle % limit == 0 else 0


class Backlog:
    """Add workers when more connections wait than allowed, take one away when fewer do."""

    def __init__(self, options: CheaperOptions) -> None:
        self._options = options

    def decide(self, load: Load, may_grow: bool) -> int:
        if may_grow and load.backlog > self._options.cheaper_overload:
            return self._options.cheaper_step
        return -1 if load.backlog < self._options.cheaper_overload else 0


class Manual:
    """Leave the number to the operator: see the letters + and - of the master FIFO."""

    def __init__(self, options: CheaperOptions) -> None:
        pass

    def decide(self, load: Load, may_grow: bool) -> int:
        return 0


class Busyness:
    """Keep the part of the time that workers spend in requests between two bounds, and answer spikes at once.

    The longer a worker has been worth its place, the longer it stays: each one that is needed again soon after it was
    taken away makes the next ones stay longer.
    """

    def __init__(self, options: CheaperOptions) -> None:
        self._options = options
        self._window_began: float | None = None
        self._before: Mapping[int, float] = {}
        self._seen_busy: set[int] = set()
        self._multiplier = options.cheaper_busyness_multiplier
        self._next_cheap = 0.0
        self._last_cheaped = float("-inf")
        self._last_was_cheap = False
        self._tolerated = 0
        self._emergency = 0
        self._waiting_since: float | None = None

    def decide(self, load: Load, may_grow: bool) -> int:
        if self._window_began is None:
            self._window_began, self._before = load.now, load.running
            self._put_off(load.now)
        self._seen_busy |= {number for number, busy in load.busy.items() if busy}
        self._seen_busy &= load.busy.keys()
        if load.now - self._window_began < self._options.cheaper_overload:
            return self._watch_backlog(load, may_grow)
        busyness = self._measure(load)
        if self._options.cheaper_busyness_verbose:
            logger.info(
                "[busyness] %ds average busyness of %d worker(s) is at %d%%",
                self._options.cheaper_overload, load.active, busyness,
            )  # fmt: skip
        if busyness > self._options.cheaper_busyness_max:
            return self._grow(load, busyness) if may_grow else 0
        if may_grow and load.backlog > self._options.cheaper_busyness_backlog_alert:
            return self._alarm(load)
        if load.active <= 1:
            return 0
        if busyness < self._options.cheaper_busyness_min:
            return self._shrink(load, busyness)
        self._tolerate(load.now)
        return 0

    def _measure(self, load: Load) -> int:
        """Return the average percentage of the window that workers were busy, and begin the next window."""
        assert self._window_began is not None
        length = load.now - self._window_began
        total = 0.0
        for number in load.busy:
            spent = load.running.get(number, 0.0) - self._before.get(number, 0.0)
            if spent <= 0 and number in self._seen_busy:
                spent = length  # its request has lasted through the whole window
            total += min(100 * max(spent, 0.0) / length, 100)
        self._window_began, self._before, self._seen_busy = load.now, load.running, set()
        return int(total / load.active) if load.active else 0

    def _grow(self, load: Load, busyness: int) -> int:
        self._tolerated = 0
        self._last_was_cheap = False
        window = self._options.cheaper_overload
        if load.now - self._last_cheaped <= self._multiplier * window:
            self._multiplier += self._options.cheaper_busyness_penalty
            logger.info("[busyness] worker(s) respawned too fast, cheaper multiplier is now %d", self._multiplier)
        else:
            self._relax()
        self._put_off(load.now)
        logger.info("[busyness] %ds average busyness is at %d%%: more workers", window, busyness)
        return self._options.cheaper_step

    def _shrink(self, load: Load, busyness: int) -> int:
        self._tolerated = 0
        if load.active <= self._options.cheaper or load.now < self._next_cheap:
            return 0
        if self._last_was_cheap:
            self._relax()
        self._last_was_cheap = True
        self._last_cheaped = load.now
        self._put_off(load.now)
        self._emergency = max(self._emergency - 1, 0)
        window = self._options.cheaper_overload
        logger.info(
            "[busyness] %ds average busyness is at %d%%, cheap one of %d running workers", window, busyness, load.active
        )
        return -1

    def _tolerate(self, now: float) -> None:
        """Note a window between the bounds: quiet ones before it still count, unless there are several like it."""
        self._emergency = max(self._emergency - 1, 0)
        self._tolerated += 1
        if self._tolerated >= _TOLERANCE:
            self._put_off(now)
        else:
            self._next_cheap += self._options.cheaper_overload

    def _watch_backlog(self, load: Load, may_grow: bool) -> int:
        if may_grow and load.backlog > self._options.cheaper_busyness_backlog_alert:
            return self._alarm(load)
        if not load.backlog:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = load.now
        elif may_grow and load.now - self._waiting_since >= self._options.cheaper_busyness_backlog_nonzero:
            self._waiting_since = load.now
            return self._alarm(load)
        return 0

    def _alarm(self, load: Load) -> int:
        self._multiplier = self._options.cheaper_busyness_multiplier
        self._last_was_cheap = False
        step = self._options.cheaper_busyness_backlog_step
        self._emergency += step
        self._put_off(load.now)
        logger.info("[busyness] %d connections wait: %d emergency worker(s)", load.backlog, step)
        return step

    def _put_off(self, now: float) -> None:
        """No worker is taken away before so many windows have passed."""
        many = self._options.cheaper_busyness_backlog_multiplier if self._emergency else self._multiplier
        self._next_cheap = now + self._options.cheaper_overload * many

    def _relax(self) -> None:
        self._multiplier = max(self._multiplier - 1, self._options.cheaper_busyness_multiplier)


_ALGORITHMS: Mapping[str, Callable[[CheaperOptions], Algorithm]] = {
    "spare": Spare,
    "backlog": Backlog,
    "busyness": Busyness,
    "manual": Manual,
}
