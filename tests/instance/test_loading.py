"""Loading as a user of the command sees it, alone and behind a master: what runs when, and where."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.command import Process, run, server

APP = """
import json, os, sys, uwsgi
print(f"{__name__} is loaded in {os.getpid()} by worker {uwsgi.worker_id()} in {os.getcwd()}\\n", end="", flush=True)

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({
        "module": __name__, "pid": os.getpid(), "cwd": os.getcwd(), "argv": sys.argv, "worker": uwsgi.worker_id(),
        "script_name": environ["SCRIPT_NAME"], "path": environ["PATH_INFO"],
        "env": {name: os.environ.get(name) for name in ("A", "B", "HOME_OF_TEST")},
    }).encode()]

async def other(environ, start_response):
    return application({**environ, "PATH_INFO": "async " + environ["PATH_INFO"]}, start_response)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("app", "mounted", "one", "two", "shared"):
        (tmp_path / f"{name}.py").write_text(APP)
    (tmp_path / "sub").mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "f.txt").write_text("a file")
    return tmp_path


def ask(process: Process, path: str = "/") -> dict[str, object]:
    return json.loads(process.get(path))


def loaded(process: Process, name: str) -> list[tuple[int, int, str]]:
    """The process, the worker and the directory of each time that a module was loaded."""
    found = []
    for line in process.output.splitlines():
        words = line.split()
        if words[1:4] == ["is", "loaded", "in"] and words[0] == name:
            found.append((int(words[4]), int(words[7]), words[9]))
    return found


@pytest.mark.parametrize("words", [("--need-app",), ("--trio",), ("--uvloop",), ("--threads", "2"), ("--master",)])
def test_several_apps_sync_and_async_and_files_are_served(place: Path, words: tuple[str, ...]) -> None:
    options = ("--mount", "/m=mounted.py", "--mount", "/o=mounted:other", "--manage-script-name")
    with server("app.py", *options, *words, "--static-map", "/s=files", cwd=place) as process:
        root, mounted, other = ask(process, "/x"), ask(process, "/m/x"), ask(process, "/o/x")
        assert (root["module"], root["script_name"], root["path"]) == ("uwsgi_file_app", "", "/x")
        assert (mounted["module"], mounted["script_name"], mounted["path"]) == ("uwsgi_file_mounted", "/m", "/x")
        assert (other["module"], other["script_name"], other["path"]) == ("mounted", "/o", "async /x")
        assert process.get("/s/f.txt") == b"a file"
        process.wait_for(r"app: 2\|req: 1/3\].* GET /o/x ")
        process.wait_for(r"app: -1\|req: -1/4\].* GET /s/f.txt => generated 6 bytes .* via sendfile\(\)")


def test_environment_directories_and_arguments(place: Path) -> None:
    (place / "env").mkdir()
    (place / "env" / "B").write_text("from a file\n")
    words = ("--env", "A=1", "--unenv", "HOME_OF_TEST", "--envdir", "env", "--pyargv=-x y", "--chdir2", "..")
    os.environ["HOME_OF_TEST"] = "x"
    (place / "sub" / "app.py").write_text(APP)
    try:
        with server("app.py", "--chdir", "sub", *words, cwd=place) as process:
            seen = ask(process)
    finally:
        del os.environ["HOME_OF_TEST"]
    assert loaded(process, "uwsgi_file_app")[0][2] == str(place / "sub")
    assert seen["cwd"] == str(place)
    assert seen["argv"] == ["uwsgi", "-x", "y"]
    assert seen["env"] == {"A": "1", "B": "from a file", "HOME_OF_TEST": None}


def test_a_relative_socket_is_one_of_chdir(place: Path) -> None:
    with server("--chdir", "sub", "--socket", "app.sock", "../app.py", cwd=place):
        assert (place / "sub" / "app.sock").is_socket()


IMPORTS = ("--import", "one", "--import", "two.py", "--shared-import", "shared", "--mount", "/m=mounted.py")


def test_behind_a_master_all_is_loaded_once_before_the_fork(place: Path) -> None:
    with server("--master", "-p", "2", *IMPORTS, "app.py", cwd=place) as process:
        worker = ask(process)["pid"]
        pids = set()
        for name in ("shared", "one", "two", "uwsgi_file_app", "uwsgi_file_mounted"):
            ((pid, number, _),) = loaded(process, name)
            pids.add(pid)
            assert number == 0
        assert len(pids) == 1
        assert worker not in pids
        order = [line.split()[0] for line in process.output.splitlines() if " is loaded in " in line]
        assert order == ["shared", "one", "two", "uwsgi_file_app", "uwsgi_file_mounted"]


def test_with_lazy_apps_only_the_shared_imports_are_done_before_the_fork(place: Path) -> None:
    with server("--master", "-p", "2", "--lazy-apps", *IMPORTS, "app.py", cwd=place) as process:
        ask(process)
        assert [number for _, number, _ in loaded(process, "shared")] == [0]
        for name in ("one", "two", "uwsgi_file_app", "uwsgi_file_mounted"):
            assert sorted(number for _, number, _ in loaded(process, name)) == [1, 2]
        assert {pid for pid, _, _ in loaded(process, "one")} == {pid for pid, _, _ in loaded(process, "uwsgi_file_app")}


def test_a_reload_does_the_shared_imports_again_with_the_environment_of_the_new_configuration(place: Path) -> None:
    (place / "app.ini").write_text(
        "[uwsgi]\nwsgi-file = ../app.py\nchdir = sub\nenv = A=1\nshared-import = shared\npp = .."
    )
    with server("--master", "app.ini", cwd=place) as process:
        assert ask(process)["env"]["A"] == "1"
        (place / "app.ini").write_text("[uwsgi]\nwsgi-file = app.py\nenv = B=2\nshared-import = shared\nchdir2 = sub")
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("reloaded in")
        expected = ({"A": None, "B": "2", "HOME_OF_TEST": None}, str(place / "sub"))
        process.wait_until(lambda: (seen := ask(process)) and (seen["env"], seen["cwd"]) == expected)
        assert [directory for _, _, directory in loaded(process, "shared")] == [str(place / "sub"), str(place)]


def test_a_reload_with_a_configuration_that_is_wrong_leaves_all_as_it_is(place: Path) -> None:
    (place / "app.ini").write_text("[uwsgi]\nwsgi-file = app.py\nenv = A=1")
    with server("--master", "app.ini", cwd=place) as process:
        (place / "app.ini").write_text("[uwsgi]\nwsgi-file = app.py\nchdir = nowhere\nenv = A=2")
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for(
            "the reload has failed, the old workers go on: chdir: cannot change to the directory 'nowhere'"
        )
        assert ask(process)["env"]["A"] == "1"


@pytest.mark.parametrize("master", [(), ("--master",), ("--master", "--lazy-apps")])
def test_without_need_app_an_app_that_fails_is_a_500(place: Path, master: tuple[str, ...]) -> None:
    (place / "broken.py").write_text("1 / 0")
    with server(*master, "--need-app=false", "--mount", "/b=broken.py", "--mount", "/a=app.py", cwd=place) as process:
        process.wait_for("ZeroDivisionError: division by zero")
        process.wait_for(r"unable to load app 0 \(mountpoint='/b'\) \(callable not found or import error\)")
        assert ask(process)["module"] == "uwsgi_file_app"


@pytest.mark.parametrize("master", [(), ("--master",)])
def test_with_need_app_a_mount_that_fails_ends_the_start(place: Path, master: tuple[str, ...]) -> None:
    (place / "broken.py").write_text("1 / 0")
    words = ("--http-socket", "127.0.0.1:0", *master, "app.py", "--mount", "/b=broken.py")
    status, output = run(*words, cwd=place)
    assert status == 22
    assert "the file 'broken.py' raised ZeroDivisionError: division by zero" in output


def test_files_alone_need_no_app(place: Path) -> None:
    with server("--check-static", "files", cwd=place) as process:
        assert process.get("/f.txt") == b"a file"


@pytest.mark.parametrize(
    ("words", "starts"),
    [
        (("--mount", "/a=app.py"), True),
        (("--check-static", "files"), True),
        (("--need-app=false",), True),
        (("pkg.mod:app",), True),
        ((), False),
        (("--static-index", "index.html"), False),
    ],
)
def test_check_knows_what_an_app_is(place: Path, words: tuple[str, ...], starts: bool) -> None:
    status, output = run("check", "--http-socket", "127.0.0.1:0", *words, cwd=place)
    assert ("there is no app: name one with wsgi-file, module or mount" in output) is not starts
    assert status == (0 if starts else 1)
