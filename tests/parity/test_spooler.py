"""The spooler beside real uWSGI: a task that either has written is run by the other, with the same arguments.

The differences are on purpose: priorities do not need ``spooler-ordered``, a task that asks for another run gets it at
the next look, not whenever another one comes, a damaged task is left alone, where uWSGI deletes it, and what does not
fit is refused, where uWSGI writes a damaged task.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.parity.harness import APPS, Running, start
from tests.parity.oracle import require
from uwsgi_async.spooler.task import Task, decode_task
from uwsgi_async.spooler.writing import write_task

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

PATIENCE = 20.0  # seconds
BOTH = pytest.mark.parametrize("server", ["ours", "oracle"])


@pytest.fixture(autouse=True)
def _oracle() -> None:
    require()


@contextmanager
def spooling(
    server: str, place: Path, *options: str, directory: str = "spool", app: str = "spooler.py"
) -> Iterator[Running]:
    """Start a server with the app, whose spooler has a directory in ``place``."""
    words = [f"--env=SPOOL_LOG={place / 'log'}", f"--env=SERVER={server}", "--spooler-frequency", "1"]
    (place / directory).mkdir(exist_ok=True)
    words += ["--spooler", str(place / directory), "--wsgi-file", str(APPS / app), "--master", *options]
    with start(server, place, *words, cwd=place) as running:
        yield running


def ask(running: Running, expression: str) -> Any:
    return eval(running.request("POST", "/", expression.encode()).body)


def runs(place: Path) -> list[Any]:
    """What has run: by which server, with what, in which directory. A line that is still written is none yet."""
    log = place / "log"
    return [eval(line) for line in log.read_text().split("\n")[:-1]] if log.exists() else []


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def tasks(directory: Path) -> list[str]:
    return sorted(name for name in os.listdir(directory) if name.startswith("uwsgi_spoolfile_on_"))


TASKS = [
    Task({}),
    Task({b"a": b"1"}, b"body"),
    Task({b"k" * 1000: b"v" * 60000}, os.urandom(200_000)),
    Task({bytes([byte]): bytes([byte]) for byte in range(256)}, b"\0"),
    Task({b"at": b"17.5", b"spooler": b"", b"priority": b""}),
    Task({b"priority": b"3", b"n": b"1"}),
]


@BOTH
def test_our_tasks_are_run_with_the_same_arguments(tmp_path: Path, server: str) -> None:
    paths = [
        write_task(str(tmp_path / "spool"), task) for task in TASKS if (tmp_path / "spool").mkdir(exist_ok=True) is None
    ]
    with spooling(server, tmp_path, "--spooler-ordered"):
        wait_until(lambda: len(runs(tmp_path)) == len(TASKS))
        wait_until(lambda: not any(map(os.path.exists, paths)))
    expected = []
    for path, task in zip(paths, TASKS, strict=True):
        told: dict[Any, bytes] = {**task.fields, "spooler_task_name": os.path.basename(path).encode()}
        if task.body:
            told["body"] = task.body
        expected.append(sorted((repr(key), value) for key, value in told.items()))
    assert sorted(run[1] for run in runs(tmp_path)) == sorted(expected)


@BOTH
def test_what_a_server_writes_is_the_same_file(tmp_path: Path, server: str) -> None:
    with spooling(server, tmp_path) as running:
        path = ask(running, "uwsgi.spool({b'a': b'1', b'at': b'4102444800.7', b'body': b'all of it'})")
        assert path.startswith(os.fsencode(tmp_path / "spool" / "uwsgi_spoolfile_on_"))
        status = os.stat(path)
        assert (status.st_mode & 0o7777, status.st_mtime, status.st_atime) == (0o600, 4102444800, 4102444800)
        assert (
            Path(os.fsdecode(path)).read_bytes()
            == bytes.fromhex("11 18 00 00 01 00 61 01 00 31 02 00 61 74 0c 00 34 31 30 32 34 34 34 38 30 30 2e 37")
            + b"all of it"
        )
        assert ask(running, f"sorted(uwsgi.spooler_get_task({path.decode()!r}).items(), key=repr)") == sorted(
            {
                b"a": b"1",
                b"at": b"4102444800.7",
                "body": b"all of it",
                "spooler_task_name": path,
            }.items(),
            key=repr,
        )
        assert ask(running, "uwsgi.spooler_jobs()") == [path]


CALLS = [
    "uwsgi.spool({})[:1]",
    "uwsgi.spool({b'a': bytearray(b'1')})[:1]",
    "uwsgi.spool({b'a': [49, 50]})[:1]",
    "uwsgi.spool([])",
    "uwsgi.spool(1)",
    "uwsgi.spool({b'a': None})[0]",
    "uwsgi.spool({b'spooler': b'/elsewhere'})[0]",
    "uwsgi.spooler_get_task('/nowhere')",
    "uwsgi.set_spooler_frequency(1)",
    "len(uwsgi.spooler_pids())",
    "uwsgi.spooler_pid() == uwsgi.spooler_pids()[0]",
    "uwsgi.i_am_the_spooler()",
    "(uwsgi.SPOOL_OK, uwsgi.SPOOL_RETRY, uwsgi.SPOOL_IGNORE)",
    "[directory.rpartition(b'/')[2] for directory in uwsgi.spoolers]",
    "uwsgi.parsefile(uwsgi.spool({b'a': b'1', b'at': b'4102444800'}).decode())",
]


def test_the_functions_answer_alike(tmp_path: Path) -> None:
    answers: dict[str, list[Any]] = {}
    for server in ("ours", "oracle"):
        place = tmp_path / server
        place.mkdir()
        with spooling(server, place, "--spooler-processes", "2") as running:
            answers[server] = [ask(running, call) for call in CALLS]
    for call, ours, theirs in zip(CALLS, answers["ours"], answers["oracle"], strict=True):
        if isinstance(theirs, tuple) and theirs[0] == "ValueError":
            assert ours[0] == "ValueError", call  # the sentence is another one
        else:
            assert ours == theirs, call


RESULTS = ["-2", "-1", "0", "7", "None", "True", "'x'", "raise"]


def test_results_mean_the_same(tmp_path: Path) -> None:
    stays: dict[str, list[bool]] = {}
    for server in ("ours", "oracle"):
        place = tmp_path / server
        place.mkdir()
        with spooling(server, place) as running:
            calls = ", ".join(f"uwsgi.spool({{b'result': {result.encode()!r}}})" for result in RESULTS)
            paths = ask(running, f"[{calls}]")

            def all_twice(place: Path = place) -> bool:
                ran = Counter(dict(run[1])["b'result'"].decode() for run in runs(place))
                return all(ran[result] >= 2 for result in RESULTS[1:]) and ran["-2"] == 1

            wait_until(all_twice)
            stays[server] = [os.path.exists(path) for path in paths]
    assert stays["ours"] == stays["oracle"] == [False] + [True] * (len(RESULTS) - 1)


@BOTH
def test_ordered_tasks_run_in_the_same_order(tmp_path: Path, server: str) -> None:
    (tmp_path / "spool").mkdir()
    for name in ("h_1_10", "h_1_9", "h_2_1", "a_10", "a_9", "2/x", "10/x", "2/w"):
        level, _, rest = name.rpartition("/")
        place = tmp_path / "spool" / level
        place.mkdir(exist_ok=True)
        name = f"uwsgi_spoolfile_on_{rest}"
        (place / name).write_bytes(b"\x11\0\0\0" + f"{level}/{rest}".encode())
    with spooling(server, tmp_path, "--spooler-ordered"):
        wait_until(lambda: len(runs(tmp_path)) == 8)
    bodies = [dict(run[1])["'body'"].decode().lstrip("/") for run in runs(tmp_path)]
    assert bodies == ["2/w", "2/x", "10/x", "a_9", "a_10", "h_1_9", "h_1_10", "h_2_1"]


@pytest.mark.parametrize(
    ("writer", "options"),
    [("ours", []), ("ours", ["--spooler-sync=false"]), ("oracle", [])],
    ids=["ours", "ours without sync", "oracle"],
)
def test_two_servers_of_a_directory_run_each_task_once(tmp_path: Path, writer: str, options: list[str]) -> None:
    count = 300
    with ExitStack() as stack:
        both = {"ours": stack.enter_context(spooling("ours", tmp_path, *options))}
        both["oracle"] = stack.enter_context(spooling("oracle", tmp_path))
        for first in range(0, count, 50):
            numbers = f"range({first}, {first + 50})"
            ask(both[writer], f"[uwsgi.spool({{b'n': str(n).encode()}}) and None for n in {numbers}]")
        wait_until(lambda: not tasks(tmp_path / "spool"))
        wait_until(lambda: len(runs(tmp_path)) >= count)
    ran = Counter(dict(run[1])["b'n'"] for run in runs(tmp_path))
    assert ran == Counter(str(number).encode() for number in range(count))


def test_a_task_that_one_server_runs_the_other_leaves_alone(tmp_path: Path) -> None:
    for first, second in (("ours", "oracle"), ("oracle", "ours")):
        place = tmp_path / first
        place.mkdir()
        go = place / "go"
        with spooling(first, place) as running:
            ask(running, f"uwsgi.spool({{b'result': b'-2', b'wait': {os.fsencode(go)!r}}})")
            wait_until(lambda: runs(place))  # noqa: B023 - it ends in the loop
            with spooling(second, place) as other:
                ask(other, "uwsgi.spool({})")
                wait_until(lambda: len(runs(place)) == 2)  # noqa: B023 - it ends in the loop
                go.touch()
                wait_until(lambda: not tasks(place / "spool"))  # noqa: B023 - it ends in the loop
        assert [run[0] for run in runs(place)] == [first, second]


def test_only_uwsgi_deletes_a_damaged_task(tmp_path: Path) -> None:
    damaged = b"\x11\x50\0\0too short"
    for server in ("ours", "oracle"):
        place = tmp_path / server
        (place / "spool").mkdir(parents=True)
        path = place / "spool" / "uwsgi_spoolfile_on_x"
        path.write_bytes(damaged)
        with spooling(server, place) as running:
            if server == "oracle":
                wait_until(lambda: not path.exists())  # noqa: B023 - it ends in the loop
            else:
                running.log_until(lambda text: "uwsgi_spoolfile_on_x is left alone" in text or None)
                assert path.read_bytes() == damaged


def test_both_speak_the_same_over_the_wire(tmp_path: Path) -> None:
    packet = bytes.fromhex("11 06 00 00 01 00 61 01 00 31")
    for server in ("ours", "oracle"):
        place = tmp_path / server
        place.mkdir()
        words = ("--uwsgi-allow", "spooler") if server == "ours" else ()
        with spooling(server, place, *words) as running:
            assert running.raw(running.uwsgi, packet) == b"\xff\0\0\x01"
            wait_until(lambda: runs(place))  # noqa: B023 - it ends in the loop
            assert ("b'a'", b"1") in runs(place)[0][1]


def test_a_file_of_uwsgi_is_a_task_of_ours(tmp_path: Path) -> None:
    with spooling("oracle", tmp_path) as running:
        path = ask(running, "uwsgi.spool({b'at': b'4102444800', b'spooler_x': b'', b'body': b'b'})")
    task = decode_task(Path(os.fsdecode(path)).read_bytes())
    assert task == Task({b"at": b"4102444800", b"spooler_x": b""}, b"b")


@pytest.mark.parametrize(("writer", "runner"), [("ours", "oracle"), ("oracle", "ours"), ("ours", "ours")])
def test_decorated_functions_are_run_wherever_they_were_called(tmp_path: Path, writer: str, runner: str) -> None:
    directory = tmp_path / "spool"
    directory.mkdir()
    calls = [
        "plain({'a': 'é', b'b': b'1'}, c='2', spooler=DIR)",
        "pickled(1, [2.5], key={'a': None}, spooler=DIR)",
        "pickled(spooler=DIR, at='17', body=b'all of it')",
        "forever(n='3', spooler=DIR)",
        "raw(n='4', spooler=DIR)",
    ]
    words = ("--spooler-external", str(directory))
    app = "spooler_decorated.py"
    with spooling(writer, tmp_path, *words, directory="other", app=app) as running:
        for call in calls:
            assert ask(running, call.replace("DIR", repr(str(directory)))).startswith(os.fsencode(directory))
    with spooling(runner, tmp_path, app=app):
        wait_until(lambda: len(seen := runs(tmp_path)) >= 6 and (runner, "forever", "3") in seen)
    seen = [run[1:] for run in runs(tmp_path)]
    base = {"ud_spool_func": "plain", "ud_spool_ret": "-2"}
    for expected in (
        ("plain", {"a": "é", "b": "1", "c": "2", **base}),
        ("pickled", (1, [2.5]), {"key": {"a": None}}),
        ("pickled", (), {}),
        ("raw", "4"),
    ):
        assert seen.count(expected) == 1, expected
    assert seen.count(("forever", "3")) >= 2
    assert {run[0] for run in runs(tmp_path)} == {runner}
    assert len(tasks(directory)) == 1
