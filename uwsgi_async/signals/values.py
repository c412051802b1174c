"""What is told of signals: frozen values.

What lives here: `SignalStatistics` and its parts. What does not: who counts (`router`), the forms they are told in
(`instance.statistics`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from uwsgi_async.errors import BrokenError
from uwsgi_async.signals.declare import Cron, FileMonitor, Registration, Source, Timer, decode, encode
from uwsgi_async.signals.targets import AnyOf, Farm, Numbered, Queue


@dataclass(frozen=True, slots=True)
class Failure:
    """The last time that a handler failed. ``when``: unix seconds; ``error``: its kind and text in one line."""

    when: float
    error: str


@dataclass(frozen=True, slots=True)
class SignalState:
    """One signal. ``target``: as it was registered, None when it was not.

    ``handled``: how often a process was done with it; ``last``: unix seconds of the last time, 0.0 for never. A signal
    that went to several processes counts for each. ``failed``: how often its handler has failed; ``failure``: the last
    time.
    """

    signal: int
    target: str | None
    handled: int
    last: float
    failed: int
    failure: Failure | None


@dataclass(frozen=True, slots=True)
class SourceState:
    """A timer, cron, file monitor or probe, how often it has raised its signal, and when last: unix seconds, or 0.0."""

    source: Source
    runs: int
    last: float


@dataclass(frozen=True, slots=True)
class SignalStatistics:
    """All about the signals of an instance.

    ``routed``: signals that were put into a queue; ``unrouted``: those that were lost; ``waiting``: in all queues;
    ``queues``: by the target that each is for.
    """

    routed: int
    unrouted: int
    waiting: int
    queues: Mapping[str, int]
    signals: tuple[SignalState, ...]
    sources: tuple[SourceState, ...]


def describe(queue: Queue) -> str:
    """Return a queue as the target that it is for."""
    match queue:
        case AnyOf(kind):
            return kind
        case Numbered(kind, number):
            return f"{kind}{number}"
        case Farm(name):
            return f"farm_{name}"
        case _:
            return queue.path


def describe_source(source: Source) -> str:
    """Return what raises a signal in a few words, such as "timer 5 s"."""
    match source:
        case Timer():
            times = f" {source.iterations} times" if source.iterations else ""
            return f"{source.kind} {source.seconds:g} s{times}"
        case Cron():
            return f"cron {source.minute} {source.hour} {source.day} {source.month} {source.weekday}"
        case FileMonitor():
            return f"file {source.path}"
        case _:
            return f"probe {source.address}"


def document(statistics: SignalStatistics, most: int | None = None) -> dict[str, Any]:
    """Return the statistics made of what JSON knows. ``most``: sources that are told; None is all."""
    told = asdict(statistics)
    told["sources"] = [
        {"source": encode([each.source])[0], "runs": each.runs, "last": each.last} for each in statistics.sources[:most]
    ]
    return told


def statistics_of(told: Mapping[str, Any]) -> SignalStatistics:
    """Return the statistics that `document` was made of. Raises `BrokenError` for anything else."""
    try:
        return SignalStatistics(
            routed=int(told["routed"]),
            unrouted=int(told["unrouted"]),
            waiting=int(told["waiting"]),
            queues={str(target): int(length) for target, length in told["queues"].items()},
            signals=tuple(map(_signal_of, told["signals"])),
            sources=tuple(
                SourceState(source, int(each["runs"]), float(each["last"]))
                for each in told["sources"]
                for source in decode([each["source"]])
                if not isinstance(source, Registration)
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BrokenError(f"expected statistics of signals, got {told!r:.80}") from error


def _signal_of(told: Mapping[str, Any]) -> SignalState:
    target, failure = told["target"], told["failure"]
    return SignalState(
        signal=int(told["signal"]),
        target=None if target is None else str(target),
        handled=int(told["handled"]),
        last=float(told["last"]),
        failed=int(told["failed"]),
        failure=failure and Failure(float(failure["when"]), str(failure["error"])),
    )
