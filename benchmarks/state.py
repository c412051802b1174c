"""python -m benchmarks.state: shared state beside real uWSGI's own functions, diskcache, and redis on loopback.

All of them run the same code (benchmarks/apps/state_probe.py), where they are: the functions of the uwsgi module inside
real uWSGI, and inside uwsgi-async; diskcache in a directory in memory; redis-py to a server without persistence. Values
are medians of the rounds; a round runs all of them, one after the other. Needs redis-server (Debian: redis-server).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.apps.state_probe import OPERATIONS, READ, SLOTS, WRITE
from benchmarks.report import cpu_model
from tests.parity.oracle import VERSION, binary, home

PROBE = Path(__file__).parent / "apps" / "state_probe.py"
OPTIONS = ["--socket", "127.0.0.1:0", "--cache2", "name=bench,items=100000", "--queue", str(SLOTS)]
OPTIONS += ["--queue-blocksize", "4096", "--sharedarea", "10", "--metric", "hits", "--locks", "1"]
OPTIONS += ["--wsgi-file", str(PROBE)]
NOTES = "## Notes\n"
PATIENCE = 10.0  # seconds for redis-server to start

Values = dict[str, float]
US = "uwsgi-async"
SLOWER = {READ: 2.0, WRITE: 6.0}
"""How many times as long as real uWSGI an operation may take."""
FASTER = {"diskcache": 5.0, "redis": 20.0}
"""How many times as fast as these it must be."""


def measured(command: list[str], environment: dict[str, str] | None = None) -> Values:
    """Run the probe and return what it told."""
    done = subprocess.run(
        command, env=environment or dict(os.environ), capture_output=True, text=True, timeout=600, check=False
    )
    lines = [line.split("\t") for line in done.stdout.splitlines() + done.stderr.splitlines() if line[:5] == "BENCH"]
    if not lines:
        sys.exit(f"{command[0]} has measured nothing:\n{done.stdout}{done.stderr}")
    return {name: float(value) for _, name, value in lines}


def ours() -> Values:
    return measured([sys.executable, "-m", "uwsgi_async", *OPTIONS])


def real_uwsgi() -> Values:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [str(binary()), *OPTIONS, *(["--home", str(home())] if home().exists() else [])]
    return measured(command, environment)


def diskcache() -> Values:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        return measured([sys.executable, str(PROBE), "diskcache", directory])


def redis() -> Values:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = str(sock.getsockname()[1])
    server = subprocess.Popen(
        ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(port))).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    sys.exit("redis-server does not answer")
                time.sleep(0.05)
        return measured([sys.executable, str(PROBE), "redis", port])
    finally:
        server.kill()
        server.wait()


TWO = "two processes, "

RUNS: dict[str, Callable[[], Values]] = {
    US: ours,
    "uWSGI": real_uwsgi,
    "diskcache": diskcache,
    "redis": redis,
}


@dataclass(frozen=True)
class Comparison:
    """One operation, us and a peer. ``ratio``: how many times as fast as the peer we are: median, least and most."""

    name: str
    peer: str
    ours: float
    theirs: float
    ratio: tuple[float, float, float]

    @property
    def goal(self) -> str:
        if self.peer in FASTER:
            return f"at least {FASTER[self.peer]:g}x"
        return f"{1 / self.least:g}x at most"

    @property
    def least(self) -> float:
        """The ratio that is the goal."""
        if self.peer in FASTER:
            return FASTER[self.peer]
        return 1 / SLOWER[OPERATIONS.get(self.name, READ if self.name == f"{TWO}cache: read" else WRITE)]

    @property
    def met(self) -> bool:
        return self.ratio[0] >= self.least

    def told(self) -> str:
        """Return the ratio in words: as a factor of time towards uWSGI, of speed towards the others."""
        figures = self.ratio if self.peer in FASTER else tuple(1 / each for each in self.ratio)
        middle, *ends = (f"{each:.1f}" for each in figures)
        return f"{middle}x ({min(ends, key=float)}-{max(ends, key=float)})"


def compare(rounds: list[dict[str, Values]], peer: str) -> list[Comparison]:
    found = []
    for name in rounds[0][US]:
        if name not in rounds[0][peer]:
            continue
        ratios = [each[peer][name] / each[US][name] for each in rounds]
        if is_rate(name):
            ratios = [1 / ratio for ratio in ratios]
        middle = [statistics.median(each[who][name] for each in rounds) for who in (US, peer)]
        found.append(Comparison(name, peer, *middle, (statistics.median(ratios), min(ratios), max(ratios))))
    return found


def is_rate(name: str) -> bool:
    """Whether it is operations a second, where more is better."""
    return name.startswith(TWO)


def shown(value: float, name: str) -> str:
    return f"{value / 1000:,.0f}k/s" if is_rate(name) else f"{value / 1000:.2f} us"


def table(comparisons: list[Comparison], peer: str) -> list[str]:
    """Return the page's part about one peer."""
    met = sum(each.met for each in comparisons)
    lines = [
        "",
        f"## Beside {peer}: {met} of {len(comparisons)} goals are met",
        "",
        f"| operation | {US} | {peer} | {'we are faster' if peer in FASTER else 'we take'} | goal | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in comparisons:
        cells = [each.name, shown(each.ours, each.name), shown(each.theirs, each.name), each.told(), each.goal]
        lines.append(f"| {' | '.join(cells)} | {'met' if each.met else '**not met**'} |")
    return lines


def page(rounds: list[dict[str, Values]], command: str) -> str:
    versions = {name: importlib.metadata.version(name) for name in ("lmdb", "diskcache", "redis")}
    lines = [
        "# Shared state beside others",
        "",
        f"Made by `{command}`, in one run. {cpu_model()}, {os.cpu_count()} CPUs; Python {platform.python_version()}, "
        f"uWSGI {VERSION}, lmdb {versions['lmdb']}, diskcache {versions['diskcache']}, redis-py {versions['redis']}.",
        "",
        "All run the same loop in Python (benchmarks/apps/state_probe.py), where they are: the functions of the uwsgi "
        "module inside real uWSGI and inside uwsgi-async, diskcache in a directory in memory, redis over TCP on "
        f"loopback. Values have 100 bytes where nothing else is said. Medians of {len(rounds)} rounds, and the "
        "smallest and largest ratio of a round. Goals: reads within 2x of the time of uWSGI's C functions, writes "
        "within 6x; at least 5x as fast as diskcache and 20x as redis. A mix of reads and writes counts as a write.",
    ]
    for peer in RUNS:
        if peer != US:
            lines += table(compare(rounds, peer), peer)
    return "\n".join([*lines, ""])


def notes(path: Path) -> str:
    """Return what people have written below the tables of an earlier run."""
    _, found, text = (path.read_text() if path.exists() else "").partition(NOTES)
    return f"\n{found}{text}" if found else ""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.state", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page here instead of printing it")
    words = parser.parse_args()
    if shutil.which("redis-server") is None:
        sys.exit("redis-server is needed (Debian: redis-server)")
    rounds = [{name: run() for name, run in RUNS.items()} for _ in range(words.rounds)]
    text = page(rounds, f"python -m benchmarks.state --rounds {words.rounds}")
    if words.markdown:
        words.markdown.write_text(text + notes(words.markdown))
    else:
        print(text)


if __name__ == "__main__":
    main()
