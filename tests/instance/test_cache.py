"""Caches in a running instance: shared by all its processes, kept through reloads, gone with the last of them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.command import Process, run, server

APP = """
import json, os, threading, uwsgi

uwsgi.cache_update("imported by", str(os.getpid()))
uwsgi.cache_inc("imports")

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    name, *arguments = json.loads(environ["wsgi.input"].read())
    if name == "die":
        os.kill(os.getpid(), 9)
    if name == "fork":
        pid = os.fork()
        if not pid:
            os._exit(0 if uwsgi.cache_update("child", str(os.getpid())) else 1)
        answer = os.waitpid(pid, 0)[1]
    elif name == "thread":
        told = []
        thread = threading.Thread(target=lambda: told.append(uwsgi.cache_num("imports")))
        thread.start()
        thread.join()
        answer = told[0]
    else:
        answer = getattr(uwsgi, name)(*arguments)
    text = lambda value: value.decode() if isinstance(value, bytes) else value
    answer = sorted(map(text, answer)) if isinstance(answer, list) else text(answer)
    return [json.dumps([os.getpid(), answer]).encode()]
"""
NAMES = re.compile(r"uwsgi_async[. ]")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@contextmanager
def instance(place: Path, *words: str) -> Iterator[Process]:
    with server("--cache2", "name=c,items=100", *words, "app.py", cwd=place) as process:
        yield process


def call(process: Process, name: str, *arguments: Any) -> tuple[int, Any]:
    """Call a function of the uwsgi module; return the worker's process id and the answer."""
    body = json.dumps([name, *arguments]).encode()
    with urlopen(Request(process.url, body, {"Connection": "close"}), timeout=20) as answer:
        pid, value = json.loads(answer.read())
    return pid, value


def call_all(process: Process, count: int, name: str, *arguments: Any) -> dict[int, Any]:
    """Call a function in every worker; return the answers by process id."""
    answers: dict[int, Any] = {}

    def enough() -> bool:
        pid, value = call(process, name, *arguments)
        answers[pid] = value
        return len(answers) == count

    process.wait_until(enough)
    return answers


@pytest.mark.parametrize("words", [(), ("--master", "--processes", "2"), ("--master", "--lazy-apps"), ("--trio",)])
def test_what_is_stored_at_import_is_there_in_requests(place: Path, words: tuple[str, ...]) -> None:
    with instance(place, *words) as process:
        pid, importer = call(process, "cache_get", "imported by")
        assert (int(importer) == pid) == (words != ("--master", "--processes", "2"))
        assert call(process, "cache_num", "imports")[1] == 1


def test_all_workers_share_a_cache(place: Path) -> None:
    with instance(place, "--master", "--processes", "2") as process:
        call(process, "cache_set", "k", "v")
        assert list(call_all(process, 2, "cache_get", "k").values()) == ["v", "v"]


def test_threads_and_forked_children_have_it_too(place: Path) -> None:
    with instance(place, "--threads", "4") as process:
        assert call(process, "thread")[1] == 1
        pid, status = call(process, "fork")
        assert status == 0
        assert int(call(process, "cache_get", "child")[1]) != pid


def test_it_outlives_a_worker_that_is_killed(place: Path) -> None:
    with instance(place, "--master", "--processes", "2") as process:
        call(process, "cache_set", "k", "v")
        with pytest.raises(OSError):  # noqa: PT011 - the connection ends, one way or the other
            call(process, "die")
        process.wait_for("starting it again")
        process.wait_for("Respawned worker")
        assert set(call_all(process, 2, "cache_get", "k").values()) == {"v"}
        assert call(process, "cache_set", "l", "v")[1] is True


def test_it_outlives_a_reload(place: Path) -> None:
    with instance(place, "--master") as process:
        call(process, "cache_set", "k", "v")
        os.kill(process.popen.pid, signal.SIGHUP)
        process.wait_for("reloaded in")
        assert call(process, "cache_get", "k")[1] == "v"
        process.wait_until(lambda: call(process, "cache_num", "imports")[1] == 2)


def test_a_reload_with_other_caches_keeps_these_and_says_so(place: Path) -> None:
    (place / "app.ini").write_text("[uwsgi]\ncache2 = name=d,items=9\n")
    with instance(place, "--master", "app.ini") as process:
        call(process, "cache_set", "k", "v", 0, "d")
        (place / "app.ini").write_text("[uwsgi]\ncache2 = name=e,items=9\n")
        os.kill(process.popen.pid, signal.SIGHUP)
        process.wait_for("cache2: a reload cannot change .*name=d,items=9.* to .*name=e,items=9.*: restart for that")
        process.wait_for("reloaded in")
        assert call(process, "cache_get", "k", "d")[1] == "v"


def test_the_statistics_tell_of_it(place: Path) -> None:
    with instance(place, "--master", "--stats", "stats.sock") as process:
        call(process, "cache_set", "k", "v")
        call(process, "cache_get", "k")
        call(process, "cache_get", "none")

        def told() -> dict[str, Any]:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(place / "stats.sock"))
                with sock.makefile("rb") as file:
                    (cache,) = json.loads(file.read())["caches"]
            return dict(cache)

        process.wait_until(lambda: told()["hits"] == 1)
        expected = {"name": "c", "hash": "djb33x", "hashsize": 65536, "keysize": 2048, "max_items": 100, "blocks": 100}
        expected |= {"blocksize": 65536, "items": 3, "hits": 1, "miss": 1, "full": 0, "last_modified_at": 0}
        assert told() == expected


def test_the_master_sweeps(place: Path) -> None:
    with instance(place, "--master", "--cache-expire-freq", "0.05", "--cache-report-freed-items") as process:
        call(process, "cache_set", "k", "v", -5)
        process.wait_for('freed 1 items for cache "c"')
        assert call(process, "cache_exists", "k")[1] is None


def test_a_store_is_there_after_the_master_and_all_workers_were_killed(place: Path) -> None:
    words = ("--master", "--processes", "2", "--cache2", "name=s,items=100,store=kept")
    with instance(place, *words) as process:
        call(process, "cache_set", "k", "v", 0, "s")
        for pid in process.family():
            os.kill(pid, signal.SIGKILL)
        process.end()
    with instance(place, *words) as process:
        process.wait_for(r"recovered cache from backing store file: .*/kept \(1 items\)")
        assert call(process, "cache_get", "k", "s")[1] == "v"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(place: Path, number: signal.Signals) -> None:
    """However the master ends: no process, so no memory, which has no name; and no name in /dev/shm either."""
    with instance(place, "--master", "--processes", "2") as process:
        call_all(process, 2, "cache_set", "k", "v")
        pids = process.family()
        assert len(pids) == 5
        os.kill(process.popen.pid, number)
        process.wait_until(lambda: not process.family())
    names = [name for name in os.listdir("/dev/shm") if NAMES.match(name)]
    assert not [name for name in names if any(f".{pid}." in name for pid in pids)]


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("--cache2", "name=x,items=100000000"), 2, "cache 'x' takes 6.158 TiB"),
        (("--cache2", "name=x"), 2, "items=... is missing"),
        (("--cache2", "name=x,items=5,size=3"), 2, "there is no 'size'"),
        (("--cache2", "name=x,items=5,store=/"), 2, "cannot be opened"),
        (("--cache", "1"), 2, "one item would store nothing"),
        (("--uwsgi-allow", "everything"), 2, "expected cache"),
    ],
)
@pytest.mark.parametrize("mode", [(), ("--master",)])
def test_what_cannot_be_is_refused_at_the_start(
    place: Path, words: tuple[str, ...], status: int, sentence: str, mode: tuple[str, ...]
) -> None:
    ended, output = run("--http-socket", "127.0.0.1:0", *mode, *words, "app.py", cwd=place)
    assert ended == status
    assert sentence in output
    assert "Traceback" not in output
