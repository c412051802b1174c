"""Which app gets a request and what it sees, what runs when at the start, and what there is without an app."""

from __future__ import annotations

import json
import re
import venv
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.parity.harness import Running, start
from tests.parity.oracle import require
from tests.parity.test_parity import packet, told

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

APP = """
import json, os, sys
sys.trace = [*getattr(sys, "trace", []), __name__]
PATH = [os.path.abspath(path) for path in sys.path]
PATH = PATH[:PATH.index(os.getcwd()) + 1]

def make(name):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps({
            "name": name, "module": __name__, "argv": sys.argv, "trace": sys.trace, "cwd": os.getcwd(),
            "script_name": environ.get("SCRIPT_NAME", ""), "path_info": environ["PATH_INFO"],
            "path": PATH, "prefix": sys.prefix,
            "env": {name: os.environ.get(name) for name in ("A", "B", "C", "FROM_FILE", "GONE")},
        }).encode()]
    return application

application = make("application")
one = make("one")
two = make("two")
factory = lambda: make("made")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which both servers are started."""
    require()
    place = tmp_path_factory.mktemp("place")
    for name in (
        "app.py",
        "mod.py",
        "site.wsgi",
        "imported.py",
        "shared.py",
        "sub/app.py",
        "sub/mod.py",
        "lib2/late.py",
    ):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(APP)
    (place / "lib1").mkdir()
    (place / "broken.py").write_text("1 / 0")
    (place / "many.py").write_text(APP + "\napplications = {b'': application, b'/one': one, b'/two': two}")
    (place / "env").mkdir()
    (place / "env" / "FROM_FILE").write_text("first \nsecond\t\n")
    (place / "env" / "GONE").write_text("")
    return place


def ask(running: Running, target: str) -> dict[str, Any] | tuple[int, bytes]:
    seen = running.request("GET", target)
    return json.loads(seen.body) if seen.status == 200 else (seen.status, seen.body)


def both(tmp: Path, place: Path, *options: str, targets: tuple[str, ...] = ("/",)) -> Iterator[list[Any]]:
    """What each server answers to each target."""
    for server in ("oracle", "ours"):
        with start(server, tmp, "--single-interpreter", *options, cwd=place) as running:
            yield [ask(running, target) for target in targets]


TARGETS = ("/", "/one", "/one/", "/one/x", "/onex", "/one/two", "/one/two/x", "/two/%2e%2e/one", "/else", "//one")
MOUNTS = ("--mount", "/one=mod:one", "--mount", "/one/two=mod:two")


@pytest.mark.parametrize(
    "options",
    [
        ("--module", "mod", *MOUNTS, "--manage-script-name"),
        ("--module", "mod", *MOUNTS),
        (*MOUNTS, "--manage-script-name"),
        (*MOUNTS, "--manage-script-name", "--no-default-app"),
        (*MOUNTS, "--no-default-app"),
        ("--module", "mod:factory()", "--mount", "/one=app.py", "--mount", "/two=site.wsgi", "--manage-script-name"),
        ("--module", "many", "--manage-script-name"),
        ("--wsgi-file", "many.py", "--callable", "one", "--manage-script-name"),
        ("--wsgi-file", "app.py", "--module", "mod:two"),
        ("--mount", "/=mod:one", "--manage-script-name"),
    ],
    ids=" ".join,
)
def test_the_same_app_sees_the_same_path(tmp_path: Path, place: Path, options: tuple[str, ...]) -> None:
    oracle, ours = both(tmp_path, place, *options, targets=TARGETS)
    compared = ("name", "module", "script_name", "path_info")
    for target, theirs, own in zip(TARGETS, oracle, ours, strict=True):
        if isinstance(theirs, dict) and isinstance(own, dict):
            theirs, own = ({key: answer[key] for key in compared} for answer in (theirs, own))
        assert (target, own) == (target, theirs)


@pytest.mark.parametrize("options", [(), ("--manage-script-name",), ("--ignore-script-name",)], ids=" ".join)
@pytest.mark.parametrize(
    "vars",
    [
        {"SCRIPT_NAME": "/one"},
        {"SCRIPT_NAME": "/none"},
        {"SCRIPT_NAME": ""},
        {"SCRIPT_NAME": "/one", "UWSGI_APPID": "/one/two"},
        {"UWSGI_APPID": "/none"},
    ],
    ids=str,
)
def test_the_same_app_is_named_by_a_front_end(
    front_end: dict[tuple[str, ...], list[Running]], options: tuple[str, ...], vars: dict[str, str]
) -> None:
    request = packet(0, {"REQUEST_METHOD": "GET", "PATH_INFO": "/one/x", "SERVER_PROTOCOL": "HTTP/1.1", **vars})
    answers = [json.loads(server.raw(server.uwsgi, request).split(b"\r\n\r\n", 1)[1]) for server in front_end[options]]
    oracle, ours = ({key: answer[key] for key in ("name", "script_name", "path_info")} for answer in answers)
    assert ours == oracle


@pytest.fixture(scope="module")
def front_end(tmp_path_factory: pytest.TempPathFactory, place: Path) -> Iterator[dict[tuple[str, ...], list[Running]]]:
    """The oracle and our server for each set of options."""
    with ExitStack() as stack:
        found = {}
        for options in ((), ("--manage-script-name",), ("--ignore-script-name",)):
            words = ("--single-interpreter", "--module", "mod", *MOUNTS, *options)
            found[options] = [
                stack.enter_context(start(server, tmp_path_factory.mktemp("front"), *words, cwd=place))
                for server in ("oracle", "ours")
            ]
        yield found


@pytest.mark.parametrize(
    "options",
    [
        ("--module", "mod"),
        ("--wsgi-file", "app.py", "--pyargv=-v x  y"),
        ("--module", "app", "--import", "imported", "--import", "./sub/mod.py", "--shared-import", "shared"),
        ("--mount", "/m=app.py", "--import", "imported", "--shared-import", "shared", "--shared-import", "shared.py"),
        ("--module", "late", "--pythonpath", "lib1", "--pp", "lib2"),
        ("--module", "late", "--pythonpath", "lib*"),
        ("--module", "app", "--chdir", "sub"),
        ("--module", "app", "--chdir", "sub", "--chdir2", ".."),
        ("--module", "app", "--env", "A=1", "--env", "B=x=y", "--env", "C=", "--unenv", "A"),
        ("--module", "app", "--env", "A=1", "--unenv", "A", "--env", "A=2"),
        ("--module", "app", "--envdir", "env", "--env", "FROM_FILE=option", "--chdir", "sub"),
        ("--module", "app", "--env", "A=1", "--env", "A"),
    ],
    ids=" ".join,
)
def test_an_app_finds_the_same_around_it(tmp_path: Path, place: Path, options: tuple[str, ...]) -> None:
    (oracle,), (ours,) = both(tmp_path, place, *options)
    for key in ("trace", "argv", "cwd", "path", "env"):
        assert (key, ours[key]) == (key, oracle[key])


def test_a_virtual_environment_is_the_same_place(tmp_path: Path, place: Path) -> None:
    home = tmp_path / "home"
    venv.create(home, with_pip=False, symlinks=True)
    library = next((home / "lib").glob("python*/site-packages"))
    (library / "only_there.py").write_text(APP)
    (oracle,), (ours,) = both(tmp_path, place, "--home", str(home), "--module", "only_there:one")
    assert ours["name"] == oracle["name"] == "one"
    assert ours["prefix"] == oracle["prefix"] == str(home)


def test_a_relative_socket_is_one_of_chdir(tmp_path: Path, place: Path) -> None:
    for server in ("oracle", "ours"):
        with start(server, tmp_path, "--module", "app", "--chdir", "sub", "--socket", f"{server}.sock", cwd=place):
            assert (place / "sub" / f"{server}.sock").is_socket()


LINE = re.compile(r"\[pid: \d+\|(app: \S+\|req: \S+)\] .* (GET \S+) => generated (\d+ bytes).*(\(\d+ switches)")


@pytest.mark.parametrize(
    "options",
    [
        ("--need-app=false", "--single-interpreter"),
        ("--need-app=false", "--module", "broken"),
        ("--need-app=false", "--module", "mod:nothing"),
        ("--need-app=false", *MOUNTS, "--no-default-app"),
    ],
    ids=" ".join,
)
def test_without_an_app_the_answer_and_the_log_are_the_same(
    tmp_path: Path, place: Path, options: tuple[str, ...]
) -> None:
    seen = []
    for server in ("oracle", "ours"):
        with start(server, tmp_path, *options, cwd=place) as running:
            answer = told(running.request("GET", "/x"))
            assert running.request("HEAD", "/x").body == b""
            line = running.log_until(LINE.search).groups()
            assert "--- no python application found, check your startup logs for errors ---" in running.log_until(str)
            seen.append((answer, line))
    assert seen[1] == seen[0]


def test_requests_are_counted_for_each_app_in_the_log(tmp_path: Path, place: Path) -> None:
    options = ("--single-interpreter", "--module", "mod", *MOUNTS, "--manage-script-name")
    seen = []
    for server in ("oracle", "ours"):
        with start(server, tmp_path, *options, cwd=place) as running:
            for target in ("/", "/one", "/one/two", "/one/x", "/x"):
                running.request("GET", target)
            seen.append(running.log_until(lambda log: lines if len(lines := LINE.findall(log)) == 5 else None))
    assert [line[:2] for line in seen[1]] == [line[:2] for line in seen[0]]


# --- where we differ: see `tests.parity.differences.LOADING` ------------------------------------------------------


def test_a_slash_at_the_end_of_a_mountpoint_does_not_count_here(tmp_path: Path, place: Path) -> None:
    options = ("--mount", "/one/=mod:one", "--manage-script-name")
    oracle, ours = both(tmp_path, place, *options, targets=("/one/x",))
    assert [(seen[0]["script_name"], seen[0]["path_info"]) for seen in (oracle, ours)] == [
        ("/one/", "x"),
        ("/one", "/x"),
    ]


def test_an_app_at_the_root_is_the_default_one_here_wherever_it_stands(tmp_path: Path, place: Path) -> None:
    options = ("--mount", "/one=mod:one", "--mount", "/=mod:two", "--manage-script-name")
    (oracle,), (ours,) = both(tmp_path, place, *options)
    assert (oracle["name"], ours["name"]) == ("one", "two")


def test_the_first_of_applications_is_at_its_mountpoint_here(tmp_path: Path, place: Path) -> None:
    (place / "first.py").write_text(APP + "\napplications = {b'/one': one, b'/two': two}")
    oracle, ours = both(tmp_path, place, "--module", "first", "--manage-script-name", targets=("/one/x",))
    assert (oracle[0]["script_name"], ours[0]["script_name"]) == ("", "/one")


def test_an_app_that_cannot_be_loaded_ends_the_start_here(tmp_path: Path, place: Path) -> None:
    with start("oracle", tmp_path, "--module", "broken", cwd=place) as running:
        assert running.request("GET", "/").status == 500
    with pytest.raises(AssertionError, match="the module 'broken' raised ZeroDivisionError"):
        with start("ours", tmp_path, "--module", "broken", cwd=place):
            pass
