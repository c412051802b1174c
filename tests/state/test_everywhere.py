"""Shared state wherever an app's code runs: at import, in all workers, in threads, after a fork, across reloads."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.command import Process, run, server

APP = """
import json, os, threading, time, uwsgi

# At import another process has the lock, for a moment.
reader, writer = os.pipe()
if os.fork() == 0:
    uwsgi.lock(1)
    os.write(writer, b"x")
    time.sleep(0.05)
    os._exit(0)
os.read(reader, 1)
began = time.monotonic()
uwsgi.lock(1)
waited = time.monotonic() - began
uwsgi.unlock(1)
os.wait()
assert waited > 0.02, waited

uwsgi.queue_push(b"pushed at import")
uwsgi.lock(1)
uwsgi.sharedarea_inc64(0, 0)
uwsgi.metric_inc("imports")
uwsgi.unlock(1)


def in_thread(function, *args):
    results = []
    thread = threading.Thread(target=lambda: results.append(function(*args)))
    thread.start()
    thread.join()
    return results[0]


def in_fork(function, *args):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, repr(function(*args)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        return file.read().decode()


def told(result):
    if isinstance(result, list):
        return [told(item) for item in result]
    return result.decode("latin-1") if isinstance(result, bytes) else result


def in_fork_and_unlock(function):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, repr(function()).encode())
        os._exit(0)
    threading.Timer(0.1, uwsgi.unlock, (1,)).start()
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        return file.read().decode()


def call(name, *args):
    return told(getattr(uwsgi, name)(*args))


def die():
    os.kill(os.getpid(), 9)


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    calls = json.loads(environ["wsgi.input"].read() or "[]")
    answers = []
    for how, name, *args in calls:
        function = {"die": die}.get(name) or (lambda name=name, args=args: call(name, *args))
        answers.append({"": lambda f: f(),
            "thread": in_thread, "fork": in_fork, "fork_and_unlock": in_fork_and_unlock}[how](function))
    return [json.dumps({"worker": uwsgi.worker_id(), "pid": os.getpid(), "answers": answers}).encode()]
"""

OPTIONS = ["--queue", "8", "--locks", "1", "--sharedarea", "1", "--metric", "imports"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@contextmanager
def instance(place: Path, *words: str) -> Iterator[Process]:
    with server(*OPTIONS, *words, "app.py", cwd=place) as process:
        yield process


def ask(process: Process, *calls: list[Any]) -> Any:
    return json.loads(process.post("/", json.dumps(calls).encode()))


def answers(process: Process, *calls: list[Any]) -> list[Any]:
    told: list[Any] = ask(process, *calls)["answers"]
    return told


KINDS = {
    "one process": (),
    "one process, threads": ("--threads", "2"),
    "master": ("--master",),
    "master, lazy": ("--master", "--lazy-apps"),
    "trio": ("--trio",),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_app_does_at_import_in_requests_threads_and_forks_is_all_the_same_state(place: Path, kind: str) -> None:
    with instance(place, *KINDS[kind]) as process:
        assert answers(
            process,
            ["", "queue_pull"],
            ["", "sharedarea_read64", 0, 0],
            ["", "metric_get", "imports"],
            ["", "is_locked", 1],
            ["thread", "queue_push", "from a thread"],
            ["fork", "queue_push", "from a fork"],
            ["", "queue_pull"],
            ["thread", "queue_pull"],
            ["thread", "lock", 1],
            ["fork", "is_locked", 1],
            ["", "unlock", 1],
            ["fork", "lock", 1],
            ["fork", "is_locked", 1],
            # Somebody else has it: a forked child waits, in a thread of its own.
            ["", "lock", 1],
            ["fork_and_unlock", "lock", 1],
        ) == [
            "pushed at import", 1, 1, False, True, "True", "from a thread", "from a fork", None, "True", None, "None",
            "False", None, "None",
        ]  # fmt: skip


def test_workers_share_one_state_and_a_killed_one_frees_its_locks(place: Path) -> None:
    with instance(place, "--master", "--processes", "2") as process:
        first = ask(process, ["", "lock", 1], ["", "queue_push", "one"])

        def other_worker(*calls: list[Any]) -> Any:
            while (told := ask(process, *calls))["pid"] == first["pid"]:
                pass
            return told

        assert other_worker(["", "is_locked", 1])["answers"] == [True]
        os.kill(first["pid"], signal.SIGKILL)
        process.wait_until(lambda: answers(process, ["", "is_locked", 1]) == [False])
        assert answers(process, ["", "queue_last"]) == ["one"]


def test_state_outlives_a_reload_and_its_generations_share_it(place: Path) -> None:
    with instance(place, "--master") as process:
        assert answers(process, ["", "queue_push", "before"]) == [True]
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("reloaded in")
        assert answers(process, ["", "queue_last", 3]) == [["pushed at import", "before", "pushed at import"]]
        assert answers(process, ["", "sharedarea_read64", 0, 0], ["", "metric_get", "imports"]) == [2, 2]


def test_a_queue_store_is_there_after_a_restart(place: Path) -> None:
    words = ("--queue-store", "queue.store", "--queue-blocksize", "512")
    for number in range(1, 3):
        with instance(place, "--master", *words) as process:
            assert answers(process, ["", "queue_slot"]) == [number]
            process.popen.terminate()
            assert process.end() == 0
    assert sorted(path.name for path in place.iterdir() if path.name.startswith("queue")) == ["queue.store"]


def test_what_cannot_be_made_ends_the_start_with_a_sentence(place: Path) -> None:
    for words in (
        ["--queue", "3", "--queue-blocksize", "1000"],
        ["--sharedarea", "nonsense"],
        ["--metric", "two words"],
    ):
        status, output = run("--http-socket", "127.0.0.1:0", *words, "app.py", cwd=place)
        assert status == 2
        assert output.startswith("uwsgi-async: ")
        assert "Traceback" not in output


def test_nothing_is_left_of_an_instance_that_is_killed(place: Path) -> None:
    def names() -> set[str]:
        return {path.name for folder in ("/dev/shm", "/tmp") for path in Path(folder).glob("*uwsgi_async*")}

    before = names()
    with instance(place, "--master", "--processes", "2") as process:
        ask(process, ["", "lock", 1], ["", "queue_push", "x"])
        for pid in process.family():
            os.kill(pid, signal.SIGKILL)
        process.end()
        process.wait_until(lambda: not process.family())
    assert names() - before == set()  # what tests before this one have left may be removed meanwhile
