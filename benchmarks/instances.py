"""What is measured of a server with several workers: the memory of each, and how long a reload takes.

What lives here: `worker_memory` and `reload_time`, which measure a running server once. What does not: scenarios.
"""

from __future__ import annotations

import http.client
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.servers import NotUsableError, Running

_REQUESTS_EACH = 50  # of each worker, before its memory is looked at
_AT_ONCE = 4  # of each worker, so that none of them serves all while the others sleep
_SETTLE_SECONDS = 1.0  # of a master whose workers serve
_RELOAD_SECONDS = 20.0


def worker_memory(process: Running, port: int, workers: int) -> float:
    """Return the megabytes of memory for each worker: the proportional set size of all processes, divided.

    Each connection is a new one, and several are asked at once, so that every worker has served some of them.
    """
    with ThreadPoolExecutor(_AT_ONCE * workers) as clients:
        list(clients.map(ask, [port] * _REQUESTS_EACH * workers))
    return sum(map(proportional_memory, process.processes())) / workers / (1 << 20)


def proportional_memory(pid: int) -> int:
    """Return the bytes of a process, each shared page divided by those who share it (PSS)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise NotUsableError("the kernel does not tell the proportional set size.")


def reload_time(process: Running, port: int, workers: int) -> tuple[float, int]:
    """Reload by SIGHUP; return the milliseconds until a new process answers, and the requests lost meanwhile.

    The app answers with its process id.
    """
    old = serving(port, workers)
    time.sleep(_SETTLE_SECONDS)
    lost = 0
    # The process that was started may be a shell of it: the signal is for the one that has the workers.
    os.kill(process.process.pid, signal.SIGHUP)
    began = time.perf_counter()
    while time.perf_counter() - began < _RELOAD_SECONDS:
        try:
            answer = ask(port)
        except (OSError, http.client.HTTPException):
            lost += 1
            continue
        if answer not in old:
            return (time.perf_counter() - began) * 1000, lost
    raise NotUsableError(f"no new process has answered within {_RELOAD_SECONDS:.0f} s.")


def serving(port: int, workers: int) -> set[bytes]:
    """Return what the workers answer, when all of them have answered: some servers start one after the other."""
    answers: set[bytes] = set()
    began = time.perf_counter()
    with ThreadPoolExecutor(_AT_ONCE * workers) as clients:
        while len(answers) < workers:
            answers.update(clients.map(ask, [port] * _AT_ONCE * workers))
            if time.perf_counter() - began > _RELOAD_SECONDS:
                raise NotUsableError(f"{len(answers)} of {workers} workers have answered.")
    return answers


def ask(port: int) -> bytes:
    """Return the body of one response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_RELOAD_SECONDS)
    try:
        connection.request("GET", "/", headers={"Connection": "close"})
        return connection.getresponse().read()
    finally:
        connection.close()
