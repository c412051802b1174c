"""Signals on their way: queues, and who is given what from them. It decides; nothing is sent here.

What lives here: `Dispatcher`, and `Receiver`, one process as it sees it. What does not: targets (`targets`), messages
and time (`router`), the process itself (`end`).

A signal is in one place at any time: owed to the process that has raised it, because its queue is full; in a queue; or
given to a process, until that one has handled it. The signals of a process that dies go to the next one, in front of
all others. A signal whose handler may have killed the process is given three times at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import count

from uwsgi_async.signals.targets import ANY_WORKER, AllOf, AnyOf, Kind, Numbered, Queue, Roster, Target, route, serves

MOST_GIVEN = 128
"""Signals that a process has at most, so that its channel always has room for other messages."""

MOST_RAISED = 64
"""Signals that a process may raise before the first of them has got a place."""

_MOST_ATTEMPTS = 3
_QUICK = 0.01  # seconds in which a process must handle a batch to be given a larger one
_LARGEST_BATCH = 64

ANY = -1
"""Instead of the number of a signal that somebody waits for."""


class Table:
    """What one generation of the instance has registered. ``everywhere``: signals with a handler in all processes."""

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.targets: dict[int, Target] = {}
        self.words: dict[int, str] = {}  # the targets as they were written
        self.everywhere: set[int] = set()
        self._queues: dict[int, tuple[Queue, ...]] = {}

    def __repr__(self) -> str:
        return f"<Table of {len(self.targets)} signals>"

    def register(self, signal: int, target: Target, words: str) -> None:
        """Let ``signal`` be for ``target``, which was written as ``words``."""
        self.targets[signal], self.words[signal] = target, words
        self._queues.pop(signal, None)

    def queues(self, signal: int, active: Callable[[], Set[int]]) -> tuple[Queue, ...]:
        """Return the queues of ``signal``; as in uWSGI any worker's for one that nobody has registered.

        ``active``: gives the numbers of the workers that run now.
        """
        found = self._queues.get(signal)
        if found is None:
            target = self.targets.get(signal, ANY_WORKER)
            moving = target == AllOf("worker", active=True)
            found = route(target, self.roster, active() if moving else frozenset())
            if not moving:
                self._queues[signal] = found
        return found


@dataclass(slots=True)
class Given:
    """A signal, and the queue that it came from.

    ``turn``: grows from each signal that is given to the next. ``attempts``: how many processes have died with it in
    hand.
    """

    signal: int
    queue: Queue
    turn: int
    attempts: int = 0


class Receiver:
    """A process, as the dispatcher sees it.

    ``open``: it may be given signals. ``stuck``: tells whether something holds its event loop. ``given``: what it has
    not handled yet, oldest first. ``owed``: what it has raised that has no place yet, with the queues it is for.
    ``accepted``: what has got one since it was told.
    """

    def __init__(self, kind: Kind, number: int, table: Table, path: str = "") -> None:
        self.kind: Kind = kind
        self.stuck: Callable[[], bool] = _never
        self.number = number
        self.path = path
        self.table = table
        self.open = False
        self.given: deque[Given] = deque()
        self.owed: deque[tuple[int, tuple[Queue, ...]]] = deque()
        self.accepted = 0
        self.told_full = False
        self.waits: set[int] = set()
        self.handles: set[int] = set()
        self.batch = 1
        self.given_at = 0.0

    def __repr__(self) -> str:
        state = "open" if self.open else "closed"
        return f"<Receiver {self.kind} {self.number}, {state}, {len(self.given)} given, {len(self.owed)} owed>"

    @property
    def room(self) -> int:
        return MOST_GIVEN - len(self.given)

    def has(self, signal: int) -> bool:
        return any(given.signal == signal for given in self.given)

    def takes(self, queue: Queue) -> bool:
        return serves(queue, self.kind, self.number, self.path, self.table.roster)

    def interest(self, signal: int) -> int:
        """How much it has to do with a signal that is for any process: it waits, has a handler, or neither."""
        if signal in self.waits or ANY in self.waits:
            return 2
        return int(signal in self.handles or signal in self.table.everywhere)


class Dispatcher:
    """All signals of an instance that nobody has handled yet.

    ``capacity``: of each queue. ``now``: seconds that never go back. ``on_lost``: called with each signal that is given
    up, and the reason.
    """

    def __init__(self, capacity: int, now: Callable[[], float], on_lost: Callable[[int, str], None]) -> None:
        self.capacity = capacity
        self.receivers: list[Receiver] = []
        self.routed = self.unrouted = 0
        self._now = now
        self._on_lost = on_lost
        self._queues: dict[Queue, Line] = {}
        self._again: list[Given] = []  # oldest first
        self._turns = count()

    def __repr__(self) -> str:
        return f"<Dispatcher of {len(self)} signals to {len(self.receivers)} processes>"

    def __len__(self) -> int:
        """How many signals wait for a process, those that are owed not counted."""
        return sum(map(len, self._queues.values())) + len(self._again)

    @property
    def lengths(self) -> Mapping[Queue, int]:
        """How many signals wait in each queue."""
        return {queue: len(line) for queue, line in self._queues.items()}

    def join(self, receiver: Receiver) -> None:
        """Know a process from now on. It is given nothing before it is ``open``."""
        self.receivers.append(receiver)

    def leave(self, receiver: Receiver) -> None:
        """Forget a process that has ended; what it had is for the next one, and what it was owed is kept."""
        self.receivers.remove(receiver)
        first = set()
        for given in receiver.given:
            if given.signal not in first:  # its handler may have been running
                first.add(given.signal)
                given.attempts += 1
            if given.attempts < _MOST_ATTEMPTS:
                self._again.append(given)
            else:
                self.unrouted += 1
                self._on_lost(given.signal, f"{given.attempts} processes have died while they had it")
        self._again.sort(key=_turn)  # what could not be sent to it any more is there already, and is younger
        receiver.given.clear()
        for signal, queues in receiver.owed:  # nobody is there to wait any more
            self._put(signal, queues)
        receiver.owed.clear()

    def raise_signal(self, signal: int, queues: tuple[Queue, ...]) -> bool:
        """Put a signal into its queues; False when one of them is full."""
        if self._is_full(queues):
            return False
        self._put(signal, queues)
        return True

    def raise_for(self, sender: Receiver, signal: int, queues: tuple[Queue, ...]) -> None:
        """The same for a process, to which it is owed as long as there is no room."""
        if sender.owed or self._is_full(queues):
            sender.owed.append((signal, queues))
        else:
            self._put(signal, queues)
            sender.accepted += 1

    def handled(self, receiver: Receiver, signal: int) -> bool:
        """Take note that a process has handled the oldest of its signals of a number; False when it had none."""
        for index, given in enumerate(receiver.given):
            if given.signal == signal:
                del receiver.given[index]
                if not receiver.given:
                    quick = self._now() - receiver.given_at < _QUICK
                    receiver.batch = min(receiver.batch * 2, _LARGEST_BATCH) if quick else 1
                return True
        return False

    def give(self) -> dict[Receiver, bytes]:
        """Decide which process gets which signals now, and take them as given."""
        gifts: dict[Receiver, list[int]] = {}
        for receiver, given in self._choose():
            if not receiver.given:
                receiver.given_at = self._now()
            receiver.given.append(given)
            gifts.setdefault(receiver, []).append(given.signal)
        self._settle()
        return {receiver: bytes(signals) for receiver, signals in gifts.items()}

    def take_back(self, receiver: Receiver, number: int) -> None:
        """Undo the last ``number`` gifts to a process that could not be sent."""
        self._again += [receiver.given.pop() for _ in range(number)]
        self._again.sort(key=_turn)

    def answers(self) -> Iterator[tuple[Receiver, int, bool]]:
        """Yield what processes must be told of the signals that they have raised: how many got a place, whether all."""
        for receiver in self.receivers:
            full = bool(receiver.owed)
            if receiver.accepted or full != receiver.told_full:
                accepted, receiver.accepted = receiver.accepted, 0
                receiver.told_full = full
                yield receiver, accepted, full

    # --- who gets what ----------------------------------------------------------------------------------------

    def _choose(self) -> Iterator[tuple[Receiver, Given]]:
        again, self._again = self._again, []
        for given in again:
            able = self._able(given.queue, given.signal)
            receiver = min((each for each in able if each.room > 0), key=_load, default=None)
            if receiver is None:
                self._again.append(given)
            else:
                yield receiver, given
        waiting = {given.queue for given in self._again}
        for queue, line in list(self._queues.items()):
            if not isinstance(queue, Numbered):
                yield from self._choose_free(queue, line)
            elif queue not in waiting:  # what has been given before comes first
                yield from self._choose_in_order(queue, line)
            if not line:
                del self._queues[queue]

    def _choose_in_order(self, queue: Queue, line: Line) -> Iterator[tuple[Receiver, Given]]:
        """Choose for one process: it gets its signals in the order in which they were raised."""
        for receiver in self._able(queue, ANY):
            for _ in range(min(receiver.room, len(line))):
                yield receiver, Given(line.take(), queue, next(self._turns))

    def _choose_free(self, queue: Queue, line: Line) -> Iterator[tuple[Receiver, Given]]:
        """Choose for signals that any of several processes may have.

        A process is free for a signal when it has none of that number; one that has been quick gets several at once.
        """
        busy: set[int] = set()
        able: dict[int, list[Receiver]] = {}
        shares: dict[tuple[Receiver, int], int] = {}
        while (signal := line.first(busy)) is not None:
            if signal not in able:
                able[signal] = self._able(queue, signal)
            receiver = min((each for each in able[signal] if _is_free(each, signal, shares)), key=_load, default=None)
            if receiver is None:
                busy.add(signal)
            else:
                shares[receiver, signal] = shares.get((receiver, signal), 0) + 1
                yield receiver, Given(line.take(signal), queue, next(self._turns))

    def _able(self, queue: Queue, signal: int) -> list[Receiver]:
        """Return the processes that may have a signal, as far as it is known: who waits, who has a handler, all.

        Of two processes of the same number only the newer one: the older one is about to end.
        """
        able = {(each.kind, each.number): each for each in self.receivers if each.open and each.takes(queue)}
        if not isinstance(queue, AnyOf) or len(able) < 2:
            return list(able.values())
        lively = [each for each in able.values() if not each.stuck()] or list(able.values())
        most = max(each.interest(signal) for each in lively)
        return [each for each in lively if each.interest(signal) == most]

    # --- places -----------------------------------------------------------------------------------------------

    def _put(self, signal: int, queues: Iterable[Queue]) -> None:
        for queue in queues:
            if queue not in self._queues:
                self._queues[queue] = Line()
            self._queues[queue].add(signal)
            self.routed += 1

    def _is_full(self, queues: tuple[Queue, ...]) -> bool:
        return any(len(self._queues.get(queue, ())) >= self.capacity for queue in queues)

    def _settle(self) -> None:
        """Give a place to what processes are owed, as far as there is room now."""
        for receiver in self.receivers:
            while receiver.owed and not self._is_full(receiver.owed[0][1]):
                self._put(*receiver.owed.popleft())
                receiver.accepted += 1


class Line:
    """Signals that wait, in the order in which they were raised; those of one number can be passed over."""

    __slots__ = ("_length", "_places", "_ticket")

    def __init__(self) -> None:
        self._places: dict[int, deque[int]] = {}  # the tickets of each number
        self._ticket = self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, signal: int) -> None:
        if signal not in self._places:
            self._places[signal] = deque()
        self._places[signal].append(self._ticket)
        self._ticket += 1
        self._length += 1

    def first(self, without: Set[int] = frozenset()) -> int | None:
        """Return the oldest signal, those of the numbers ``without`` not counted; None when there is no other."""
        if len(self._places) == 1 and not without:
            return next(iter(self._places))
        return min(self._places.keys() - without, key=lambda signal: self._places[signal][0], default=None)

    def take(self, signal: int | None = None) -> int:
        """Take the oldest signal out, or the oldest one of a number."""
        if signal is None:
            signal = self.first()
            assert signal is not None
        tickets = self._places[signal]
        tickets.popleft()
        if not tickets:
            del self._places[signal]
        self._length -= 1
        return signal


def _never() -> bool:
    return False


def _turn(given: Given) -> int:
    return given.turn


def _load(receiver: Receiver) -> int:
    return len(receiver.given)


def _is_free(receiver: Receiver, signal: int, shares: Mapping[tuple[Receiver, int], int]) -> bool:
    if receiver.room <= 0:
        return False
    share = shares.get((receiver, signal), 0)
    return share < receiver.batch if share else not receiver.has(signal)
