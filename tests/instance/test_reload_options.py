"""A reload reads the options again: what comes into effect, what only a restart can change, and what is wrong."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import Process, program
from tests.instance.harness import (
    ask,
    ask_over,
    await_reload,
    change,
    connected,
    hang_up,
    pids,
    reloads,
    touch,
)
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

INI = """[uwsgi]
http-socket = 127.0.0.1:0
master = true
wsgi-file = app.py
pidfile = {pidfile}
processes = {processes}
if-reload =
print = this is a reload
endif =
{more}
"""


@contextmanager
def from_ini(place: Path, *, processes: int = 1, more: str = "") -> Iterator[Process]:
    write_ini(place, processes=processes, more=more)
    with program(sys.executable, "-m", "uwsgi_async", "app.ini", cwd=place) as process:
        process.url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        yield process


def write_ini(place: Path, *, pidfile: str = "app.pid", processes: int = 1, more: str = "") -> None:
    (place / "app.ini").write_text(INI.format(pidfile=pidfile, processes=processes, more=more))


def test_options_are_read_again(place: Path) -> None:
    with from_ini(place) as process:
        write_ini(place, processes=2)
        hang_up(process)
        process.wait_for("this is a reload")
        await_reload(process)
        process.wait_until(lambda: ask(process)["numproc"] == 2)


def test_an_option_that_a_reload_cannot_change_is_named_and_stays(place: Path) -> None:
    with from_ini(place) as process:
        write_ini(place, pidfile="other.pid", more="socket = 127.0.0.1:0")
        hang_up(process)
        process.wait_for(r"socket: a reload cannot change nothing to 127\.0\.0\.1:0: restart for that")
        process.wait_for(r"pidfile: a reload cannot change .*/app\.pid to .*/other\.pid: restart for that")
        await_reload(process)
        assert not (place / "other.pid").exists()


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("harakiri = soon", "harakiri: expected a number of seconds"),
        ("exit = 1", r"the configuration says that nothing shall run \(option exit\)"),
        ("emperor = /etc", "emperor is not supported"),
    ],
)
def test_options_that_are_wrong_leave_the_old_workers(place: Path, more: str, complaint: str) -> None:
    with from_ini(place) as process:
        before = ask(process)["pid"]
        write_ini(place, more=more)
        hang_up(process)
        process.wait_for(f"the reload has failed, the old workers go on: .*{complaint}")
        assert ask(process)["pid"] == before
        write_ini(place)
        hang_up(process)
        await_reload(process)


def test_a_missing_config_file_leaves_the_old_workers(place: Path) -> None:
    with from_ini(place) as process:
        (place / "app.ini").unlink()
        hang_up(process)
        process.wait_for("the reload has failed, the old workers go on: ")
        assert ask(process)["version"] == 1


def test_files_to_be_touched_are_those_of_the_last_reload(place: Path) -> None:
    with from_ini(place) as process:
        write_ini(place, more="touch-reload = flag")
        (place / "flag").touch()
        hang_up(process)
        await_reload(process)
        deadline = time.monotonic() + 20
        while reloads(process) < 2:  # the first look at a new file is no change
            assert time.monotonic() < deadline, process.output
            touch(place / "flag")
            time.sleep(0.2)


def test_idle_connections_find_their_protocol_when_the_number_of_workers_has_changed(place: Path) -> None:
    more = "reuse-port = true\nsocket = 127.0.0.1:0"
    question = encode_packet(0, 0, encode_vars({"PATH_INFO": "/", "REQUEST_METHOD": "GET"}))
    with from_ini(place, processes=2, more=more) as process:
        port = int(process.wait_for(r"serves 127\.0\.0\.1:(\d+)")[1])
        with connected(process) as connection, socket.create_connection(("127.0.0.1", port), timeout=20) as front:
            for version, processes in ((20, 3), (300, 1)):
                old = set(pids(process).values())
                change(place, version)
                write_ini(place, processes=processes, more=more)
                hang_up(process)
                process.wait_until(lambda old=old: not old & process.family())
                assert f'"version": {version},' in ask_over(connection)[0]
            front.sendall(question)
            with front.makefile("rb") as answer:
                assert b'"version": 300,' in answer.read()
