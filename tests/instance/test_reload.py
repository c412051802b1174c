"""A reload, whoever asks for it: the new code serves before the old ends, or the old goes on and the log says why."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests import load
from tests.command import program
from tests.instance.harness import APP, ask, gone, instance, lose, pid_of, pids, starting, status
from tests.load import Load
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.command import Process


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def change(place: Path, version: int = 20) -> None:
    """Write new code; of another size each time, so that no cached bytecode is taken for it (see PEP 3147)."""
    (place / "app.py").write_text(APP.replace("VERSION = 1", f"VERSION = {version}"))


def touch(path: Path) -> None:
    """Change a file's time for certain, whatever the file system's grain."""
    path.touch()
    after = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(after, after))


def tell(place: Path, letters: str) -> None:
    """Write to the master FIFO, which must be there."""
    fd = os.open(place / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, letters.encode())
    os.close(fd)


def hang_up(process: Process) -> None:
    process.popen.send_signal(signal.SIGHUP)


def reloads(process: Process) -> int:
    return process.output.count("reloaded in")


def await_reload(process: Process, number: int = 1) -> None:
    process.wait_until(lambda: reloads(process) >= number)


def await_version(process: Process, version: int) -> None:
    """An old worker accepts until it has read that it is to end, a moment after the new ones serve."""
    process.wait_until(lambda: ask(process)["version"] == version)


@contextmanager
def connected(process: Process) -> Iterator[HTTPConnection]:
    """A keep-alive connection to an instance."""
    address = urlsplit(process.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=20)
    try:
        connection.connect()
        yield connection
    finally:
        connection.close()


def ask_over(connection: HTTPConnection) -> tuple[str, bool]:
    """Ask over a connection; return the answer, and whether the server keeps the connection."""
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.read().decode(), answer.getheader("Connection") != "close"


# --- whoever asks -----------------------------------------------------------------------------------------------


WAYS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "one has been touched": ("--touch-reload=one", lambda place: touch(place / "one")),
    "two has been touched": ("--touch-reload=two", lambda place: touch(place / "two")),
    "new has been touched": ("--touch-reload=new", lambda place: touch(place / "new")),
    r"chain has been touched \(without lazy-apps": ("--touch-chain-reload=chain", lambda place: touch(place / "chain")),
    "tree has changed": ("--fs-reload=tree", lambda place: touch(place / "tree" / "leaf")),
    "file has changed": ("--fs-brutal-reload=file", lambda place: touch(place / "file")),
    "r in the master FIFO": ("--master-fifo=fifo", lambda place: tell(place, "r")),
    "R in the master FIFO": ("--master-fifo=fifo", lambda place: tell(place, "R")),
    "c in the master FIFO": ("--master-fifo=fifo", lambda place: tell(place, "c")),
}


def test_each_way_to_ask_reloads_and_is_named(place: Path) -> None:
    for name in ("one", "two", "chain", "file"):
        (place / name).touch()
    (place / "tree").mkdir()
    (place / "tree" / "leaf").touch()
    with instance(place, *dict.fromkeys(word for word, _ in WAYS.values())) as process:
        for number, (reason, (_, act)) in enumerate(WAYS.items(), start=1):
            change(place, 20 * 10**number)  # of another size each time
            act(place)
            process.wait_for(f"{reason}.*: reloading")
            await_reload(process, number)
            await_version(process, 20 * 10**number)


def test_a_module_that_was_changed_is_named_and_loaded(place: Path) -> None:
    with instance(place, "--py-autoreload", "0.1") as process:
        change(place)
        process.wait_for(r"changed: uwsgi_file_app \(.*/app\.py\): reloading")
        await_reload(process)
        await_version(process, 20)


def test_what_needs_a_master_starts_one(place: Path) -> None:
    with program(
        sys.executable, "-m", "uwsgi_async", "--http-socket", "127.0.0.1:0", "--touch-reload", "app.py", "app.py",
        cwd=place,
    ) as process:  # fmt: skip
        process.wait_for("spawned the master process")


def test_two_requests_for_a_reload_while_one_runs_are_one_more(place: Path) -> None:
    with instance(place) as process:
        (place / "app.py").write_text("import time; time.sleep(0.3)\n" + APP)
        hang_up(process)
        process.wait_for("SIGHUP received: reloading")
        process.wait_for(r"(?s)spawned the fork server.*spawned the fork server")
        for _ in range(3):
            hang_up(process)
            time.sleep(0.02)  # signals of one number that wait for delivery are one
        change(place)
        await_reload(process, 2)
        await_version(process, 20)
        process.popen.send_signal(signal.SIGTERM)
        process.end()
        assert process.output.count("SIGHUP received: reloading") == 2


def test_a_reload_that_is_asked_for_during_the_start_comes_after_it(place: Path) -> None:
    (place / "app.py").write_text(f"import time; print('loading', flush=True); time.sleep(0.2)\n{APP}")
    with starting(place) as process:
        process.wait_for("loading")
        hang_up(process)
        process.wait_for(r"(?s)serves http.*SIGHUP received: reloading")
        await_reload(process)


def test_a_reload_that_hangs_gives_way_to_the_next(place: Path) -> None:
    code = (
        "import sys; from uwsgi_async.instance import master; master._PATIENCE = 0.0; "
        "from uwsgi_async.cli import main; sys.exit(main())"
    )
    words = ("--http-socket", "127.0.0.1:0", "--master", "app.py")
    with program(sys.executable, "-c", code, *words, cwd=place) as process:
        process.url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        before = process.family()
        (place / "app.py").write_text("import time; print('hanging', flush=True); time.sleep(1000)")
        hang_up(process)
        process.wait_for("hanging")
        change(place)
        hang_up(process)
        process.wait_for(r"the reload that still runs after \d+ s is given up")
        await_reload(process)
        await_version(process, 20)
        process.wait_until(lambda: len(process.family()) == len(before))


def test_exit_on_reload_stops(place: Path) -> None:
    with instance(place, "--exit-on-reload") as process:
        hang_up(process)
        assert process.end() == 0
        process.wait_for(r"SIGHUP received, and exit-on-reload: finishing the running requests")
        process.wait_until(lambda: gone(process))


# --- modules that change ----------------------------------------------------------------------------------------

HELPER = "import helper\n"


def write_module(path: Path, text: str) -> None:
    """Write a module, and never with the time that it has already."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    if path.stat().st_mtime_ns == before:
        touch(path)


def test_a_module_that_was_broken_is_loaded_when_it_is_mended(place: Path) -> None:
    with instance(place, "--py-autoreload", "0.1") as process:
        write_module(place / "helper.py", "this is no Python, not at all")
        write_module(place / "app.py", HELPER + APP.replace("VERSION = 1", "VERSION = 300"))
        process.wait_for("the reload has failed, the old workers go on: .*SyntaxError")
        assert ask(process)["version"] == 1
        write_module(place / "helper.py", "")
        process.wait_for(r"changed: .*/helper\.py: reloading")
        await_reload(process)
        await_version(process, 300)


def test_a_module_that_was_missing_is_loaded_when_it_is_there(place: Path) -> None:
    with instance(place, "--py-autoreload", "0.1") as process:
        write_module(place / "app.py", HELPER + APP)
        process.wait_for("the reload has failed, the old workers go on: .*No module named 'helper'")
        write_module(place / "helper.py", "")
        await_reload(process)


@pytest.mark.parametrize("words", [(), ("--lazy-apps",)])
def test_a_module_that_a_request_has_imported_is_watched(place: Path, words: tuple[str, ...]) -> None:
    write_module(place / "late.py", "")
    (place / "app.py").write_text(APP.replace("    answer = None", "    answer = None\n    import late", 1))
    with instance(place, "--py-autoreload", "0.1", *words) as process:
        ask(process)
        deadline = time.monotonic() + 20
        while not reloads(process):  # the import is reported a moment after the request
            assert time.monotonic() < deadline, process.output
            touch(place / "late.py")
            time.sleep(0.2)
        process.wait_for(r"changed: late \(.*/late\.py\)")


def test_a_lazy_app_that_was_broken_is_loaded_when_it_is_mended(place: Path) -> None:
    with instance(place, "--py-autoreload", "0.1", "--lazy-apps") as process:
        write_module(place / "app.py", "this is no Python, not at all")
        process.wait_for("the reload has failed, the old workers go on: .*SyntaxError")
        change(place, 300)
        await_reload(process)
        await_version(process, 300)


def test_an_ignored_module_is_not_watched(place: Path) -> None:
    write_module(place / "helper.py", "")
    write_module(place / "other.py", "")
    (place / "app.py").write_text(f"import helper, other\n{APP}")
    with instance(place, "--py-autoreload", "0.1", "--py-auto-reload-ignore", "helper") as process:
        touch(place / "helper.py")
        touch(place / "other.py")
        await_reload(process)
        assert "changed: other" in process.output
        assert "helper" not in process.output


# --- options that change ----------------------------------------------------------------------------------------

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


# --- whatever dies ----------------------------------------------------------------------------------------------


def test_a_worker_that_dies_during_a_reload_is_started_again(place: Path) -> None:
    dies_once = """
def forked():
    if not os.path.exists("dead"):
        open("dead", "w").close()
        os._exit(9)
uwsgi.post_fork_hook = forked
"""
    with instance(place, "--processes", "2") as process:
        (place / "app.py").write_text(APP + dies_once)
        hang_up(process)
        process.wait_for("ended with status 9 .*starting it again")
        await_reload(process)
        process.wait_until(lambda: ask(process)["reload"])


def test_new_workers_that_all_die_leave_the_old_ones_and_nothing_else(place: Path) -> None:
    with instance(place, "--processes", "2", "--forkbomb-delay", "0") as process:
        before = process.family()
        dies = (
            "\nimport uwsgi\ndef forked():\n    if uwsgi.worker_id() == 2: os._exit(9)\nuwsgi.post_fork_hook = forked\n"
        )
        (place / "app.py").write_text(APP + dies)
        hang_up(process)
        process.wait_for("the reload has failed, the old workers go on: worker 2 ended with status 9 5 times")
        process.wait_until(lambda: process.family() == before)
        assert ask(process)["reload"] is False


def test_an_old_worker_that_dies_during_a_reload_is_replaced_meanwhile(place: Path) -> None:
    with instance(place) as process:
        before = ask(process)["pid"]
        (place / "app.py").write_text(f"import time; print('loading', flush=True); time.sleep(0.7)\n{APP}")
        hang_up(process)
        process.wait_for("loading")
        os.kill(before, signal.SIGKILL)
        process.wait_for("Respawned worker 1")
        assert ask(process)["reload"] is False
        await_reload(process)
        process.wait_until(lambda: ask(process)["reload"])


def test_a_new_fork_server_that_dies_leaves_the_old_workers(place: Path) -> None:
    with instance(place) as process:
        before = process.family()
        (place / "app.py").write_text(f"import time; print('loading', flush=True); time.sleep(1000)\n{APP}")
        hang_up(process)
        process.wait_for("loading")
        process.wait_until(lambda: process.output.count("spawned the fork server") == 2)
        os.kill(pid_of(process, "fork server"), signal.SIGKILL)
        process.wait_for("the reload has failed, the old workers go on: the fork server was killed by signal 9")
        process.wait_until(lambda: process.family() == before)
        change(place)
        hang_up(process)
        await_reload(process)


def test_the_old_fork_server_may_die_during_a_reload(place: Path) -> None:
    with instance(place) as process:
        old = pid_of(process, "fork server")
        (place / "app.py").write_text(f"import time; print('loading', flush=True); time.sleep(0.3)\n{APP}")
        hang_up(process)
        process.wait_for("loading")
        os.kill(old, signal.SIGKILL)
        await_reload(process)
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))


def test_a_dead_zygote_is_replaced_when_a_fork_server_is_wanted(place: Path) -> None:
    with instance(place) as process:
        os.kill(pid_of(process, "zygote"), signal.SIGKILL)
        change(place)
        hang_up(process)
        await_reload(process)
        await_version(process, 20)
        assert process.output.count("spawned the zygote") == 2


def test_a_library_that_has_changed_is_imported_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = place / "sitecustomize.py"  # the zygote imports it as it imports this package
    library.write_text("edition = 1")
    monkeypatch.setenv("PYTHONPATH", str(place))
    (place / "app.py").write_text(APP.replace("VERSION = 1", "from sitecustomize import edition as VERSION"))
    with instance(place) as process:
        hang_up(process)
        await_reload(process)
        assert ask(process)["version"] == 1
        library.write_text("edition = 20")
        hang_up(process)
        await_reload(process, 2)
        await_version(process, 20)
        assert process.output.count("spawned the zygote") == 1


# --- connections and requests that are there --------------------------------------------------------------------


def test_an_idle_connection_goes_over_to_the_new_workers(place: Path) -> None:
    with instance(place, "--processes", "2") as process, connected(process) as spoken, connected(process) as silent:
        assert '"version": 1,' in ask_over(spoken)[0]
        change(place)
        hang_up(process)
        await_reload(process)
        process.wait_until(lambda: len(process.family()) == 5)  # the old workers are gone, and nobody waited for it
        for connection in (spoken, silent, spoken):
            answer, kept = ask_over(connection)
            assert '"version": 20,' in answer
            assert kept


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


def test_a_running_request_is_finished_by_the_old_worker_and_its_connection_closed(place: Path) -> None:
    with instance(place) as process, connected(process) as connection:
        connection.request("GET", "/sleep/0.5")
        process.wait_for("a request sleeps")
        change(place)
        hang_up(process)
        await_reload(process)
        answer = connection.getresponse()
        assert b'"version": 1,' in answer.read()
        assert answer.getheader("Connection") == "close"


def test_a_request_that_needs_too_long_after_a_reload_is_cancelled(place: Path) -> None:
    with instance(place, "--worker-reload-mercy", "0.2", "--blocking-limit", "0") as process:
        old = ask(process)["pid"]
        answers: list[int] = []
        slow = threading.Thread(target=lambda: answers.append(status(process, "/sleep/1000")))
        slow.start()
        process.wait_for("a request sleeps")
        hang_up(process)
        process.wait_for(r"1 requests did not end within 0\.2 s \(option worker-reload-mercy\) and are cancelled")
        process.wait_until(lambda: old not in process.family())
        slow.join()
        assert answers == [503]


def test_a_worker_that_hangs_after_a_reload_is_killed(place: Path) -> None:
    with instance(place, "--reload-mercy", "0.3") as process:
        old = ask(process)["pid"]
        slow = threading.Thread(target=lose, args=(process, "/hang-in-c"))
        slow.start()
        process.wait_for("a request hangs")
        hang_up(process)
        await_reload(process)
        process.wait_for(rf"\(pid: {old}\) has not ended within 0\.3 s \(option reload-mercy\): killing it")
        process.wait_until(lambda: old not in process.family())
        process.wait_until(lambda: ask(process)["reload"])
        slow.join()


def test_a_brutal_reload_does_not_wait_for_requests(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        old = ask(process)["pid"]
        slow = threading.Thread(target=lose, args=(process, "/sleep/1000"))
        slow.start()
        process.wait_for("a request sleeps")
        tell(place, "R")
        await_reload(process)
        process.wait_until(lambda: old not in process.family())
        slow.join()


def test_a_stop_during_a_reload_ends_both_generations(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        (place / "app.py").write_text(f"import time; print('loading', flush=True); time.sleep(1000)\n{APP}")
        hang_up(process)
        process.wait_for("loading")
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))
        assert "Traceback" not in process.output


def test_a_reload_while_stopping_does_nothing(place: Path) -> None:
    with instance(place) as process:
        slow = threading.Thread(target=process.get, args=("/sleep/0.5",))
        slow.start()
        process.wait_for("a request sleeps")
        process.popen.send_signal(signal.SIGTERM)
        process.wait_for("SIGTERM received")
        hang_up(process)
        assert process.end() == 0
        slow.join()
        assert "reloading" not in process.output


@pytest.mark.parametrize("loop", [(), ("--trio",), ("--uvloop",)], ids=["asyncio", "trio", "uvloop"])
def test_20_reloads_under_load_lose_no_request(place: Path, loop: tuple[str, ...]) -> None:
    (place / "app.py").write_text(load.APP)
    with instance(place, "--processes", "2", "--disable-logging", *loop) as process:
        with Load([urlsplit(process.url).port or 0]) as clients:
            for number in range(1, 21):
                hang_up(process)
                await_reload(process, number)
                clients.wait_for(1, process.wait_until)
        assert clients.failures == []
        assert "Traceback" not in process.output


# --- workers alone ----------------------------------------------------------------------------------------------


def test_w_replaces_the_workers_which_have_the_code_that_was_loaded(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo", "--processes", "2") as process:
        before = pids(process)
        change(place)
        tell(place, "w")
        process.wait_for("w in the master FIFO: replacing the workers")
        process.wait_for("replaced all workers in")
        process.wait_until(lambda: not set(before.values()) & process.family())
        assert ask(process)["version"] == 1
        assert set(pids(process)) == {1, 2}


def test_with_lazy_apps_replaced_workers_load_the_app_again(place: Path) -> None:
    (place / "flag").touch()
    words = ("--lazy-apps", "--master-fifo", "fifo", "--touch-workers-reload", "flag", "--processes", "2")
    with instance(place, *words) as process:
        change(place)
        tell(place, "w")
        process.wait_for("replaced all workers in")
        await_version(process, 20)
        change(place, 300)
        touch(place / "flag")
        process.wait_for("(?s)flag has been touched: replacing the workers.*replaced all workers in")
        await_version(process, 300)
        assert reloads(process) == 0


def test_a_chain_reload_replaces_one_worker_after_the_other(place: Path) -> None:
    with instance(place, "--lazy-apps", "--master-fifo", "fifo", "--processes", "3") as process:
        change(place)
        tell(place, "c")
        process.wait_for("replaced all workers in")
        replaced = re.findall(r"worker (\d) \(pid: \d+\) is to be replaced|Respawned worker (\d)", process.output)
        assert replaced == [("1", ""), ("", "1"), ("2", ""), ("", "2"), ("3", ""), ("", "3")]
        await_version(process, 20)


def test_a_chain_reload_ends_at_the_first_worker_that_does_not_come_to_serve(place: Path) -> None:
    with instance(place, "--lazy-apps", "--master-fifo", "fifo", "--processes", "2") as process:
        before = pids(process)
        (place / "app.py").write_text("this is no Python")
        tell(place, "c")
        process.wait_for("a new process does not serve: the workers are not all replaced")
        assert "worker 2 (pid" not in process.output.split("replacing the workers")[1]
        assert set(before.values()) <= process.family()
        change(place)
        process.wait_for("Respawned worker 1")
        process.wait_until(lambda: 20 in {ask(process)["version"] for _ in range(5)})


def test_replacing_workers_twice_at_once_is_refused(place: Path) -> None:
    with instance(place, "--lazy-apps", "--master-fifo", "fifo") as process:
        (place / "app.py").write_text("import time; time.sleep(0.5)\n" + APP)
        tell(place, "ww")
        process.wait_for("w in the master FIFO: the workers are being replaced already")
        process.wait_for("replaced all workers in")


def test_w_kills_the_workers_brutally(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        old = ask(process)["pid"]
        slow = threading.Thread(target=lose, args=(process, "/sleep/1000"))
        slow.start()
        process.wait_for("a request sleeps")
        tell(place, "W")
        process.wait_for("replaced all workers in")
        assert old not in process.family()
        assert ask(process)["pid"] != old
        slow.join()


# --- the other letters ------------------------------------------------------------------------------------------


def paused(process: Process) -> bool:
    """Whether a new connection gets no answer."""
    with connected(process) as connection:
        connection.sock.settimeout(0.1)
        connection.request("GET", "/")
        try:
            return not connection.getresponse().read()
        except TimeoutError:
            return True


def test_a_suspended_instance_accepts_nothing_and_serves_what_is_open(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo", "--processes", "2") as process, connected(process) as connection:
        ask_over(connection)
        tell(place, "p")
        process.wait_for("suspended: no connection is accepted")
        process.wait_until(lambda: paused(process))
        assert '"version": 1,' in ask_over(connection)[0]
        os.kill(pids_over(connection), signal.SIGKILL)
        process.wait_for("Respawned worker")
        process.wait_until(lambda: paused(process))
        process.popen.send_signal(signal.SIGTSTP)
        process.wait_for(r"\*\*\* resumed \*\*\*")
        assert ask(process)["version"] == 1


def pids_over(connection: HTTPConnection) -> int:
    found = re.search(r'"pid": (\d+)', ask_over(connection)[0])
    assert found is not None
    return int(found[1])


def test_a_reload_ends_the_suspension(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        tell(place, "pr")
        await_reload(process)
        process.wait_for("resumed: the new workers were never suspended")
        process.wait_until(lambda: ask(process)["reload"])


def test_statistics_are_written_to_the_log(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo", "--processes", "2") as process:
        for times, say in enumerate(
            (lambda: tell(place, "s"), lambda: process.popen.send_signal(signal.SIGUSR1)), start=1
        ):
            say()
            for worker, pid in pids(process).items():
                line = rf"worker {worker} \(pid: {pid}\) is \w+: \d+ requests, 0 exceptions"
                process.wait_until(lambda line=line, times=times: len(re.findall(line, process.output)) == times)


def test_a_pidfile_that_was_removed_is_written_again(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo", "--pidfile", "app.pid") as process:
        (place / "app.pid").unlink()
        tell(place, "P")
        process.wait_until(lambda: (place / "app.pid").exists())
        process.popen.send_signal(signal.SIGTERM)
        process.end()
        assert not (place / "app.pid").exists()


def test_q_finishes_the_running_requests(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        bodies: list[bytes] = []
        slow = threading.Thread(target=lambda: bodies.append(process.get("/sleep/0.3")))
        slow.start()
        process.wait_for("a request sleeps")
        tell(place, "q")
        assert process.end() == 0
        slow.join()
        assert len(bodies) == 1
        assert not (place / "fifo").exists()


def test_capital_q_does_not(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        slow = threading.Thread(target=lose, args=(process, "/sleep/1000"))
        slow.start()
        process.wait_for("a request sleeps")
        tell(place, "Q")
        assert process.end() == 0
        slow.join()
        process.wait_until(lambda: gone(process))


def test_the_fifo_is_removed_when_the_master_is_killed(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        tell(place, "s")
        os.kill(process.popen.pid, signal.SIGKILL)
        process.wait_until(lambda: gone(process))
        assert not (place / "fifo").exists()


def test_a_fifo_that_cannot_be_made_ends_the_start_with_a_sentence(place: Path) -> None:
    (place / "fifo").write_text("precious")
    with starting(place, "--master-fifo", "fifo") as process:
        assert process.end() == 2
        assert "/fifo' is there already and is no FIFO" in process.output
        assert "spawned the fork server" not in process.output
