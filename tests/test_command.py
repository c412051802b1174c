"""What a user of the command `uwsgi-async` sees: it serves, it says what is wrong, it ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.command import run, server
from uwsgi_async.cli import main

HELLO = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello from a file"]
"""

SLOW = """
import uwsgi

def application(environ, start_response):
    print("working", flush=True)
    uwsgi.async_sleep(0.3)
    start_response("200 OK", [])
    return [b"finished"]
"""


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(HELLO)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("--wsgi-file", "app.py"),
        ("app.py",),
        ("--module", "app"),
        ("-w", "app:application"),
        ("--wsgi-file", "app.py", "--trio"),
        ("--wsgi-file", "app.py", "--uvloop"),
        ("--wsgi-file", "app.py", "--threads", "2"),
        ("--wsgi-file", "app.py", "--greenlet", "--async", "10"),
    ],
)
def test_it_serves(hello: Path, words: tuple[str, ...]) -> None:
    with server(*words, cwd=hello) as process:
        assert process.get() == b"hello from a file"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_ends_it_with_status_0(hello: Path, number: signal.Signals) -> None:
    with server("app.py", cwd=hello) as process:
        process.popen.send_signal(number)
        assert process.end() == 0
        assert f"{number.name} received" in process.output
        assert "Traceback" not in process.output


@pytest.mark.parametrize("loop", [(), ("--trio",), ("--uvloop",)])
def test_sigterm_lets_a_running_request_finish(tmp_path: Path, loop: tuple[str, ...]) -> None:
    (tmp_path / "app.py").write_text(SLOW)
    with server("app.py", *loop, cwd=tmp_path) as process:
        client = subprocess.Popen(["curl", "-s", process.url], stdout=subprocess.PIPE)
        process.wait_for("working")
        process.popen.send_signal(signal.SIGTERM)
        assert client.communicate(timeout=20)[0] == b"finished"
        assert process.end() == 0


def test_a_request_is_logged_in_the_shape_of_uwsgi(hello: Path) -> None:
    with server("app.py", cwd=hello) as process:
        process.get("/a?b=1")
        process.wait_for(
            r"\[pid: \d+\|app: 0\|req: 1/1\] 127\.0\.0\.1 \(\) \{\d+ vars in \d+ bytes\} \[.*\] GET /a\?b=1 => "
            r"generated 17 bytes in \d+ msecs \(HTTP/1\.1 200\) 1 headers in \d+ bytes \(1 switches on core \d+\)"
        )


HTTP = ("--http-socket", "127.0.0.1:0")


@pytest.mark.parametrize(
    ("status", "words", "sentence"),
    [
        (2, ("--http-sockt", "127.0.0.1:0"), "did you mean --http-socket?"),
        (2, (*HTTP, "app.py", "--async", "many"), "expected a whole number, at least 1, but 'many' came"),
        (2, ("app.py",), "there is no socket to serve"),
        (2, ("--socket", "1.2.3.4.5:x", "app.py"), "1.2.3.4.5:x"),
        (2, (*HTTP, "app.py", "--trio", "--uvloop"), "trio and uvloop exclude each other"),
        (2, (*HTTP, "app.py", "--daemonize", "a", "--daemonize2", "b"), "daemonize and daemonize2 exclude each other"),
        (2, (*HTTP, "app.py", "--callable=%(nothing)"), "the placeholder %(nothing) has no value"),
        (2, (*HTTP, "app.py", "--uid", "nobody-of-this-name"), "there is no user 'nobody-of-this-name'"),
        (2, (*HTTP, "app.py", "--gid", "nobody-of-this-name"), "there is no group 'nobody-of-this-name'"),
        (2, (*HTTP, "app.py", "--chown-socket", "root:no-group"), "chown-socket: there is no group 'no-group'"),
        (2, (*HTTP, "app.py", "--umask", "999"), "umask: expected"),
        (2, (*HTTP, "app.py", "--chdir", "missing"), "chdir: cannot change to the directory 'missing'"),
        (2, (*HTTP, "app.py", "--pidfile", "missing/pid"), "pidfile: there is no directory"),
        (2, (*HTTP, "app.py", "--daemonize", "missing/log"), "daemonize: there is no directory"),
        (2, (*HTTP, "app.py", "--listen", "65535"), "net.core.somaxconn"),
        (3, ("--http-socket", "192.0.2.1:0", "app.py"), "no network interface of this machine"),
        (3, ("--socket", "missing/app.sock", "app.py"), "the directory does not exist"),
        (22, HTTP, "there is no app"),
        (22, (*HTTP, "missing.py"), "there is no file 'missing.py'"),
        (22, (*HTTP, "--module", "no_such_module:app"), "there is no module 'no_such_module'"),
        (22, (*HTTP, "app.py", "--callable", "other"), "has no 'other'; it has application"),
        (3, ("--http-socket", "192.0.2.1:0", "app.py", "--master"), "no network interface of this machine"),
        (22, (*HTTP, "app.py", "--callable", "other", "--master"), "has no 'other'; it has application"),
        (22, (*HTTP, "app.py", "--callable", "other", "--master", "--lazy-apps"), "has no 'other'; it has application"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_status_that_says_which_kind(
    hello: Path, status: int, words: tuple[str, ...], sentence: str
) -> None:
    if "--listen" in words and int(Path("/proc/sys/net/core/somaxconn").read_text()) >= 65535:
        pytest.skip("this machine's queues are longer than any that can be asked for (net.core.somaxconn)")
    ended, output = run(*words, cwd=hello)
    assert ended == status
    assert output.startswith("uwsgi-async: ") or "has no 'other'" in output
    assert sentence in output
    assert "Traceback" not in output


def test_a_taken_port_is_told_with_status_3(hello: Path) -> None:
    with server("app.py", cwd=hello) as process:
        status, output = run("--http-socket", process.url.removeprefix("http://"), "app.py", cwd=hello)
    assert status == 3
    assert "already in use" in output


def test_a_mistake_is_told_before_any_process_is_started(hello: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(os, "fork", refuse)
    monkeypatch.setattr(os, "posix_spawn", refuse)
    monkeypatch.chdir(hello)
    for words in (["missing.py"], ["--module", "no_such_module"], ["app.py", "--uid", "nobody-of-this-name"]):
        assert main([*HTTP, "--master", "--daemonize", "log", *words]) in (2, 22)


def test_an_app_that_fails_at_import_shows_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import no_such_library")
    status, output = run("--http-socket", "127.0.0.1:0", "app.py", cwd=tmp_path)
    assert status != 0
    assert "No module named 'no_such_library'" in output
    assert "Traceback" in output


def test_a_call_that_needs_a_request_says_so_at_import(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import uwsgi\nuwsgi.async_sleep(1)\n" + HELLO)
    status, output = run("--http-socket", "127.0.0.1:0", "app.py", cwd=tmp_path)
    assert status != 0
    assert "you can call uwsgi api function only from the main callable" in output


def test_help_and_version_end_with_status_0() -> None:
    status, output = run("--help")
    assert status == 0
    assert "--http-socket" in output
    status, output = run("--version")
    assert status == 0
    assert output.startswith("uwsgi-async ")
