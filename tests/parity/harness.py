"""Starts either server with the same app and options, and speaks to it.

What lives here: `Running`, `start_ours`, `start_oracle`, `start`. What does not: what is compared (`test_parity`).
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.parity.oracle import binary, home

T = TypeVar("T")

APPS = Path(__file__).parent / "apps"
_PATIENCE = 20.0  # seconds until a server must have said where it listens
_BOUND = re.compile(
    r"(?:bound to TCP address|serves (?:(?:http|uwsgi)://)?)\s*127\.0\.0\.1:(\d+)|127\.0\.0\.1:(\d+) with"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client saw. ``headers`` in order, names as sent."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: ports of its HTTP and its uwsgi socket."""

    http: int
    uwsgi: int
    log_path: Path

    def request(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Seen:
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=20)
        try:
            connection.request(method, target, body=body, headers=headers or {})
            response = connection.getresponse()
            return Seen(response.status, response.reason, response.getheaders(), response.read())
        finally:
            connection.close()

    def raw(self, port: int, data: bytes) -> bytes:
        """Send bytes, return all that comes until the server closes."""
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            sock.sendall(data)
            answer = b""
            try:
                while part := sock.recv(65536):
                    answer += part
            except ConnectionResetError:
                pass
            return answer

    def log_until(self, found: Callable[[str], T | None]) -> T:
        """Read the log until ``found`` makes something of it: a line is written after the client has its answer."""
        deadline = time.monotonic() + _PATIENCE
        while (result := found(self.log_path.read_text(errors="replace"))) is None:
            assert time.monotonic() < deadline, self.log_path.read_text(errors="replace")[-2000:]
            time.sleep(0.02)
        return result


@contextmanager
def start_ours(app: str, tmp: Path, *options: str) -> Iterator[Running]:
    command = [sys.executable, "-m", "uwsgi_async", *_common(app), *options]
    with _started(command, tmp / "ours.log", dict(os.environ)) as running:
        yield running


@contextmanager
def start_oracle(app: str, tmp: Path, *options: str) -> Iterator[Running]:
    command = [str(binary()), *_common(app), "--need-app", *options]
    if home().exists():
        command += ["--home", str(home())]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    with _started(command, tmp / "oracle.log", environment) as running:
        yield running


@contextmanager
def start(server: str, tmp: Path, *options: str, cwd: Path) -> Iterator[Running]:
    """Start "ours" or the "oracle" in ``cwd`` with two sockets and nothing else but ``options``."""
    sockets = ["--http-socket", "127.0.0.1:0", "--socket", "127.0.0.1:0"]
    environment = dict(os.environ)
    if server == "ours":
        command = [sys.executable, "-m", "uwsgi_async", *sockets, *options]
    else:
        command = [str(binary()), *sockets, *options]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        if home().exists() and "--home" not in options:
            command += ["--home", str(home())]
    with _started(command, tmp / f"{server}.log", environment, cwd) as running:
        yield running


def _common(app: str) -> list[str]:
    return [
        "--http-socket", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--async", "10", "--greenlet",
        "--wsgi-file", str(APPS / app),
    ]  # fmt: skip


@contextmanager
def _started(
    command: list[str], log_path: Path, environment: dict[str, str], cwd: Path | None = None
) -> Iterator[Running]:
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=cwd)
    try:
        ports = _ports(process, log_path)
        http_port, uwsgi_port = ports  # both list them in the order of the options
        yield Running(http_port, uwsgi_port, log_path)
    finally:
        process.terminate() if "uwsgi_async" in command else process.kill()
        process.wait(20)


def _ports(process: subprocess.Popen[bytes], log_path: Path) -> list[int]:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        text = log_path.read_text(errors="replace")
        ports = [int(a or b) for a, b in _BOUND.findall(text)]
        if len(ports) == 2 and ("uwsgi_async" in process.args or "spawned uWSGI" in text):
            return ports
        time.sleep(0.05)
    raise AssertionError(f"the server did not start: {log_path.read_text(errors='replace')}")
