"""``uwsgi-async top``: the workers, the requests that run, signals and timers, as they are now.

What lives here: `frame`, one picture as a value, and `watch`, which shows one after the other. What does not: where the
statistics come from (`targets`), signals and timers (`signaltable`). Without a terminal one frame is printed. It needs
rich.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from uwsgi_async.api.statistics import InstanceStatistics, WorkerStatistics
from uwsgi_async.commands.signaltable import signal_parts
from uwsgi_async.commands.table import age, printable, size

MICROS = 1_000_000
_COLUMNS = (
    "WID", "PID", "STATUS", "REQ", "REQ/S", "AVG", "CORES", "CONN", "WAIT", "LAG", "EXC", "HC", "SPAWN", "RSS", "TX",
)  # fmt: skip
_MOST_REQUESTS = 20  # of those that run, the oldest
_STYLES = {"busy": "green", "cheap": "magenta", "pause": "blue"}


def watch(read: Callable[[], InstanceStatistics], console: Console, interval: float) -> None:
    """Show a frame every ``interval`` seconds until interrupted; just one when ``console`` is no terminal."""
    last = read()
    if not console.is_terminal:
        console.print(frame(last, last, 0.0, time.time()))
        return
    then = time.monotonic()
    with Live(frame(last, last, 0.0, time.time()), console=console, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            current, now = read(), time.monotonic()
            live.update(frame(current, last, now - then, time.time()), refresh=True)
            last, then = current, now


def frame(statistics: InstanceStatistics, before: InstanceStatistics, seconds: float, now: float) -> RenderableType:
    """Return one picture. ``before``: what it was ``seconds`` ago, for the rates; ``now``: unix seconds."""
    parts: list[RenderableType] = [_summary(statistics, before, seconds, now), _workers(statistics, before, seconds)]
    if statistics.sections.get("mules"):
        parts.append(_mules(statistics.sections["mules"]))
    if statistics.sections.get("spoolers"):
        parts.append(_spoolers(statistics.sections["spoolers"]))
    requests = _requests(statistics)
    if requests.row_count:
        parts.append(requests)
    return Group(*parts, *signal_parts(statistics, now))


def _summary(statistics: InstanceStatistics, before: InstanceStatistics, seconds: float, now: float) -> Text:
    s = statistics
    requests = sum(worker.requests for worker in s.workers)
    rate = _rate(requests - sum(worker.requests for worker in before.workers), seconds)
    up = f", up {age(now - s.started)}" if s.started else ""
    lines = [
        f"{s.software}  pid {s.pid}  {s.state}{up}, {s.reloads} reloads  {s.cwd}",
        f"requests {requests}  {rate} req/s  tx {size(sum(worker.tx for worker in s.workers))}  "
        f"listen queue {s.listen_queue}  " + "  ".join(f"{each.proto} {each.name}" for each in s.sockets),
    ]
    if snmp := s.sections.get("snmp"):
        wrong = snmp["in_bad_versions"] + snmp["in_bad_community_names"] + snmp["in_asn_parse_errs"]
        lines.append(f"snmp {snmp['in_pkts']} datagrams  {snmp['out_pkts']} answered  {wrong} refused")
    return Text("\n".join(map(printable, lines)), no_wrap=True, overflow="ellipsis")


def _workers(statistics: InstanceStatistics, before: InstanceStatistics, seconds: float) -> Table:
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="reverse")
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name == "STATUS" else "right", no_wrap=True)
    then = {worker.id: worker for worker in before.workers}
    for worker in statistics.workers:
        table.add_row(*_worker_cells(worker, then.get(worker.id, worker), seconds), style=_style(worker))
    return table


def _worker_cells(w: WorkerStatistics, before: WorkerStatistics, seconds: float) -> tuple[str, ...]:
    return (
        str(w.id),
        str(w.pid or "-"),
        printable(w.status.decode("utf-8", "replace")) if w.ready or not w.pid else "starting",
        str(w.requests),
        _rate(w.requests - before.requests, seconds),
        _time(w.avg_rt),
        f"{w.busy}/{len(w.cores)}" if w.cores else str(w.busy),
        str(w.connections),
        str(w.waiting),
        _time(w.loop_lag),
        str(w.exceptions),
        str(w.harakiri_count),
        str(w.respawn_count + 1),
        size(w.rss),
        size(w.tx),
    )


def _mules(mules: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="reverse")
    for name in ("MID", "PID", "STATUS", "MSG", "SIG", "QUEUE", "EXC", "SPAWN", "RSS"):
        table.add_column(name, justify="left" if name == "STATUS" else "right", no_wrap=True)
    table.add_column("MULE", no_wrap=True, overflow="ellipsis")
    for each in mules:
        counts = (str(each[key]) for key in ("messages", "signals"))
        work = f"{each['program'] or '-'}  {' '.join(each['farms'])}"
        table.add_row(
            str(each["id"]), str(each["pid"] or "-"), printable(str(each["status"])), *counts, size(each["waiting"]),
            str(each["exceptions"]), str(each["respawn_count"] + 1), size(each["rss"]), Text(printable(work)),
            style=_STYLES.get(str(each["status"]), ""),
        )  # fmt: skip
    return table


def _spoolers(spoolers: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="reverse")
    for name in ("SID", "PID", "RUN", "WAIT", "DONE", "FAIL", "DEAD", "SPAWN"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("SPOOLER", no_wrap=True, overflow="ellipsis")
    for number, each in enumerate(spoolers, 1):
        counts = (each.get(key, 0) for key in ("running", "waiting", "done", "failed", "given_up", "respawns"))
        table.add_row(str(number), str(each["pid"] or "-"), *map(str, counts), Text(printable(str(each["dir"]))))
    return table


def _requests(statistics: InstanceStatistics) -> Table:
    """The requests that run, those that run for longest first."""
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="reverse")
    table.add_column("CORE")
    table.add_column("RUNS", justify="right")
    table.add_column("CLIENT")
    table.add_column("REQUEST", no_wrap=True, overflow="ellipsis")
    running = [(core, worker) for worker in statistics.workers for core in worker.cores if core.state == "busy"]
    running.sort(key=lambda pair: pair[0].running, reverse=True)
    for core, worker in running[:_MOST_REQUESTS]:
        request = f"{core.vars.get('REQUEST_METHOD', '-')} {core.vars.get('HTTP_HOST', '')}{core.uri}"
        client = core.vars.get("REMOTE_ADDR", "-")
        table.add_row(
            f"{worker.id}:{core.id}", f"{core.running:.1f}s", Text(printable(client)), Text(printable(request))
        )
    if len(running) > _MOST_REQUESTS:
        table.caption = f"and {len(running) - _MOST_REQUESTS} more"
    return table


def _style(worker: WorkerStatistics) -> str:
    return _STYLES.get(worker.status.decode("utf-8", "replace"), "")


def _rate(count: int, seconds: float) -> str:
    """Requests a second; "-" when they cannot be told, as after a reload, which counts anew."""
    return f"{count / seconds:.0f}" if seconds > 0 and count >= 0 else "-"


def _time(micros: int) -> str:
    return f"{micros / MICROS:.1f}s" if micros >= MICROS else f"{micros / 1000:.1f}ms"
