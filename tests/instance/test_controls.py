"""What an operator asks of a running instance, letter by letter, but a reload."""

from __future__ import annotations

import os
import re
import signal
import threading
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.command import Process
from tests.instance.harness import (
    APP,
    Client,
    ask,
    ask_over,
    await_reload,
    await_version,
    change,
    connected,
    gone,
    instance,
    lose,
    pids,
    reloads,
    starting,
    tell,
    touch,
)

# --- workers that are replaced ---


def test_w_replaces_the_workers_which_have_the_code_that_was_loaded(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo", "--processes", "2") as process:
        before = pids(process)
        change(place)
        tell(place, "w")
        process.wait_for("w in the master FIFO: replacing the workers")
        process.wait_for("replaced all workers in")
        process.wait_until(lambda: not set(before.values()) & process.family())
        assert ask(process)["version"] == 1
        assert set(pids(process)) == {1, 2}


def test_with_lazy_apps_replaced_workers_load_the_app_again(place: Path) -> None:
    (place / "flag").touch()
    words = ("--lazy-apps", "--master-fifo", "fifo", "--touch-workers-reload", "flag", "--processes", "2")
    with instance(place, *words) as process:
        change(place)
        tell(place, "w")
        process.wait_for("replaced all workers in")
        await_version(process, 20)
        change(place, 300)
        touch(place / "flag")
        process.wait_for("(?s)flag has been touched: replacing the workers.*replaced all workers in")
        await_version(process, 300)
        assert reloads(process) == 0


def test_a_chain_reload_replaces_one_worker_after_the_other(place: Path) -> None:
    with instance(place, "--lazy-apps", "--master-fifo", "fifo", "--processes", "3") as process:
        change(place)
        tell(place, "c")
        process.wait_for("replaced all workers in")
        replaced = re.findall(r"worker (\d) \(pid: \d+\) is to be replaced|Respawned worker (\d)", process.output)
        assert replaced == [("1", ""), ("", "1"), ("2", ""), ("", "2"), ("3", ""), ("", "3")]
        await_version(process, 20)


def test_a_chain_reload_ends_at_the_first_worker_that_does_not_come_to_serve(place: Path) -> None:
    with instance(place, "--lazy-apps", "--master-fifo", "fifo", "--processes", "2") as process:
        before = pids(process)
        (place / "app.py").write_text("this is no Python")
        tell(place, "c")
        process.wait_for("a new process does not serve: the workers are not all replaced")
        assert "worker 2 (pid" not in process.output.split("replacing the workers")[1]
        assert set(before.values()) <= process.family()
        change(place)
        process.wait_for("Respawned worker 1")
        process.wait_until(lambda: 20 in {ask(process)["version"] for _ in range(5)})


def test_replacing_workers_twice_at_once_is_refused(place: Path) -> None:
    with instance(place, "--lazy-apps", "--master-fifo", "fifo") as process:
        (place / "app.py").write_text("import time; time.sleep(0.5)\n" + APP)
        tell(place, "ww")
        process.wait_for("w in the master FIFO: the workers are being replaced already")
        process.wait_for("replaced all workers in")


def test_w_kills_the_workers_brutally(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        old = ask(process)["pid"]
        slow = threading.Thread(target=lose, args=(process, "/sleep/1000"))
        slow.start()
        process.wait_for("a request sleeps")
        tell(place, "W")
        process.wait_for("replaced all workers in")
        assert old not in process.family()
        assert ask(process)["pid"] != old
        slow.join()


# --- the other letters ---


def paused(process: Process) -> bool:
    """Whether a new connection gets no answer."""
    with connected(process) as connection:
        connection.sock.settimeout(0.1)
        connection.request("GET", "/")
        try:
            return not connection.getresponse().read()
        except TimeoutError:
            return True


def test_a_suspended_instance_accepts_nothing_and_serves_what_is_open(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo", "--processes", "2") as process, connected(process) as connection:
        ask_over(connection)
        tell(place, "p")
        process.wait_for("suspended: no connection is accepted")
        process.wait_until(lambda: paused(process))
        assert '"version": 1,' in ask_over(connection)[0]
        os.kill(pids_over(connection), signal.SIGKILL)
        process.wait_for("Respawned worker")
        process.wait_until(lambda: paused(process))
        process.popen.send_signal(signal.SIGTSTP)
        process.wait_for(r"\*\*\* resumed \*\*\*")
        assert ask(process)["version"] == 1


def pids_over(connection: HTTPConnection) -> int:
    found = re.search(r'"pid": (\d+)', ask_over(connection)[0])
    assert found is not None
    return int(found[1])


def test_a_reload_ends_the_suspension(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        tell(place, "pr")
        await_reload(process)
        process.wait_for("resumed: the new workers were never suspended")
        process.wait_until(lambda: ask(process)["reload"])


def test_statistics_are_written_to_the_log(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo", "--processes", "2") as process:
        for times, say in enumerate(
            (lambda: tell(place, "s"), lambda: process.popen.send_signal(signal.SIGUSR1)), start=1
        ):
            say()
            for worker, pid in pids(process).items():
                line = rf"worker {worker} \(pid: {pid}\) is \w+: \d+ requests, 0 exceptions"
                process.wait_until(lambda line=line, times=times: len(re.findall(line, process.output)) == times)


def test_a_pidfile_that_was_removed_is_written_again(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo", "--pidfile", "app.pid") as process:
        (place / "app.pid").unlink()
        tell(place, "P")
        process.wait_until(lambda: (place / "app.pid").exists())
        process.popen.send_signal(signal.SIGTERM)
        process.end()
        assert not (place / "app.pid").exists()


QUICK = ("--check-interval", "0.1")


def test_plus_and_minus_change_the_number_of_workers(place: Path) -> None:
    words = ("--processes", "3", "--cheaper", "2", "--cheaper-initial", "2", "--cheaper-algo", "manual", *QUICK)
    with instance(place, "--master-fifo", "fifo", *words) as process:
        assert set(pids(process)) == {1, 2, 3}
        tell(place, "++")
        process.wait_for("spawned worker 3")
        process.wait_until(lambda: all(pids(process).values()))
        tell(place, "---")
        process.wait_until(lambda: process.output.count("cheaped.") == 2)
        process.wait_until(lambda: sorted(pids(process).values())[:2] == [0, 0])
        assert ask(process)["version"] == 1


def test_minus_waits_for_a_worker_that_is_not_busy(place: Path) -> None:
    words = ("--processes", "3", "--cheaper", "1", "--cheaper-initial", "2", "--cheaper-algo", "manual", *QUICK)
    with instance(place, "--master-fifo", "fifo", *words) as process:
        slow = [Client(process, "/sleep/1") for _ in range(10)]
        process.wait_until(lambda: process.output.count("a request sleeps") == len(slow))
        tell(place, "-")
        process.wait_for("cheaped.")
        for client in slow:
            client.join()
            assert client.answer is not None


def test_plus_without_cheaper_is_refused(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo", "--processes", "2") as process:
        tell(place, "+")
        process.wait_for(r"\+ in the master FIFO: the number of workers is fixed \(there is no option cheaper\)")


@pytest.mark.parametrize("words", [(), ("--cheaper", "1", *QUICK)], ids=["fixed", "adapted"])
def test_capital_c_ends_all_workers_until_somebody_comes(place: Path, words: tuple[str, ...]) -> None:
    with instance(place, "--master-fifo", "fifo", "--processes", "2", *words) as process:
        for times in (1, 2):
            before = set(pids(process).values()) - {0}
            slow = Client(process, "/sleep/0.3")
            process.wait_until(lambda times=times: process.output.count("a request sleeps") == times)
            tell(place, "C")
            process.wait_until(lambda times=times: process.output.count("cheap mode enabled") == times)
            slow.join()
            assert slow.answer is not None
            process.wait_until(lambda before=before: not before & process.family())
            assert ask(process)["pid"] not in before


def test_behind_capital_c_nobody_waits_for_a_request_that_takes_long(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        old = ask(process)["pid"]
        slow = threading.Thread(target=lose, args=(process, "/sleep/1000"))
        slow.start()
        process.wait_for("a request sleeps")
        tell(place, "C")
        process.wait_for("cheap mode enabled")
        process.wait_until(lambda: ask(process)["pid"] != old)
        assert slow.is_alive()
        assert old in process.family()
    slow.join()


def opened(process: Process) -> list[str]:
    """What is behind each open file descriptor of each process."""
    found = []
    for pid in process.family():
        with suppress(OSError):  # it has ended meanwhile
            found += [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return found


def test_capital_l_rotates_the_log(place: Path) -> None:
    log = place / "app.log"
    with starting(place, "--master-fifo", "fifo", "--logto", "app.log", "--log-backupname", "old.log") as process:
        process.wait_until(lambda: log.exists() and "uwsgi-async serves" in log.read_text())
        process.url = re.findall(r"http://127\.0\.0\.1:\d+", log.read_text())[0]
        tell(place, "L")
        process.wait_until(lambda: (place / "old.log").exists())
        ask(process)
        process.wait_until(lambda: "GET / " in log.read_text())
        assert "spawned worker 1" in (place / "old.log").read_text()
        process.wait_until(lambda: str(place / "old.log") not in opened(process))


def test_q_finishes_the_running_requests(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        bodies: list[bytes] = []
        slow = threading.Thread(target=lambda: bodies.append(process.get("/sleep/0.3")))
        slow.start()
        process.wait_for("a request sleeps")
        tell(place, "q")
        assert process.end() == 0
        slow.join()
        assert len(bodies) == 1
        assert not (place / "fifo").exists()


def test_capital_q_does_not(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        slow = threading.Thread(target=lose, args=(process, "/sleep/1000"))
        slow.start()
        process.wait_for("a request sleeps")
        tell(place, "Q")
        assert process.end() == 0
        slow.join()
        process.wait_until(lambda: gone(process))


@pytest.mark.parametrize("slot", ["0", "1", "10"])
def test_no_fifo_is_left_when_the_master_is_killed(place: Path, slot: str) -> None:
    with instance(place, "--master-fifo", "fifo", "--master-fifo", "other", "--pidfile", "app.pid") as process:
        (place / "app.pid").unlink()
        tell(place, f"P{slot[0]}")
        process.wait_until(lambda: (place / ("fifo", "other")[int(slot[0])]).exists())
        process.wait_for("active master fifo is now")
        if slot == "10":
            tell(place, "0", "other")
            process.wait_until(lambda: process.output.count("active master fifo is now") == 2)
        process.popen.kill()
        process.wait_until(lambda: gone(process))
        assert sorted(path.name for path in place.iterdir() if path.name != "__pycache__") == ["app.py"]


def test_a_fifo_that_cannot_be_made_ends_the_start_with_a_sentence(place: Path) -> None:
    (place / "fifo").write_text("precious")
    with starting(place, "--master-fifo", "fifo") as process:
        assert process.end() == 2
        assert "/fifo' is there already and is no FIFO" in process.output
        assert "spawned the fork server" not in process.output
