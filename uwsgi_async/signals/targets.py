"""Who gets a signal: the targets of `register_signal`, and which queues a signal goes to.

What lives here: the targets, `parse_target`, `check_target` and `route`; all of it decides, and nothing acts. What does
not: the queues and who is served from them (`dispatch`). Source: uWSGI's page "The uWSGI Signal Framework",
core/signal.c (uwsgi_route_signal).

Real uWSGI takes any text for a target and fails when the signal comes, with a line in its log; here a text that means
nobody is refused at once, and a process that the instance does not have is told at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

from uwsgi_async.errors import SignalError

Kind = Literal["worker", "mule", "spooler"]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The first free process of a kind."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every process of a kind. ``active``: only those that run now; else the others get it when they run again."""

    kind: Kind
    active: bool = False


@dataclass(frozen=True, slots=True)
class Numbered:
    """One process, by its number from 1."""

    kind: Kind
    number: int


@dataclass(frozen=True, slots=True)
class Farm:
    """The first free mule of a farm."""

    name: str


@dataclass(frozen=True, slots=True)
class FarmNumbered:
    """The first free mule of a farm that is named by its place, from 1, among the farms."""

    number: int


@dataclass(frozen=True, slots=True)
class SpoolerAt:
    """The first free process of the spooler of a directory."""

    path: str


Target = AnyOf | AllOf | Numbered | Farm | FarmNumbered | SpoolerAt

Queue = AnyOf | Numbered | Farm | SpoolerAt
"""Where a signal waits for a process: the targets that are one queue each."""

ANY_WORKER = AnyOf("worker")


@dataclass(frozen=True, slots=True)
class Roster:
    """Which processes an instance has. ``farms``: the numbers of the mules of each; ``spoolers``: their directories.

    ``alone``: one process is all of them, but mules have threads of their own.
    """

    workers: int
    mules: int = 0
    farms: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    spoolers: tuple[str, ...] = ()
    alone: bool = False


_WORDS: Mapping[str, Target] = {
    "": ANY_WORKER,
    "worker": ANY_WORKER,
    "worker0": ANY_WORKER,
    "workers": AllOf("worker"),
    "active-workers": AllOf("worker", active=True),
    "mule": AnyOf("mule"),
    "mule0": AnyOf("mule"),
    "mules": AllOf("mule"),
    "spooler": AnyOf("spooler"),
}
_NUMBERED = re.compile(r"(worker|mule|farm)([1-9][0-9]{0,5})", re.ASCII)
_ELSEWHERE = frozenset({"cluster", "subscribed"})
_EXPECTED = (
    "worker, workers, worker1 and so on, active-workers, mule, mules, mule1 and so on, farm1 and so on, farm_NAME, "
    "spooler, or the absolute path of a spooler's directory"
)


def parse_target(text: str) -> Target:
    """Return the target that ``text`` means. Raises `SignalError` when it means none."""
    if text in _WORDS:
        return _WORDS[text]
    if text in _ELSEWHERE:
        raise SignalError(
            f"the target {text!r} is for signals to other instances: it needs the cluster engine, which is not built "
            f"yet; to signal one other instance use signal(number, its address)"
        )
    if text.startswith("farm_") and len(text) > len("farm_"):
        return Farm(text.removeprefix("farm_"))
    if text.startswith("/"):
        return SpoolerAt(text)
    numbered = _NUMBERED.fullmatch(text)
    if numbered is None:
        raise SignalError(f"expected a target for a signal, {_EXPECTED}, but {text[:80]!r} came")
    number = int(numbered[2])
    if numbered[1] == "farm":
        return FarmNumbered(number)
    return Numbered("mule" if numbered[1] == "mule" else "worker", number)


def check_target(target: Target, roster: Roster) -> None:
    """Raise `SignalError` when the instance has nobody whom ``target`` could mean."""
    match target:
        case Numbered("worker", number) if number > roster.workers:
            raise SignalError(f"there is no worker {number}: the instance has {roster.workers} (option processes)")
        case Numbered("mule", number) if number > roster.mules:
            raise SignalError(f"there is no mule {number}: the instance has {roster.mules} (options mule and mules)")
        case AnyOf("mule") | AllOf("mule") if not roster.mules:
            raise SignalError("the instance has no mule: give it one with the option mule or mules")
        case FarmNumbered(number) if number > len(roster.farms):
            raise SignalError(f"there is no farm {number}: the instance has {len(roster.farms)} (option farm)")
        case Farm(name) if name not in roster.farms:
            raise SignalError(f"there is no farm {name!r}: farms are named by the option farm, such as {name}:1,2")
        case AnyOf("spooler") if not roster.spoolers:
            raise SignalError("the instance has no spooler: give it one with the option spooler")
        case SpoolerAt(path) if path not in roster.spoolers:
            raise SignalError(f"there is no spooler at {path}: give it one with the option spooler")


def route(target: Target, roster: Roster, active: Set[int]) -> tuple[Queue, ...]:
    """Return the queues that a signal for ``target`` goes to; none when there is nobody of that name.

    ``active``: the numbers of the workers that run now.
    """
    match target:
        case AllOf("worker", active=True):
            return tuple(Numbered("worker", number) for number in sorted(active))
        case AllOf(kind):
            count = roster.workers if kind == "worker" else roster.mules
            return tuple(Numbered(kind, number) for number in range(1, count + 1))
        case FarmNumbered(number):
            return tuple(Farm(name) for name in list(roster.farms)[number - 1 : number])
    try:
        check_target(target, roster)
    except SignalError:
        return ()
    return (target,)


def serves(queue: Queue, kind: Kind, number: int, path: str, roster: Roster) -> bool:
    """Whether the process of this kind, number, and spooler's directory takes signals from ``queue``."""
    if roster.alone and kind == "worker" and not isinstance(queue, Farm) and getattr(queue, "kind", kind) != "mule":
        return True
    match queue:
        case Numbered():
            return (queue.kind, queue.number) == (kind, number)
        case Farm(name):
            return kind == "mule" and number in roster.farms.get(name, ())
        case SpoolerAt():
            return kind == "spooler" and path == queue.path
        case AnyOf():
            return queue.kind == kind
