"""An instance with a master, an app in it that says what it sees and does what it is told, and an operator."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from tests.command import COMMAND, Process, program, server

APP = r"""
import ctypes, json, os, sys, time, uwsgi

VERSION = 1
kept = []

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    path = environ["PATH_INFO"]
    answer = None
    if path == "/hang":
        time.sleep(1000)
    elif path == "/hang-in-c":
        os.write(1, b"a request hangs\n")
        while True:
            ctypes.PyDLL(None).sleep(1000)  # without giving up the interpreter's lock
    elif path == "/refuse":
        while True:
            try:
                uwsgi.async_sleep(0.01)
            except BaseException:
                pass
    elif path == "/die":
        os._exit(7)
    elif path == "/raise":
        raise ValueError("too large")
    elif path == "/exit":
        sys.exit(3)
    elif path == "/grow":
        kept.append(b'x' * (100 << 20))
    elif path.startswith("/sleep"):
        os.write(1, b"a request sleeps\n")
        uwsgi.async_sleep(float(path[7:] or 0.5))
    elif path == "/until-go":  # there is a file of this name
        os.write(1, b"a request sleeps\n")
        while not os.path.exists("go"):
            uwsgi.async_sleep(0.01)
    elif path == "/workers":
        answer = [
            {key: value for key, value in worker.items() if isinstance(value, int)} for worker in uwsgi.workers()
        ]
    elif path.startswith("/call/"):
        answer = getattr(uwsgi, path.split("/")[2])(*map(int, path.split("/")[3:]))
    return [json.dumps({
        "worker": uwsgi.worker_id(), "pid": os.getpid(), "master": uwsgi.masterpid(), "version": VERSION,
        "numproc": uwsgi.numproc, "requests": uwsgi.total_requests(), "ready": uwsgi.ready(),
        "reload": uwsgi.is_a_reload, "answer": answer,
    }).encode()]
"""


@contextmanager
def instance(place: Path, *words: str) -> Iterator[Process]:
    with server("--master", *words, "app.py", cwd=place) as process:
        yield process


@contextmanager
def starting(place: Path, *words: str) -> Iterator[Process]:
    """The same, before it serves."""
    with program(*COMMAND, "--http-socket", "127.0.0.1:0", "--master", *words, "app.py", cwd=place) as process:
        yield process


def ask(process: Process, path: str = "/") -> Any:
    return json.loads(process.get(path))


def pids(process: Process) -> dict[int, int]:
    return {worker["id"]: worker["pid"] for worker in ask(process, "/workers")["answer"]}


def pid_of(process: Process, what: str) -> int:
    """The process id of the "zygote", or of the newest "fork server"."""
    return int(re.findall(rf"spawned the {what} \(pid: (\d+)\)", process.output)[-1])


def gone(process: Process) -> bool:
    return not process.family()


def lose(process: Process, path: str) -> None:
    """Ask for what gets no answer."""
    with pytest.raises((OSError, HTTPException)) as caught:
        process.get(path)
    assert not isinstance(caught.value, HTTPError), f"the answer was {caught.value}"


def status(process: Process, path: str) -> int:
    """Ask, and return the status of the answer."""
    try:
        process.get(path)
    except HTTPError as error:
        with error:
            return error.code
    return 200


class Client(threading.Thread):
    """Asks once, in a thread. ``answer``: None when there was none."""

    def __init__(self, process: Process, path: str) -> None:
        super().__init__()
        self._process, self._path = process, path
        self.answer: Any = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = ask(self._process, self._path)
        except OSError:
            pass


class Noting:
    """A running instance whose app does what it is asked by `call`, and notes lines in the file ``ran``."""

    def __init__(self, process: Process, place: Path) -> None:
        self.process = process
        self.place = place
        self._seen = 0

    def call(self, *words: Any) -> Any:
        return json.loads(self.process.post("/", json.dumps(words).encode()))["answer"]

    def noted(self) -> list[str]:
        """What has been noted since `forget`."""
        try:
            return (self.place / "ran").read_text().splitlines()[self._seen :]
        except FileNotFoundError:
            return []

    def await_noted(self, count: int) -> None:
        self.process.wait_until(lambda: len(self.noted()) >= count)

    def forget(self) -> None:
        self._seen += len(self.noted())


def change(place: Path, version: int = 20, app: str = APP) -> None:
    """Write new code; of another size each time, so that no cached bytecode is taken for it (see PEP 3147)."""
    (place / "app.py").write_text(app.replace("VERSION = 1", f"VERSION = {version}"))


def touch(path: Path) -> None:
    """Change a file's time for certain, whatever the file system's grain."""
    path.touch()
    after = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(after, after))


def tell(place: Path, letters: str, fifo: str = "fifo") -> None:
    """Write to the master FIFO, which must be there."""
    fd = os.open(place / fifo, os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, letters.encode())
    os.close(fd)


def hang_up(process: Process) -> None:
    process.popen.send_signal(signal.SIGHUP)


def reloads(process: Process) -> int:
    return process.output.count("reloaded in")


def await_reload(process: Process, number: int = 1) -> None:
    process.wait_until(lambda: reloads(process) >= number)


def await_version(process: Process, version: int) -> None:
    """An old worker accepts until it has read that it is to end, a moment after the new ones serve."""
    process.wait_until(lambda: ask(process)["version"] == version)


@contextmanager
def connected(process: Process) -> Iterator[HTTPConnection]:
    """A keep-alive connection to an instance."""
    address = urlsplit(process.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=20)
    try:
        connection.connect()
        yield connection
    finally:
        connection.close()


def ask_over(connection: HTTPConnection) -> tuple[str, bool]:
    """Ask over a connection; return the answer, and whether the server keeps the connection."""
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.read().decode(), answer.getheader("Connection") != "close"
