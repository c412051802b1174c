"""Who may write a task: every process of an instance, plain and async code, threads, and scripts outside of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.instance.spooling import Instance, instance

APP = """
import inspect, json, os, threading
import uwsgi, uwsgi_async
from uwsgidecorators import mulefunc, spool


def note(task):
    told = {key.decode(): value.decode() for key, value in task.items() if isinstance(key, bytes)}
    fd = os.open(os.environ["SPOOL_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, json.dumps({"task": told, "pid": os.getpid()}).encode() + b"\\n")
    os.close(fd)


async def run(task):
    note(task)
    if b"next" in task:
        await uwsgi_async.spool(n=task[b"next"])
    return uwsgi.SPOOL_OK


uwsgi.spooler = run


def plain(n):
    return uwsgi.spool({b"n": n.encode()})


async def asynchronous(n):
    return await uwsgi_async.spool(n=n)


def in_thread(n):
    thread = threading.Thread(target=plain, args=(n,))
    thread.start()
    thread.join()


in_mule_plain, in_mule_async, in_mule_thread = (mulefunc(2)(call) for call in (plain, asynchronous, in_thread))


def handle(number):
    plain(f"signal {number}")


async def handle_async(number):
    await asynchronous(f"signal {number}")


uwsgi.register_signal(1, "worker", handle)
uwsgi.register_signal(2, "worker", handle_async)
uwsgi.register_signal(3, "mule1", handle)
uwsgi.register_signal(4, "mule2", handle_async)
uwsgi.register_signal(5, "spooler", handle_async)


async def application(environ, start_response):
    start_response("200 OK", [])
    result = eval((await environ["wsgi.input"].read()).decode(), globals())
    return [repr(await result if inspect.isawaitable(result) else result).encode()]
"""

PROGRAM = """
import uwsgi

while True:
    uwsgi.spool({b"n": uwsgi.mule_get_msg()})
"""

PROGRAMS = """
import uwsgi, uwsgi_async


async def program():
    while True:
        await uwsgi_async.spool(n=await uwsgi_async.mule_get_msg())
"""


@pytest.fixture(scope="module", params=["", "--uvloop", "--trio"], ids=["asyncio", "asyncio+uvloop", "trio"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Mule 1 is a program in a file, 2 has the hooks of the decorators, 3 an async function."""
    place = tmp_path_factory.mktemp("writers")
    (place / "program.py").write_text(PROGRAM)
    (place / "programs.py").write_text(PROGRAMS)
    mules = (f"--mule={place / 'program.py'}", "--mule", "--mule=programs:program", "--pythonpath", str(place))
    with instance(place, "--master", *mules, *filter(None, [request.param]), app=APP) as running:
        yield running


@pytest.mark.parametrize(
    ("expression", "written"),
    [
        ("plain('request')", "request"),
        ("asynchronous('async request')", "async request"),
        ("in_thread('thread of a request')", "thread of a request"),
        ("uwsgi.mule_msg(b'program', 1)", "program"),
        ("in_mule_plain('plain in a mule')", "plain in a mule"),
        ("in_mule_async('async in a mule')", "async in a mule"),
        ("in_mule_thread('thread in a mule')", "thread in a mule"),
        ("uwsgi.mule_msg(b'async program', 3)", "async program"),
        ("uwsgi.spool({b'n': b'first', b'next': b'async in a spooler'})", "async in a spooler"),
        *((f"uwsgi.signal({number})", f"signal {number}") for number in range(1, 6)),
    ],
)
def test_a_task_may_be_written_from(shared: Instance, expression: str, written: str) -> None:
    shared.ask(expression)
    shared.process.wait_until(lambda: [run for run in shared.runs() if run["task"]["n"] == written])
    (run,) = (run for run in shared.runs() if run["task"]["n"] == written)
    assert run["pid"] == shared.spooler_pid()


def test_threads_of_a_script_write_tasks_without_an_instance(tmp_path: Path) -> None:
    code = """
import anyio, sys, threading, uwsgi_async

def write(number):
    paths.append(anyio.run(lambda: uwsgi_async.spool(n=number, spooler=sys.argv[1])).decode())

paths = []
threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*paths, sep="\\n")
"""
    (tmp_path / "spool").mkdir()
    words = [sys.executable, "-c", code, str(tmp_path / "spool")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert sorted(done.stdout.split()) == sorted(str(path) for path in (tmp_path / "spool").iterdir())
    with instance(tmp_path) as running:
        runs = running.wait_for_runs(8)
    assert sorted(run["task"]["n"] for run in runs) == [str(number) for number in range(8)]


def hello(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_mule_in_the_one_process_of_an_instance_writes_tasks(tmp_path: Path, kind: str) -> None:
    seen: list[bytes] = []
    done = anyio.Event()

    def function(task: dict[Any, bytes]) -> int:
        seen.append(task[b"n"])
        done.set()
        return -2

    async with uwsgi_async.run(hello, http="127.0.0.1:0", spooler=str(tmp_path / "s"), mules=1):
        import uwsgi

        def plain(message: bytes) -> None:
            uwsgi.spool({b"n": message})

        async def other(message: bytes) -> None:
            await uwsgi_async.spool(n=message)

        uwsgi.spooler = function
        uwsgi.mule_msg_hook = plain if kind == "plain" else other
        uwsgi_async.mule_msg(b"from a mule", 1)
        with anyio.fail_after(20):
            await done.wait()
    assert seen == [b"from a mule"]
    assert os.listdir(tmp_path / "s") == []
