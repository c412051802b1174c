"""uwsgi-tasks from PyPI, unchanged, as its users use it: tasks for the spooler, later, again, with large arguments."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Process, server

APP = """
import json, os
from datetime import timedelta

from uwsgi_tasks import RetryTaskException, TaskExecutor, get_current_task, task, timer

LOG = os.environ["TASKS_LOG"]


def note(*what):
    fd = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, json.dumps([os.getpid(), *what]).encode() + b"\\n")
    os.close(fd)


@task(executor=TaskExecutor.SPOOLER)
def send(to, size=0, text=""):
    note("send", to, size or len(text), os.getcwd())


@task(executor=TaskExecutor.SPOOLER, retry_count=3, retry_timeout=1)
def flaky(name):
    tries = get_current_task().buffer.setdefault("tries", [])
    tries.append(1)
    note("flaky", name, len(tries))
    if len(tries) < 2:
        raise RetryTaskException()


@task(executor=TaskExecutor.SPOOLER, at=timedelta(seconds=1))
def later(name):
    note("later", name)


@task
def anywhere(name):
    note("anywhere", name)


@timer(seconds=1, iterations=1)
def ticking(signal):
    note("tick", signal)


def application(environ, start_response):
    start_response("200 OK", [])
    name, *args = json.loads(environ["wsgi.input"].read())
    return [repr(globals()[name](*args)).encode()]
"""


class Tasks:
    """The server, and what its tasks have noted."""

    def __init__(self, process: Process, log: Path) -> None:
        self.process = process
        self._log = log

    def call(self, *words: Any) -> str:
        return self.process.post("/", json.dumps(words).encode()).decode()

    def wait_for(self, *wanted: Any) -> list[Any]:
        """Wait for a line that begins with ``wanted``, and return it; the process id comes first."""
        self.process.wait_until(lambda: self._find(wanted) is not None)
        found = self._find(wanted)
        assert found is not None
        return found

    def _find(self, wanted: tuple[Any, ...]) -> list[Any] | None:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return next((line for text in lines if (line := json.loads(text))[1 : 1 + len(wanted)] == list(wanted)), None)

    def pid(self) -> int:
        match: Callable[[str], Any] = self.process.wait_for
        return int(match(r"spawned spooler 1 \(pid: (\d+)")[1])


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tasks]:
    place = tmp_path_factory.mktemp("tasks")
    (place / "mailing.py").write_text(APP)
    words = ("--spooler", str(place / "spool"), "--env", f"TASKS_LOG={place / 'log'}")
    with server(*words, "--pythonpath", str(place), "--module", "mailing:application", cwd=place) as process:
        yield Tasks(process, place / "log")


def test_a_task_runs_in_the_spooler_in_the_directory_of_the_caller(tasks: Tasks) -> None:
    assert "SpoolerTask" in tasks.call("send", "someone@example.org")
    pid, *_, directory = tasks.wait_for("send", "someone@example.org")
    assert pid == tasks.pid()
    assert "spool" not in Path(directory).name


def test_large_arguments_go_into_the_body(tasks: Tasks) -> None:
    tasks.call("send", "large", 0, "x" * 200_000)
    tasks.wait_for("send", "large", 200_000)


def test_a_task_that_asks_for_it_is_tried_again(tasks: Tasks) -> None:
    tasks.call("flaky", "a")
    tasks.wait_for("flaky", "a", 1)
    tasks.wait_for("flaky", "a", 2)


def test_a_task_may_be_for_later(tasks: Tasks) -> None:
    tasks.call("later", "b")
    tasks.wait_for("later", "b")


def test_without_mules_the_spooler_runs_what_may_run_anywhere(tasks: Tasks) -> None:
    tasks.call("anywhere", "c")
    assert tasks.wait_for("anywhere", "c")[0] == tasks.pid()


def test_a_timer_of_its_runs_in_the_spooler(tasks: Tasks) -> None:
    assert tasks.wait_for("tick")[0] == tasks.pid()
