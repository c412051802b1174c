"""python -m benchmarks.signals: signals a second from a worker to a worker, and the drift of many timers.

Both servers run the same app (benchmarks/apps/signals.py, timers.py) with a master and two workers. Signals are raised
in bursts of 100, because real uWSGI loses what its queue has no room for; a value is the median of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parity.harness import Running, start

APPS = Path(__file__).parent / "apps"
TO_ONE, TO_ANY = 1, 2
SERVERS = {"uWSGI": "oracle", "uwsgi-async": "ours"}


@contextmanager
def running(server: str, app: str, *options: str) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as place:
        words = ["--master", "--processes", "2", "--disable-logging", "--wsgi-file", str(APPS / app), *options]
        with start(server, Path(place), *words, cwd=Path(place)) as it:
            yield it


def signals(server: Running, number: int, count: int) -> float | None:
    """Return how many signals a second; None when it came to worker 2, which is to handle them."""
    worker, seconds = server.request("GET", f"/{number}/{count}").body.split()
    return None if worker == b"2" and number == TO_ONE else count / float(seconds)


def signals_a_second(server: str, number: int, count: int, rounds: int) -> float:
    with running(server, "signals.py") as it:
        rates: list[float] = []
        while len(rates) < rounds:
            rate = signals(it, number, count)
            if rate is not None:
                rates.append(rate)
    return statistics.median(rates)


def between_ticks(server: Running) -> list[tuple[int, float]]:
    """Return runs and time of the last run of each signal's timers, when none of them is under way."""
    seen: list[tuple[int, float]] = []
    while True:
        looked = [(runs, at) for runs, at in json.loads(server.request("GET", "/").body)]
        if looked == seen:
            return looked
        seen = looked
        time.sleep(0.1)


def drift(server: str, seconds: float) -> tuple[float, float]:
    """Return how many timers ran a second, and by how many milliseconds their time has drifted from whole seconds."""
    with running(server, "timers.py") as it:
        time.sleep(3)
        before = between_ticks(it)
        time.sleep(seconds)
        after = between_ticks(it)
    pairs = list(zip(before, after, strict=True))
    passed = [later - earlier for (_, earlier), (_, later) in pairs]
    runs = sum(later - earlier for (earlier, _), (later, _) in pairs)
    return runs / round(statistics.median(passed)), statistics.median(abs(each - round(each)) * 1000 for each in passed)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.signals")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000, help="signals of a round")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which timers are watched")
    chosen = parser.parse_args()
    print("| | " + " | ".join(SERVERS) + " |\n| --- | --- | --- |")
    for name, number in (("signals/s, worker 1 to worker 2", TO_ONE), ("signals/s, to any worker", TO_ANY)):
        rates = [signals_a_second(server, number, chosen.count, chosen.rounds) for server in SERVERS.values()]
        print(f"| {name} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |", flush=True)
    drifts = [drift(server, chosen.seconds) for server in SERVERS.values()]
    print("| timers of 1 s that run (uWSGI takes 64) | " + " | ".join(f"{runs:,.0f}" for runs, _ in drifts) + " |")
    print(f"| drift over {chosen.seconds:g} s, ms | " + " | ".join(f"{off:.1f}" for _, off in drifts) + " |")


if __name__ == "__main__":
    main()
