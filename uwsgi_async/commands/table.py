"""Tables for people, and how numbers, times and foreign text are written in them.

What lives here: these, and the table of ``uwsgi-async ps``, a line for each process of an instance. Nothing here asks
anybody: see `targets`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from uwsgi_async.api.statistics import InstanceStatistics

_HEAD = ("PROCESS", "PID", "STATE", "REQUESTS", "BUSY", "RSS", "AGE")
_LEFT = (0, 2)  # columns of words; the others are numbers
_UNITS = ("", "K", "M", "G", "T")


def render_processes(statistics: InstanceStatistics, now: float) -> str:
    """Return the table. ``now``: unix seconds, for the ages."""
    rows = [_HEAD, *_rows(statistics, now)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return "\n".join(_line(row, widths) for row in rows)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of the same number of cells as lines, in which the cells of a column stand below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def size(count: int) -> str:
    """Return a number of bytes as people read it, such as 31.2M."""
    amount = float(count)
    units = iter(_UNITS)
    unit = next(units)
    while amount >= 1024 and unit != _UNITS[-1]:
        amount, unit = amount / 1024, next(units)
    return f"{amount:.1f}{unit}" if unit else str(count)


def age(seconds: float) -> str:
    """Return a time as people read it: the two largest units, such as 2h05m."""
    whole = max(int(seconds), 0)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def printable(text: str) -> str:
    """Return text that comes from outside without what could steer a terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _rows(statistics: InstanceStatistics, now: float) -> Iterator[tuple[str, ...]]:
    workers = {worker.pid: worker for worker in statistics.workers}
    for process in statistics.processes:
        worker = workers.get(process.pid)
        requests, busy = ("", "") if worker is None else (str(worker.requests), str(worker.busy))
        started = age(now - process.started) if process.started else ""
        yield (
            printable(process.role),
            str(process.pid),
            printable(process.state),
            requests,
            busy,
            size(process.rss),
            started,
        )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.ljust(width) if column in _LEFT else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
