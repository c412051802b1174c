"""Mules that die, hang, or are replaced: what waits in their queues is there for the next one, each message once."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.instance.harness import await_reload, gone, tell, touch
from tests.instance.muling import APP, SCRIPT, Herd, herd, write


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def numbers(running: Herd) -> list[int]:
    """The messages that hooks have got, as far as they are numbers."""
    return [int(text) for kind, _, text in running.brief() if kind == "hook" and text.isdecimal()]


def test_a_killed_mule_comes_back_and_its_1000_messages_are_there_once_and_in_their_order(place: Path) -> None:
    farms = [word for name in "abc" for word in ("--farm", f"{name}:1")]
    with herd(place, "--mule", "--mule-msg-size", "2000000", *farms) as running:
        killed = running.pid_of(1)
        running.call("mule_msg", "wait for ever", 1)
        running.wait_for(1)
        queued = 0
        for queue in (1, 0, "a", "b", "c"):  # a user who may not ask for more memory has room for a part in each
            queued += running.call("storm", queued, 1000 - queued, queue)
        assert queued == 1000
        os.kill(killed, signal.SIGKILL)
        running.process.wait_until(lambda: len(numbers(running)) == 1000)
        assert numbers(running) == list(range(1000))
        assert {pid for kind, _, pid, _, text in running.lines() if text.isdecimal()} == {running.pid_of(1)} != {killed}
        assert running.mules()[0]["respawn_count"] == 1


def test_a_mule_that_dies_of_a_message_does_not_get_it_again(place: Path) -> None:
    with herd(place, "--mule") as running:
        running.pid_of(1)
        for message in ("before", "die", "behind"):
            running.call("mule_msg", message, 1)
        assert [text for _, _, text in running.wait_for(3)] == ["before", "dies", "behind"]


def test_no_message_is_lost_or_comes_twice_while_mules_are_killed(place: Path) -> None:
    count = 300
    with herd(place, "--mules", "2") as running:
        sent = 0
        for step in range(1, 4):
            sent += running.call("storm", sent, count // 3, 0)
            running.process.wait_until(lambda: len(numbers(running)) == sent)  # noqa: B023 - called at once
            os.kill(running.pid_of(1 + step % 2), signal.SIGKILL)
        sent += running.call("storm", sent, 50, 1)
        sent += running.call("storm", sent, 50, 2)
        running.process.wait_until(lambda: len(numbers(running)) == sent)
        assert sorted(numbers(running)) == list(range(sent))


def test_a_reload_loses_no_message_and_two_generations_of_a_mule_never_run_at_once(place: Path) -> None:
    with herd(place, "--mules", "1", "--master-fifo", "fifo") as running:
        first = running.pid_of(1)
        running.call("mule_msg", "wait for go", 1)
        running.wait_for(1)
        running.call("storm", 0, 100, 1)
        (place / "app.py").write_text(APP.replace("VERSION = 1", "VERSION = 20"))
        tell(place, "r")
        await_reload(running.process)
        running.call("storm", 100, 100, 1)
        assert len(running.lines()) == 1  # the old one finishes what it has, and the new one waits for it
        (place / "go").touch()
        running.process.wait_until(lambda: len(numbers(running)) == 200)
        assert numbers(running) == list(range(200))
        versions = [(pid == first, version) for kind, _, pid, version, text in running.lines() if kind == "hook"]
        assert versions == [(True, 1), (True, 1)] + [(False, 20)] * 200


def test_a_reload_cannot_change_the_number_of_mules_and_says_so(place: Path) -> None:
    (place / "config.ini").write_text("[uwsgi]\nmules = 1\nstats = stats\n")
    with herd(place, "--ini", "config.ini") as running:
        running.pid_of(1)
        (place / "config.ini").write_text("[uwsgi]\nmules = 3\nstats = stats\n")
        running.reload()
        await_reload(running.process)
        running.process.wait_for("mules: a reload cannot change 1 to 3: restart for that")
        running.process.wait_until(lambda: [mule["status"] for mule in running.mules()] == ["idle"])
        running.call("mule_msg", "hello", 1)
        assert running.wait_for(1) == [("hook", 1, "hello")]


def test_a_reload_that_fails_leaves_the_mules_that_run(place: Path) -> None:
    with herd(place, "--mules", "1") as running:
        before = running.pid_of(1)
        (place / "app.py").write_text("1/0")
        running.reload()
        running.process.wait_for("the reload has failed")
        running.call("mule_msg", "hello", 1)
        running.wait_for(1)
        assert running.lines()[0][2] == before


def test_touching_a_file_replaces_the_mules_and_nothing_else(place: Path) -> None:
    (place / "touched").touch()
    with herd(place, "--mules", "1", "--mule=script.py", "--touch-mules-reload", "touched") as running:
        before = [running.pid_of(1), running.pid_of(2)]
        touch(place / "touched")
        running.process.wait_for("has been touched: replacing the mules")
        running.process.wait_until(lambda: not {running.pid_of(1), running.pid_of(2)} & set(before))
        assert running.process.wait_for(r"Respawned mule 1")
        assert running.process.output.count("spawned worker") == 1
        running.call("mule_msg", "hello", 1)
        assert ("hook", 1, "hello") in running.wait_for(3)


def test_a_message_over_mule_harakiri_kills_the_mule_and_the_next_one_goes_on(place: Path) -> None:
    with herd(place, "--mule", "--mule-harakiri", "0.3") as running:
        hung = running.pid_of(1)
        running.call("mule_msg", "wait for ever", 1)
        running.call("mule_msg", "behind it", 1)
        assert running.wait_for(2)[1] == ("hook", 1, "behind it")
        running.process.wait_for(rf"mule 1 \(pid: {hung}\): HARAKIRI: .* mule-harakiri; it was in:")
        running.process.wait_for(r'File ".*app.py", line \d+ in hook')
        assert running.lines()[1][2] != hung


def test_set_user_harakiri_kills_a_mule(place: Path) -> None:
    with herd(place, "--mule") as running:
        first = running.pid_of(1)
        running.call("mule_msg", "harakiri", 1)
        running.process.wait_for(rf"mule 1 \(pid: {first}\): HARAKIRI \(user\) triggered")
        running.process.wait_until(lambda: running.pid_of(1) != first)


def test_a_module_that_only_a_mule_imports_is_watched_by_py_autoreload(place: Path) -> None:
    (place / "only_here.py").write_text("NUMBER = 1\n")
    (place / "script.py").write_text("import only_here\n" + SCRIPT)
    with herd(place, "--mule=script.py", "--py-autoreload", "0.1") as running:
        running.wait_for(1)
        running.process.wait_until(lambda: touch(place / "only_here.py") or "reloaded in" in running.process.output)


def test_a_mule_that_does_not_end_within_mercy_is_killed(place: Path) -> None:
    with herd(place, "--mule", "--mule-reload-mercy", "0.3") as running:
        running.pid_of(1)
        running.call("mule_msg", "wait for ever", 1)
        running.wait_for(1)
        running.process.popen.terminate()
        assert running.process.end() == 0
        assert "has not ended within 0.3 s (option mule-reload-mercy): killing it" in running.process.output


def test_a_mule_ends_in_good_order_when_it_gets_sigterm_and_comes_back(place: Path) -> None:
    with herd(place, "--mule=works:sleeper") as running:
        first = running.pid_of(1)
        running.wait_for(1)
        os.kill(first, signal.SIGTERM)
        assert running.wait_for(3) == [("begins", 1, "sleeper"), ("ends", 1, "sleeper"), ("begins", 1, "sleeper")]
        assert running.pid_of(1) != first


def test_mules_end_when_the_master_is_killed(place: Path) -> None:
    programs = ("--mule", "--mule=script.py", "--mule=works:asynchronous", "--mule=works:sleeper")
    with herd(place, *programs) as running:
        for mule in (1, 2, 3, 4):
            running.pid_of(mule)
        running.call("mule_msg", "wait for go", 1)
        running.process.wait_until(lambda: ("hook", 1, "wait for go") in running.brief())
        running.process.popen.kill()
        running.process.popen.wait()
        (place / "go").touch()
        running.process.wait_until(lambda: gone(running.process))
        assert running.brief().count(("hook", 1, "wait for go")) == 2  # it has finished what it had


def test_several_senders_and_mules_share_a_queue_without_losing_or_doubling(place: Path) -> None:
    with herd(place, "--processes", "2", "--mules", "3", "--farm", "all:1,2,3") as running:
        senders = [
            threading.Thread(target=running.call, args=("stream", 300 * number, 300, "all")) for number in range(4)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        running.process.wait_until(lambda: len(numbers(running)) >= 1200)
        assert sorted(numbers(running)) == list(range(1200))
