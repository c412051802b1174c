"""One mule as the place where messages come out: of its own queue, of that of all mules, of its farms', in this order.

What lives here: `Mule`, from which any number of threads and tasks of the mule take messages. What does not: the queues
(`queues`), what a mule runs (`running`), its process (`instance.muleprocess`).

A message is taken by one system call, so it is the taker's or it is still in the queue; nothing lies in between. A mule
that is to end lets whoever has a message go on until it asks for the next one: a thread then gets SystemExit instead, a
task waits until it is cancelled. What a thread of `anyio.to_thread` has taken is the matter of the task behind it,
which is not known: such a task is cancelled at once.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NoReturn

import anyio
import anyio.from_thread
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from uwsgi_async.fdwait.poller import open_poller
from uwsgi_async.fdwait.watch import Watches
from uwsgi_async.mules.queues import MessageQueue, MuleQueues

BUFFER_SIZE: Final = 65536
"""Bytes of a message that is taken, unless it is said otherwise; uWSGI's."""

_LOOK = 0.02  # seconds between two looks whether a task was cancelled that waits for a thread
_IN_A_ROW = 64  # messages that a task takes before it gives the event loop a turn


class Source:
    """Some queues, from which messages are taken in their order. ``end``: an eventfd that ends every wait."""

    def __init__(self, queues: Sequence[MessageQueue], end: int) -> None:
        self._queues = queues
        self.epoll = select.epoll()
        for fd in (*(queue.fileno() for queue in queues), end):
            self.epoll.register(fd, select.EPOLLIN)

    def __repr__(self) -> str:
        return f"<Source of {len(self._queues)} queues>"

    def fileno(self) -> int:
        return self.epoll.fileno()

    def take(self, size: int) -> bytes | None:
        """Take a message; None when there is none."""
        for queue in self._queues:
            message = queue.take(size)
            if message is not None:
                return message
        return None

    def close(self) -> None:
        self.epoll.close()


class Mule:
    """Mule number ``number`` of an instance, in the process that it lives in.

    ``loop_thread``: the thread of the event loop; all other threads take messages by themselves.
    """

    def __init__(self, number: int, queues: MuleQueues) -> None:
        self.number = number
        self.farms = queues.farms_of(number)
        self.own = queues.own[number - 1]
        self.taken = 0
        self.ending = False
        self.loop_thread = 0
        self._end = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        of_farms = [queues.farms[name] for name in self.farms]
        self._mine = Source([self.own, queues.shared], self._end)
        self._all = Source([self.own, queues.shared, *of_farms], self._end)
        self._of_farms = Source(of_farms, self._end)
        self._busy: set[object] = set()  # who has taken a message and has not asked for the next one
        self._told: set[object] = set()  # who waits, or has been told that this is the end
        self._scope: anyio.CancelScope | None = None
        self._on_signal: list[int] = []  # eventfds of those that a signal wakes
        self._missed = False  # a signal was handled when none of them waited: the next one must not wait
        self._signal_lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<Mule {self.number}, {self.taken} messages taken>"

    @property
    def seems_busy(self) -> bool:
        """Whether somebody has taken a message and has not asked for the next one, as it was last looked at."""
        return bool(self._busy)

    def is_busy(self) -> bool:
        """Return whether somebody who lives has a message. For the event loop."""
        living = {thread.ident for thread in threading.enumerate()} | {
            ("task", each.id) for each in anyio.get_running_tasks()
        }
        self._busy &= living
        return bool(self._busy)

    def knows(self, thread: int) -> bool:
        """Whether a thread has a message, waits for one, or has been told that this is the end."""
        return thread in self._busy or thread in self._told

    def end(self) -> None:
        """Give out no more messages. Callable from everywhere, more than once."""
        self.ending = True
        os.eventfd_write(self._end, 1)

    async def run(self, program: Callable[[], Awaitable[object]]) -> None:
        """Await what ``program`` returns, until `interrupt`. A mule runs one such program at a time."""
        with anyio.CancelScope() as self._scope:
            try:
                await program()
            finally:
                self._scope = None

    def interrupt(self) -> bool:
        """Cancel what `run` runs; False when that is nothing."""
        if self._scope is None:
            return False
        self._scope.cancel()
        return True

    def source(self, *, mine: bool, farms: bool) -> Source:
        """Return its own queue and that of all mules, or those of its farms, or all of them."""
        return self._of_farms if not mine else self._all if farms else self._mine

    def note_signal(self) -> None:
        """Wake those whom a signal that was handled in this mule wakes; when nobody waits, the next one that would."""
        with self._signal_lock:
            self._missed = not self._on_signal
            for fd in self._on_signal:
                os.eventfd_write(fd, 1)

    # --- taking -----------------------------------------------------------------------------------------------

    def take_in_thread(
        self, source: Source, size: int, timeout: float | None, *, signals: bool = False
    ) -> bytes | None:
        """Wait for a message and take it, ``size`` bytes of it at most. For a thread that runs no event loop.

        ``timeout``: seconds; None is for ever. ``signals``: return None when a signal was handled. Returns b"" when the
        time is over. Raises SystemExit when the mule is to end.
        """
        me = threading.get_ident()
        _is_pooled()  # known from now on: it may raise, and nothing has been taken yet
        message = None if self.ending else source.take(size)
        if message is not None:  # the rest is for those who wait
            self._begin(me)
            return message
        self._busy.discard(me)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._alarm(signals) as alarm, self._watching(source, alarm) as epoll:
            while True:
                self._told.add(me)
                if self.ending:
                    _end_thread()
                message = source.take(size)
                if message is not None:
                    self._begin(me)
                    return message
                if alarm is not None and _rung(alarm):
                    self._told.discard(me)
                    return None
                left = -1.0 if deadline is None else deadline - time.monotonic()
                if deadline is not None and left <= 0:
                    self._told.discard(me)
                    return b""
                epoll.poll(left, 1)

    async def take(self, source: Source, size: int, timeout: float | None, *, signals: bool = False) -> bytes | None:
        """Wait the same way in a task. Waits until it is cancelled when the mule is to end. A checkpoint."""
        me = ("task", anyio.get_current_task().id)
        self._busy.discard(me)
        if self.taken % _IN_A_ROW:
            await checkpoint_if_cancelled()
        else:
            await checkpoint()
        message = None if self.ending else source.take(size)
        if message is not None:
            self._begin(me)
            return message
        with self._alarm(signals) as alarm, anyio.move_on_after(timeout):
            return await self._wait(me, source, size, alarm)
        return b""

    async def _wait(self, me: object, source: Source, size: int, alarm: int | None) -> bytes | None:
        poller = open_poller()
        watches = Watches(poller, poller.backend.parker())
        try:
            while True:
                if self.ending:
                    await anyio.sleep_forever()
                watches.add(source.fileno(), write=False, timeout=None)
                if alarm is not None:
                    watches.add(alarm, write=False, timeout=None)
                try:
                    await watches.wait()
                finally:
                    watches.clear()
                if alarm is not None and _rung(alarm):
                    return None
                message = None if self.ending else source.take(size)
                if message is not None:
                    self._begin(me)
                    return message
        finally:
            poller.release()

    def _begin(self, me: object) -> None:
        self.taken += 1
        if me not in self._busy and not (isinstance(me, int) and _is_pooled()):
            self._busy.add(me)
        if self._told:
            self._told.discard(me)

    @contextmanager
    def _alarm(self, signals: bool) -> Iterator[int | None]:
        """Give an eventfd that each signal which is handled rings, if that is wanted."""
        if not signals:
            yield None
            return
        with self._signal_lock:
            fd = os.eventfd(int(self._missed), os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self._missed = False
            self._on_signal.append(fd)
        try:
            yield fd
        finally:
            with self._signal_lock:
                self._on_signal.remove(fd)
                os.close(fd)

    @contextmanager
    def _watching(self, source: Source, alarm: int | None) -> Iterator[select.epoll]:
        if alarm is None:
            yield source.epoll
            return
        with select.epoll() as epoll:
            epoll.register(source, select.EPOLLIN)
            epoll.register(alarm, select.EPOLLIN)
            yield epoll

    def close(self) -> None:
        """Give back what this process holds for taking messages; the queues stay."""
        for source in (self._mine, self._all, self._of_farms):
            source.close()
        os.close(self._end)


_thread = threading.local()


def _is_pooled() -> bool:
    """Whether this thread works for tasks (`anyio.to_thread`), one after the other: its messages are theirs."""
    pooled: bool | None = getattr(_thread, "pooled", None)
    if pooled is None:
        try:
            anyio.from_thread.check_cancelled()
            pooled = True
        except RuntimeError:
            pooled = False
        _thread.pooled = pooled
    return pooled


def _end_thread() -> NoReturn:
    """Raise SystemExit; in a thread that a task waits for (`anyio.to_thread`) be cancelled when that task is."""
    while True:
        try:
            anyio.from_thread.check_cancelled()
        except RuntimeError:
            raise SystemExit(0) from None
        time.sleep(_LOOK)


def _rung(fd: int) -> bool:
    try:
        os.eventfd_read(fd)
    except BlockingIOError:
        return False
    return True
