"""An instance with mules, whose app sends messages as it is told, and notes who has got which."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.instance.harness import Noting, instance
from tests.instance.signalling import stats

APP = r"""
import json, os, time, uwsgi

VERSION = 1

def note(kind, message):
    # One line of fewer bytes than a pipe's buffer is written as a whole, whoever else writes.
    text = message.decode() if isinstance(message, bytes) else str(message)
    with open("ran", "ab", buffering=0) as file:
        file.write(f"{kind} {uwsgi.mule_id()} {os.getpid()} {VERSION} {text}\n".encode())

def hook(message):
    if message == b"die":
        note("hook", b"dies")
        os.kill(os.getpid(), 9)
    if message == b"fail":
        raise RuntimeError("no luck")
    if message.startswith(b"wait for "):
        note("hook", message)
        name = message.decode().rsplit(None, 1)[1]
        while not os.path.exists(name):
            time.sleep(0.01)
    if message.startswith(b"cache "):
        uwsgi.lock()
        uwsgi.cache_update("from a mule", message[6:])
        uwsgi.unlock()
    if message == b"relay":
        uwsgi.mule_msg(b"relayed", 2)
    if message == b"ask":
        workers = [worker["id"] for worker in uwsgi.workers()]
        uwsgi.signal(20)
        uwsgi.async_sleep(0.001)
        message = repr((workers, uwsgi.worker_id(), uwsgi.masterpid() > 0, uwsgi.total_requests() > 0))
    if message == b"harakiri":
        uwsgi.set_user_harakiri(1)
        note("hook", message)
        time.sleep(1000)
    note("hook", message)

uwsgi.mule_msg_hook = hook

async def second(message):
    if message == b"both":
        note("second", message)

uwsgi.install_mule_msg_hook(second)

def handler(number):
    note("signal", number)

async def handle_async(number):
    note("signal", number)

for number, target in enumerate(("mule1", "mules", "mule", "farm_web", "farm2", "mule2"), 1):
    uwsgi.register_signal(number, target, handler)
uwsgi.register_signal(10, "mule1", handle_async)
uwsgi.register_signal(20, "worker", handler)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    call, *arguments = json.loads(environ["wsgi.input"].read() or b'["worker_id"]')
    if call == "storm":
        first, count, mule = arguments
        answer = 0
        while answer < count and uwsgi.mule_msg(str(first + answer), mule):
            answer += 1
    elif call == "stream":
        first, count, mule = arguments
        for number in range(first, first + count):
            while not uwsgi.mule_msg(str(number), mule):
                uwsgi.async_sleep(0.005)
        answer = count
    else:
        try:
            answer = getattr(uwsgi, call)(*arguments)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
    if isinstance(answer, bytes):
        answer = answer.decode()
    return [json.dumps({"pid": os.getpid(), "answer": answer}).encode()]
"""

SCRIPT = r"""
import uwsgi
from app import note

note("begins", __name__)
while True:
    note("script", uwsgi.mule_get_msg())
"""

WORKS = r"""
import threading, time, uwsgi, uwsgi_async
from app import note

def plain():
    while True:
        note("plain", uwsgi.mule_get_msg(farms=False))

async def asynchronous():
    note("begins", "async")
    while True:
        note("async", await uwsgi_async.mule_get_msg())

def sleeper():
    note("begins", "sleeper")
    try:
        time.sleep(1000)
    finally:
        note("ends", "sleeper")

def receive():
    while True:
        note("thread", uwsgi.mule_get_msg())

def threads():
    for _ in range(3):
        threading.Thread(target=receive).start()
    threading.Event().wait()

def of_farm():
    while True:
        note("farm", uwsgi.farm_get_msg())

def short():
    note("begins", "short")

def with_signals():
    while True:
        note("got", repr(uwsgi.mule_get_msg(signals=False)))
"""


class Herd(Noting):
    """A running instance, and the lines that its mules have written."""

    def lines(self) -> list[tuple[str, int, int, int, str]]:
        """What has been written since `forget`: who, mule, pid, version, message."""
        split = [line.split(maxsplit=4) for line in self.noted()]
        return [(kind, int(mule), int(pid), int(version), text) for kind, mule, pid, version, text in split]

    def brief(self) -> list[tuple[str, int, str]]:
        """The same as who, mule and message."""
        return [(kind, mule, text) for kind, mule, _, _, text in self.lines()]

    def wait_for(self, count: int) -> list[tuple[str, int, str]]:
        self.await_noted(count)
        return self.brief()

    def mules(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = stats(self.place)["mules"]
        return told

    def pid_of(self, mule: int) -> int:
        """Wait until a mule runs, and return its process id."""
        self.process.wait_until(lambda: self.mules()[mule - 1]["status"] in ("idle", "busy"))
        pid: int = self.mules()[mule - 1]["pid"]
        return pid

    def reload(self) -> None:
        self.process.popen.send_signal(signal.SIGHUP)


def write(place: Path) -> None:
    (place / "app.py").write_text(APP)
    (place / "script.py").write_text(SCRIPT)
    (place / "works.py").write_text(WORKS)


@contextmanager
def herd(place: Path, *words: str) -> Iterator[Herd]:
    with instance(place, "--stats", "stats", "--cache2", "name=default,items=10", *words) as process:
        yield Herd(process, place)
