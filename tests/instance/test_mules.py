"""Mules under a master: each form of a message and of a program, with several processes, on each event loop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instance.muling import Herd, herd, write
from tests.instance.signalling import stats
from uwsgi_async.instance.statistics.document import decode
from uwsgi_async.instance.statistics.prometheus import render

LOOPS = pytest.mark.parametrize("loop", ["", "--uvloop", "--trio"], ids=["asyncio", "asyncio+uvloop", "trio"])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    """One instance for tests that leave it as it was: mule 1 has hooks, 2 a script, 3 a plain and 4 an async one."""
    place = tmp_path_factory.mktemp("mules")
    write(place)
    programs = ("--mule", "--mule=script.py", "--mule=works:plain", "--mule=works:asynchronous")
    with herd(place, "--processes", "2", *programs, "--farm", "web:1,2", "--farm", "other:3,4") as running:
        running.wait_for(2)
        yield running


@pytest.fixture
def running(shared: Herd) -> Herd:
    shared.forget()
    return shared


@pytest.mark.parametrize(("mule", "kind"), [(1, "hook"), (2, "script"), (3, "plain"), (4, "async")])
def test_a_message_to_a_mule_by_its_number_comes_to_its_program(running: Herd, mule: int, kind: str) -> None:
    assert running.call("mule_msg", "hello", mule) is True
    assert running.wait_for(1) == [(kind, mule, "hello")]


def test_a_message_to_any_mule_comes_to_one(running: Herd) -> None:
    for number in range(40):
        assert running.call("mule_msg", f"message {number}")
    assert sorted(text for _, _, text in running.wait_for(40)) == sorted(f"message {number}" for number in range(40))


@pytest.mark.parametrize("call", ["mule_msg", "farm_msg"])
def test_a_message_to_a_farm_comes_to_one_of_its_mules(running: Herd, call: str) -> None:
    for number in range(10):
        words = (str(number), "web") if call == "mule_msg" else ("web", str(number))
        assert running.call(call, *words) is (True if call == "mule_msg" else None)
    lines = running.wait_for(10)
    assert {mule for _, mule, _ in lines} <= {1, 2}
    assert sorted(text for _, _, text in lines) == [str(number) for number in range(10)]


def test_a_mule_that_does_not_take_farm_messages_leaves_them_to_another_one(running: Herd) -> None:
    for number in range(5):
        running.call("farm_msg", "other", str(number))
    assert running.wait_for(5) == [("async", 4, str(number)) for number in range(5)]


def test_messages_of_one_sender_are_handled_in_their_order(running: Herd) -> None:
    assert running.call("storm", 0, 200, 1) == 200
    assert running.wait_for(200) == [("hook", 1, str(number)) for number in range(200)]


@pytest.mark.parametrize(
    ("number", "mules"), [(1, {1}), (2, {1, 2, 3, 4}), (3, None), (4, {1, 2, -1}), (5, {3, 4, -1}), (6, {2}), (10, {1})]
)
def test_mules_and_farms_are_targets_of_signals(running: Herd, number: int, mules: set[int] | None) -> None:
    running.call("signal", number)
    one_of = mules is None or -1 in mules
    lines = running.wait_for(1 if one_of or mules is None else len(mules))
    assert {kind for kind, _, _ in lines} == {"signal"}
    assert {text for _, _, text in lines} == {str(number)}
    found = {mule for _, mule, _ in lines}
    assert (found <= (mules or {1, 2, 3, 4})) if one_of else found == mules


def test_an_error_of_a_hook_is_logged_and_the_next_message_is_handled(running: Herd) -> None:
    running.call("mule_msg", "fail", 1)
    running.call("mule_msg", "next", 1)
    assert running.wait_for(1) == [("hook", 1, "next")]
    running.process.wait_for("mule 1: an error in .*for a message of 4 bytes")
    running.process.wait_for("RuntimeError: no luck")


def test_all_hooks_are_called_also_an_async_one(running: Herd) -> None:
    running.call("mule_msg", "both", 1)
    assert running.wait_for(2) == [("hook", 1, "both"), ("second", 1, "both")]


def test_a_mule_has_the_shared_state_and_may_send_messages_itself(running: Herd) -> None:
    running.call("mule_msg", "cache 17", 1)
    running.wait_for(1)
    assert running.call("cache_get", "from a mule") == "17"
    running.call("mule_msg", "relay", 1)
    assert ("script", 2, "relayed") in running.wait_for(3)


def test_a_mule_may_ask_for_the_workers_raise_signals_for_them_and_sleep(running: Herd) -> None:
    running.call("mule_msg", "ask", 1)
    assert sorted(running.wait_for(2)) == [("hook", 1, "([1, 2], 0, True, True)"), ("signal", 0, "20")]


def test_an_empty_message_is_one(running: Herd) -> None:
    running.call("mule_msg", "", 2)
    running.call("mule_msg", "behind it", 2)
    running.process.wait_until(lambda: "behind it" in (running.place / "ran").read_text())
    assert [line.split()[:2] for line in running.noted()] == [["script", "2"]] * 2
    running.forget()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("mule_msg", "x", 5), "invalid mule number 5: the instance has 4"),
        (("mule_msg", "x", -1), "invalid mule number -1"),
        (("mule_msg", "x", "no"), "unknown farm 'no': the instance has web, other"),
        (("mule_msg", "x", None), "invalid mule: expected a number, or the name of a farm, but None came"),
        (("mule_get_msg",), "you can receive mule messages only in a mule !!!"),
        (("farm_get_msg",), "you can receive farm messages only in a mule !!!"),
    ],
)
def test_what_cannot_be_is_an_error_that_says_why(running: Herd, words: tuple[object, ...], error: str) -> None:
    assert f"MuleError: {error}" in running.call(*words)


def test_a_worker_is_no_mule_and_in_no_farm(running: Herd) -> None:
    assert (running.call("mule_id"), running.call("in_farm"), running.call("in_farm", "web")) == (0, None, None)
    assert running.call("mule_msg_recv_size") == 65536


def test_the_statistics_list_mules_farms_and_what_waits(running: Herd) -> None:
    running.call("mule_msg", "counted", 1)
    running.wait_for(1)
    running.process.wait_until(lambda: running.mules()[0]["messages"] > 0)
    told = stats(running.place)
    programs = ["", "script.py", "works:plain", "works:asynchronous"]
    assert [mule["program"] for mule in told["mules"]] == programs
    assert [mule["farms"] for mule in told["mules"]] == [["web"], ["web"], ["other"], ["other"]]
    assert {mule["status"] for mule in told["mules"]} <= {"idle", "busy"}
    assert all(mule["pid"] and mule["rss"] and mule["waiting"] == 0 for mule in told["mules"])
    assert [(farm["name"], farm["mules"], farm["waiting"]) for farm in told["farms"]] == [
        ("web", [1, 2], 0), ("other", [3, 4], 0)
    ]  # fmt: skip
    text = render(decode(json.dumps(told).encode()))
    assert 'uwsgi_mule_messages_total{mule_id="1"} ' in text
    assert 'uwsgi_farm_queue_bytes{name="web"} 0' in text
    roles = {process["role"] for process in told["processes"]}
    assert {"mule 1", "mule 2", "mule 3", "mule 4"} <= roles


@LOOPS
def test_all_kinds_of_programs_run_on_each_event_loop_and_end_when_they_are_told(place: Path, loop: str) -> None:
    programs = [f"--mule={each}" for each in ("script.py", "works:asynchronous", "works:sleeper", "works:threads")]
    words = ("--mules", "1", *programs, "--farm", "web:6", "--mule=works:of_farm", *([loop] if loop else []))
    with herd(place, *words) as running:
        running.wait_for(3)
        running.forget()
        for mule in (1, 2, 3, 5):
            running.call("mule_msg", "hello", mule)
        running.call("farm_msg", "web", "hello")
        running.call("signal", 1)
        running.call("signal", 10)
        assert sorted(running.wait_for(7)) == [
            ("async", 3, "hello"), ("farm", 6, "hello"), ("hook", 1, "hello"), ("script", 2, "hello"),
            ("signal", 1, "1"), ("signal", 1, "10"), ("thread", 5, "hello"),
        ]  # fmt: skip
        running.process.popen.terminate()
        assert running.process.end() == 0
        assert running.brief()[-1] == ("ends", 4, "sleeper")
        assert "killing it" not in running.process.output
        assert not running.process.family()


def test_a_program_that_returns_is_run_again(place: Path) -> None:
    with herd(place, "--mule=works:short") as running:
        assert running.wait_for(2)[:2] == [("begins", 1, "short")] * 2
        running.process.wait_for(r"mule 1 \(pid: \d+\) ended with status 0 after .*: starting it again")


def test_a_program_that_cannot_be_loaded_is_told_and_the_workers_serve(place: Path) -> None:
    with herd(place, "--mule=works:missing", "--mule=no.py") as running:
        running.process.wait_for("mule: works:missing cannot be loaded: AttributeError")
        running.process.wait_for("mule: no.py cannot be read")
        assert running.call("mule_msg", "kept", 1) is True


def test_a_signal_ends_the_wait_of_a_mule_that_asks_for_it(place: Path) -> None:
    with herd(place, "--mule=works:with_signals") as running:
        running.pid_of(1)
        running.call("signal", 1)
        assert running.wait_for(2) == [("signal", 1, "1"), ("got", 1, "None")]


def test_numbers_are_given_in_the_order_of_the_options_also_of_a_file(place: Path) -> None:
    lines = ["[uwsgi]", "mules = 1", "mule = script.py", "mules = 2", "stats = stats"]
    (place / "config.ini").write_text("\n".join(lines))
    with herd(place, "--ini", "config.ini") as running:
        assert [mule["program"] for mule in running.mules()] == ["", "script.py", "", ""]
