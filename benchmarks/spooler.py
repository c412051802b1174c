"""python -m benchmarks.spooler: tasks of the spooler beside real uWSGI's, huey on sqlite, and dramatiq on redis.

All of them write and run the same task (benchmarks/apps/spooler_probe.py), with one process that writes and one that
runs them. ``enqueue`` writes tasks while nobody runs any; ``drain`` runs those; ``complete`` does both at once, from
the first that is written to the last that is done; ``latency`` is the median time from writing a task to its
beginning, when there is one now and then; ``waiting`` is as ``complete``, but of tasks that wait a millisecond each,
many at once where one process can do that. Servers write in the instance that also runs the tasks. Values are medians
of the rounds; a round runs all, one after the other. Needs redis-server (Debian: redis-server).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from benchmarks.report import cpu_model
from benchmarks.spooler_floor import floors
from benchmarks.spooler_floor import lines as floor_lines
from tests.parity.oracle import VERSION, binary, home

PROBE = Path(__file__).parent / "apps" / "spooler_probe.py"
PATIENCE = 300.0  # seconds for all tasks of a scenario
LATENCY_TASKS = 200
LATENCY_PAUSE = 0.01  # seconds between two tasks
RECORD = struct.Struct("qq")

AT_ONCE = 100  # tasks that wait, in one process
WAIT = 0.001  # seconds that each of them waits
WAITING_TASKS = 2000

Values = dict[str, float]
Write = Callable[[int, float], float]
"""Writes so many tasks with a pause after each, and returns the seconds that it took."""

OURS, UWSGI, HUEY = "uwsgi-async, no sync", "uWSGI", "huey (sqlite)"


@dataclass(frozen=True, slots=True)
class Goal:
    """``key``: of what is measured; it should be ``factor`` times ``other``'s, in tasks a second."""

    what: str
    key: str
    other: str
    factor: float


GOALS = (
    Goal("enqueue at least as fast as uWSGI, without sync", "enqueue", UWSGI, 1),
    Goal("enqueue 3x huey, without sync", "enqueue", HUEY, 3),
    Goal("10,000 small tasks complete 3x as fast as in uWSGI", "complete", UWSGI, 3),
    Goal("besides: 2,000 tasks that wait a millisecond each", "waiting", UWSGI, 3),
)
LATENCY_GOAL = 0.01  # seconds


class Queue:
    """One way to write and run tasks, in a directory of its own. ``wait``: seconds that each task waits."""

    def __init__(self, place: Path, wait: float) -> None:
        self.place = place
        self.log = place / "log"
        self.environment = {**os.environ, "BENCH_LOG": str(self.log), "BENCH_WAIT": str(wait)}

    def notes(self) -> list[tuple[int, int]]:
        """When each task was written and when it was run, in nanoseconds."""
        return list(RECORD.iter_unpack(self.log.read_bytes())) if self.log.exists() else []

    def wait_for(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self.log.exists() or self.log.stat().st_size < count * RECORD.size:
            if time.monotonic() > deadline:
                sys.exit(f"only {len(self.notes())} of {count} tasks were run in {PATIENCE:.0f} s")
            time.sleep(0.01)

    @contextmanager
    def writer(self) -> Iterator[Write]:
        """Give what writes tasks, from a process that runs none."""
        raise NotImplementedError

    @contextmanager
    def runner(self) -> Iterator[Write]:
        """Run tasks while the block runs; give what writes more of them."""
        raise NotImplementedError


class Server(Queue):
    """A server with a spooler. ``words``: its command and options."""

    def __init__(self, place: Path, wait: float, words: Sequence[str]) -> None:
        super().__init__(place, wait)
        self._words = words
        self._spool = place / "spool"
        self._spool.mkdir()

    @contextmanager
    def writer(self) -> Iterator[Write]:
        with self._started("--spooler-external", str(self._spool)) as write:
            yield write

    @contextmanager
    def runner(self) -> Iterator[Write]:
        with self._started("--spooler", str(self._spool)) as write:
            yield write

    @contextmanager
    def _started(self, *options: str) -> Iterator[Write]:
        log = self.place / "server.log"
        with log.open("wb") as file:
            words = [*self._words, "--master", "--http-socket", "127.0.0.1:0", "--disable-logging", "--spooler-quiet"]
            words += ["--wsgi-file", str(PROBE), *options]
            process = subprocess.Popen(words, env=self.environment, stdout=file, stderr=file)
        try:
            url = _url(log, process)

            def write(count: int, pause: float) -> float:
                with urlopen(f"{url}/?{count}&{pause}", timeout=PATIENCE) as answer:
                    return float(answer.read())

            yield write
        finally:
            process.send_signal(2)
            process.wait(30)


def _url(log: Path, process: subprocess.Popen[bytes]) -> str:
    pattern = re.compile(
        r"(?:serves http://|bound to TCP address )(127\.0\.0\.1:\d+)[^$]*?(?:serves|spawned uWSGI worker)"
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        text = log.read_text(errors="replace")
        match = pattern.search(text) or re.search(r"serves http://(127\.0\.0\.1:\d+)", text)
        if match:
            return f"http://{match[1]}"
        time.sleep(0.05)
    sys.exit(f"a server did not start: {log.read_text(errors='replace')}")


class Library(Queue):
    """A library: scripts write, and a command of its own runs tasks."""

    def __init__(self, place: Path, wait: float, name: str, store: str, words: Sequence[str]) -> None:
        super().__init__(place, wait)
        self.environment |= {"BENCH_QUEUE": name, "BENCH_STORE": store, "PYTHONPATH": str(PROBE.parent)}
        self._words = words

    @contextmanager
    def writer(self) -> Iterator[Write]:
        def write(count: int, pause: float) -> float:
            code = "import sys, spooler_probe as p; print(p.enqueue(p.noted, int(sys.argv[1]), float(sys.argv[2])))"
            words = [sys.executable, "-c", code, str(count), str(pause)]
            done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
            if done.returncode:
                sys.exit(done.stderr)
            return float(done.stdout)

        yield write

    @contextmanager
    def runner(self) -> Iterator[Write]:
        with (self.place / "runner.log").open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *self._words], env=self.environment, cwd=self.place, stdout=file, stderr=file
            )
        try:
            with self.writer() as write:
                yield write
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def measured(queue: Queue, count: int) -> Values:
    """Return tasks a second, and seconds of latency."""
    with queue.writer() as write:
        enqueue = write(count, 0)
    with queue.runner() as write:
        queue.wait_for(count)
        ran = sorted(done for _, done in queue.notes())
        drain = (ran[-1] - ran[0]) / 1e9
        complete = completed(queue, write, count)
        before = len(queue.notes())
        write(LATENCY_TASKS, LATENCY_PAUSE)
        queue.wait_for(before + LATENCY_TASKS)
        latency = statistics.median((done - written) / 1e9 for written, done in queue.notes()[before:])
    return {"enqueue": count / enqueue, "drain": count / drain, "complete": complete, "latency": latency}


def completed(queue: Queue, write: Write, count: int) -> float:
    """Return tasks a second, from the first that is written to the last that is done."""
    before = len(queue.notes())
    write(count, 0)
    queue.wait_for(before + count)
    notes = queue.notes()[before:]
    return count / ((max(done for _, done in notes) - min(written for written, _ in notes)) / 1e9)


def waited(queue: Queue) -> float:
    with queue.runner() as write:
        completed(queue, write, 1)  # it is awake
        return completed(queue, write, WAITING_TASKS)


@contextmanager
def ours(place: Path, wait: float, *words: str) -> Iterator[Queue]:
    cores = ("--spooler-cores", str(AT_ONCE)) if wait else ()
    queue = Server(place, wait, [sys.executable, "-m", "uwsgi_async", *words, *cores])
    queue.environment["BENCH_QUEUE"] = "async"
    yield queue


@contextmanager
def real_uwsgi(place: Path, wait: float) -> Iterator[Queue]:
    words = [str(binary()), *(["--home", str(home())] if home().exists() else []), "--die-on-term"]
    queue = Server(place, wait, words)
    queue.environment = {key: value for key, value in queue.environment.items() if not key.startswith("PYTHON")}
    yield queue


@contextmanager
def huey(place: Path, wait: float) -> Iterator[Queue]:
    words = ["-m", "huey.bin.huey_consumer", "spooler_probe.huey", "-q", "-w", str(AT_ONCE if wait else 1)]
    yield Library(place, wait, "huey", str(place / "huey.db"), words)


@contextmanager
def dramatiq(place: Path, wait: float) -> Iterator[Queue]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    server = subprocess.Popen(
        ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", int(port))).close()
                break
            except OSError:
                time.sleep(0.05)
        words = ["-m", "dramatiq", "spooler_probe", "-p", "1", "-t", str(AT_ONCE if wait else 8)]
        yield Library(place, wait, "dramatiq", f"redis://127.0.0.1:{port}/0", words)
    finally:
        server.kill()
        server.wait()


RUNS: dict[str, Callable[[Path, float], AbstractContextManager[Queue]]] = {
    "uwsgi-async": ours,
    OURS: lambda place, wait: ours(place, wait, "--spooler-sync=false"),
    UWSGI: real_uwsgi,
    HUEY: huey,
    "dramatiq (redis)": dramatiq,
}


def measure(name: str, count: int, directory: str | None) -> Values:
    """Return what one round of a queue has given."""
    values: Values = {}
    with tempfile.TemporaryDirectory(dir=directory) as place, RUNS[name](Path(place), 0) as queue:
        values |= measured(queue, count)
    with tempfile.TemporaryDirectory(dir=directory) as place, RUNS[name](Path(place), WAIT) as queue:
        values["waiting"] = waited(queue)
    return values


def page(rounds: list[dict[str, Values]], command: str, where: str, count: int, floor: dict[str, float]) -> str:
    """Return what was measured, in Markdown."""
    lines = [
        "# The spooler beside others",
        "",
        f"`{command}`: medians of {len(rounds)} rounds of {count:,} tasks, on {cpu_model()},",
        f"{os.cpu_count()} CPUs, Python {platform.python_version()}, the directory on {where}; uWSGI {VERSION},",
        f"huey {importlib.metadata.version('huey')}, dramatiq {importlib.metadata.version('dramatiq')}.",
        "One process writes, one runs tasks. Real uWSGI, huey and redis do not wait for the disk; uwsgi-async does,",
        "but where it says so.",
        "",
        "| | enqueue | drain | complete | waiting | latency |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name in rounds[0]:
        middle = {key: statistics.median(each[name][key] for each in rounds) for key in rounds[0][name]}
        rates = " | ".join(f"{middle[key]:,.0f}/s" for key in ("enqueue", "drain", "complete", "waiting"))
        lines.append(f"| {name} | {rates} | {middle['latency'] * 1000:.2f} ms |")
    lines += ["", *_MEANINGS, "", *_verdicts(rounds), "", *_BEFORE_FLOOR, ""]
    return "\n".join([*lines, *(f"    {line}" for line in floor_lines(floor)), "", *_REMARKS]) + "\n"


def _verdicts(rounds: list[dict[str, Values]]) -> Iterator[str]:
    yield "| goal | measured (smallest and largest of a round) | verdict |"
    yield "| --- | --- | --- |"
    for goal in GOALS:
        ratios = [each[OURS][goal.key] / each[goal.other][goal.key] for each in rounds]
        middle = statistics.median(ratios)
        verdict = "met" if middle >= goal.factor else "**not met**"
        yield f"| {goal.what} | {middle:.2f}x ({min(ratios):.2f}-{max(ratios):.2f}) | {verdict} |"
    latency = statistics.median(each["uwsgi-async"]["latency"] for each in rounds)
    verdict = "met" if latency < LATENCY_GOAL else "**not met**"
    yield f"| from enqueue to start under {LATENCY_GOAL * 1000:.0f} ms, synced | {latency * 1000:.2f} ms | {verdict} |"


_MEANINGS = (
    "Enqueue: tasks written a second while nobody runs any. Drain: those run, a second. Complete: both at once.",
    f"Waiting: complete, of {WAITING_TASKS:,} tasks that wait a millisecond each, {AT_ONCE} at once where one process",
    "can (`async def` and `--spooler-cores`; threads in huey and dramatiq). Latency: the median time from writing a",
    "task to its beginning.",
)
_BEFORE_FLOOR = (
    "What a task costs from Python at the least, `python -m benchmarks.spooler_floor`: the system calls alone, the",
    "names made before, nothing encoded, found or called; on the same file system, in the same run:",
)
_REMARKS = (
    "- **Enqueue 3x huey** would be less time than the three system calls of a file in its place take, and more tasks",
    "  than real uWSGI writes in C. huey adds a row to a file that is open; a spooler's task is a file.",
    "- **Small tasks 3x as fast as uWSGI**: both at once, the system calls alone, are not three times as fast as uWSGI",
    "  with all that it does. Tasks that wait, as most do, are another matter: see `waiting`.",
    "- In uWSGI a task that is written at the moment at which its spooler ends a round is only seen",
    "  `spooler-frequency` seconds later: then `complete` takes 30 seconds. That happens in some rounds, and so has no",
    "  part in the median.",
)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spooler", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", choices=RUNS, default=list(RUNS))
    parser.add_argument("--directory", help="where the queues are; the default is the system's for temporary files")
    parser.add_argument("--page", type=Path, help="write the page here; needs all queues")
    options = parser.parse_args(words)
    if "dramatiq (redis)" in options.only and shutil.which("redis-server") is None:
        sys.exit("redis-server is not there (Debian: redis-server)")
    rounds: list[dict[str, Values]] = []
    for _ in range(options.rounds):
        rounds.append({})
        for name in options.only:
            rounds[-1][name] = measure(name, options.tasks, options.directory)
            print(name, {key: round(value, 5) for key, value in rounds[-1][name].items()}, flush=True)
    if options.page:
        where = "tmpfs" if (options.directory or "").startswith("/dev/shm") else "a disk (ext4)"
        given = f" --directory {options.directory}" if options.directory else ""
        command = f"python -m benchmarks.spooler --rounds {options.rounds}{given}"
        options.page.write_text(page(rounds, command, where, options.tasks, floors(options.directory)))


if __name__ == "__main__":
    main()
