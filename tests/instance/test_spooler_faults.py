"""kill -9 at random moments of spoolers, workers, fork servers, masters: no task is lost, none run by two at once.

Real uWSGI writes a task under its name, so one of its workers that is killed meanwhile leaves a part of it, mostly an
empty file, which its app has not been told of. Ours leave none.

SPOOL_TASKS: how many tasks are written meanwhile; ``nox -s faults`` does it with 10,000.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.command import COMMAND, Process, program
from tests.parity.oracle import home, require
from uwsgi_async.errors import StoreError
from uwsgi_async.spooler.task import Task, decode_task
from uwsgi_async.spooler.writing import write_task

TASKS = int(os.environ.get("SPOOL_TASKS", "300"))
SEED = 1 if os.environ.get("CI") else random.randrange(2**32)
PATIENCE = 60.0  # seconds from the last kill, or from the last task that was done after it
PID = re.compile(r"_(\d+)_\d+_\d+_\d+_\d+$")  # in the name of a task: who has written it

APP = """
import os, random, time, uwsgi

LOG = os.open(os.environ["SPOOL_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(what, task):
    os.write(LOG, b"%s %d %d %s\\n" % (what, os.getpid(), time.monotonic_ns(), task[b"n"]))


def spooler(task):
    assert task["body"] == task[b"n"] * 100
    note(b"begin", task)
    time.sleep(random.random() / 500)
    note(b"end", task)
    return uwsgi.SPOOL_OK


def application(environ, start_response):
    start_response("200 OK", [])
    n = environ["QUERY_STRING"].encode()
    return [uwsgi.spool({b"n": n, b"body": n * 100})]


uwsgi.spooler = spooler
"""

ASYNC = """
import anyio


async def spooler(task):
    assert task["body"] == task[b"n"] * 100
    note(b"begin", task)
    await anyio.sleep(random.random() / 500)
    note(b"end", task)
    return uwsgi.SPOOL_OK


uwsgi.spooler = spooler
"""


class Server:
    """A server that is started again whenever it has ended. ``killed``: when which process was killed.

    ``leaves_parts``: of a task that a process was writing when it was killed. ``seen``: its processes of all times.
    """

    def __init__(self, words: list[str], stack: ExitStack, serves: str, *, leaves_parts: bool = False) -> None:
        self.leaves_parts = leaves_parts
        self._words = words
        self._stack = stack
        self._serves = serves
        self.killed: dict[int, int] = {}
        self.seen: set[int] = set()
        self.process = self._start()

    def _start(self) -> Process:
        process = self._stack.enter_context(program(*self._words))
        match = process.wait_for(self._serves)
        process.url = f"http://{match[1]}"
        return process

    def kill_one(self, chance: random.Random) -> None:
        family = sorted(self.process.family())
        self.seen.update(family)
        if not family or self.process.popen.poll() is not None:
            self.process = self._start()
            return
        pid = chance.choice(family)
        self.killed[pid] = time.monotonic_ns()
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def run(place: Path, servers: Callable[[ExitStack], list[Server]]) -> None:
    directory = place / "spool"
    directory.mkdir()
    chance = random.Random(SEED)
    written: set[str] = set()
    with ExitStack() as stack:
        running = servers(stack)
        writer = threading.Thread(target=_write, args=(str(directory), running, written, random.Random(SEED)))
        writer.start()
        while writer.is_alive():
            chance.choice(running).kill_one(chance)
            writer.join(chance.random() / 5)
        for server in running:
            if server.process.popen.poll() is not None:
                server.kill_one(chance)  # starts it again
        deadline, before = time.monotonic() + PATIENCE, TASKS + 1
        excused = {pid for server in running if server.leaves_parts for pid in server.seen}
        while left := [path for path in directory.iterdir() if not _is_part(path, excused)]:
            if len(left) < before:
                deadline, before = time.monotonic() + PATIENCE, len(left)
            assert time.monotonic() < deadline, f"{len(left)} tasks are left, such as {_shown(left[0])}"
            time.sleep(0.05)
        killed = {pid: when for server in running for pid, when in server.killed.items()}
    check((place / "log").read_text(), written, killed)


def _is_part(path: Path, writers: set[int]) -> bool:
    """Return whether one of these processes has written this file, and it is no whole task."""
    pid = PID.search(path.name)
    if pid is None or int(pid[1]) not in writers:
        return False
    try:
        task = decode_task(path.read_bytes())
    except (StoreError, FileNotFoundError):
        return True
    return task.body != task.fields[b"n"] * 100


def _shown(path: Path) -> str:
    try:
        return f"{path.name}: {path.stat()}, {path.read_bytes()[:200]!r}"
    except FileNotFoundError:
        return f"{path.name}, which is gone now"


def _write(directory: str, servers: list[Server], written: set[str], chance: random.Random) -> None:
    """Write tasks, in this process and by requests; note those whose writing was confirmed."""
    for number in range(TASKS):
        name = str(number)
        if chance.random() < 0.2:
            with suppress(OSError):  # the worker was killed
                chance.choice(servers).process.get(f"/?{name}")
                written.add(name)
        else:
            write_task(directory, Task({b"n": name.encode()}, name.encode() * 100))
            written.add(name)
        time.sleep(0.002)


def check(log: str, written: set[str], killed: dict[int, int]) -> None:
    """Every written task has come to its end, and nobody has begun one that another living process was at."""
    done: set[str] = set()
    busy: dict[str, int] = {}
    runs: defaultdict[str, int] = defaultdict(int)
    for line in log.splitlines():
        what, pid, when, name = line.split()
        if what == "begin":
            holder = busy.get(name)
            assert holder is None or (holder in killed and killed[holder] <= int(when)), f"{name}: {holder} and {pid}"
            busy[name] = int(pid)
            runs[name] += 1
        else:
            assert busy.pop(name) == int(pid), name
            done.add(name)
    assert written <= done, sorted(written - done, key=int)[:10]
    assert sum(runs.values()) <= len(runs) + 10 * len(killed)  # not all of it again and again


def ours(place: Path, stack: ExitStack) -> Server:
    (place / "ours.py").write_text(APP + ASYNC)
    words = [*COMMAND, "--http-socket", "127.0.0.1:0", "--processes", "2", "--wsgi-file", str(place / "ours.py")]
    words += ["--spooler", str(place / "spool"), "--spooler-processes", "2", "--spooler-cores", "4"]
    words += ["--spooler-frequency", "1", "--spooler-quiet", "--disable-logging", f"--env=SPOOL_LOG={place / 'log'}"]
    return Server(words, stack, r"serves http://(127\.0\.0\.1:\d+)")


def oracle(place: Path, stack: ExitStack) -> Server:
    (place / "oracle.py").write_text(APP)
    words = [str(require()), "--http-socket", "127.0.0.1:0", "--master", "--wsgi-file", str(place / "oracle.py")]
    words += ["--spooler", str(place / "spool"), "--spooler-processes", "2", "--spooler-frequency", "1"]
    words += ["--spooler-quiet", "--disable-logging", f"--env=SPOOL_LOG={place / 'log'}", "--no-orphans"]
    if home().exists():
        words += ["--home", str(home())]
    return Server(words, stack, r"bound to TCP address (127\.0\.0\.1:\d+)", leaves_parts=True)


@pytest.mark.timeout(120 + TASKS / 10)
def test_kills_lose_no_task_and_let_none_be_run_by_two_at_once(tmp_path: Path) -> None:
    run(tmp_path, lambda stack: [ours(tmp_path, stack)])


@pytest.mark.parity
@pytest.mark.timeout(120 + TASKS / 10)
def test_the_same_holds_when_real_uwsgi_works_on_the_same_directory(tmp_path: Path) -> None:
    require()
    run(tmp_path, lambda stack: [ours(tmp_path, stack), oracle(tmp_path, stack)])
