"""python -m benchmarks.mules: messages a second from a worker to a mule.

Both servers run the same app (benchmarks/apps/mules.py) with a master, one worker, mule 1 with a hook and mule 2 with a
program. A round is the time from the first message of 100 bytes until the mule has handled the last one; where a queue
is full the worker tries again. A value is the median of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.parity.harness import Running, start

APPS = Path(__file__).parent / "apps"
SERVERS = {"uWSGI": "oracle", "uwsgi-async": "ours"}
MULES = {"a hook": 1, "a program": 2}


@contextmanager
def running(server: str) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANSWERS", place)
        program = f"--mule={APPS / 'mule_program.py'}"
        words = ["--master", "--disable-logging", "--mule", program, "--wsgi-file", str(APPS / "mules.py")]
        with start(server, Path(place), *words, cwd=Path(place)) as it:
            yield it


def messages_a_second(server: str, mule: int, count: int, rounds: int) -> float:
    with running(server) as it:
        rates = []
        for _ in range(rounds + 1):
            answer = it.request("GET", f"/{mule}/{count}/{uuid.uuid4().hex}").body
            rates.append(count / float(answer))
    return statistics.median(rates[1:])  # the first one has warmed both up


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mules")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=50_000, help="messages of a round")
    chosen = parser.parse_args()
    print("| | " + " | ".join(SERVERS) + " |\n| --- | --- | --- |")
    for name, mule in MULES.items():
        rates = [messages_a_second(server, mule, chosen.count, chosen.rounds) for server in SERVERS.values()]
        print(
            f"| messages/s to a mule with {name} | " + " | ".join(f"{rate:,.0f}" for rate in rates) + " |", flush=True
        )


if __name__ == "__main__":
    main()
