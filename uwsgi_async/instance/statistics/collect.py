"""From the scoreboard, the sockets and the kernel to one `InstanceStatistics`. Any process of the instance may do it.

What lives here: `collect`, `collect_workers`. What does not: who writes the scoreboard (`publish`, `control`), how the
numbers are told (`document`, `prometheus`).
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from functools import cache

from uwsgi_async.api.statistics import (
    AppStatistics,
    InstanceState,
    InstanceStatistics,
    ProcessStatistics,
    SocketStatistics,
    WorkerStatistics,
)
from uwsgi_async.cores.core import CoreStatistics
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.scoreboard import KINDS, AppField, CoreField, Field, Header, Scoreboard, State
from uwsgi_async.instance.statistics.publish import MICROS, Detail, decode_vars

UWSGI_VERSION = "2.0.31"
"""Whose schema the statistics have: readers look at it."""

_STATES: dict[State, InstanceState] = {
    State.STARTING: "starting",
    State.SERVING: "serving",
    State.DRAINING: "draining",
}
_TCP_INFO = struct.Struct("=8x6I")  # <linux/tcp.h>, struct tcp_info: of a listener, unacked and sacked are its queue


def collect(board: Scoreboard, listeners: Sequence[Listener], detail: Detail) -> InstanceStatistics:
    """Return what the instance does and has done."""
    header = board.header
    sockets = tuple(_socket(listener) for listener in listeners)
    workers = collect_workers(board, detail)
    state = _STATES[board.state]
    return InstanceStatistics(
        version=UWSGI_VERSION,
        software=_software(),
        pid=header[Header.MASTER],
        uid=os.getuid(),
        gid=os.getgid(),
        cwd=os.getcwd(),
        started=header[Header.STARTED] / MICROS,
        state=state,
        reloads=header[Header.RELOADS],
        failed_reloads=header[Header.FAILED_RELOADS],
        listen_queue=max((each.queue for each in sockets), default=0),
        sockets=sockets,
        workers=workers,
        processes=(*_processes(header, state, workers), *_others(board)),
    )


def collect_workers(board: Scoreboard, detail: Detail) -> tuple[WorkerStatistics, ...]:
    """Return what each worker does and has done."""
    return tuple(_worker(board, number, detail) for number in range(1, board.rows + 1))


def listen_queue(sock: socket.socket) -> tuple[int, int]:
    """Return how many connections nobody has accepted yet and how many the kernel holds at most.

    (0, 0) for what is no TCP socket: the kernel does not tell.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return 0, 0
    try:
        info = _TCP_INFO.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size))
    except OSError:  # it is closed: the instance is ending
        return 0, 0
    return info[4], info[5]


@cache
def _software() -> str:
    from importlib.metadata import version  # a server that nobody looks at starts 8 ms sooner without

    return f"uwsgi_async {version('uwsgi-async')}"


def _socket(listener: Listener) -> SocketStatistics:
    queue, most = listen_queue(listener.sock)
    return SocketStatistics(name=listener.name, proto=listener.protocol, queue=queue, max_queue=most)


def _worker(board: Scoreboard, number: int, detail: Detail) -> WorkerStatistics:
    row = board.row(number)
    return WorkerStatistics(
        id=number,
        pid=row[Field.PID],
        requests=row[Field.REQUESTS],
        delta_requests=row[Field.DELTA_REQUESTS],
        signals=row[Field.SIGNALS],
        exceptions=row[Field.EXCEPTIONS],
        harakiri_count=row[Field.HARAKIRIS],
        status=b"busy" if row[Field.BUSY] else b"idle" if row[Field.PID] else b"cheap",
        rss=row[Field.RSS],
        vsz=row[Field.VSZ],
        running_time=row[Field.RUNNING_TIME],
        last_spawn=row[Field.LAST_SPAWN] // MICROS,
        respawn_count=row[Field.RESPAWNS],
        tx=row[Field.SENT],
        avg_rt=row[Field.AVERAGE],
        accepting=bool(row[Field.ACCEPTING]),
        apps=tuple(_app(board, number, app) for app in range(row[Field.APPS])),
        ready=bool(row[Field.READY]),
        busy=row[Field.BUSY],
        connections=row[Field.CONNECTIONS],
        waiting=row[Field.WAITING],
        longest_wait=row[Field.LONGEST_WAIT],
        loop_lag=row[Field.LOOP_LAG],
        cores=tuple(_core(board, number, core, detail) for core in range(board.cores if detail else 0)),
    )


def _app(board: Scoreboard, worker: int, number: int) -> AppStatistics:
    numbers = board.app(worker, number)
    return AppStatistics(
        id=number,
        mountpoint=board.mountpoint(worker, number),
        startup_time=numbers[AppField.STARTUP_TIME],
        interpreter=numbers[AppField.INTERPRETER],
        callable=numbers[AppField.CALLABLE],
        requests=numbers[AppField.REQUESTS],
        exceptions=numbers[AppField.EXCEPTIONS],
    )


def _core(board: Scoreboard, worker: int, number: int, detail: Detail) -> CoreStatistics:
    numbers = board.core(worker, number)
    started = numbers[CoreField.STARTED]
    vars = decode_vars(board.vars(worker, number, started)) if started and detail is Detail.VARS else {}
    return CoreStatistics(
        id=number,
        state="busy" if started else "idle",
        requests=numbers[CoreField.REQUESTS],
        harakiri=numbers[CoreField.HARAKIRIS],
        exceptions=numbers[CoreField.EXCEPTIONS],
        running=max(time.time() - started / MICROS, 0.0) if started else 0.0,
        uri=vars.get("REQUEST_URI", ""),
        read_errors=numbers[CoreField.READ_ERRORS],
        write_errors=numbers[CoreField.WRITE_ERRORS],
        static_requests=numbers[CoreField.STATIC_REQUESTS],
        routed_requests=numbers[CoreField.ROUTED_REQUESTS],
        offloaded_requests=numbers[CoreField.OFFLOADED_REQUESTS],
        request_start=started / MICROS,
        vars=vars,
    )


def _processes(
    header: memoryview, state: InstanceState, workers: Sequence[WorkerStatistics]
) -> Iterator[ProcessStatistics]:
    master, fork_server = header[Header.MASTER], header[Header.FORK_SERVER]
    if not fork_server:
        yield _process("instance", master, state)
        return
    yield _process("master", master, state)
    if header[Header.ZYGOTE]:
        yield _process("zygote", header[Header.ZYGOTE], "waiting")
    yield _process("fork server", fork_server, "waiting")
    for worker in workers:
        if worker.pid:
            status = worker.status.decode() if worker.ready else "starting"
            yield _process(f"worker {worker.id}", worker.pid, status)


def _others(board: Scoreboard) -> Iterator[ProcessStatistics]:
    """Yield the processes that are no workers, such as spoolers."""
    for seat in range(board.rows + 1, board.seats + 1):
        row = board.row(seat)
        if row[Field.PID]:
            status = "starting" if not row[Field.READY] else "busy" if row[Field.BUSY] else "idle"
            yield _process(f"{KINDS[row[Field.KIND]]} {row[Field.NUMBER]}", row[Field.PID], status)


def _process(role: str, pid: int, state: str) -> ProcessStatistics:
    """Ask the kernel for the memory and the age of a process (proc(5), /proc/pid/stat)."""
    rss, started = 0, 0.0
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        state = "ended"
    else:
        rss = int(fields[21]) * os.sysconf("SC_PAGESIZE")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
        started = time.time() - age
    return ProcessStatistics(role=role, pid=pid, state=state, rss=rss, started=started)
