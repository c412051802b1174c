"""An app for the tests of spoolers, and what they ask of it.

What lives here: `APP`, which writes each run of a task as a line of JSON into a file, and `Instance`. The task says by
its fields what is to become of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.command import Process, server

APP = """
import json, os, sys, threading, time, urllib.parse
import uwsgi

LOG = os.environ["SPOOL_LOG"]


def note(**what):
    fd = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, json.dumps({"pid": os.getpid(), **what}).encode() + b"\\n")
    os.close(fd)


def plain(value):
    return value.decode() if isinstance(value, bytes) else value


def run(task):
    told = {plain(key): plain(value) for key, value in task.items()}
    do = told.get("do", "")
    note(task=told, cwd=os.getcwd(), spooler=uwsgi.i_am_the_spooler(), dir=plain(uwsgi.spooler_dir()),
         worker=uwsgi.worker_id(), nice=os.nice(0))
    if do == "raise":
        raise LookupError("the reason")
    if do == "die":
        os.kill(os.getpid(), 9)
    if do == "block":
        time.sleep(float(told["seconds"]))
    if do == "hang":
        time.sleep(1000)
    if do == "exit":
        sys.exit(3)
    if do == "retry":
        return uwsgi.SPOOL_RETRY
    if do == "chain":
        uwsgi.spool({b"do": b"", b"n": b"chained"})
    if do == "import":
        __import__(told["module"])
    if do == "lock":
        uwsgi.lock()
        uwsgi.unlock()
    if do == "sleep":
        uwsgi.async_sleep(0.01)
        note(slept=True)
    if do == "wait":
        while not os.path.exists(told["for"]):
            time.sleep(0.01)
    if do == "thread":
        threads = [threading.Thread(target=uwsgi.spool, args=({b"n": b"from a thread"},))]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    return uwsgi.SPOOL_OK


uwsgi.spooler = run


def handle(number):
    note(signal=number, spooler=uwsgi.i_am_the_spooler())


uwsgi.register_signal(5, "spooler", handle)
uwsgi.register_signal(6, os.environ["SPOOL_DIR"], handle)

if os.environ.get("SPOOL_AT_IMPORT"):
    uwsgi.spool({b"n": b"at import"})


def in_thread(function, *args):
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)))
    thread.start()
    thread.join()
    return results[0]


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    body = environ["wsgi.input"].read()
    try:
        result = eval(body.decode(), globals())
    except Exception as error:
        result = f"{type(error).__name__}: {error}"
    return [repr(result).encode()]
"""


class Instance:
    """A server that runs the app. ``directory``: of its spooler."""

    def __init__(self, process: Process, place: Path) -> None:
        self.process = process
        self.directory = place / "spool"
        self._log = place / "log"

    def ask(self, expression: str) -> Any:
        """Evaluate an expression in a worker; return what its repr says, text when that is none of a value."""
        answer = self.process.post("/", expression.encode()).decode()
        return eval(answer)

    def spool(self, **fields: Any) -> str:
        """Let a worker write a task; return its file's name."""
        path = self.ask(f"uwsgi.spool({ {key.encode(): str(value).encode() for key, value in fields.items()}!r})")
        assert isinstance(path, bytes), path
        return os.path.basename(path).decode()

    def lines(self) -> list[dict[str, Any]]:
        """What has been noted so far."""
        if not self._log.exists():
            return []
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def runs(self, name: str = "") -> list[dict[str, Any]]:
        """The runs of the task with this file name; of all without one."""
        runs = [line for line in self.lines() if "task" in line]
        return [line for line in runs if not name or line["task"]["spooler_task_name"] == name]

    def wait_for_runs(self, count: int, name: str = "") -> list[dict[str, Any]]:
        self.process.wait_until(lambda: len(self.runs(name)) >= count)
        return self.runs(name)

    def wait_until_empty(self) -> None:
        self.process.wait_until(lambda: not list(self.directory.iterdir()))

    def spooler_pid(self) -> int:
        pid = self.ask("uwsgi.spooler_pid()")
        assert isinstance(pid, int)
        return pid


@contextmanager
def instance(place: Path, *options: str, app: str = APP, **environment: str) -> Iterator[Instance]:
    """Run the app with a spooler in ``place``."""
    (place / "app.py").write_text(app)
    environment = {"SPOOL_LOG": str(place / "log"), "SPOOL_DIR": str(place / "spool"), **environment}
    words = [f"--env={name}={value}" for name, value in environment.items()]
    directory = ["--spooler", str(place / "spool")]
    with server(*words, *directory, "--wsgi-file", str(place / "app.py"), *options) as process:
        yield Instance(process, place)
