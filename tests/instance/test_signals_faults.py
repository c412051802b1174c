"""Signals while processes come and go: none is lost by a death, a reload, or a worker or fork server replaced."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.instance.harness import change, instance, pid_of
from tests.instance.signalling import APP, Instance, stats


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "deaths").mkdir()
    return tmp_path


def test_a_signal_whose_worker_is_killed_in_its_handler_is_delivered_again(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        running = Instance(process, place)
        running.call("order", 5, 8, 9, 8)
        lines = running.wait_for(5)
        assert [line[0] for line in lines] == [5, 5, 8, 9, 8]
        assert lines[0][2] != lines[1][2]


def test_no_signal_is_lost_while_workers_are_killed(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        running = Instance(process, place)
        running.call("signal", 11)
        lines = [line for line in running.wait_for(300) if line[0] == 10]
        process.wait_until(lambda: len(running.lines()) >= 303)  # those that died while they had it run again
        assert len({line[2] for line in lines}) == 4


def test_no_signal_is_lost_while_reloads_run(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        running = Instance(process, place)
        raised = 0
        for reload in range(1, 6):
            change(place, 10**reload, APP)
            process.popen.send_signal(signal.SIGHUP)
            while process.output.count("reloaded in") < reload:
                running.call("storm", 2, 100)
                running.call("storm", 1, 100)
                raised += 100
        running.wait_for(3 * raised)
        counts = Counter((line[0], line[1] if line[0] == 2 else 0) for line in running.lines())
        assert counts == {(2, 1): raised, (2, 2): raised, (1, 0): raised}


def test_no_signal_is_lost_while_workers_are_replaced_one_after_the_other(place: Path) -> None:
    with instance(place, "--processes", "2", "--lazy-apps", "--master-fifo", "fifo") as process:
        running = Instance(process, place)
        raised = 0
        for chain in range(1, 4):
            (place / "fifo").write_text("c")
            while process.output.count("replaced all workers in") < chain:
                running.call("storm", 2, 100)
                raised += 100
        running.wait_for(2 * raised)
        assert Counter(line[1] for line in running.lines()) == {1: raised, 2: raised}
        assert len({line[2] for line in running.lines()}) > 2


def test_a_handler_that_waits_is_finished_by_the_worker_that_a_reload_ends(place: Path) -> None:
    with instance(place, "--processes", "1") as process:
        running = Instance(process, place)
        running.call("signal", 13)
        running.wait_for(1)
        change(place, app=APP)
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("reloaded in")
        running.call("signal", 8)
        assert [(line[0], line[3]) for line in running.wait_for(2)] == [(13, 1), (8, 20)]
        (place / "go").touch()
        assert running.wait_for(3)[2] == running.lines()[0]


def test_signals_go_on_after_the_death_of_the_fork_server(place: Path) -> None:
    timer = "\nuwsgi.register_signal(20, 'worker1', note)\nuwsgi.add_ms_timer(20, 50)\n"
    (place / "app.py").write_text(APP + timer)
    with instance(place, "--processes", "2", "--stats", str(place / "stats")) as process:
        running = Instance(process, place)
        os.kill(pid_of(process, "fork server"), signal.SIGKILL)
        process.wait_for(r"(?s)spawned the fork server.*spawned the fork server")
        old = running.pids()
        os.kill(old[1], signal.SIGKILL)
        process.wait_until(lambda: running.pids()[1] not in (0, old[1]))
        running.forget()
        process.wait_until(lambda: any(line[2] not in old.values() for line in running.lines()))
        assert len(stats(place)["signals"]["sources"]) == 1


def test_a_reload_that_fails_leaves_targets_and_timers_as_they_were(place: Path) -> None:
    with instance(place, "--processes", "2", "--timer", "8 0.05", "--stats", str(place / "stats")) as process:
        running = Instance(process, place)
        before = {each["signal"]: each["target"] for each in stats(place)["signals"]["signals"]}
        change(place, app=APP + "\nuwsgi.register_signal(21, 'worker2', note)\nuwsgi.add_timer(21, 1)\n1 / 0\n")
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("the reload has failed")
        running.forget()
        assert {line[:2] for line in running.wait_for(3)} == {(8, 1)}
        told = stats(place)["signals"]
        assert {each["signal"]: each["target"] for each in told["signals"]} == before
        assert [each["source"][1]["signal"] for each in told["sources"]] == [8]


def test_the_workers_go_on_and_end_in_order_when_the_master_dies(place: Path) -> None:
    with instance(place, "--processes", "1") as process:
        running = Instance(process, place)
        running.call("storm", 7, 20)
        running.wait_for(1)
        process.popen.kill()
        process.wait_until(lambda: not process.family())
        assert len(running.lines()) <= 20
        assert "Traceback" not in process.output


def test_no_signal_of_a_storm_is_lost_when_the_worker_is_killed_from_outside_again_and_again(place: Path) -> None:
    with instance(place, "--processes", "2", "--stats", str(place / "stats")) as process:
        running = Instance(process, place)
        raised = 0
        for _ in range(4):
            killed = running.pids()[2]
            running.call("storm", 3, 500)
            raised += 500
            os.kill(killed, signal.SIGKILL)  # with signals in its channel, in its queue, and in their handlers
            process.wait_until(lambda killed=killed: running.pids()[2] not in (0, killed))

        def handled() -> int:  # the master counts each once, however often it was begun
            return sum(each["handled"] for each in stats(place)["signals"]["signals"] if each["signal"] == 3)

        process.wait_until(lambda: handled() >= raised)
        assert (handled(), stats(place)["signals"]["unrouted"]) == (raised, 0)
        assert len(running.lines()) >= raised
        assert {line[1] for line in running.lines()} == {2}


def test_what_was_delivered_to_a_worker_that_is_killed_before_any_handler_runs_once_in_the_next_one(
    place: Path,
) -> None:
    with instance(place, "--processes", "2", "--stats", str(place / "stats")) as process:
        running = Instance(process, place)
        killed = running.pids()[2]
        os.kill(killed, signal.SIGSTOP)
        running.call("storm", 3, 50)

        def are_all_in_its_channel() -> bool:
            told = stats(place)["signals"]
            return (told["routed"], told["waiting"]) == (50, 0)

        process.wait_until(are_all_in_its_channel)
        os.kill(killed, signal.SIGKILL)
        running.wait_for(50)
        process.wait_until(lambda: sum(each["handled"] for each in stats(place)["signals"]["signals"]) == 50)
        assert Counter(line[:2] for line in running.lines()) == {(3, 2): 50}
        assert {line[2] for line in running.lines()} == {running.pids()[2]} != {killed}
