"""python -m benchmarks.tls: what TLS costs a server: CPU a request and a handshake, memory an idle connection.

All servers have one process (granian and uWSGI's router: what they need), the same certificate (ECDSA, P-256) and an
app that says hello. What is told is CPU time of the server's processes, from /proc, because that is the same on a busy
machine; a value is the median of the rounds, which go round the servers. wrk keeps its connections; handshakes are
whole ones, by Python's ssl, without tickets of before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.certificates import Authority, Pair
from tests.parity.oracle import binary, home

APPS = Path(__file__).parent / "apps"
CONNECTIONS = 32
IDLE = 400  # connections
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
TICKS = os.sysconf("SC_CLK_TCK")
PATIENCE = 20.0  # seconds


def commands(port: int, pair: Pair) -> Mapping[str, list[str]]:
    """Return the command line of each server; "plain" are those without TLS."""
    python, address = sys.executable, f"127.0.0.1:{port}"
    ours = [
        python,
        "-m",
        "uwsgi_async",
        "--uvloop",
        "--async",
        "100",
        "--disable-logging",
        str(APPS / "hello_async.py"),
    ]
    uvicorn = [
        python,
        "-m",
        "uvicorn",
        "hello_asgi:application",
        "--app-dir",
        str(APPS),
        "--port",
        str(port),
        "--loop",
        "uvloop",
    ]
    uvicorn += ["--http", "httptools", "--no-access-log", "--log-level", "warning", "--lifespan", "off"]
    granian = [python, "-m", "granian", "--interface", "asginl", "--port", str(port), "--working-dir", str(APPS)]
    granian += ["--no-access-log", "--log-level", "warning", "--http", "1", "hello_asgi:application"]
    uwsgi = [
        str(binary()),
        "--home",
        str(home()),
        "--http-keepalive",
        "--disable-logging",
        "--async",
        "100",
        "--greenlet",
    ]
    uwsgi += ["--wsgi-file", str(APPS / "hello_wsgi.py"), "--socket", "127.0.0.1:0"]
    return {
        "uwsgi-async": [*ours, "--https", f"{address},{pair}"],
        "uwsgi-async plain": [*ours, "--http-socket", address],
        "uvicorn": [*uvicorn, "--ssl-certfile", pair.certificate, "--ssl-keyfile", pair.key],
        "uvicorn plain": uvicorn,
        "granian": [*granian, "--ssl-certificate", pair.certificate, "--ssl-keyfile", pair.key],
        "uWSGI https": [*uwsgi, "--https", f"{address},{pair}"],
    }


@contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    """Start a server; give the id of its first process, which leads a group of its own."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        log.seek(0)
                        raise SystemExit(f"{command}: {log.read().decode(errors='replace')[-1000:]}") from None
                    time.sleep(0.1)
            yield process.pid
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)


def processes(group: int) -> list[str]:
    """Return what /proc says of each process of a group, behind its name."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2]
        except OSError:
            continue
        if int(words.split()[2]) == group:
            found.append(words)
    return found


def cpu(group: int) -> float:
    """Return the seconds of CPU that a group of processes has used."""
    return sum(sum(map(int, words.split()[11:13])) for words in processes(group)) / TICKS


def memory(group: int) -> int:
    """Return the resident bytes of a group of processes."""
    return sum(int(words.split()[21]) for words in processes(group)) * os.sysconf("SC_PAGE_SIZE")


def requests(group: int, port: int, seconds: int, scheme: str) -> tuple[float, float]:
    """Return the microseconds of CPU that a request costs, and requests a second."""
    wrk = shutil.which("wrk")
    assert wrk is not None, "wrk is missing"
    before = cpu(group)
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"{scheme}://127.0.0.1:{port}/"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    used = cpu(group) - before
    count = next(int(line.split()[0]) for line in output.splitlines() if " requests in " in line)
    assert "Non-2xx" not in output, output
    return used / count * 1e6, count / seconds


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(socket.create_connection(("127.0.0.1", port), 20), server_hostname="localhost")


def handshakes(group: int, port: int, context: ssl.SSLContext, count: int) -> float:
    """Return the microseconds of CPU that a connection with one request costs."""
    before = cpu(group)
    for _ in range(count):
        with connect(port, context) as sock:
            sock.sendall(GET)
            assert b" 200 " in sock.recv(65536)
    return (cpu(group) - before) / count * 1e6


def idle(group: int, port: int, context: ssl.SSLContext) -> float:
    """Return the bytes that a connection takes which has been answered once."""
    with ExitStack() as stack:
        before = 0
        for number in range(IDLE + 50):
            if number == 50:  # those before have made the server take what it takes once
                before = memory(group)
            sock = stack.enter_context(connect(port, context))
            sock.sendall(GET)
            assert b" 200 " in sock.recv(65536)
        return (memory(group) - before) / IDLE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tls")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--handshakes", type=int, default=500)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        authority = Authority(Path(place))
        pair, context = authority.issue("localhost"), authority.context()
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        results: dict[str, list[tuple[float, float, float, float]]] = {}
        for _ in range(chosen.rounds):
            for name, command in commands(port, pair).items():
                plain = name.endswith("plain")
                with running(command, port) as group:
                    requests(group, port, 1, "http" if plain else "https")
                    each, rate = requests(group, port, chosen.seconds, "http" if plain else "https")
                    rest = (0.0, 0.0) if plain else (handshakes(group, port, context, chosen.handshakes),
                                                     idle(group, port, context))  # fmt: skip
                    results.setdefault(name, []).append((each, rate, *rest))
    print(
        "| server | CPU us a request | requests a second | CPU us a handshake with a request | KB an idle connection |"
    )
    print("| --- | --- | --- | --- | --- |")
    for name, values in results.items():
        each, rate, shake, size = (statistics.median(column) for column in zip(*values, strict=True))
        rest = f"{shake:.0f} | {size / 1024:.1f}" if shake else "- | -"
        print(f"| {name} | {each:.1f} | {rate:.0f} | {rest} |")


if __name__ == "__main__":
    main()
