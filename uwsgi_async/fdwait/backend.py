"""The seam to the event loop: the five things that the package needs and anyio has no cheap way for.

What lives here: `Backend`, and one small class for asyncio and one for trio. Each can park a task and wake it,
watch the poller's one file descriptor, set one alarm, tell the time, and take a call from another thread. What does
not: epoll, timers, cores.

Everything else in the package goes through anyio. The first four are on the path of every request: an
`anyio.Event` costs an allocation and two schedulings, `anyio.wait_readable` a register and an unregister. The fifth
anyio has only in a form that makes the calling thread wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import sniffio

from uwsgi_async.errors import NoLoopError

if TYPE_CHECKING:
    import trio


class Parker(Protocol):
    """Lets the one task that owns it sleep until somebody wakes it.

    A wake-up carries no value: the woken task looks at the state again. So a wake-up that is lost to a
    cancellation loses nothing.
    """

    def park(self) -> Awaitable[None]:
        """Sleep until `unpark`. A checkpoint: can be cancelled."""

    def unpark(self) -> None:
        """Wake the parked task. Does nothing when it is not parked."""


class Backend(Protocol):
    """What the poller needs from the event loop that runs it.

    ``real_time``: whether ``time`` runs as fast as the system's clock; not so under a test's clock. Then, and only
    then, `set_alarm` is used.
    """

    name: str
    time: Callable[[], float]
    real_time: bool

    def parker(self) -> Parker: ...

    def is_running(self) -> bool:
        """Whether this backend's event loop is the one that runs in the caller's thread now."""

    def current_task(self) -> object:
        """The task that runs now, for comparison by identity; None outside a task (a loop's callback)."""

    def call_soon_from_thread(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` in the event loop soon; for any thread. Does nothing when the loop is over."""

    def start(self, fd: int, on_readable: Callable[[], bool], on_alarm: Callable[[], None]) -> None:
        """Begin to watch ``fd``.

        ``on_readable`` returns True to be called again when the loop has turned once, readable or not.
        ``on_alarm`` is called when the time given to `set_alarm` has come.
        """

    def set_alarm(self, when: float | None) -> None:
        """Set the one alarm to ``when`` (in `time`'s seconds), or clear it with None."""

    def stop(self) -> None:
        """Stop watching. ``fd`` may be closed afterwards."""

    def turn(self) -> None:
        """Call ``on_readable`` once when the loop has turned, though the fd may not be readable."""


class AsyncioParker:
    __slots__ = ("_future", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._future: asyncio.Future[None] | None = None

    def park(self) -> asyncio.Future[None]:
        self._future = self._loop.create_future()
        return self._future

    def unpark(self) -> None:
        future = self._future
        if future is not None:
            self._future = None
            if not future.done():
                future.set_result(None)


class AsyncioBackend:
    """asyncio's own loops and uvloop: callbacks, no task."""

    name = "asyncio"

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._alarm: asyncio.TimerHandle | None = None
        self._again: asyncio.Handle | None = None
        self._fd = -1
        # uvloop's clock is the same, but stands still between two turns and knows no fraction of a millisecond.
        self.real_time = type(self._loop).time is asyncio.BaseEventLoop.time or type(self._loop).__module__ == "uvloop"
        self.time: Callable[[], float] = time.monotonic if self.real_time else self._loop.time

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self._loop

    def parker(self) -> AsyncioParker:
        return AsyncioParker(self._loop)

    def current_task(self) -> object:
        return asyncio.current_task()

    def call_soon_from_thread(self, callback: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            pass  # the loop is closed

    def start(self, fd: int, on_readable: Callable[[], bool], on_alarm: Callable[[], None]) -> None:
        self._fd, self._on_readable, self._on_alarm = fd, on_readable, on_alarm
        self._loop.add_reader(fd, self._readable)

    def set_alarm(self, when: float | None) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None if when is None else self._loop.call_at(when, self._on_alarm)

    def stop(self) -> None:
        self.set_alarm(None)
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fd)

    def turn(self) -> None:
        if self._again is None:
            self._again = self._loop.call_soon(self._turned)

    def _readable(self) -> None:
        if self._on_readable():
            self.turn()

    def _turned(self) -> None:
        self._again = None
        self._readable()


class TrioParker:
    __slots__ = ("_lowlevel", "_task")

    def __init__(self) -> None:
        import trio

        self._lowlevel = trio.lowlevel
        self._task: trio.lowlevel.Task | None = None

    async def park(self) -> None:
        self._task = self._lowlevel.current_task()
        await self._lowlevel.wait_task_rescheduled(self._abort)

    def unpark(self) -> None:
        task = self._task
        if task is not None:
            self._task = None
            self._lowlevel.reschedule(task)

    def _abort(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._task = None
        return self._lowlevel.Abort.SUCCEEDED


class TrioBackend:
    """trio: one system task, so that no nursery is needed and the poller outlives whoever opened it."""

    name = "trio"

    def __init__(self) -> None:
        import trio

        self._trio = trio
        self.time = trio.current_time
        self.real_time = type(trio.lowlevel.current_clock()).__name__ == "SystemClock"
        self._token = trio.lowlevel.current_trio_token()
        # The task waits in this scope; the alarm is nothing but the scope's deadline.
        self._scope = trio.CancelScope()
        self._deadline = float("inf")
        self._again = False
        self._stopped = False

    def is_running(self) -> bool:
        try:
            return self._trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:
            return False

    def parker(self) -> TrioParker:
        return TrioParker()

    def current_task(self) -> object:
        return self._trio.lowlevel.current_task()

    def call_soon_from_thread(self, callback: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(callback)
        except self._trio.RunFinishedError:
            pass

    def start(self, fd: int, on_readable: Callable[[], bool], on_alarm: Callable[[], None]) -> None:
        self._fd, self._on_readable, self._on_alarm = fd, on_readable, on_alarm
        self._trio.lowlevel.spawn_system_task(self._poll, name="uwsgi_async poller")

    def set_alarm(self, when: float | None) -> None:
        self._deadline = float("inf") if when is None else when
        self._scope.deadline = self._deadline

    def stop(self) -> None:
        self._stopped = True
        # The system task runs once more before it ends: it must not touch an fd that is closed by then.
        self._trio.lowlevel.notify_closing(self._fd)
        self._scope.cancel()

    def turn(self) -> None:
        if not self._again:
            self._again = True
            self._scope.cancel()

    async def _poll(self) -> None:
        while not self._stopped:
            readable = self._again
            self._again = False
            if readable:
                await self._trio.lowlevel.cancel_shielded_checkpoint()
            else:
                readable = await self._wait_readable()
            if self._stopped:
                return
            if readable or self._again:
                self._again = False
                self._again = self._on_readable() or self._again
            if self.time() >= self._deadline:
                self._deadline = float("inf")
                self._on_alarm()

    async def _wait_readable(self) -> bool:
        """Wait until the fd is readable (True), or an alarm, `turn` or `stop` ends the wait (False)."""
        with self._trio.CancelScope(deadline=self._deadline) as self._scope:
            try:
                await self._trio.lowlevel.wait_readable(self._fd)
            except self._trio.ClosedResourceError:
                return False
            return True
        return False


def current_backend() -> Backend:
    """Return a backend for the event loop that runs now.

    Raises `NoLoopError` when neither asyncio nor trio is running in this thread.
    """
    try:
        name = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        raise NoLoopError(
            "an asyncio or trio event loop must be running here: call this from an async function, "
            "for example one that is given to anyio.run()"
        ) from None
    return TrioBackend() if name == "trio" else AsyncioBackend()
