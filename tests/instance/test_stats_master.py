"""The statistics of an instance with a master: from every worker, at every time, to every reader."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.command import COMMAND, Process, program, server
from tests.instance.harness import pid_of
from tests.instance.stats_values import look, read
from tests.terminal import in_terminal
from uwsgi_async.instance.statistics.server import local_address

APP = """
import json, time, uwsgi, uwsgi_async

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/wait":
        print("a request waits", flush=True)
        uwsgi.async_sleep(30)
    elif path == "/hang":
        print("a request hangs", flush=True)
        time.sleep(30)
    elif path == "/error":
        raise RuntimeError("the app's error")
    answer = None
    if path == "/workers":
        answer = [{**each, "apps": list(each["apps"])} for each in uwsgi.workers()]
    elif path == "/statistics":
        statistics = uwsgi_async.statistics()
        answer = [statistics.state, statistics.pid, [process.role for process in statistics.processes]]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer, default=lambda value: [value.decode()]).encode()]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@contextmanager
def instance(place: Path, *words: str) -> Iterator[Process]:
    """An instance with a master and two workers, whose statistics are told at ``place / "stats"``."""
    words = ("--master", "-p", "2", "--async", "3", "--stats", "stats", "--grace", "0", *words)
    with server(*words, "app.py", cwd=place) as process:
        yield process


def told(place: Path) -> Any:
    return look(str(place / "stats"))


def told_of(place: Path, process: Process, requests: int) -> Any:
    """Look when so many requests have been counted: that is a moment after their answers have gone."""
    process.wait_until(lambda: sum(worker["requests"] for worker in told(place)["workers"]) == requests)
    return told(place)


@contextmanager
def asked(process: Process, path: str, words: str) -> Iterator[None]:
    """Have a request run while the block does; ``words`` say that it does. At the end the server is killed."""
    client = threading.Thread(target=lambda: subprocess.run(["curl", "-s", process.url + path], check=False))
    client.start()
    process.wait_for(words)
    try:
        yield
    finally:
        for pid in process.family():
            os.kill(pid, signal.SIGKILL)
        client.join()


def test_the_master_tells_of_all_workers_as_they_are_now(place: Path) -> None:
    with instance(place) as process:
        for _ in range(5):
            process.get()
        statistics = told_of(place, process, 5)
    assert statistics["pid"] == process.popen.pid
    assert statistics["cwd"] == str(place)
    workers = statistics["workers"]
    assert [worker["id"] for worker in workers] == [1, 2]
    assert {worker["pid"] for worker in workers} < {each["pid"] for each in statistics["processes"]}
    assert sum(core["requests"] for worker in workers for core in worker["cores"]) == 5
    assert [len(worker["cores"]) for worker in workers] == [3, 3]
    assert [worker["respawn_count"] for worker in workers] == [1, 1]
    assert all(worker["rss"] > 1 << 20 for worker in workers)


def test_a_running_request_is_told_with_its_vars(place: Path) -> None:
    with instance(place) as process, asked(process, "/wait?a=b", "a request waits"):
        cores = [core for worker in told(place)["workers"] for core in worker["cores"] if core["in_request"]]
        assert len(cores) == 1
        assert "REQUEST_URI=/wait?a=b" in cores[0]["vars"]
        assert cores[0]["req_info"]["request_start"] > 0


def test_a_worker_that_hangs_does_not_keep_the_statistics_from_anybody(place: Path) -> None:
    with instance(place, "--blocking-limit", "0") as process, asked(process, "/hang", "a request hangs"):
        assert len(told(place)["workers"]) == 2


def test_counts_go_on_when_a_worker_is_replaced(place: Path) -> None:
    with instance(place, "-p", "1", "--grace", "5") as process:
        process.get()
        with pytest.raises(OSError, match="500"):
            process.get("/error")
        (worker,) = told_of(place, process, 2)["workers"]
        os.kill(worker["pid"], signal.SIGTERM)
        process.wait_for("Respawned worker 1")
        process.wait_until(lambda: told(place)["workers"][0]["ready"])
        process.get()
        (worker,) = told_of(place, process, 3)["workers"]
    assert (worker["requests"], worker["delta_requests"], worker["exceptions"]) == (3, 1, 1)
    assert worker["respawn_count"] == 2
    assert sum(core["requests"] for core in worker["cores"]) == 3
    assert worker["apps"][0]["requests"] == 3


def test_a_reload_is_counted_and_the_failed_one_too(place: Path) -> None:
    with instance(place) as process:
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("reloaded in")
        assert (told(place)["reloads"], told(place)["failed_reloads"]) == (1, 0)
        (place / "app.py").write_text("import no_such_library")
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("the reload has failed")
        assert (told(place)["reloads"], told(place)["failed_reloads"]) == (1, 1)


def test_readyz_is_503_until_the_workers_serve(place: Path) -> None:
    (place / "gate").mkdir()
    app = "import os, time\nwhile not os.path.exists('gate/open'): time.sleep(0.01)\n" + APP
    (place / "app.py").write_text(app)
    words = (*COMMAND, "--http-socket", "127.0.0.1:0", "--master", "--prometheus", "probe", "app.py")
    with program(*words, cwd=place) as process:
        process.wait_for("spawned the master process")
        probe = str(place / "probe")

        def ready() -> bytes:
            return read(probe, b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")

        assert ready().startswith(b"HTTP/1.1 503 ")
        assert ready().endswith(b"\r\n\r\nstarting\n")
        assert read(probe, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        (place / "gate/open").touch()
        process.wait_for("serves")
        assert ready().startswith(b"HTTP/1.1 200 ")


def test_workers_gives_the_dicts_of_uwsgi(place: Path) -> None:
    with instance(place) as process:
        workers = json.loads(process.get("/workers"))
    assert [worker["id"] for worker in workers] == [1, 2]
    for worker in workers:
        (app,) = worker["apps"]
        assert (app["id"], app["modifier1"], app["mountpoint"], app["chdir"]) == (0, 0, [""], [""])
        assert app["callable"] > 0
        assert app["interpreter"] > 0
        assert worker["respawn_count"] == 0


def test_any_worker_can_tell_of_the_whole_instance(place: Path) -> None:
    with instance(place) as process:
        state, pid, roles = json.loads(process.get("/statistics"))
    assert (state, pid) == ("serving", process.popen.pid)
    assert roles == ["master", "zygote", "fork server", "worker 1", "worker 2"]


def test_a_zygote_that_is_gone_is_not_told_any_more(place: Path) -> None:
    with instance(place) as process:
        os.kill(pid_of(process, "zygote"), signal.SIGKILL)
        process.wait_until(lambda: "zygote" not in json.loads(process.get("/statistics"))[2])


def test_the_socket_file_is_gone_with_the_instance(place: Path) -> None:
    with instance(place) as process:
        assert (place / "stats").exists()
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
    assert not (place / "stats").exists()


def test_uwsgi_connect_and_read_reads_it(place: Path) -> None:
    from tests.parity.oracle import require

    uwsgi = str(require())
    with instance(place):
        result = subprocess.run([uwsgi, "--connect-and-read", str(place / "stats")], capture_output=True, timeout=20)
    assert json.loads(result.stderr)["version"] == "2.0.31"  # uWSGI logs what it reads


@pytest.mark.parametrize("keys", ["q", "aaq"], ids=["workers", "cores"])
def test_uwsgitop_shows_it(place: Path, keys: str) -> None:
    command = shutil.which("uwsgitop", path=os.path.dirname(sys.executable))
    if command is None:
        if os.environ.get("CI") == "true":
            pytest.fail("uwsgitop is missing: it is in the dependency group test")
        pytest.skip("uwsgitop is missing: it is in the dependency group test")
    with instance(place) as process:
        process.get()
        with in_terminal(sys.executable, "-W", "ignore", command, str(place / "stats")) as terminal:
            terminal.wait_for("STATUS")
            terminal.press(keys)
            terminal.end()
    assert "uwsgi-2.0.31" in terminal.shown
    assert f"masterpid: {process.popen.pid}" in terminal.shown
    assert "idle" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_the_local_address_is_unique_to_the_process_and_its_namespace() -> None:
    names = {local_address(1).name, local_address(2).name}
    assert len(names) == 2
    assert all(str(os.stat("/proc/self/ns/pid").st_ino) in name for name in names)
