"""An instance whose log goes to files: it is started, asked, kept under load, and its files are waited for."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from tests.command import COMMAND, Process, program

APP = """
import faulthandler, os, subprocess, sys, time
import uwsgi

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/print":
        print("printed")
        print("an error", file=sys.stderr)
        os.write(1, b"from C\\n")
        subprocess.run(["echo", "from a program"])
        uwsgi.log("logged")
        faulthandler.dump_traceback(sys.stderr)
    elif path == "/sleep":
        print("sleeping")
        uwsgi.async_sleep(0.5)
        print("awake")
        os.write(2, b"and C too\\n")
    elif path == "/hang":
        time.sleep(100)
    elif path == "/log":
        uwsgi.log("logged")
        print("printed", file=sys.stderr)
    elif path == "/number":
        print("number", environ["QUERY_STRING"])
    elif path == "/long":
        print("x" * 50_000)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(uwsgi.logsize() if hasattr(uwsgi, "logsize") else 0).encode()]
"""


@contextmanager
def logging_instance(place: Path, *words: str, log: str = "log") -> Iterator[Process]:
    """Run an instance whose address stands in a log file."""
    with program(*COMMAND, "--http-socket", "127.0.0.1:0", *words, "app.py", cwd=place) as process:
        process.wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+", text(place / log)))
        process.url = re.findall(r"http://127\.0\.0\.1:\d+", text(place / log))[0]
        yield process


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def wait_for(process: Process, path: Path, pattern: str) -> None:
    process.wait_until(lambda: re.search(pattern, text(path)))


@contextmanager
def load(process: Process) -> Iterator[list[str]]:
    """Ask for /number? with ever new numbers, from four threads; gives those that were asked for."""
    stop = threading.Event()
    asked: list[str] = []

    def ask(client: int) -> None:
        number = 0
        while not stop.is_set():
            asked.append(f"{client}-{number}")
            process.get(f"/number?{client}-{number}")
            number += 1

    clients = [threading.Thread(target=ask, args=(client,)) for client in range(4)]
    for client in clients:
        client.start()
    try:
        yield asked
    finally:
        stop.set()
        for client in clients:
            client.join()


def answers(process: Process, path: str = "/") -> bool:
    try:
        return bool(process.get(path))
    except (OSError, HTTPException):
        return False
