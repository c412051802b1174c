"""Signals: who waits for them, other instances, and what raises them, in both servers and between them."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.parity.noted import Server, started
from tests.parity.oracle import require

pytestmark = [pytest.mark.parity, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    require()
    place = tmp_path_factory.mktemp("waiting")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(started(name, "waiting.py", place, *options))
            for name, options in (("oracle", ()), ("ours", ("--uwsgi-allow", "signals")))
        }


@pytest.fixture(params=["oracle", "ours"])
def server(request: pytest.FixtureRequest, both: dict[str, Server]) -> Server:
    found: Server = both[request.param]
    return found


def test_a_timer_with_iterations_runs_as_often(server: Server) -> None:
    server.until(lambda seen: seen.count("handled 3 worker1") >= 4)  # it began at the same time, and goes on
    assert server.ran.read_text().splitlines().count("handled 2 worker1") == 2


def test_a_cron_that_is_due_now_runs_at_once(server: Server) -> None:
    server.until(lambda seen: "handled 5 worker1" in seen)


def count_of_directory(server: Server) -> int:
    return server.ran.read_text().splitlines().count("handled 4 worker1")


@pytest.mark.parametrize("change", ["create", "change", "rename", "delete"])
def test_whatever_happens_in_a_monitored_directory_runs_the_handler(server: Server, change: str) -> None:
    directory = Path(f"{server.ran}.directory")
    seen = count_of_directory(server)
    if change in ("create", "change"):
        (directory / "file").write_text(change)
    elif change == "rename":
        (directory / "file").rename(directory / "renamed")
    else:
        (directory / "renamed").unlink()
    server.until(lambda _: count_of_directory(server) > seen)


@pytest.mark.parametrize("words", [["wait", 1], ["wait"]], ids=["one", "any"])
def test_waiting_ends_when_the_handler_is_done_and_the_number_is_told(server: Server, words: list[object]) -> None:
    waits = server.ran.read_text().count("waits")
    with ThreadPoolExecutor(1) as thread:
        waiter = thread.submit(server.post, words)
        server.until(lambda _: server.ran.read_text().count("waits") > waits)
        while not waiter.done():  # ours does not count what has come before it began to wait
            server.post(["signal", 1])
    answer, number = waiter.result()  # type: ignore[misc]
    assert answer == ""
    assert number == 1 or words == ["wait"]


@pytest.mark.parametrize(("sender", "receiver"), [("ours", "oracle"), ("oracle", "ours"), ("ours", "ours")])
def test_a_signal_goes_to_the_other_server(both: dict[str, Server], sender: str, receiver: str) -> None:
    there = both[receiver]
    before = there.ran.read_text().count("handled 1 worker1")
    assert both[sender].post(["signal", 1, f"127.0.0.1:{there.running.uwsgi}"]) == [None]
    there.until(lambda _: there.ran.read_text().count("handled 1 worker1") > before)


def test_a_packet_of_modifier_110_raises_a_signal_and_is_answered(server: Server) -> None:
    before = server.ran.read_text().count("handled 1 worker2")
    assert server.running.raw(server.running.uwsgi, bytes([110, 0, 0, 1])) == b"\xff\0\0\1"
    server.until(lambda _: server.ran.read_text().count("handled 1 worker2") > before)


def test_a_node_that_does_not_answer_is_the_same_error(both: dict[str, Server]) -> None:
    with socket.socket() as sock:  # bound, and nobody listens
        sock.bind(("127.0.0.1", 0))
        node = f"127.0.0.1:{sock.getsockname()[1]}"
        answers = [server.post(["signal", 1, node]) for server in both.values()]
    assert [kind for kind, _ in answers] == ["OSError", "OSError"]  # type: ignore[misc]
    assert all(text.startswith(f"unable to deliver signal 1 to node {node}") for _, text in answers)  # type: ignore[misc]
