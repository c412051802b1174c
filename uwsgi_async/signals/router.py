"""The router: takes signals from processes and sources, and hands them to who is to have them.

What lives here: `SignalRouter`, one an instance, in the master or in the one process; and `Generation`, what one
generation of the instance has registered with it. What does not: the decisions (`targets`, `dispatch`), the processes
(`instance`), what they do (`end`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable

import anyio

from uwsgi_async.errors import SignalError
from uwsgi_async.signals.declare import Declaration, Registration, Source, decode
from uwsgi_async.signals.dispatch import ANY, Dispatcher, Receiver, Table
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
    Waiting,
)
from uwsgi_async.signals.sources import Sources
from uwsgi_async.signals.targets import Kind, Queue, Roster, Target, parse_target
from uwsgi_async.signals.values import Failure, SignalState, SignalStatistics, SourceState, describe, document

logger = logging.getLogger("uwsgi_async")

_RETRY = 0.02  # seconds until a process's channel may have room again
_MOST_SOURCES = 4096
_MOST_TOLD = 500  # sources in one message to a process
_MOST_ERROR = 500  # characters
_COMPLAIN = 10.0  # seconds between two complaints about the same


class Port:
    """A process that is connected to the router. ``send``: gives it a message; False when it cannot take one now."""

    def __init__(self, router: SignalRouter, receiver: Receiver, send: Callable[[ToProcess], bool]) -> None:
        self.receiver = receiver
        self.send = send
        self._router = router
        self._generation = router.generation_of(receiver.table)

    def __repr__(self) -> str:
        return f"<Port of {self.receiver!r}>"

    def open(self) -> None:
        """It may be given signals from now on."""
        self.receiver.open = True
        self._router.kick()

    def retire(self) -> None:
        """It is given nothing any more, and ends when it has handled what it has."""
        self.receiver.open = False
        self._router.kick()

    def close(self) -> None:
        """It has ended: what it had goes to another one."""
        self._router.leave(self)

    def take(self, message: FromProcess) -> None:
        """Take a message of the process. Raises `BrokenError` for one that no process of ours sends."""
        receiver, dispatcher = self.receiver, self._router.dispatcher
        if isinstance(message, Raise):
            for signal in message.numbers:
                dispatcher.raise_for(receiver, signal, self._router.queues_of(signal, receiver.table))
        elif isinstance(message, Handled):
            for signal in message.numbers:
                if dispatcher.handled(receiver, signal):
                    self._router.note_handled(signal)
        elif isinstance(message, Waiting):
            signal = message.signal if message.signal == ANY else message.signal & 255
            (receiver.waits.add if message.yes else receiver.waits.discard)(signal)
        elif isinstance(message, Declared):
            self._generation.declare(receiver, decode(message.entries))
        elif isinstance(message, HandlerFailed):
            self._router.note_failed(message.signal & 255, message.error[:_MOST_ERROR])
        elif isinstance(message, Ask):
            self.send(Told(document(self._router.statistics(), most=_MOST_TOLD)))
        self._router.kick()


class Generation:
    """What a generation of the instance has registered.

    Its sources begin with `SignalRouter.adopt`. What several processes register in the same words is one: with
    lazy-apps each worker has run the same lines, and a worker that comes again runs them again.
    """

    def __init__(self, router: SignalRouter, roster: Roster) -> None:
        self.table = Table(roster)
        self.sources: list[Source] = []
        self._router = router
        self._seen: dict[object, Counter[Source]] = {}
        self._most: Counter[Source] = Counter()

    def __repr__(self) -> str:
        return f"<Generation: {self.table!r}, {len(self.sources)} sources>"

    def connect(self, kind: Kind, number: int, send: Callable[[ToProcess], bool], path: str = "") -> Port:
        """Connect a process; `Port.open` it when it can handle signals. ``path``: a spooler's directory."""
        return self._router.connect(Receiver(kind, number, self.table, path), send)

    def configure(self, declarations: Iterable[Declaration]) -> None:
        """Register what options say."""
        self._declare("options", declarations)

    def load(self, messages: Iterable[FromProcess]) -> None:
        """Take what was registered and raised while the app was imported, before any worker was forked."""
        self._seen.pop("import", None)
        for message in messages:
            if isinstance(message, Declared):
                self._declare("import", decode(message.entries))
            elif isinstance(message, Raise):
                for signal in message.numbers:
                    self._router.raise_signal(signal, self.table)

    def declare(self, receiver: Receiver, declarations: Iterable[Declaration]) -> None:
        """Register what a process says."""
        self._declare(receiver, declarations)

    def end(self) -> None:
        """All its processes have ended."""
        self._router.end(self)

    def forget(self, receiver: Receiver) -> None:
        """Forget that a process has registered anything: it has ended. What it has registered stays."""
        self._seen.pop(receiver, None)

    def _declare(self, who: object, declarations: Iterable[Declaration]) -> None:
        for declaration in declarations:
            if isinstance(declaration, Registration):
                self._register(who, declaration)
            else:
                self._begin(who, declaration)

    def _register(self, who: object, registration: Registration) -> None:
        signal = registration.signal & 255
        try:
            target: Target = parse_target(registration.target)
        except SignalError as error:
            logger.error("signal %d: %s", signal, error)
            return
        self.table.register(signal, target, registration.target)
        if isinstance(who, Receiver):
            who.handles.add(signal)
        else:
            self.table.everywhere.add(signal)

    def _begin(self, who: object, source: Source) -> None:
        mine = self._seen.setdefault(who, Counter())
        mine[source] += 1
        if mine[source] <= self._most[source]:
            return
        if len(self.sources) >= _MOST_SOURCES:
            logger.error("%r is left out: there are %d timers, crons, file monitors and probes", source, _MOST_SOURCES)
            return
        self._most[source] = mine[source]
        self.sources.append(source)
        if self._router.current is self:
            self._router.sources.add(source)


class SignalRouter:
    """Everything about signals that an instance has once. ``capacity``: signals that may wait in each queue.

    To be made and used in one event loop; `run` in a task of it.
    """

    def __init__(self, capacity: int, clock: Callable[[], float] = time.time) -> None:
        self.dispatcher = Dispatcher(capacity, time.monotonic, self._note_lost)
        self.sources = Sources(self._raise_from_source, clock)
        self.current: Generation | None = None
        self._generations: dict[Table, Generation] = {}
        self._clock = clock
        self._ports: dict[Receiver, Port] = {}
        self._handled: Counter[int] = Counter()
        self._last: dict[int, float] = {}
        self._failed: Counter[int] = Counter()
        self._failures: dict[int, Failure] = {}
        self._complained: dict[int, float] = {}
        self._kicked = anyio.Event()

    def __repr__(self) -> str:
        return f"<SignalRouter: {self.dispatcher!r}, {self.sources!r}>"

    def begin(self, roster: Roster) -> Generation:
        """Return what a new generation is to register with."""
        generation = Generation(self, roster)
        self._generations[generation.table] = generation
        return generation

    def adopt(self, generation: Generation) -> None:
        """From now on this generation's timers and so on run, and those of the one before do not."""
        self.current = generation
        self.sources.restart()
        for source in generation.sources:
            self.sources.add(source)

    def end(self, generation: Generation) -> None:
        """Forget a generation whose processes have ended."""
        self._generations.pop(generation.table, None)

    def connect(self, receiver: Receiver, send: Callable[[ToProcess], bool]) -> Port:
        """Connect a process. For `Generation.connect`."""
        self.dispatcher.join(receiver)
        port = self._ports[receiver] = Port(self, receiver, send)
        return port

    def leave(self, port: Port) -> None:
        """Forget a process that has ended."""
        if self._ports.pop(port.receiver, None) is not None:
            self.generation_of(port.receiver.table).forget(port.receiver)
            self.dispatcher.leave(port.receiver)
            self.kick()

    def generation_of(self, table: Table) -> Generation:
        return self._generations.get(table) or Generation(self, table.roster)

    async def run(self) -> None:
        """Hand out signals, and raise those of timers and so on, until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.sources.run)
                while True:
                    await self._kicked.wait()
                    self._kicked = anyio.Event()
                    if not self.flush():
                        await anyio.sleep(_RETRY)
                        self.kick()
        finally:
            self.sources.close()
            if len(self.dispatcher):
                logger.warning("%d signals were waiting for a process when the instance ended", len(self.dispatcher))

    def kick(self) -> None:
        """Hand out what there is when the event loop has turned: many signals at once."""
        self._kicked.set()

    def flush(self) -> bool:
        """Hand out what there is now; False when a process could not take what it should have."""
        sent = True
        for receiver, signals in self.dispatcher.give().items():
            if not self._ports[receiver].send(Deliver(signals)):
                self.dispatcher.take_back(receiver, len(signals))
                sent = False
        for receiver, count, full in self.dispatcher.answers():
            if not self._ports[receiver].send(Accepted(bytes([count, full]))):
                receiver.accepted += count
                receiver.told_full = not full
                sent = False
        return sent

    def raise_signal(self, signal: int, table: Table) -> bool:
        """Raise a signal that no process has raised; False, and a line in the log, when its queue is full."""
        if not self.dispatcher.raise_signal(signal, self.queues_of(signal, table)):
            self.dispatcher.unrouted += 1
            self._note_lost(signal, "*** SIGNAL QUEUE IS FULL *** (you can tune it with --signal-bufsize)")
            return False
        self.kick()
        return True

    def queues_of(self, signal: int, table: Table) -> tuple[Queue, ...]:
        """Return the queues that a signal goes to now."""
        queues = table.queues(signal, self._active)
        if not queues:
            self.dispatcher.unrouted += 1
            self._note_lost(signal, f"there is nobody for its target {table.words.get(signal, '')!r} now")
        return queues

    def _active(self) -> set[int]:
        return {each.number for each in self.dispatcher.receivers if each.kind == "worker" and each.open}

    # --- what has happened ------------------------------------------------------------------------------------

    def note_handled(self, signal: int) -> None:
        self._handled[signal] += 1
        self._last[signal] = self._clock()

    def note_failed(self, signal: int, error: str) -> None:
        self._failed[signal] += 1
        self._failures[signal] = Failure(self._clock(), error)

    def statistics(self) -> SignalStatistics:
        """Return what is registered, and what has happened so far."""
        table = None if self.current is None else self.current.table
        known = set(self._handled) | set(self._failures) | (set() if table is None else set(table.targets))
        return SignalStatistics(
            routed=self.dispatcher.routed,
            unrouted=self.dispatcher.unrouted,
            waiting=len(self.dispatcher),
            queues={describe(queue): length for queue, length in self.dispatcher.lengths.items()},
            signals=tuple(
                SignalState(
                    signal,
                    None if table is None else table.words.get(signal),
                    self._handled[signal],
                    self._last.get(signal, 0.0),
                    self._failed[signal],
                    self._failures.get(signal),
                )
                for signal in sorted(known)
            ),
            sources=tuple(SourceState(each.source, each.runs, each.last) for each in self.sources.running),
        )

    def _raise_from_source(self, signal: int) -> None:
        if self.current is not None:
            self.raise_signal(signal, self.current.table)

    def _note_lost(self, signal: int, reason: str) -> None:
        now = time.monotonic()
        if now - self._complained.get(signal, -_COMPLAIN) >= _COMPLAIN:
            self._complained[signal] = now
            logger.error("could not deliver signal %d: %s", signal, reason)
