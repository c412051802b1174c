"""A heap of deadlines behind the one alarm of the event loop.

What lives here: `Timers` and `Timer`. A timer costs a push on a heap; the loop's own alarm is only set anew when
the earliest deadline changes. Cancelled timers stay on the heap until their time comes, or until they are the
larger half of it.
"""

import heapq
import itertools
from collections.abc import Callable


class Timer:
    """A callback that is due at ``when``, in the seconds of the backend's clock."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def __repr__(self) -> str:
        return f"<Timer at {self.when:.3f}{' cancelled' if self.callback is None else ''}>"


class Timers:
    """All timers of one poller."""

    def __init__(self, time: Callable[[], float], set_alarm: Callable[[float | None], None]) -> None:
        self._time = time
        self._set_alarm = set_alarm
        self._heap: list[tuple[float, int, Timer]] = []
        self._number = itertools.count()  # timers of the same moment fire in the order they were made
        self._alarm: float | None = None
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._cancelled

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call ``callback`` from the event loop in ``seconds`` from now."""
        timer = Timer(self._time() + seconds, callback)
        heapq.heappush(self._heap, (timer.when, next(self._number), timer))
        if self._alarm is None or timer.when < self._alarm:
            self._alarm = timer.when
            self._set_alarm(timer.when)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Never call the timer's callback. Does nothing when it has fired or was cancelled."""
        if timer.callback is None:
            return
        timer.callback = None
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def fire(self) -> None:
        """Call what is due, then set the alarm for what is next."""
        heap, now = self._heap, self._time()
        self._alarm = None
        due: list[Callable[[], None]] = []
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            if timer.callback is None:
                self._cancelled -= 1
            else:
                due.append(timer.callback)
                timer.callback = None
        for callback in due:
            callback()
        if self._heap and (self._alarm is None or self._heap[0][0] < self._alarm):
            self._alarm = self._heap[0][0]
            self._set_alarm(self._alarm)
