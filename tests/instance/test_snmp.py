"""SNMP under a master: numbers that workers set are told by the master, through deaths and reloads."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.command import COMMAND, Process, program, run, server
from tests.instance.harness import instance
from tests.instance.signalling import stats
from tests.snmp.manager import ask, query

APP = r"""
import json, os, sys, uwsgi

uwsgi.snmp_set_gauge(1, 5)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    call, *arguments = json.loads(environ["wsgi.input"].read() or b'["worker_id"]')
    answer = getattr(uwsgi, call)(*arguments) if hasattr(uwsgi, call) else "missing"
    return [json.dumps({"pid": os.getpid(), "answer": answer, "pyasn1": "pyasn1" in sys.modules}).encode()]
"""


class Managed:
    """An instance, and the address of its agent."""

    def __init__(self, process: Process, place: Path) -> None:
        self.process = process
        self.place = place
        self.address = process.wait_for(r"SNMP server enabled on (\S+)")[1]

    def call(self, *words: Any) -> Any:
        return json.loads(self.process.post("/", json.dumps(words).encode()))

    def get(self, *names: str, community: bytes = b"public") -> list[tuple[Any, ...]]:
        return query(self.address, ask("get", names, community=community)).values


@contextmanager
def managed(place: Path, *words: str) -> Iterator[Managed]:
    (place / "app.py").write_text(APP)
    with instance(place, "--snmp=127.0.0.1:0", "--snmp-community", "public", *words) as process:
        yield Managed(process, place)


@pytest.mark.parametrize("loop", [(), ("--uvloop",), ("--trio",)], ids=["asyncio", "uvloop", "trio"])
def test_the_master_tells_what_workers_count_through_deaths_and_reloads(tmp_path: Path, loop: tuple[str, ...]) -> None:
    with managed(tmp_path, "--processes", "2", "--stats", "stats", *loop) as it:
        assert it.get("2.1") == [("Gauge32", 5)]
        pids = {it.call("snmp_incr_counter32", 2)["pid"] for _ in range(10)}
        assert it.get("2.2") == [("Counter32", 10)]
        os.kill(pids.pop(), signal.SIGKILL)
        it.process.wait_for("Respawned worker")
        it.call("snmp_incr_counter32", 2)
        assert it.get("2.2") == [("Counter32", 11)]
        it.process.popen.send_signal(signal.SIGHUP)
        it.process.wait_for("reloaded in")
        it.call("snmp_incr_counter32", 2)
        assert it.get("2.2") == [("Counter32", 12)]
        it.call("snmp_set_community", "other")
        assert it.get("2.2", community=b"other") == [("Counter32", 12)]
        told = stats(tmp_path)["snmp"]
        assert (told["in_pkts"], told["out_pkts"], told["in_bad_community_names"]) == (5, 5, 0)


def test_requests_of_the_workers_are_told(tmp_path: Path) -> None:
    with managed(tmp_path, "--processes", "2") as it:
        for _ in range(7):
            it.call("worker_id")
        # A request is counted when it has ended, which is a moment after the client has its answer.
        it.process.wait_until(lambda: it.get("1.1") == [("Counter64", 7)])
        assert sum(value for _, value in it.get("1.31", "1.32")) == 7
        assert query(it.address, ask("next", ["1.32"])).names == ["2.1"]


def test_the_library_is_loaded_in_the_master_alone(tmp_path: Path) -> None:
    """An app may have another version of it."""
    with managed(tmp_path) as it:
        assert it.get("2.1") == [("Gauge32", 5)]
        assert it.call("worker_id")["pyasn1"] is False


def test_without_a_value_the_option_gives_the_functions_and_no_server(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with server("--wsgi-file", "app.py", "--snmp", cwd=tmp_path) as process:
        assert json.loads(process.post("/", b'["snmp_set_gauge", 1, 1]'))["answer"] is True
        assert "SNMP server" not in process.output
        assert "spawned" not in process.output


def test_an_address_starts_a_master_as_in_uwsgi(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with server("--snmp=127.0.0.1:0", "--snmp-community", "public", "app.py", cwd=tmp_path) as process:
        process.wait_for("spawned the master process")


def test_the_log_says_that_nobody_is_answered_without_a_community(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with instance(tmp_path, "--snmp=127.0.0.1:0") as process:
        process.wait_for("snmp: there is no community, so nobody is answered")


def test_without_either_option_the_functions_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.replace("uwsgi.snmp_set_gauge(1, 5)", ""))
    with instance(tmp_path) as process:
        assert json.loads(process.post("/", b'["snmp_set_gauge", 1, 1]'))["answer"] == "missing"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--snmp=/run/agent",), 2, "snmp: expected host:port"),
        (("--snmp=192.0.2.1:161",), 3, "snmp: cannot receive at 192.0.2.1:161"),
    ],
)
def test_an_address_that_cannot_be_is_told_before_anything_starts(
    tmp_path: Path, words: tuple[str, ...], status: int, said: str
) -> None:
    (tmp_path / "app.py").write_text(APP)
    code, output = run("--http-socket", "127.0.0.1:0", *words, "app.py", cwd=tmp_path)
    assert (code, said in output, "spawned" in output) == (status, True, False)


def test_mules_and_spoolers_count_in_the_same_slots(tmp_path: Path) -> None:
    hooks = """
def work(message):
    uwsgi.snmp_incr_counter64(3, 10)

def spooled(task):
    uwsgi.snmp_incr_counter64(3, 100)
    return uwsgi.SPOOL_OK

uwsgi.mule_msg_hook = work
uwsgi.spooler = spooled

def start():
    uwsgi.snmp_set_counter64(3, 0)
    uwsgi.mule_msg(b"work")
    uwsgi.spool({b"a": b"b"})

def application"""
    app = APP.replace("def application", hooks, 1).replace("getattr(uwsgi, call)(*arguments)", "start()", 1)
    (tmp_path / "app.py").write_text(app.replace("if hasattr(uwsgi, call)", "if call == 'start'"))
    words = ("--snmp=127.0.0.1:0", "--snmp-community", "public", "--mule", "--spooler", "tasks")
    with instance(tmp_path, *words) as process:
        it = Managed(process, tmp_path)
        it.call("start")
        process.wait_until(lambda: it.get("2.3") == [("Counter64", 110)])


def test_without_the_library_the_command_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['pyasn1'] = None  # as if it were not there\n")
    for words in (("--snmp=127.0.0.1:0",), ("--snmp-community", "public")):
        command = (*COMMAND, "--http-socket", "127.0.0.1:0", *words, "app.py")
        with program("env", f"PYTHONPATH={tmp_path}", *command, cwd=tmp_path) as process:
            assert process.end() == 2
            assert "snmp: answering SNMP needs pyasn1: pip install 'uwsgi-async[snmp]'" in process.output
            assert "Traceback" not in process.output
