"""The same loggers and encoders in both servers: what arrives in files and sockets is the same."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.parity.oracle import binary, home, require

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

APP = r"""
import uwsgi

def application(environ, start_response):
    print('printed "quoted" \\ and \ttab, \x01 \xe4')
    uwsgi.log("logged " + "x" * 1500)
    start_response("200 OK", [])
    return [b"ok"]
"""
CASES = {
    "files and sockets": [
        *("--logger", "file:main", "--req-logger", "file:requests", "--logger-req", "socket:SOCKET,before "),
        *("--req-logger", "rsyslog:SOCKET,someone,131", "--req-logger", "rsyslog:SOCKET"),
    ],
    "logto, stdio, and a name without a route": [
        *("--logto", "main", "--logger", "stdio", "--logger", "name file:requests", "--log-socket", "SOCKET"),
    ],
    "encoders of messages and of requests": [
        *("--logger", "file:main", "--log-encoder", "prefix <", "--log-encoder", "suffix >"),
        *("--req-logger", "file:requests", "--log-req-encoder", "prefix REQ ", "--log-encoder", "prefix:other x"),
    ],
    "format": ["--logger", "file:main", "--log-encoder", "format [${msg}] ${none}.", "--log-encoder", "nl"],
    "json": ["--logger", "file:main", "--log-encoder", 'json {"said": "${msg}"}', "--log-encoder", "nl"],
    "an encoder without a logger": ["--logto", "main", "--log-encoder", "format [${msgnl}]"],
}


@pytest.fixture(scope="module", autouse=True)
def _oracle() -> None:
    require()


@pytest.mark.parametrize("case", CASES)
def test_the_same_lines_arrive_in_the_same_places(tmp_path: Path, case: str) -> None:
    with ThreadPoolExecutor() as pool:
        ours = pool.submit(places, tmp_path / "ours", CASES[case], ours=True)
        oracle = pool.submit(places, tmp_path / "oracle", CASES[case], ours=False)
    assert ours.result() == oracle.result()


def places(place: Path, options: list[str], *, ours: bool) -> dict[str, list[str]]:
    """Serve one request; return what has arrived where, without what differs from run to run."""
    place.mkdir()
    (place / "app.py").write_text(APP)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(place / "receiver"))
        receiver.settimeout(0.5)
        with running(place, [word.replace("SOCKET", str(place / "receiver")) for word in options], ours=ours):
            ask(place / "http")
            deadline = time.monotonic() + 20
            datagrams: list[bytes] = []
            before: list[str] = []
            while (found := collect(place, receiver, datagrams)) != before or not is_complete("".join(found)):
                assert time.monotonic() < deadline, found
                before = found
                time.sleep(0.05)
    files = {name: normal(text(place / name)) for name in ("main", "requests")}
    return {**files, "receiver": normal("\n".join(datagram.decode("latin-1") for datagram in datagrams))}


def is_complete(log: str) -> bool:
    """Return whether the ends of all three lines have come: a line may be seen while it is written."""
    return "x" * 1500 in log and all(re.search(end, log) for end in (r"printed.*(Ã¤|u00e4)", r"on core \d+\)"))


def collect(place: Path, receiver: socket.socket, datagrams: list[bytes]) -> list[str]:
    receiver.setblocking(False)
    try:
        while True:
            datagrams.append(receiver.recv(65536))
    except BlockingIOError:
        pass
    return [*(text(place / name) for name in ("main", "requests", "out")), *(d.decode("latin-1") for d in datagrams)]


def text(path: Path) -> str:
    return path.read_bytes().decode("latin-1") if path.exists() else ""


def normal(log: str) -> list[str]:
    """Return the lines of the request, without the numbers that differ.

    Sorted, because ours sends what is printed by another way where lines must be looked at.
    """
    # JSON has two ways to write a character, and real uWSGI leaves control characters as they are, which is none.
    log = re.sub(
        r"\{\"said\": .*\}", lambda match: "said " + json.loads(match[0].encode("latin-1"), strict=False)["said"], log
    )
    log = re.sub(r"\[pid: \d+\|", "[pid: P|", log)
    log = re.sub(r"\] (0\.0\.0\.0)? \(\) \{22 vars in \d+ bytes\}", "] ADDRESS", log)  # of a client at a UNIX socket
    log = re.sub(r"\[\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}\]", "[TIME]", log)
    log = re.sub(r"\w{3} [ \d]\d [\d:]{8} ", "TIME ", log)
    log = re.sub(r" in \d+ msecs \(HTTP/1.1 200\) \d+ headers in \d+ bytes \(\d+ switches on core \d+\)", " LINE", log)
    return sorted(line for line in log.split("\n") if re.search("printed|logged|generated", line))


def ask(path: Path) -> None:
    connection = http.client.HTTPConnection("localhost")
    deadline = time.monotonic() + 20
    while True:
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.sock.connect(str(path))
            break
        except OSError:
            connection.sock.close()
            assert time.monotonic() < deadline
            time.sleep(0.02)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"ok"
    connection.close()


@contextmanager
def running(place: Path, options: list[str], *, ours: bool) -> Iterator[None]:
    server = [sys.executable, "-m", "uwsgi_async"] if ours else [str(binary()), "--need-app"]
    if not ours and home().exists():
        server += ["--home", str(home())]
    environment = {key: value for key, value in os.environ.items() if ours or not key.startswith("PYTHON")}
    command = [*server, "--http-socket", "http", "--wsgi-file", "app.py", "--master", *options]
    with (place / "out").open("wb") as out:
        process = subprocess.Popen(command, cwd=place, stdout=out, stderr=out, env=environment)
    try:
        yield
    finally:
        process.terminate() if ours else process.kill()
        process.wait(20)
