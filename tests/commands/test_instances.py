"""The commands against instances that run: by pid, pidfile, address and URL, and against what is none."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import COMMAND, Process, program, run, server
from tests.instance.stats_values import instance as value
from uwsgi_async.cli import main
from uwsgi_async.commands import targets
from uwsgi_async.errors import PeerError, UsageError
from uwsgi_async.instance.statistics.document import encode
from uwsgi_async.options.settings import StatsOptions

APP = """
async def application(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@contextmanager
def instance(place: Path, *words: str) -> Iterator[Process]:
    with server("--pidfile", "pid", "--async", "2", *words, "app.py", cwd=place) as process:
        yield process


@contextmanager
def peer(answer: bytes) -> Iterator[str]:
    """A server on a free port that says ``answer`` to the first who connects, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as sock:
                sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def test_ps_finds_an_instance_by_every_kind_of_target(place: Path) -> None:
    words = ("--master", "-p", "2", "--stats", "plain", "--prometheus", "127.0.0.1:0")
    with instance(place, *words) as process:
        address = process.wait_for(r"Stats server enabled on (127\.0\.0\.1:\d+)")[1]
        roles = {}
        for target in (str(process.popen.pid), "pid", "./plain", address, f"http://{address}/"):
            status, output = run("ps", target, cwd=place)
            assert status == 0, output
            roles[target] = [line.split("  ")[0] for line in output.splitlines()[1:]]
    assert set(map(tuple, roles.values())) == {("master", "zygote", "fork server", "worker 1", "worker 2")}


def test_an_instance_without_a_master_is_found_too(place: Path) -> None:
    with server("--async", "2", "app.py", cwd=place) as process:
        status, output = run("ps", str(process.popen.pid))
    assert (status, output.splitlines()[1].split()[:3]) == (0, ["instance", str(process.popen.pid), "serving"])


def test_top_without_a_terminal_prints_a_frame(place: Path) -> None:
    with instance(place, "--master") as process:
        status, output = run("top", "pid", cwd=place)
    assert status == 0
    assert f"pid {process.popen.pid}  serving" in output
    assert output.count("STATUS") == 1


@pytest.mark.parametrize("how", [(), ("--master",)], ids=["alone", "master"])
def test_top_shows_timers_and_signals(place: Path, how: tuple[str, ...]) -> None:
    (place / "app.py").write_text("from uwsgidecorators import timer\n@timer(60)\ndef tick(number): ...\n" + APP)
    with instance(place, *how):
        status, output = run("top", "pid", cwd=place)
    assert status == 0
    assert "0 timer 60 s" in output


def test_stop_waits_for_the_end(place: Path) -> None:
    with instance(place, "--master") as process:
        status, output = run("stop", "pid", cwd=place)
        assert (status, output) == (0, f"the instance with pid {process.popen.pid} has ended\n")
        assert process.popen.poll() is not None or process.end() == 0
        assert "SIGTERM received" in process.output


def test_reload_waits_until_the_new_workers_serve(place: Path) -> None:
    with instance(place, "--master") as process:
        status, output = run("--reload", "pid", cwd=place)
        assert status == 0, output
        assert "has reloaded in" in output
        process.wait_for("reloaded in")


def test_a_reload_that_fails_is_an_error(place: Path) -> None:
    with instance(place, "--master"):
        (place / "app.py").write_text("import no_such_library")
        status, output = run("reload", "pid", cwd=place)
    assert (status, output) == (
        1, "uwsgi-async: the reload has failed, and the old workers go on; the instance's log says why\n",
    )  # fmt: skip


def test_without_a_master_there_is_no_reload(place: Path) -> None:
    with server("--async", "2", "app.py", cwd=place) as process:
        status, output = run("reload", str(process.popen.pid))
        assert status != 0
        assert "has no master, so it cannot reload" in output
        assert process.get() == b"hello"


def test_an_address_leads_to_the_process_on_this_machine(place: Path) -> None:
    with instance(place, "--master", "--stats", "127.0.0.1:0") as process:
        address = process.wait_for(r"Stats server enabled on (127\.0\.0\.1:\d+)")[1]
        status, _ = run("stop", address)
        assert status == 0
        assert process.end() == 0


def test_an_instance_on_another_machine_is_not_taken_for_one_here(place: Path) -> None:
    with instance(place, "--master") as process:
        elsewhere = value(pid=process.popen.pid)
        with peer(encode(elsewhere, StatsOptions())) as address:
            with pytest.raises(UsageError, match="runs on another machine"):
                targets.find(address)


@pytest.mark.parametrize("word", ["ps", "top", "stop", "reload"])
def test_a_pid_that_is_no_instance_is_refused(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([word, str(os.getpid())]) != 0
    assert f"there is no uwsgi-async instance with process id {os.getpid()} on this" in capsys.readouterr().err


def test_a_pidfile_of_a_dead_process_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "pid").write_text(f"{dead.pid}\n")
    assert main(["stop", str(tmp_path / "pid")]) != 0
    assert f"there is no uwsgi-async instance with process id {dead.pid}" in capsys.readouterr().err


def test_the_name_of_an_instance_that_somebody_else_has_taken_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    address = targets.local_address(os.getpid())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{address.name}x")
        listener.listen()
        monkeypatch.setattr(targets, "local_address", lambda pid: type(address)(f"{address.name}x"))
        with pytest.raises(UsageError, match="no uwsgi-async instance with process id 1 "):
            targets.read_statistics("1")


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("missing", "there is no pidfile and no socket 'missing'"),
        ("empty", "expected a process id in the file 'empty', but it holds b''"),
        ("1:2:3", "expected a pid, a pidfile or an address of a stats server"),
        ("127.0.0.1:1", "cannot read from 127.0.0.1:1: Connection refused"),
        ("http://127.0.0.1:1/", "cannot read from http://127.0.0.1:1/"),
        (".", "cannot read from .: "),
    ],
)
def test_a_target_that_cannot_be_used_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    target: str,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").touch()
    assert main(["ps", target]) != 0
    told = capsys.readouterr().err
    assert told.startswith(f"uwsgi-async: {sentence}")
    assert told.count("\n") == 1
    assert not caplog.records


def test_what_answers_but_is_no_instance_is_refused() -> None:
    with peer(b"SSH-2.0-OpenSSH\r\n") as address, pytest.raises(PeerError, match="expected the statistics"):
        targets.read_statistics(address)


def test_connect_and_read_prints_what_comes(place: Path) -> None:
    with instance(place, "--master", "--stats", "plain") as process:
        for words in (("--connect-and-read", "plain"), ("--connect-and-read=plain",)):
            status, output = run(*words, cwd=place)
            assert status == 0
            assert json.loads(output)["pid"] == process.popen.pid


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--connect-and-read"], "--connect-and-read: expected a value behind it, but none came"),
        (["--connect-and-read", "127.0.0.1:1"], "cannot read from 127.0.0.1:1: Connection refused"),
        (["top", "1", "--interval", "0"], "--interval: expected seconds above 0, but 0 came"),
    ],
)
def test_a_wrong_value_is_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) != 0
    assert capsys.readouterr().err == f"uwsgi-async: {sentence}\n"


@pytest.mark.parametrize("words", [["top"], ["ps", "--what"], ["top", "1", "--interval", "x"]])
def test_wrong_words_are_told_with_the_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert capsys.readouterr().err.startswith("usage: uwsgi-async")


def test_two_instances_are_told_apart(place: Path) -> None:
    with (
        instance(place, "--master") as first,
        program(*COMMAND, "--http-socket", "127.0.0.1:0", "--master", "app.py", cwd=place) as second,
    ):
        second.wait_for("serves http")
        status, _ = run("stop", str(second.popen.pid))
        assert status == 0
        assert second.end() == 0
        assert first.get() == b"hello"
