"""What happens in an instance without a request, for ``top``: signals, and the timers and so on that raise them.

What lives here: `signal_parts`. What does not: the frame that it is part of (`top`).
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from uwsgi_async.api.statistics import InstanceStatistics
from uwsgi_async.commands.table import age, printable
from uwsgi_async.signals.values import SignalState, SignalStatistics, SourceState, describe_source, statistics_of

_COLUMNS = ("SIG", "RAISED BY", "RUNS", "LAST", "TARGET", "HANDLED", "LAST", "FAILED", "LAST ERROR")
_LEFT = {"RAISED BY", "TARGET", "LAST ERROR"}
_MOST_ROWS = 20
_MOST_QUEUES = 5


def signal_parts(statistics: InstanceStatistics, now: float) -> list[RenderableType]:
    """Return a line, and a table: a row for each source of signals, and for each signal without one. Nothing without.

    The last to happen come first. ``now``: unix seconds, for the ages. Raises `BrokenError` when an instance tells what
    is no statistics of signals.
    """
    section = statistics.sections.get("signals")
    told = None if section is None else statistics_of(section)
    if told is None or not (rows := sorted(_rows(told), key=_last, reverse=True)):
        return []
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="reverse")
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in _LEFT else "right", no_wrap=True, overflow="ellipsis")
    for signal, source in rows[:_MOST_ROWS]:
        table.add_row(*map(_text, _cells(signal, source, now)), style="red" if _has_just_failed(signal) else "")
    return [_text(_summary(told, len(rows))), table]


Row = tuple[SignalState, SourceState | None]


def _rows(told: SignalStatistics) -> Iterator[Row]:
    signals = {each.signal: each for each in told.signals}
    without = set(signals)
    for source in told.sources:
        number = source.source.signal
        without.discard(number)
        yield signals.get(number, SignalState(number, None, 0, 0.0, 0, None)), source
    for number in without:
        yield signals[number], None


def _last(row: Row) -> tuple[float, int]:
    signal, source = row
    return max(signal.last, source.last if source else 0.0), -signal.signal


def _cells(signal: SignalState, source: SourceState | None, now: float) -> tuple[str, ...]:
    return (
        str(signal.signal),
        describe_source(source.source) if source else "-",
        str(source.runs) if source else "-",
        _ago(source.last, now) if source else "-",
        "-" if signal.target is None else signal.target or "worker",
        str(signal.handled),
        _ago(signal.last, now),
        str(signal.failed),
        f"{_ago(signal.failure.when, now)} ago: {signal.failure.error}" if signal.failure else "-",
    )


def _summary(told: SignalStatistics, rows: int) -> str:
    longest = sorted(told.queues.items(), key=lambda pair: pair[1], reverse=True)[:_MOST_QUEUES]
    queues = "".join(f"  {target} {length}" for target, length in longest)
    more = f"  and {rows - _MOST_ROWS} more rows" if rows > _MOST_ROWS else ""
    return f"signals {told.routed}  lost {told.unrouted}  waiting {told.waiting}{queues}{more}"


def _has_just_failed(signal: SignalState) -> bool:
    return signal.failure is not None and signal.failure.when >= signal.last - 1


def _ago(when: float, now: float) -> str:
    return age(now - when) if when else "-"


def _text(words: str) -> Text:
    return Text(printable(words), no_wrap=True, overflow="ellipsis")
