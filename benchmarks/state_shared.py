"""python -m benchmarks.state_shared: queue, shared areas, metrics and locks beside real uWSGI's C functions.

Both servers import the same app, which times the functions (benchmarks/apps/shared_state.py): in one process, by its
CPU time, and in two processes that do the same at once, by the wall clock. A value is the median of the rounds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from tests.parity.oracle import binary, home

APP = Path(__file__).parent / "apps" / "shared_state.py"
OPTIONS = ["--socket", "127.0.0.1:0", "--queue", "1024", "--queue-blocksize", "4096", "--sharedarea", "10"]
OPTIONS += ["--metric", "hits", "--locks", "1", "--wsgi-file", str(APP)]

Times = dict[str, tuple[float, float]]


def measured(command: list[str], environment: dict[str, str]) -> Times:
    """Return the microseconds of each operation, with one process and with two."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    found = {}
    for line in done.stdout.splitlines() + done.stderr.splitlines():
        if line.startswith("BENCH\t"):
            _, name, times = line.split("\t")
            one, two = times.split()
            found[name] = (float(one), float(two))
    if not found:
        sys.exit(f"{command[0]} has measured nothing:\n{done.stdout}{done.stderr}")
    return found


def ours() -> Times:
    return measured([sys.executable, "-m", "uwsgi_async", *OPTIONS], dict(os.environ))


def uwsgi() -> Times:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [str(binary()), *OPTIONS, *(["--home", str(home())] if home().exists() else [])]
    return measured(command, environment)


def table(rounds: list[tuple[Times, Times]]) -> str:
    """Return a Markdown table. Each round: real uWSGI's times, and ours."""
    lines = [
        "| operation | uWSGI, us | uwsgi-async, us | times | uWSGI, of two | uwsgi-async, of two | times |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in rounds[0][0]:
        cells = []
        for which in (0, 1):
            real, own = (statistics.median(each[who][name][which] for each in rounds) for who in (0, 1))
            ratio = statistics.median(each[1][name][which] / each[0][name][which] for each in rounds)
            cells += [f"{real:.2f}", f"{own:.2f}", f"{ratio:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.state_shared", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(table([(uwsgi(), ours()) for _ in range(rounds)]))


if __name__ == "__main__":
    main()
