"""Mules and farms: each form of sending and of taking, with the same app and options in both servers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.parity.harness import APPS, Running, start
from tests.parity.oracle import binary

pytestmark = [pytest.mark.parity, pytest.mark.timeout(60)]

_PATIENCE = 10.0

Both = tuple["Server", "Server"]


class Server:
    """One of the two. ``ran``: the file that its mules write to."""

    def __init__(self, running: Running, ran: Path) -> None:
        self.running = running
        self.ran = ran
        self.seen = 0

    def post(self, *words: object) -> object:
        seen = self.running.request("POST", "/", json.dumps(words).encode())
        assert seen.status == 200, seen
        return json.loads(seen.body)

    def lines(self, count: int) -> list[str]:
        """Wait for so many new lines, and return them."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            lines = self.ran.read_text().splitlines()[self.seen :]
            if len(lines) >= count:
                self.seen += len(lines)
                return lines
            assert time.monotonic() < deadline, (lines, self.running.log_path.read_text()[-2000:])
            time.sleep(0.01)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both servers: mule 1 has the hook, mule 2 a program, mule 3 takes nothing; the farm web has 1 and 2."""
    try:
        binary()
    except RuntimeError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))
    tmp = tmp_path_factory.mktemp("mules")
    with ExitStack() as stack:
        oracle, ours = (stack.enter_context(started(name, tmp)) for name in ("oracle", "ours"))
        for server in (oracle, ours):
            server.lines(1)  # the program has begun
        yield oracle, ours


@contextmanager
def started(name: str, tmp: Path) -> Iterator[Server]:
    ran = tmp / f"{name}.ran"
    ran.write_text("")
    options = ["--master", "--wsgi-file", str(APPS / "mules.py"), "--pythonpath", str(APPS / "mule_programs")]
    options += ["--mule", "--mule=takes_what_it_is_told:program", f"--mule={APPS / 'mule_programs/takes_nothing.py'}"]
    options += ["--farm", "web:1,2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAN", str(ran))
        with start(name, tmp, *options, cwd=tmp) as running:
            yield Server(running, ran)


def compare(both: Both, words: tuple[object, ...], count: int) -> None:
    """Both servers give the same answer, and their mules write the same lines."""
    oracle, ours = ((server.post(*words), sorted(server.lines(count))) for server in both)
    assert ours == oracle


@pytest.mark.parametrize(
    "words",
    [("mule_msg", "text", 1), ("mule_msg", "b:bytes", 2), ("mule_msg", "", 1), ("mule_msg", "where", 1)],
    ids=repr,
)
def test_a_message_to_one_mule_comes_to_its_program_or_hook(both: Both, words: tuple[object, ...]) -> None:
    compare(both, words, 1)


@pytest.mark.parametrize(
    "words", [("mule_msg", "any"), ("mule_msg", "any", 0), ("mule_msg", "farm", "b:web"), ("farm_msg", "web", "farm")]
)
def test_a_message_to_any_mule_or_a_farm_comes_to_one(both: Both, words: tuple[object, ...]) -> None:
    answers, lines = [], []
    for server in both:
        answers.append(server.post(*words))
        lines.append([line.split()[-1] for line in server.lines(1)])
    assert answers[0] == answers[1]
    assert lines[0] == lines[1]


@pytest.mark.parametrize(
    "words",
    [
        ("mule_msg", "x", "b:no"), ("mule_msg", "x", None), ("mule_msg", "x", 1.5), ("mule_msg", None),
        ("mule_msg", 5), ("mule_msg",), ("farm_msg", "no", "x"), ("farm_msg", None, "x"), ("farm_msg", "web"),
        ("mule_get_msg",), ("farm_get_msg",), ("in_farm",), ("in_farm", "web"), ("mule_id",),
    ],
    ids=repr,
)  # fmt: skip
def test_what_a_worker_is_answered(both: Both, words: tuple[object, ...]) -> None:
    oracle, ours = (server.post(*words) for server in both)
    assert ours == oracle


def test_a_full_queue_is_told_to_the_sender(both: Both) -> None:
    oracle, ours = (server.post("fill") for server in both)
    assert ours == oracle == [True, False]


@pytest.mark.parametrize(("size", "taken"), [(100_000, "True"), (200_000, "True"), (300_000, "False")])
def test_a_message_may_be_as_long_as_in_uwsgi(both: Both, size: int, taken: str) -> None:
    for server in both:
        assert server.post("long", size, 1) == taken
        if taken == "True":
            (line,) = server.lines(1)
            assert line.count("\\x00") == 65536  # the rest is lost: the buffer is smaller


def test_an_error_of_the_hook_changes_nothing(both: Both) -> None:
    for server in both:
        server.post("mule_msg", "fail", 1)
    compare(both, ("mule_msg", "behind", 1), 1)


def test_a_mule_is_a_target_of_signals(both: Both) -> None:
    compare(both, ("signal", 1), 1)


def test_a_farm_is_a_target_of_signals(both: Both) -> None:
    for server in both:
        server.post("signal", 4)
        (line,) = server.lines(1)
        assert line.endswith("worker0 4")
        assert line.startswith(("signal mule1", "signal mule2"))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"timeout": 0}, None), ({"timeout": 1}, None), ({}, "0123456789"), ({"buffer_size": 4}, "0123456789"),
        ({"farms": False, "timeout": 0}, None), ({"signals": True, "timeout": 0}, None),
    ],
    ids=repr,
)  # fmt: skip
def test_mule_get_msg_answers_each_argument_as_uwsgi(
    both: Both, keywords: dict[str, object], message: str | None
) -> None:
    results = []
    for server in both:
        server.post("mule_msg", f"get {json.dumps(keywords)}", 2)
        lines = server.lines(1)
        if message is not None:
            server.post("mule_msg", message, 2)
        while len(lines) < 2:
            lines += server.lines(1)
        results.append(lines)
    assert results[0] == results[1]


def test_a_signal_ends_the_wait_when_it_is_asked_for(both: Both) -> None:
    results = []
    for server in both:
        server.post("mule_msg", 'get {"signals": false}', 2)
        lines = server.lines(1)
        server.post("signal", 3)
        while len(lines) < 3:
            lines += server.lines(1)
        results.append(lines)
    assert results[0] == results[1]


def test_a_program_that_returns_is_run_again_and_what_waits_is_there(both: Both) -> None:
    results = []
    for server in both:
        for message in ("end", "waits", "waits too"):
            server.post("mule_msg", message, 2)
        results.append(server.lines(3))
    assert results[0] == results[1]
