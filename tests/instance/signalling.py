"""An instance whose app raises signals as it is told, and notes which handlers have run."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from tests.instance.harness import Noting

APP = r"""
import anyio, json, os, time, uwsgi

VERSION = 1
AT_IMPORT = os.getpid()

def note(number):
    # One line of fewer bytes than a pipe's buffer is written as a whole, whoever else writes.
    with open("ran", "ab", buffering=0) as file:
        file.write(b"%d %d %d %d\n" % (number, uwsgi.worker_id(), os.getpid(), VERSION))

async def note_async(number):
    note(number)

def die_once(number):
    note(number)
    if not os.path.exists("died"):
        open("died", "w").close()
        os.kill(os.getpid(), 9)

ran = 0

def die_now_and_then(number):
    global ran
    note(number)
    ran += 1
    if ran == 40 and len(os.listdir("deaths")) < 3:
        open(f"deaths/{os.getpid()}", "w").close()
        os.kill(os.getpid(), 9)

def storm(number):
    for _ in range(300):
        uwsgi.signal(10)

def fail(number):
    note(number)
    raise RuntimeError("no luck")

def wait_in_handler(number):
    uwsgi.async_sleep(0.01)
    note(number)

uwsgi.register_signal(1, "", note)
uwsgi.register_signal(2, "workers", note)
uwsgi.register_signal(3, "worker2", note)
uwsgi.register_signal(4, "active-workers", note_async)
uwsgi.register_signal(5, "worker1", die_once)
uwsgi.register_signal(6, "worker", fail)
uwsgi.register_signal(7, "worker1", wait_in_handler)
uwsgi.register_signal(8, "worker1", note)
uwsgi.register_signal(9, "worker1", note)
handled = 0

def count(number):
    global handled
    handled += 1
    if handled % 1000 == 0:
        note(number)

async def wait_for_go(number):
    note(number)
    while not os.path.exists("go"):
        await anyio.sleep(0.01)
    note(number)

uwsgi.register_signal(12, "worker2", count)
uwsgi.register_signal(13, "worker1", wait_for_go)
uwsgi.register_signal(10, "worker2", die_now_and_then)
uwsgi.register_signal(11, "worker1", storm)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    call, *arguments = json.loads(environ["wsgi.input"].read() or b'["worker_id"]')
    if call == "storm":
        number, count = arguments
        for _ in range(count):
            uwsgi.signal(number)
        answer = None
    elif call == "order":
        for number in arguments:
            uwsgi.signal(number)
        answer = None
    elif call == "register":
        uwsgi.register_signal(arguments[0], arguments[1], note)
        answer = uwsgi.signal_registered(arguments[0])
    elif call == "wait":
        os.write(1, b"a core waits\n")
        uwsgi.signal_wait(*arguments)
        answer = uwsgi.signal_received()
    elif call == "workers":
        answer = [{"id": each["id"], "pid": each["pid"]} for each in uwsgi.workers()]
    else:
        answer = getattr(uwsgi, call)(*arguments)
    return [json.dumps({"worker": uwsgi.worker_id(), "pid": os.getpid(), "answer": answer}).encode()]
"""


class Instance(Noting):
    """A running instance, and the lines that its handlers have written."""

    def lines(self) -> list[tuple[int, int, int, int]]:
        """What has been written since `forget`: number, worker, pid, version."""
        return [tuple(map(int, line.split())) for line in self.noted()]  # type: ignore[misc]

    def wait_for(self, count: int) -> list[tuple[int, int, int, int]]:
        self.await_noted(count)
        return self.lines()

    def pids(self) -> dict[int, int]:
        return {each["id"]: each["pid"] for each in self.call("workers")}


def stats(place: Path) -> Any:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(place / "stats"))
        return json.loads(b"".join(iter(lambda: sock.recv(65536), b"")))
