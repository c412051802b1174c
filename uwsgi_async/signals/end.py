"""Signals in one process: its handlers, who waits, and what it raises.

What lives here: `SignalEnd`; all processes have one, and it speaks to the router by messages. What does not: raising
(`raising`), who waits (`waiting`), where a signal goes (`router`), the functions that apps call (`api.signals`).

Handlers run in tasks that have a portal, as cores do, so a plain function may call what waits. They *start* in the
order in which the signals came. Handlers of one number run one after the other; those of different numbers go on side
by side when they wait.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

import anyio
import greenback

from uwsgi_async.errors import SignalError, SignalQueueFullError
from uwsgi_async.fdwait.backend import Parker, current_backend
from uwsgi_async.signals.declare import Declaration, Registration, encode
from uwsgi_async.signals.messages import (
    Accepted,
    Ask,
    Declared,
    Deliver,
    FromProcess,
    Handled,
    HandlerFailed,
    Raise,
    Told,
    ToProcess,
)
from uwsgi_async.signals.raising import Raiser, in_handler
from uwsgi_async.signals.targets import Roster, check_target, parse_target
from uwsgi_async.signals.values import SignalStatistics, statistics_of
from uwsgi_async.signals.waiting import Waiters

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

logger = logging.getLogger("uwsgi_async")

Handler = Callable[[int], Any]

_IN_A_ROW = 64  # handlers that a task runs before it gives the event loop a turn
_MOST_ERROR = 500  # characters of an error that are told to the master
_RETRY = 0.02  # seconds until the channel may have room again
_MOST_RETRIES = 10
_PART = 25  # declarations in a message: a path may have 4 KB


class SignalEnd:
    """What a process has to do with signals.

    ``send``: gives a message to the router; False when it cannot now. ``name``: of the process, for the log.
    ``call``: how handlers are called, and ``on_handled``: what is called behind each; a mule has its own of both.
    ``importing``: this is the process in which the app is imported, before any fork. ``harakiri``: seconds that a
    handler may take; 0.0 is for ever.
    """

    def __init__(
        self,
        send: Callable[[FromProcess], bool],
        roster: Roster,
        name: str,
        *,
        harakiri: float = 0.0,
        importing: bool = False,
    ) -> None:
        self.handlers: dict[int, Handler] = {}
        self.roster = roster
        self.name = name
        self.handled = 0
        self.thread = threading.get_ident()
        self._send = send
        self.harakiri = harakiri
        self._importing = importing
        self.raiser = Raiser(self._tell, importing=importing)
        self.waiters = Waiters(self._tell)
        self.call: Callable[[Handler, int], Awaitable[None]] = call
        self.on_handled: Callable[[], None] = _nothing
        self._asked: list[Asked] = []
        # handling
        self._queue: deque[int] = deque()
        self._busy: set[int] = set()
        self._lanes: dict[int, int] = {}  # how many wait for the handler of their number
        self._handled = bytearray()  # and not told yet
        self._tasks: TaskGroup | None = None
        self._context: Context | None = None
        self._idle: list[Parker] = []
        self._waking = 0
        self._quiet: list[anyio.Event] = []

    def __repr__(self) -> str:
        return f"<SignalEnd of {self.name}: {len(self.handlers)} handlers, {self.pending} pending>"

    def _tell(self, message: FromProcess) -> bool:
        return self._send(message)

    @property
    def pending(self) -> int:
        """How many signals were delivered here and are not handled yet."""
        return len(self._queue) + len(self._busy) + sum(self._lanes.values())

    def connect(self, send: Callable[[FromProcess], bool], name: str) -> None:
        """Go on in a forked process, with the handlers that were registered before the fork."""
        self._send, self.name, self._importing = send, name, False
        self.raiser = Raiser(self._tell, importing=False)

    # --- registering ------------------------------------------------------------------------------------------

    def register(self, signal: int, who: str, handler: Handler) -> None:
        """Register a handler.

        Raises `SignalError` for a target that cannot be, and at import for a number twice. A target that this instance
        happens not to have, such as a mule, is logged: the same app may run elsewhere with other options.
        """
        target = parse_target(who)
        if not callable(handler):
            raise SignalError(f"signal {signal}: expected a function that is called with the number, got {handler!r}")
        if self._importing and signal in self.handlers:
            raise SignalError(f"unable to register signal {signal}: it is registered already")
        self.declare(Registration(signal, who))
        self.handlers[signal] = handler
        try:
            check_target(target, self.roster)
        except SignalError as error:
            logger.warning("signal %d will be lost: %s", signal, error)

    def declare(self, declaration: Declaration) -> None:
        """Tell the router. Raises `SignalError` when it cannot be reached."""
        if not self._send(Declared(encode([declaration]))):
            raise SignalError(
                f"{self.name}: the master cannot be reached, or has too much to do: {declaration!r} is lost"
            )

    # --- what the router says ---------------------------------------------------------------------------------

    def receive(self, message: ToProcess) -> None:
        """Take a message of the router."""
        if isinstance(message, Deliver):
            self._queue.extend(message.numbers)
            self._wake()
        elif isinstance(message, Accepted):
            self.raiser.accept(message)

        elif isinstance(message, Told):
            for asked in self._asked:
                asked.told = message.statistics
                asked.event.set()
            self._asked.clear()

    async def ask(self) -> SignalStatistics:
        """Ask the router what has happened so far."""
        asked = Asked()
        self._asked.append(asked)
        if not self._send(Ask()):
            self._asked.remove(asked)
            raise SignalQueueFullError("the master has too much to do to answer: ask again later")
        await asked.event.wait()
        return statistics_of(asked.told)

    # --- handling ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Handle what is delivered until cancelled. To be started in the event loop that serves."""
        self._context = copy_context()
        try:
            async with anyio.create_task_group() as self._tasks:
                self.raiser.serving = True
                self._wake()
                await anyio.sleep_forever()
        finally:
            self._tasks = None
            self.raiser.serving = False
            self._idle.clear()
            self._waking = 0

    async def drained(self) -> None:
        """Wait until everything that was delivered has been handled, and told if anybody is there."""
        while self.pending:
            event = anyio.Event()
            self._quiet.append(event)
            await event.wait()
        for _ in range(_MOST_RETRIES):
            self._flush()
            if not self._handled:
                return
            await anyio.sleep(_RETRY)

    async def finish(self, seconds: float) -> None:
        """Wait the same way, ``seconds`` at most: what runs longer is cancelled with `run`, and not told as handled."""
        with anyio.move_on_after(seconds, shield=True) as scope:
            await self.drained()
        if scope.cancelled_caught:
            logger.warning("%s: %d signals were not handled within %g s", self.name, self.pending, seconds)

    def _wake(self) -> None:
        """See to it that a task takes what is in the queue when the loop turns."""
        if self._waking or self._tasks is None or self._context is None:
            return
        self._waking += 1
        if self._idle:
            self._idle.pop().unpark()
        else:
            self._context.copy().run(self._tasks.start_soon, self._work)

    async def _work(self) -> None:
        await greenback.ensure_portal()
        in_handler.set(True)
        parker = current_backend().parker()
        while True:
            self._waking -= 1
            await self._work_through()
            self._idle.append(parker)
            await parker.park()

    async def _work_through(self) -> None:
        """Run handlers until there is none that could be started."""
        row = 0
        while (signal := self._next()) is not None:
            self._busy.add(signal)
            if self._queue or self._handled:
                self._wake()  # runs when this handler waits
            await self._handle(signal)
            self._finish(signal)
            row += 1
            if row % _IN_A_ROW == 0:
                self._flush()
                await anyio.lowlevel.checkpoint()
        self._flush()

    def _next(self) -> int | None:
        while self._queue:
            signal = self._queue.popleft()
            if signal not in self._busy:
                return signal
            self._lanes[signal] = self._lanes.get(signal, 0) + 1
        return None

    async def _handle(self, signal: int) -> None:
        handler = self.handlers.get(signal)
        if handler is None:
            if not self.waiters.tell(signal):
                logger.error("error managing signal %d on %s: it has no handler here", signal, self.name)
            return
        try:
            if self.harakiri > 0:
                with anyio.move_on_after(self.harakiri) as scope:
                    await self.call(handler, signal)
                if scope.cancelled_caught:
                    self._fail(signal, f"it took more than {self.harakiri:g} s (harakiri)", None)
            else:
                await self.call(handler, signal)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is told; other handlers go on
            self._fail(signal, f"{type(error).__name__}: {error}"[:_MOST_ERROR], error)
        self.waiters.tell(signal)
        self.on_handled()

    def _fail(self, signal: int, reason: str, error: BaseException | None) -> None:
        logger.error("error managing signal %d on %s: %s", signal, self.name, reason, exc_info=error)
        self._send(HandlerFailed(signal, reason))

    def _finish(self, signal: int) -> None:
        self._busy.discard(signal)
        self.handled += 1
        self._handled.append(signal)
        waiting = self._lanes.pop(signal, 0)
        if waiting:  # they are older than all in the queue
            self._queue.extendleft([signal] * waiting)

    def _flush(self) -> None:
        """Tell the router what has been handled."""
        if self._handled and self._send(Handled(bytes(self._handled))):
            self._handled.clear()
        if not self.pending:
            for event in self._quiet:
                event.set()
            self._quiet.clear()


class Asked:
    """One task that has asked. ``told``: the answer."""

    __slots__ = ("event", "told")

    def __init__(self) -> None:
        self.event = anyio.Event()
        self.told: dict[str, Any] = {}


def _nothing() -> None:
    pass


async def call(handler: Handler, signal: int) -> None:
    """Call a handler, and await what an ``async`` one returns."""
    result = handler(signal)
    if inspect.isawaitable(result):
        await result


def collect(messages: list[FromProcess]) -> Callable[[FromProcess], bool]:
    """Return a ``send`` that keeps messages until there is a router, as while an app is imported."""

    def send(message: FromProcess) -> bool:
        messages.append(message)
        return True

    return send


def packed(messages: Sequence[FromProcess]) -> list[FromProcess]:
    """Return what was collected in fewer messages, declarations first: signals go where these say."""
    entries = [entry for each in messages if isinstance(each, Declared) for entry in each.entries]
    numbers = b"".join(each.numbers for each in messages if isinstance(each, Raise))
    few: list[FromProcess] = [Declared(entries[at : at + _PART]) for at in range(0, len(entries), _PART)]
    return few + [Raise(numbers[at : at + _PART]) for at in range(0, len(numbers), _PART)]
