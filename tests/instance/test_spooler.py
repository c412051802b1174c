"""Spoolers in an instance: who runs a task, and that none is lost whatever ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.command import run, server
from tests.instance.harness import touch
from tests.instance.spooling import Instance, instance
from uwsgi_async.errors import NotConfiguredError, OptionError
from uwsgi_async.options.build import build
from uwsgi_async.spooler.table import Spoolers
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """One instance for all tests that leave it as it was."""
    place = tmp_path_factory.mktemp("spooler")
    (place / "other").mkdir()
    words = ("--spooler", str(place / "other"), "--stats", str(place / "stats"), "--stats-http")
    with instance(place, *words, SPOOL_AT_IMPORT="yes") as running:
        yield running


def test_a_task_of_a_worker_runs_in_the_process_of_the_spooler(shared: Instance) -> None:
    name = shared.spool(n=1, body="all of it")
    (run,) = shared.wait_for_runs(1, name)
    assert run["pid"] == shared.spooler_pid()
    assert run["task"] == {"spooler_task_name": name, "n": "1", "body": "all of it"}
    assert (run["spooler"], run["worker"], run["nice"]) == (True, 0, 19)
    assert run["cwd"] == run["dir"] == str(shared.directory)
    shared.wait_until_empty()


def test_a_task_may_be_written_while_the_app_is_imported(shared: Instance) -> None:
    shared.process.wait_until(lambda: [run for run in shared.runs() if run["task"].get("n") == "at import"])


@pytest.mark.parametrize(("do", "expected"), [("chain", "chained"), ("thread", "from a thread")])
def test_a_task_may_write_another_one(shared: Instance, do: str, expected: str) -> None:
    shared.spool(do=do)
    shared.process.wait_until(lambda: [run for run in shared.runs() if run["task"].get("n") == expected])


def test_a_thread_of_a_request_may_write_a_task(shared: Instance) -> None:
    path = shared.ask("in_thread(uwsgi.spool, {b'n': b'3'})")
    shared.wait_for_runs(1, os.path.basename(path).decode())


def test_a_task_may_use_locks_and_sleep(shared: Instance) -> None:
    shared.wait_for_runs(1, shared.spool(do="lock"))
    shared.spool(do="sleep")
    shared.process.wait_until(lambda: [line for line in shared.lines() if line.get("slept")])


@pytest.mark.parametrize("other", ["directory", "number"])
def test_a_task_says_which_spooler_runs_it(shared: Instance, other: str) -> None:
    path = shared.directory.parent / "other"
    name = shared.spool(spooler=path if other == "directory" else 1)
    (run,) = shared.wait_for_runs(1, name)
    assert run["dir"] == str(path)


def test_the_functions_tell_of_the_spoolers(shared: Instance) -> None:
    directories = [str(shared.directory).encode(), str(shared.directory.parent / "other").encode()]
    assert list(shared.ask("uwsgi.spoolers")) == directories
    pids = shared.ask("uwsgi.spooler_pids()")
    assert len(set(pids)) == 2
    assert 0 not in pids
    assert shared.ask("uwsgi.i_am_the_spooler()") is None
    assert shared.ask("uwsgi.spooler_dir()") == "ValueError: This process is not a spooler"
    assert shared.ask("(uwsgi.SPOOL_OK, uwsgi.SPOOL_RETRY, uwsgi.SPOOL_IGNORE)") == (-2, -1, 0)


def test_jobs_are_listed_and_can_be_read_before_they_run(shared: Instance) -> None:
    shared.wait_until_empty()  # of what other tests have written
    name = shared.spool(at=4102444800, body="b")
    path = str(shared.directory / name)
    try:
        assert shared.ask("uwsgi.spooler_jobs()") == [path.encode()]
        told = {b"at": b"4102444800", "body": b"b", "spooler_task_name": path.encode()}
        assert shared.ask(f"uwsgi.spooler_get_task({path!r})") == told
        assert shared.ask(f"uwsgi.spooler_get_task({path + 'x'!r})") is None
    finally:
        os.unlink(path)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("uwsgi.spool()", b"/"),
        ("uwsgi.spool({})", b"/"),
        ("uwsgi.spool({b'a': b'1'})", b"/"),
        ("uwsgi.spool({'a': 'é', b'n': 5, 'list': [1, 2], 'at': 17.5})", b"/"),
        ("uwsgi.send_to_spooler(a='1', body='x')", b"/"),
        ("uwsgi.spool([1])", "ValueError: The argument of spooler callable must be a dictionary"),
        ("uwsgi.spool({'a': None})", "ValueError: spooler callable dictionary must contains only bytes"),
        ("uwsgi.spool({'a': True})", "ValueError: spooler callable dictionary must contains only bytes"),
        ("uwsgi.spool({'a': 'x' * 70000})", "ValueError: a uwsgi name or value has at most 65535 bytes"),
        ("uwsgi.spool(spooler='/elsewhere')", "ValueError: unable to find spooler '/elsewhere'"),
        ("uwsgi.spool(spooler=2)", "ValueError: unable to find spooler '2'"),
        ("uwsgi.spool(priority='high')", "ValueError: priority: expected a whole number"),
        ("uwsgi.spool(at='soon')", "ValueError: at: expected unix seconds"),
    ],
)
def test_a_task_is_a_dict_or_keywords(shared: Instance, call: str, expected: str | bytes) -> None:
    assert shared.ask(call).startswith(expected)


def test_the_caller_keeps_its_dict_as_it_was(shared: Instance) -> None:
    assert shared.ask("(lambda task: (uwsgi.spool(task), task))({b'body': b'1'})[1]") == {b"body": b"1"}


def test_the_frequency_can_be_set(shared: Instance) -> None:
    assert shared.ask("uwsgi.set_spooler_frequency(7)") is True
    assert shared.ask("uwsgi.set_spooler_frequency(0)") is True
    assert shared.ask("uwsgi.set_spooler_frequency(-1)").startswith("ValueError")


def test_a_frequency_that_was_set_is_the_time_until_a_task_runs_again(tmp_path: Path) -> None:
    with instance(tmp_path, "--spooler-frequency", "100000") as running:
        running.ask("uwsgi.set_spooler_frequency(1)")
        running.wait_for_runs(2, running.spool(do="retry"))


def test_of_unique_tasks_one_waits_or_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with instance(tmp_path, "--spooler-cores", "2") as running:
        names = [running.spool(**{"do": "wait", "for": go, "spooler_unique": "k"}) for _ in range(2)]
        running.wait_for_runs(1)
        names.append(running.spool(n="while it runs", spooler_unique="k"))
        other = running.spool(n="another one", spooler_unique="l")
        go.touch()
        running.wait_until_empty()
        assert len(set(names)) == 1
        assert [run["task"]["spooler_task_name"] for run in running.runs()].count(names[0]) == 1
        assert running.runs(other)
        running.wait_for_runs(2, running.spool(n="again", spooler_unique="k"))


def test_the_statistics_tell_of_each_spooler(shared: Instance) -> None:
    shared.wait_for_runs(1, shared.spool(n=1))

    def told(path: str) -> bytes:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(shared.directory.parent / "stats"))
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
            answer = b""
            while data := sock.recv(65536):
                answer += data
            return answer.partition(b"\r\n\r\n")[2]

    def spoolers() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(told("/"))["spoolers"]
        return found

    shared.process.wait_until(lambda: spoolers()[0]["done"])
    assert list(spoolers()[0])[:5] == ["dir", "pid", "tasks", "respawns", "running"]
    assert spoolers()[0]["pid"] == shared.spooler_pid()
    roles = {each["role"] for each in json.loads(told("/"))["processes"]}
    assert {"spooler 1", "spooler 2"} <= roles
    assert b'uwsgi_spooler_done_total{dir="' in told("/metrics")


# --- lives and deaths -----------------------------------------------------------------------------------------------


def test_a_task_whose_spooler_is_killed_runs_again(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with instance(tmp_path) as running:
        name = running.spool(**{"do": "wait", "for": go})
        running.wait_for_runs(1, name)
        os.kill(running.spooler_pid(), signal.SIGKILL)
        go.touch()
        running.wait_for_runs(2, name)
        running.wait_until_empty()
        first, second = running.runs(name)
        assert first["pid"] != second["pid"]


def test_a_task_whose_spooler_is_killed_is_taken_over_by_the_other_one_at_once(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with instance(tmp_path, "--spooler-processes", "2", "--spooler-frequency", "100000") as running:
        name = running.spool(**{"do": "wait", "for": go})
        (first,) = running.wait_for_runs(1, name)
        (other,) = {*running.ask("uwsgi.spooler_pids()")} - {first["pid"]}
        os.kill(first["pid"], signal.SIGKILL)
        (_, second) = running.wait_for_runs(2, name)
        assert second["pid"] == other
        go.touch()
        running.wait_until_empty()


def test_a_task_that_kills_its_spooler_again_and_again_goes_to_the_dead_letters(tmp_path: Path) -> None:
    with instance(tmp_path, "--spooler-retries", "1") as running:
        name = running.spool(do="die")
        letter = running.directory / "dead-letter" / name
        running.process.wait_until(letter.exists)
        assert len(running.runs(name)) == 2
        running.wait_for_runs(1, running.spool(n=1))


def test_a_spooler_that_is_held_for_longer_than_harakiri_is_killed_with_its_traceback(tmp_path: Path) -> None:
    words = ("--spooler-harakiri", "0.5", "--harakiri-graceful-timeout", "0.2")
    with instance(tmp_path, *words) as running:
        name = running.spool(do="hang")
        running.process.wait_for(r"spooler 1 \(pid: \d+\): HARAKIRI")
        running.process.wait_for(r"app\.py\"?, line \d+ in run")
        os.unlink(running.directory / name)
        running.wait_for_runs(1, running.spool(n=1))


@pytest.mark.parametrize(("harakiri", "ends"), [("0", True), ("1", False)])
def test_the_time_that_a_task_says_itself_holds_also_when_it_blocks(tmp_path: Path, harakiri: str, ends: bool) -> None:
    words = ("--spooler-harakiri", harakiri, "--harakiri-graceful-timeout", "0.2")
    with instance(tmp_path, *words) as running:
        if ends:
            running.spool(do="hang", spooler_timeout=0.3)
            running.process.wait_for(r"spooler 1 \(pid: \d+\): HARAKIRI")
        else:
            name = running.spool(do="block", seconds=2, spooler_timeout=60)
            running.process.wait_until(lambda: not (running.directory / name).exists())
            assert len(running.runs(name)) == 1


def test_a_spooler_is_replaced_after_its_number_of_tasks(tmp_path: Path) -> None:
    with instance(tmp_path, "--spooler-max-tasks", "2") as running:
        for number in range(6):
            running.wait_for_runs(1, running.spool(n=number))
        assert len({run["pid"] for run in running.runs()}) == 3


def test_the_end_of_an_instance_waits_for_the_task_that_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with instance(tmp_path) as running:
        name = running.spool(**{"do": "wait", "for": go})
        running.wait_for_runs(1, name)
        running.process.popen.terminate()
        running.process.wait_for("finishing the running requests")
        go.touch()
        assert running.process.end() == 0
        assert os.listdir(running.directory) == []
        assert len(running.runs(name)) == 1
        assert running.process.family() == set()


def test_a_reload_lets_the_old_spooler_finish_while_the_new_one_runs(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with instance(tmp_path) as running:
        slow = running.spool(**{"do": "wait", "for": go})
        (before,) = running.wait_for_runs(1, slow)
        running.process.popen.send_signal(signal.SIGHUP)
        running.process.wait_for("the new workers serve")
        (run,) = running.wait_for_runs(1, running.spool(n=1))
        assert run["pid"] != before["pid"]
        go.touch()
        running.wait_until_empty()
        assert len(running.runs(slow)) == 1


def test_a_module_that_only_a_task_imports_is_watched_by_py_autoreload(tmp_path: Path) -> None:
    (tmp_path / "only_here.py").write_text("NUMBER = 1\n")
    with instance(tmp_path, "--master", "--py-autoreload", "0.1", "--pythonpath", str(tmp_path)) as running:
        running.spool(do="import", module="only_here")
        running.wait_for_runs(1)
        running.process.wait_until(lambda: touch(tmp_path / "only_here.py") or "reloaded in" in running.process.output)


def test_a_touched_file_replaces_the_spoolers_and_nobody_else(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    with instance(tmp_path, "--touch-spoolers-reload", str(flag)) as running:
        before, worker = running.spooler_pid(), running.ask("os.getpid()")
        os.utime(flag, (1, 1))
        running.process.wait_for("replacing the spoolers")
        running.process.wait_until(lambda: running.spooler_pid() not in (0, before))
        running.wait_for_runs(1, running.spool(n=1))
        assert running.ask("os.getpid()") == worker


def test_what_a_killed_instance_has_not_run_the_next_one_runs(tmp_path: Path) -> None:
    with instance(tmp_path) as running:
        name = running.spool(do="hang")
        running.wait_for_runs(1, name)
        for pid in running.process.family():
            os.kill(pid, signal.SIGKILL)
    (tmp_path / "app.py").unlink()
    with instance(tmp_path) as running:
        running.wait_for_runs(2, name)


@pytest.mark.parametrize("options", [(), ("--spooler-max-tasks", "1", "--spooler-signal-as-task")])
def test_a_signal_for_the_spooler_is_handled_there(tmp_path: Path, options: tuple[str, ...]) -> None:
    with instance(tmp_path, *options) as running:
        pid = running.spooler_pid()
        for _ in range(2 if options else 1):
            running.ask("uwsgi.signal(5)")
            running.process.wait_until(lambda: len([line for line in running.lines() if line.get("signal")]) > 0)
        assert running.lines()[0] == {"pid": pid, "signal": 5, "spooler": True}
        if options:
            running.process.wait_until(lambda: running.spooler_pid() not in (0, pid))


def test_a_signal_goes_to_the_spooler_of_a_directory(shared: Instance) -> None:
    shared.ask("uwsgi.signal(6)")
    shared.process.wait_until(lambda: [line for line in shared.lines() if line.get("signal") == 6])
    (line,) = (line for line in shared.lines() if line.get("signal") == 6)
    assert line["pid"] == shared.ask("uwsgi.spooler_pids()")[0]


def test_several_processes_run_the_tasks_of_one_directory(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with instance(tmp_path, "--spooler-processes", "3") as running:
        for _ in range(3):
            running.spool(**{"do": "wait", "for": go})
        running.wait_for_runs(3)
        assert len({run["pid"] for run in running.runs()}) == 3
        go.touch()
        running.wait_until_empty()
        assert len(running.runs()) == 3


def test_a_cheap_spooler_comes_with_a_task_and_goes_without(tmp_path: Path) -> None:
    with instance(tmp_path, "--spooler-cheap") as running:
        for number in range(2):
            assert running.ask("uwsgi.spooler_pids()") == [0]
            name = running.spool(n=number)
            running.wait_for_runs(1, name)
            running.process.wait_until(lambda: running.ask("uwsgi.spooler_pids()") == [0])


def test_an_external_spooler_is_only_written_to(tmp_path: Path) -> None:
    app = tmp_path / "writer.py"
    app.write_text(
        "import uwsgi\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [uwsgi.spool({b'n': b'from outside'})]\n"
    )
    with instance(tmp_path) as running:
        words = ("--spooler-external", str(tmp_path / "spool"), "--wsgi-file", str(app))
        with server(*words) as writer:
            name = os.path.basename(writer.get()).decode()
            running.wait_for_runs(1, name)


def test_modules_are_imported_in_the_spooler_alone(tmp_path: Path) -> None:
    module = tmp_path / "tasks.py"
    module.write_text("import uwsgi\nprint('tasks in the spooler:', uwsgi.i_am_the_spooler(), flush=True)\n")
    with instance(tmp_path, "--spooler-import", str(module), "--spooler-chdir", str(tmp_path)) as running:
        running.process.wait_for("tasks in the spooler: True")
        (run,) = running.wait_for_runs(1, running.spool(n=1))
        assert run["cwd"] == str(tmp_path)
        assert running.process.output.count("tasks in the spooler:") == 1


def test_a_module_that_cannot_be_imported_in_the_spooler_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def application(environ, start_response): ...\n")
    words = ("--http-socket", "127.0.0.1:0", "--spooler", str(tmp_path / "s"), "--wsgi-file", str(tmp_path / "app.py"))
    status, output = run(*words, "--spooler-import", "no_such_module")
    assert status == 22
    assert "no_such_module" in output


@pytest.mark.parametrize("option", ["--spooler", "--spooler-external"])
def test_a_directory_that_cannot_be_is_an_error_at_the_start(tmp_path: Path, option: str) -> None:
    (tmp_path / "app.py").write_text("def application(environ, start_response): ...\n")
    words = ("--http-socket", "127.0.0.1:0", "--wsgi-file", str(tmp_path / "app.py"))
    status, output = run(*words, option, str(tmp_path / "a" / "b"))
    assert status == 2
    assert "cannot be made" in output


# --- from elsewhere -------------------------------------------------------------------------------------------------


def spool_packet(**fields: str) -> bytes:
    return encode_packet(17, 0, encode_vars(fields))


def exchange(sock: socket.socket, data: bytes) -> bytes:
    sock.settimeout(20)
    sock.sendall(data)
    answer = b""
    while len(answer) < 4 and (part := sock.recv(64)):
        answer += part
    return answer


def test_a_task_may_come_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    with instance(tmp_path, "--socket", str(path)) as running:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            assert exchange(sock, spool_packet(n="over the wire")) == b"\xff\0\0\x01"
        for refused in ({"spooler": "/elsewhere"}, {"ud_spool_func": "f", "args": "a pickle"}):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                assert exchange(sock, spool_packet(**refused)) == b"\xff\0\0\0"
        (run,) = running.wait_for_runs(1)
        assert run["task"]["n"] == "over the wire"


@pytest.mark.parametrize(("words", "answer"), [((), b""), (("--uwsgi-allow", "spooler"), b"\xff\0\0\x01")])
def test_over_tcp_it_must_be_allowed(tmp_path: Path, words: tuple[str, ...], answer: bytes) -> None:
    with instance(tmp_path, "--socket", "127.0.0.1:0", *words) as running:
        port = int(running.process.wait_for(r"uwsgi-async serves (?:uwsgi://)?127\.0\.0\.1:(\d+)")[1])
        with socket.create_connection(("127.0.0.1", port)) as sock:
            assert exchange(sock, spool_packet(n="1")) == answer


def test_a_script_writes_a_task_without_an_instance(tmp_path: Path) -> None:
    code = (
        "import anyio, sys, uwsgi_async\n"
        "print(anyio.run(lambda: uwsgi_async.spool(n='1', body='b', spooler=sys.argv[1])).decode())\n"
    )
    (tmp_path / "spool").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "spool")], capture_output=True, text=True, timeout=60, check=True
    )
    with instance(tmp_path) as running:
        (run,) = running.wait_for_runs(1, os.path.basename(done.stdout.strip()))
        assert run["task"]["body"] == "b"


# --- in one process -------------------------------------------------------------------------------------------------


def hello(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


@pytest.mark.anyio
async def test_an_instance_of_one_process_runs_its_tasks_beside_the_requests(tmp_path: Path) -> None:
    seen: list[Any] = []
    done = anyio.Event()

    async def function(task: dict[Any, bytes]) -> int:
        await anyio.lowlevel.checkpoint()
        seen.append((task[b"n"], uwsgi_async.i_am_the_spooler(), uwsgi_async.spooler_dir()))
        if len(seen) == 2:
            done.set()
        return -2

    directory = str(tmp_path / "s")
    async with uwsgi_async.run(hello, http="127.0.0.1:0", spooler=directory):
        import uwsgi

        uwsgi.spooler = function
        assert uwsgi_async.i_am_the_spooler() is None
        await uwsgi_async.spool({b"n": b"1"})
        await uwsgi_async.spool(n=2)
        with anyio.fail_after(20):
            await done.wait()
    assert seen == [(b"1", True, directory.encode()), (b"2", True, directory.encode())]
    assert os.listdir(directory) == []


@pytest.mark.anyio
async def test_at_the_end_of_one_process_the_running_task_is_waited_for(tmp_path: Path) -> None:
    begun, go, ended = anyio.Event(), anyio.Event(), False

    async def function(_task: dict[Any, bytes]) -> int:
        nonlocal ended
        begun.set()
        await go.wait()
        ended = True
        return -2

    async with uwsgi_async.run(hello, http="127.0.0.1:0", spooler=str(tmp_path / "s")):
        import uwsgi

        uwsgi.spooler = function
        await uwsgi_async.spool(n=1)
        await begun.wait()
        go.set()
    assert ended
    assert os.listdir(tmp_path / "s") == []


@pytest.mark.anyio
async def test_a_signal_for_the_spooler_of_one_process_is_handled_there(tmp_path: Path) -> None:
    handled = anyio.Event()
    async with uwsgi_async.run(hello, http="127.0.0.1:0", spooler=str(tmp_path / "s")):
        uwsgi_async.register_signal(1, "spooler", lambda _number: handled.set())
        await uwsgi_async.signal(1)
        with anyio.fail_after(20):
            await handled.wait()


@pytest.mark.anyio
async def test_without_a_spooler_the_functions_say_what_to_configure() -> None:
    async with uwsgi_async.run(hello, http="127.0.0.1:0"):
        import uwsgi

        assert not hasattr(uwsgi, "spool")
        assert not hasattr(uwsgi, "spoolers")
        assert uwsgi.i_am_the_spooler() is None
        with pytest.raises(NotConfiguredError, match="option spooler"):
            uwsgi_async.spooler_jobs()
        with pytest.raises(NotConfiguredError, match="option spooler"):
            await uwsgi_async.spool(n=1)


def test_dead_letters_must_be_in_the_same_file_system(tmp_path: Path) -> None:
    elsewhere = "/proc/self" if os.stat("/proc/self").st_dev != os.stat(tmp_path).st_dev else "/dev"
    options = build(spooler=str(tmp_path / "s"), spooler_dead_letter=elsewhere)
    with pytest.raises(OptionError, match="file system"):
        Spoolers.create(options.spooler)


def test_waiting_is_told_as_it_is_when_somebody_looks(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with instance(tmp_path) as running:
        for _ in range(4):
            running.spool(**{"do": "wait", "for": go})
        running.wait_for_runs(1)
        began = time.monotonic()
        while running.ask("uwsgi.spooler_jobs().__len__()") > 4:
            assert time.monotonic() - began < 20
        go.touch()
        running.wait_until_empty()
        assert len(running.runs()) == 4
