"""Where an instance stands in the system: its user, its files, the background, process 1 of a container."""

from __future__ import annotations

import json
import os
import pwd
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.command import COMMAND, ROOT, Process, program, run, server
from tests.instance.harness import APP, ask, gone
from tests.snmp.manager import ask as asking
from tests.snmp.manager import query
from uwsgi_async.errors import UsageError
from uwsgi_async.instance.ownfile import OwnFile
from uwsgi_async.instance.standing import Identity, find_owner, identity_of, write_pidfile
from uwsgi_async.options.build import build

MASTER = pytest.mark.parametrize("master", [(), ("--master",)], ids=["one process", "master"])
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to change the user")

WHO = r"""
import json, os, subprocess, sys, uwsgi

def is_zombie(pid):
    try:
        return " Z " in open(f"/proc/{pid}/stat").read()
    except OSError:  # it has ended meanwhile
        return False

def application(environ, start_response):
    if environ["PATH_INFO"] == "/orphan":
        subprocess.run([sys.executable, "-c", "import os; os.fork() or os._exit(0)"])
    start_response("200 OK", [])
    old = os.umask(0)
    os.umask(old)
    return [json.dumps({
        "ids": [os.getuid(), os.getgid(), os.getgroups()], "umask": old, "pid": os.getpid(), "ppid": os.getppid(),
        "zombies": sum(is_zombie(pid) for pid in os.listdir("/proc") if pid.isdigit()),
        "tty": os.isatty(0), "session": os.getsid(0),
    }).encode()]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(WHO)
    return tmp_path


@pytest.fixture
def open_place(place: Path) -> Iterator[Path]:
    """A place that an ordinary user may read, below no directory that only its owner may enter."""
    path = Path("/tmp") / f"uwsgi-async-{os.getpid()}"
    shutil.copytree(place, path)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def python_for_others() -> list[str]:
    """Return a command that runs the server as another user would; [] when there is no Python that others may run.

    A Python of root's own, below /root, is none. The system's one may take its place if it is of the same version.
    """
    path = f"PYTHONPATH={sysconfig.get_paths()['purelib']}:{ROOT}"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}"):
        command = ["env", path, python]
        try:
            done = subprocess.run([*command, "-c", "import uwsgi_async.cli"], user=4242, group=4243, cwd="/")
        except OSError:
            continue
        if done.returncode == 0:
            return [*command, "-m", "uwsgi_async", "--http-socket", "127.0.0.1:0"]
    return []


FOR_OTHERS = pytest.mark.skipif(
    os.geteuid() != 0 or not python_for_others(), reason="needs root, and a Python that other users may run"
)


# --- the user -------------------------------------------------------------------------------------------------


def test_a_number_need_not_have_a_name() -> None:
    assert identity_of(build(uid="4242", gid="4243").system) == Identity(4242, 4243, (4243,))


def test_without_a_group_it_is_the_users_own() -> None:
    nobody = pwd.getpwnam("nobody")
    identity = identity_of(build(uid="nobody").system)
    assert (identity.uid, identity.gid) == (nobody.pw_uid, nobody.pw_gid)
    assert nobody.pw_gid in (identity.groups or ())


def test_further_groups_are_those_that_are_named() -> None:
    assert identity_of(build(uid="1", gid="2", add_gid=("3", "root")).system).groups == (3, 0)


def test_without_any_option_nothing_changes() -> None:
    assert identity_of(build().system) == Identity(None, None, None)


def test_an_owner_is_a_user_and_perhaps_a_group() -> None:
    assert find_owner("chown-socket", "root") == (0, -1)
    assert find_owner("chown-socket", "12:root") == (12, 0)
    with pytest.raises(UsageError, match="chown-socket: there is no user 'nobody-at-all'"):
        find_owner("chown-socket", "nobody-at-all:root")


@AS_ROOT
@MASTER
def test_it_runs_as_the_group_that_is_named(place: Path, master: tuple[str, ...]) -> None:
    with server(*master, "--uid", "root", "--gid", "4243", "--add-gid", "4244", "app.py", cwd=place) as process:
        assert ask(process)["ids"] == [0, 4243, [4244]]


@FOR_OTHERS
@MASTER
def test_it_runs_as_the_user_and_group_that_are_named(open_place: Path, master: tuple[str, ...]) -> None:
    words = ("--uid", "4242", "--gid", "4243", "--add-gid", "4244", "app.py")
    with program(*python_for_others(), *master, *words, cwd=open_place) as process:
        process.url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        assert ask(process)["ids"] == [4242, 4243, [4244]]
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0


@FOR_OTHERS
@MASTER
def test_root_opens_what_only_root_may(open_place: Path, master: tuple[str, ...]) -> None:
    words = ("--uid", "4242", "--gid", "4243", "--pidfile", "app.pid", "--socket", "app.sock", "app.py")
    owner = ("--chown-socket", "4242:4243", "--chmod-socket=660")
    with program(*python_for_others(), *master, *words, *owner, cwd=open_place) as process:
        process.url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        status = (open_place / "app.sock").stat()
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (4242, 4243, 0o660)
        assert (open_place / "app.pid").stat().st_uid == 0
        assert ask(process)["ids"][0] == 4242


@FOR_OTHERS
def test_root_opens_a_port_for_snmp_that_only_root_may(open_place: Path) -> None:
    port = privileged_port()
    words = ("--uid", "4242", "--gid", "4243", f"--snmp=127.0.0.1:{port}", "--snmp-community", "public", "app.py")
    with program(*python_for_others(), *words, cwd=open_place) as process:
        process.url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        assert query(f"127.0.0.1:{port}", asking("get", ["1.1"])).status == 0
        assert ask(process)["ids"][0] == 4242


def privileged_port() -> int:
    while True:
        port = random.randrange(600, 1024)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


@FOR_OTHERS
@MASTER
@pytest.mark.parametrize(("option", "owner"), [("--logto", 4242), ("--logto2", 4242), ("--logto", 0)])
def test_the_log_file_is_opened_as_root_given_away_or_opened_by_the_user(
    open_place: Path, master: tuple[str, ...], option: str, owner: int
) -> None:
    """Of the user's own directory, root can write in any case, and the user could not without it."""
    directory = open_place / "logs"
    directory.mkdir()
    os.chown(directory, 4242 if option == "--logto2" else 0, 0)
    words = ("--logfile-chown",) if option == "--logto" and owner else ()
    who = ("--uid", "4242", "--gid", "4243")
    command = (*python_for_others(), *who, *master, option, "logs/log", *words, "app.py")
    with program(*command, cwd=open_place) as process:
        log = directory / "log"
        process.wait_until(lambda: log.exists() and "uwsgi-async serves" in log.read_text())
        assert log.stat().st_uid == owner
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0


@AS_ROOT
def test_a_log_that_the_user_may_not_open_ends_the_start(open_place: Path) -> None:
    words = ("--http-socket", "127.0.0.1:0", "--uid", "4242", "--logto2", "log", "app.py")
    status, output = run(*words, cwd=open_place)
    assert status != 0
    assert "logto2: cannot open" in output
    assert "Permission denied" in output


@AS_ROOT
def test_the_log_of_a_daemon_is_rotated(place: Path) -> None:
    words = ("--http-socket", "127.0.0.1:0", "--master", "--daemonize2", "log", "--pidfile", "app.pid", "app.py")
    with program(*COMMAND, *words, cwd=place) as process:
        assert process.end() == 0
        os.rename(place / "log", place / "log.1")
        os.kill(int((place / "app.pid").read_text()), signal.SIGUSR2)
        process.wait_until(lambda: (place / "log").exists() and "opened again" in (place / "log").read_text())
        os.kill(int((place / "app.pid").read_text()), signal.SIGTERM)
        process.wait_until(lambda: not process.family())
    assert "goodbye" in (place / "log").read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may change the user")
def test_another_than_root_cannot_change_the_user(place: Path) -> None:
    status, output = run("--http-socket", "127.0.0.1:0", "--uid", "0", "app.py", cwd=place)
    assert status == 2
    assert "cannot become user 0" in output


@MASTER
def test_the_umask_is_set(place: Path, master: tuple[str, ...]) -> None:
    with server(*master, "--umask", "027", "--socket", "app.sock", "app.py", cwd=place) as process:
        assert ask(process)["umask"] == 0o027
        assert stat.S_IMODE((place / "app.sock").stat().st_mode) == 0o777 & ~0o027


# --- files ----------------------------------------------------------------------------------------------------


@MASTER
@pytest.mark.parametrize("option", ["--pidfile", "--pidfile2"])
def test_a_pidfile_is_there_as_long_as_the_instance(place: Path, option: str, master: tuple[str, ...]) -> None:
    with server(*master, option, "app.pid", "app.py", cwd=place) as process:
        assert (place / "app.pid").read_text() == f"{process.popen.pid}\n"
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
    assert sorted(path.name for path in place.iterdir()) == ["app.py"]


def test_nothing_is_left_with_or_without_vacuum(place: Path) -> None:
    with server("--master", "--vacuum", "--pidfile", "a", "--socket", "b", "app.py", cwd=place) as process:
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
    assert sorted(path.name for path in place.iterdir()) == ["app.py"]


def test_a_pidfile_is_written_whole_over_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("12345678\n")
    file = write_pidfile("pidfile", str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == [path]
    file.remove()
    assert not path.exists()


def test_a_file_that_another_has_put_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    file = write_pidfile("pidfile", str(path))
    other = tmp_path / "other"
    other.write_text("1\n")
    other.replace(path)
    file.remove()
    assert path.read_text() == "1\n"


def test_a_file_that_was_written_again_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    file = write_pidfile("pidfile", str(path))
    os.utime(path, ns=(0, 1))
    file.remove()
    assert path.exists()
    OwnFile.of(str(path)).remove()
    assert not path.exists()


# --- the background -------------------------------------------------------------------------------------------


def in_background(place: Path, process: Process) -> int:
    """The daemon's pid, when the foreground has ended well."""
    assert process.end() == 0
    assert process.output == ""
    return int((place / "app.pid").read_text())


@MASTER
@pytest.mark.parametrize("option", ["--daemonize", "--daemonize2"])
def test_a_daemon_serves_without_its_terminal(place: Path, option: str, master: tuple[str, ...]) -> None:
    words = ("--http-socket", "127.0.0.1:0", *master, option, "log", "--pidfile", "app.pid", "app.py")
    with program(*COMMAND, *words, cwd=place) as process:
        daemon = in_background(place, process)
        if option == "--daemonize2":
            assert "*** uwsgi-async serves http" in (place / "log").read_text()
        process.wait_until(lambda: "*** uwsgi-async serves http" in (place / "log").read_text())
        line = (place / "log").read_text().partition("serves ")[2]
        process.url = line.split()[0]
        answer = ask(process)
        assert not answer["tty"]
        assert answer["session"] != os.getsid(0)
        assert stat.S_IMODE((place / "log").stat().st_mode) == 0o640
        os.kill(daemon, signal.SIGTERM)
        process.wait_until(lambda: gone(process))
        assert "goodbye" in (place / "log").read_text()


@pytest.mark.parametrize(
    ("option", "app", "status", "sentence"),
    [
        ("--daemonize2", "import no_such_library", 22, "No module named 'no_such_library'"),
        ("--daemonize2", "import os; os._exit(9)", 1, "the fork server ended with status 9 while it loaded the app"),
    ],
)
def test_what_goes_wrong_in_the_background_is_told_in_the_foreground(
    place: Path, option: str, app: str, status: int, sentence: str
) -> None:
    (place / "app.py").write_text(app)
    ended, output = run("--http-socket", "127.0.0.1:0", "--master", option, "log", "app.py", cwd=place)
    assert ended == status
    assert sentence in output
    assert sentence in (place / "log").read_text()


def test_a_taken_port_is_told_in_the_foreground(place: Path) -> None:
    with server("app.py", cwd=place) as process:
        address = process.url.removeprefix("http://")
        status, output = run("--http-socket", address, "--daemonize", "log", "app.py", cwd=place)
    assert status == 3
    assert "already in use" in output


def test_a_daemon_that_dies_at_its_start_is_told_in_the_foreground(place: Path) -> None:
    (place / "app.py").write_text("import os; os._exit(9)")
    status, output = run("--http-socket", "127.0.0.1:0", "--daemonize2", "log", "app.py", cwd=place)
    assert status == 1
    assert "the instance ended before it served" in output


# --- process 1 ------------------------------------------------------------------------------------------------


def may_unshare() -> bool:
    command = ["unshare", "--pid", "--fork", "--mount-proc", "true"]
    return bool(shutil.which("unshare")) and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="needs unshare (util-linux) and the right to make a PID namespace")
@pytest.mark.parametrize(
    ("number", "master"), [(signal.SIGTERM, ()), (signal.SIGTERM, ("--master",)), (signal.SIGINT, ("--master",))]
)
def test_process_1_collects_orphans_and_ends_when_it_is_told(
    place: Path, number: signal.Signals, master: tuple[str, ...]
) -> None:
    words = ("--http-socket", "127.0.0.1:0", *master, "app.py")
    with program("unshare", "--pid", "--fork", "--mount-proc", *COMMAND, *words, cwd=place) as process:
        process.url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        ask(process, "/orphan")
        process.wait_until(lambda: json.loads(process.get())["zombies"] == 0)
        children = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text()
        os.kill(int(children), number)
        assert process.end() == 0
        process.wait_for("goodbye")
        assert "Traceback" not in process.output


@pytest.mark.skipif(not may_unshare(), reason="needs unshare (util-linux) and the right to make a PID namespace")
def test_process_1_ends_with_the_status_of_the_instance(place: Path) -> None:
    words = ("--http-socket", "127.0.0.1:0", "app.py", "--callable", "other")
    with program("unshare", "--pid", "--fork", "--mount-proc", *COMMAND, *words, cwd=place) as process:
        assert process.end() == 22


def test_a_program_of_the_app_inherits_no_ignored_signal(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        APP + "\nimport subprocess\nprint(subprocess.run(['grep', 'SigIgn', '/proc/self/status'], "
        "capture_output=True, text=True).stdout, flush=True)\n"
    )
    with server("--master", "--lazy-apps", "app.py", cwd=tmp_path) as process:
        mask = int(process.wait_for(r"SigIgn:\s+([0-9a-f]+)")[1], 16)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
            assert not mask >> (number - 1) & 1, number.name
