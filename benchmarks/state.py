"""python -m benchmarks.state: the cache beside real uWSGI's own functions, diskcache, and redis on loopback.

All of them run the same code (benchmarks/apps/cache_probe.py), where they are: the functions of the uwsgi module inside
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
from pathlib import Path

from benchmarks.report import cpu_model
from tests.parity.oracle import VERSION, binary, home

PROBE = Path(__file__).parent / "apps" / "cache_probe.py"
CACHE = ["--socket", "127.0.0.1:0", "--cache2", "name=bench,items=100000", "--wsgi-file", str(PROBE)]
PATIENCE = 10.0  # seconds for redis-server to start

Values = dict[str, float]
GOALS = {"uWSGI": "reads within 2x, writes within 6x", "diskcache": "5x", "redis": "20x"}


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
    return measured([sys.executable, "-m", "uwsgi_async", *CACHE])


def real_uwsgi() -> Values:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [str(binary()), *CACHE, *(["--home", str(home())] if home().exists() else [])]
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


RUNS: dict[str, Callable[[], Values]] = {
    "uwsgi-async": ours,
    "uWSGI": real_uwsgi,
    "diskcache": diskcache,
    "redis": redis,
}


def median(rounds: list[dict[str, Values]], who: str, name: str) -> float:
    return statistics.median(each[who][name] for each in rounds)


def ratio(rounds: list[dict[str, Values]], who: str, name: str) -> float:
    """How much faster we are than ``who``; the median of the rounds' ratios."""
    faster = statistics.median(each[who][name] / each["uwsgi-async"][name] for each in rounds)
    return 1 / faster if is_rate(name) else faster


def is_rate(name: str) -> bool:
    """Whether it is operations a second, where more is better."""
    return name.startswith("two processes")


def shown(value: float, name: str) -> str:
    return f"{value / 1000:,.0f}k/s" if is_rate(name) else f"{value / 1000:.2f} us"


def times(faster: float) -> str:
    return f"{faster:.1f}x faster" if faster >= 1.05 else f"{1 / faster:.1f}x slower" if faster <= 0.95 else "the same"


def page(rounds: list[dict[str, Values]], command: str) -> str:
    others = [name for name in RUNS if name != "uwsgi-async"]
    lines = [
        "# The cache beside others",
        "",
        "Made by:",
        "",
        f"    {command}",
        "",
        f"on {cpu_model()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, uWSGI {VERSION}, "
        f"lmdb {importlib.metadata.version('lmdb')}, diskcache {importlib.metadata.version('diskcache')}, "
        f"redis-py {importlib.metadata.version('redis')}. All run the same loop in Python "
        "(benchmarks/apps/cache_probe.py); values have 100 bytes where nothing else is said. Medians of "
        f"{len(rounds)} rounds. The goals: " + "; ".join(f"{who}: {goal}" for who, goal in GOALS.items()) + ".",
        "",
        f"| operation | uwsgi-async | {' | '.join(f'{name} | we are' for name in others)} |",
        f"| --- | --- |{' --- | --- |' * len(others)}",
    ]
    for name in rounds[0]["uwsgi-async"]:
        cells = [shown(median(rounds, "uwsgi-async", name), name)]
        for other in others:
            cells += [shown(median(rounds, other, name), name), times(ratio(rounds, other, name))]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


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
        words.markdown.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
