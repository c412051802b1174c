"""ASGI apps below a master: lifespan in each worker, reloads, and what an app that cannot begin means."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.command import COMMAND, program, server
from tests.instance.harness import await_reload, hang_up

APP = """
import json, os, uwsgi_async

VERSION = 1
FAILS = False

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if FAILS:
            await send({"type": "lifespan.startup.failed", "message": "ValueError: no database"})
            return
        print("begins in", os.getpid(), flush=True)
        scope["state"]["begun"] = os.getpid()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("ends in", os.getpid(), flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    answer = {"pid": os.getpid(), "begun": scope["state"]["begun"], "version": VERSION,
              "worker": uwsgi_async.worker_id(), "root_path": scope["root_path"]}
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def change(place: Path, old: str, new: str) -> None:
    (place / "app.py").write_text(APP.replace(old, new) + "# changed\n")


@pytest.mark.parametrize("how", ["--asyncio=100", "--lazy-apps", "--uvloop", "--trio"])
def test_each_worker_has_a_lifespan_of_its_own(place: Path, how: str) -> None:
    with server("--master", "--processes", "2", how, "app.py", cwd=place) as process:
        process.wait_for(r"(?s)begins in \d+.*begins in \d+")
        answer = json.loads(process.get())
        assert answer["pid"] == answer["begun"]
        assert answer["worker"] in (1, 2)
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        begun = sorted(re.findall(r"begins in (\d+)", process.output))
        assert len(begun) == 2
        assert sorted(re.findall(r"ends in (\d+)", process.output)) == begun
        assert "Traceback" not in process.output


def test_a_reload_begins_the_new_app_before_it_ends_the_old_one(place: Path) -> None:
    with server("--master", "app.py", cwd=place) as process:
        old = json.loads(process.get())["pid"]
        change(place, "VERSION = 1", "VERSION = 22")
        hang_up(process)
        await_reload(process)
        process.wait_for(f"ends in {old}")
        answer = json.loads(process.get())
        assert answer["version"] == 22
        assert process.output.index(f"begins in {answer['pid']}") < process.output.index(f"ends in {old}")


def test_a_reload_to_an_app_that_cannot_begin_leaves_the_old_one_serving(place: Path) -> None:
    with server("--master", "app.py", cwd=place) as process:
        old = json.loads(process.get())["pid"]
        change(place, "FAILS = False", "FAILS = True")
        hang_up(process)
        process.wait_for(r"lifespan\.startup has failed: ValueError: no database")
        process.wait_for("(?i)reload.*failed|goes? on")
        assert json.loads(process.get())["pid"] == old
        assert f"ends in {old}" not in process.output


@pytest.mark.parametrize("how", [(), ("--master", "--processes", "2")], ids=["alone", "master"])
def test_an_instance_whose_app_cannot_begin_ends_with_its_status(place: Path, how: tuple[str, ...]) -> None:
    change(place, "FAILS = False", "FAILS = True")
    with program(*COMMAND, "--http-socket", "127.0.0.1:0", *how, "app.py", cwd=place) as process:
        assert process.end() == 22
        assert "lifespan.startup has failed: ValueError: no database" in process.output
        assert "Traceback" not in process.output


def test_a_worker_that_is_killed_is_followed_by_one_that_begins(place: Path) -> None:
    with server("--master", "app.py", cwd=place) as process:
        old = json.loads(process.get())["pid"]
        os.kill(old, signal.SIGKILL)
        process.wait_for(rf"(?s)begins in {old}\b.*begins in (?!{old}\b)\d+")
        process.wait_until(lambda: json.loads(process.get())["pid"] != old)


def test_apps_of_all_kinds_are_served_by_one_instance(place: Path) -> None:
    (place / "sync.py").write_text(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'sync']\n"
    )
    (place / "coroutine.py").write_text(
        "async def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'async']\n"
    )
    words = (
        "--manage-script-name",
        "--mount",
        "/sync=sync.py",
        "--mount",
        "/async=coroutine.py",
        "--mount",
        "/asgi=app:app",
    )
    with server("--master", *words, cwd=place) as process:
        assert process.get("/sync/") == b"sync"
        assert process.get("/async/") == b"async"
        assert json.loads(process.get("/asgi/"))["root_path"] == "/asgi"
