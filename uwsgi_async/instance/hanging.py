"""Processes that must be ended from outside: those that hang, and those that take too much memory.

What lives here: `watch_processes`, and `verdict`, which decides. What does not: limits that a worker keeps itself
(`limits`), requests over their time in a worker that lives (`cores.pool`).
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import anyio

from uwsgi_async.instance.dynamic import DynamicOptions
from uwsgi_async.instance.keeper import Process
from uwsgi_async.instance.scoreboard import Field, Scoreboard
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

TRACEBACK = signal.SIGUSR2
"""Makes a worker write the traceback of each of its threads to the log, also when it hangs in C code."""

_LOOK = 0.25  # seconds between two looks
_LAST_WORDS = 0.5  # seconds to write a traceback
_MEGABYTE = 1 << 20
_PAGE = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True, slots=True)
class Condition:
    """How a process is.

    ``still``: seconds since its event loop was last seen to turn; 0 before it serves. ``harakiri``: those that what
    it does may take; 0 is for ever. ``overdue``: the time that it gave itself by `set_user_harakiri` is over;
    ``task_overdue``: that of a task of a spooler, or of what a mule does. ``rss`` and ``vsz``: bytes.
    """

    still: float
    harakiri: float
    overdue: bool
    task_overdue: bool
    rss: int
    vsz: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a process is to be killed. ``hangs``: where it hangs belongs into the log."""

    reason: str
    hangs: bool


def verdict(condition: Condition, options: Options) -> Verdict | None:
    """Return why a process in this condition is to be killed; None when it is not."""
    cores, process = options.cores, options.process
    if condition.overdue:
        return Verdict("HARAKIRI (user) triggered", True)
    if condition.task_overdue:
        return Verdict("HARAKIRI: a task or message takes longer than spooler-harakiri or mule-harakiri", True)
    if condition.harakiri and condition.still > condition.harakiri + cores.harakiri_graceful_timeout:
        return Verdict(f"HARAKIRI: its event loop has not turned for {condition.still:.1f} s", True)
    if process.evil_reload_on_rss and condition.rss >= process.evil_reload_on_rss * _MEGABYTE:
        return Verdict(f"its memory is {condition.rss // _MEGABYTE} MB (option evil-reload-on-rss)", False)
    if process.evil_reload_on_as and condition.vsz >= process.evil_reload_on_as * _MEGABYTE:
        return Verdict(f"its address space is {condition.vsz // _MEGABYTE} MB (option evil-reload-on-as)", False)
    return None


async def watch_processes(
    dynamic: DynamicOptions, board: Scoreboard, processes: Callable[[], Iterable[Process]]
) -> None:
    """Kill each process that is to be ended, until cancelled."""
    async with anyio.create_task_group() as endings:
        while True:
            await anyio.sleep(_LOOK)
            options = dynamic.applied()
            for process in processes():
                if process.child is not None and not process.killed:
                    found = verdict(_condition(process, board, options), options)
                    if found is not None:
                        process.killed = True
                        endings.start_soon(_end, process, found)


def _condition(process: Process, board: Scoreboard, options: Options) -> Condition:
    row, now = process.row(board), time.monotonic_ns()
    heartbeat, deadline = row[Field.HEARTBEAT], row[Field.DEADLINE]
    still = (now - heartbeat) / 1e9 if heartbeat else 0.0
    # Spoolers and mules set themselves deadlines.
    harakiri = options.cores.harakiri if process.role.kind == "worker" else 0.0
    task_overdue = 0 < row[Field.TASK_DEADLINE] <= now
    return Condition(still, harakiri, 0 < deadline <= now, task_overdue, *_memory(process.pid))


def _memory(pid: int) -> tuple[int, int]:
    """Return the resident memory and the address space of a process in bytes; zeros when it has just ended."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            vsz, rss, *_ = file.read().split()
    except (OSError, ValueError):
        return 0, 0
    return int(rss) * _PAGE, int(vsz) * _PAGE


async def _end(process: Process, found: Verdict) -> None:
    where = "; it was in:" if found.hangs else ": killing it"
    logger.error("%s (pid: %d): %s%s", process.role, process.pid, found.reason, where)
    if found.hangs:
        process.kill(TRACEBACK)
        with anyio.move_on_after(_LAST_WORDS):
            await process.gone.wait()
    process.kill()
