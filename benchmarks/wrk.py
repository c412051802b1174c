"""wrk, the load generator: run it on the client's CPU and read what it prints."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import CLIENT_CPU, NotUsableError

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Load:
    """What wrk saw. ``p99`` is the latency in seconds that 99 % of the requests did not exceed."""

    requests_per_second: float
    p99: float
    errors: str


def wrk(port: int, connections: int, seconds: int, script: Path | None = None) -> Load:
    """Load a server for some seconds with one wrk thread."""
    binary = shutil.which("wrk")
    if binary is None:
        raise NotUsableError("wrk is not installed.")
    command = [
        *("taskset", "--cpu-list", CLIENT_CPU, binary, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"),
        *("--timeout", "10s", *(("-s", str(script)) if script else ()), f"http://127.0.0.1:{port}/"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise NotUsableError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def parse(output: str) -> Load:
    """Read the text that wrk prints."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None:
        raise NotUsableError(f"wrk printed no rate: {output!r}")
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", output)
    errors = re.findall(r"(?:Socket errors: .*|Non-2xx or 3xx responses: \d+)", output)
    if not float(rate[1]):
        errors.append("no request was answered")
    return Load(
        requests_per_second=float(rate[1]),
        p99=float(p99[1]) * UNITS[p99[2]] if p99 else 0.0,
        errors="; ".join(" ".join(error.split()) for error in errors),
    )
