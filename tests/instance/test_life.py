"""The life of a worker: replaced before it ends, ended from outside, and never leaving anything."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.command import server
from tests.instance.harness import Client, ask, gone, instance, lose, pid_of, pids, starting, status


def test_a_worn_out_worker_serves_until_another_one_does_and_finishes_its_requests(place: Path) -> None:
    with instance(place, "--max-requests", "2", "--min-worker-lifetime", "0") as process:
        slow = Client(process, "/until-go")
        process.wait_for("a request sleeps")
        old = ask(process)["pid"]
        ask(process)
        process.wait_for("Respawned worker 1")
        process.wait_until(lambda: ask(process)["pid"] != old)
        assert slow.is_alive()
        (place / "go").touch()
        slow.join()
        assert slow.answer["pid"] == old
        process.wait_until(lambda: not Path(f"/proc/{old}").exists())


def test_no_request_is_missing_in_the_totals_when_workers_are_replaced(place: Path) -> None:
    with instance(place, "--max-requests", "3", "--min-worker-lifetime", "0", "--processes", "2") as process:
        slow = Client(process, "/sleep/1")
        process.wait_for("a request sleeps")
        asked = 1
        while process.output.count("Respawned") < 4:
            ask(process)
            asked += 1
        slow.join()

        def all_are_counted() -> bool:
            nonlocal asked
            asked += 1
            return bool(ask(process)["requests"] == asked - 1)

        process.wait_until(all_are_counted)


@pytest.mark.parametrize("lazy", [(), ("--lazy-apps",)])
def test_sigterm_to_a_worker_replaces_it_and_loses_nothing(place: Path, lazy: tuple[str, ...]) -> None:
    with instance(place, *lazy) as process:
        slow = Client(process, "/sleep/1")
        process.wait_for("a request sleeps")
        (worker,) = pids(process).values()
        os.kill(worker, signal.SIGTERM)
        process.wait_for(rf"worker 1 \(pid: {worker}\) has got SIGTERM: another one takes its place")
        process.wait_until(lambda: ask(process)["pid"] != worker)
        slow.join()
        assert slow.answer["pid"] == worker


def test_a_worker_that_uses_too_much_memory_is_replaced(place: Path) -> None:
    with instance(place, "--reload-on-rss", "100", "--min-worker-lifetime", "0") as process:
        old = ask(process, "/grow")["pid"]
        process.wait_for(r"uses \d+ MB of the 100 that it may \(option reload-on-rss\)")
        process.wait_until(lambda: ask(process)["pid"] != old)


def test_evil_reload_kills_a_worker_that_uses_too_much_memory(place: Path) -> None:
    with instance(place, "--evil-reload-on-rss", "100") as process:
        old = ask(process)["pid"]
        grown = Client(process, "/grow")  # it may be killed before it has answered
        process.wait_for(rf"worker 1 \(pid: {old}\): its memory is \d+ MB \(option evil-reload-on-rss\): killing it")
        grown.join()
        process.wait_for("Respawned worker 1")
        assert ask(process)["pid"] != old


def test_a_worker_that_hangs_in_c_code_is_killed_and_its_traceback_is_logged(place: Path) -> None:
    with instance(place, "--harakiri", "1", "--harakiri-graceful-timeout", "0") as process:
        lose(process, "/hang-in-c")
        process.wait_for("HARAKIRI: its event loop has not turned")
        process.wait_for(r"app\.py\", line \d+ in application")
        process.wait_for("Respawned worker 1")
        assert ask(process)["worker"] == 1


def test_sigusr2_shows_where_a_worker_stands_and_does_it_no_harm(place: Path) -> None:
    with instance(place) as process:
        worker = ask(process)["pid"]
        os.kill(worker, signal.SIGUSR2)
        process.wait_for("Current thread .*most recent call first")
        assert ask(process)["pid"] == worker


HANGS = "import os, time\nos.write(1, b'loading\\n')\ntime.sleep(1000)\n"


@pytest.mark.parametrize("lazy", [(), ("--lazy-apps",)])
def test_an_instance_can_be_stopped_while_its_app_is_loaded(tmp_path: Path, lazy: tuple[str, ...]) -> None:
    (tmp_path / "app.py").write_text(HANGS)
    with starting(tmp_path, *lazy) as process:
        process.wait_for("loading")
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))


def test_a_reload_whose_app_does_not_come_to_an_end_can_be_stopped(place: Path) -> None:
    with instance(place) as process:
        (place / "app.py").write_text(HANGS)
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("loading")
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))


def test_an_instance_without_a_fork_server_can_be_stopped(place: Path) -> None:
    with instance(place) as process:
        worker = ask(process)["pid"]
        (place / "app.py").write_text("this is no Python")
        os.kill(pid_of(process, "fork server"), signal.SIGKILL)
        process.wait_for(r"the fork server cannot be replaced: .*starting another in")
        os.kill(worker, signal.SIGKILL)
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))


def test_a_dead_fork_server_is_replaced_before_it_is_needed(place: Path) -> None:
    with instance(place) as process:
        os.kill(pid_of(process, "fork server"), signal.SIGKILL)
        process.wait_for(r"the fork server was killed by signal 9 \(SIGKILL\): starting another")
        process.wait_until(lambda: process.output.count("spawned the fork server") == 2)


def test_a_hanging_worker_does_not_outlive_its_master_by_more_than_the_mercy(place: Path) -> None:
    with instance(place, "--reload-mercy", "0.5") as process:
        hanging = Client(process, "/hang-in-c")
        process.wait_for("a request hangs")
        os.kill(process.popen.pid, signal.SIGKILL)
        process.wait_for(r"has not ended within 0\.5 s after its master: killing it")
        process.wait_until(lambda: gone(process))
        hanging.join()


def test_the_files_of_a_killed_master_are_removed_and_its_address_is_free_at_once(place: Path) -> None:
    words = ("--master", "--pidfile", "app.pid", "--socket", "app.sock", "app.py")
    with server(*words, cwd=place) as process:
        slow = Client(process, "/until-go")
        process.wait_for("a request sleeps")
        os.kill(process.popen.pid, signal.SIGKILL)
        process.wait_until(lambda: not (place / "app.sock").exists() and not (place / "app.pid").exists())
        assert slow.is_alive()
        with server(*words, cwd=place) as next_one:
            assert ask(next_one)["requests"] == 0
            (place / "go").touch()
            slow.join()
            assert slow.answer is not None
            process.wait_until(lambda: gone(process))
            assert (place / "app.sock").exists()


@pytest.mark.parametrize("word", ["--die-on-term=false", "--no-die-on-term"])
def test_without_die_on_term_sigterm_reloads_brutally(place: Path, word: str) -> None:
    with instance(place, word) as process:
        slow = Client(process, "/sleep/1000")
        process.wait_for("a request sleeps")
        before = ask(process)["pid"]
        process.popen.send_signal(signal.SIGTERM)
        process.wait_for("reloaded in")
        slow.join()
        assert slow.answer is None
        process.wait_until(lambda: ask(process)["pid"] != before)


def test_an_app_that_dies_in_each_worker_at_once_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import os, uwsgi\nif uwsgi.worker_id():\n    os._exit(5)\n")
    with starting(tmp_path, "--lazy-apps", "--processes", "4") as process:
        assert process.end() == 1
        process.wait_for(r"uwsgi-async: worker \d ended with status 5 5 times before it served")
        assert process.output.count("spawned worker") <= 20


def test_a_thread_that_does_not_end_is_named_and_its_worker_replaced(place: Path) -> None:
    words = ("--threads", "2", "--harakiri", "0.2", "--harakiri-graceful-timeout", "0.2")
    with instance(place, *words) as process:
        assert status(process, "/hang") == 504
        process.wait_for(r"HARAKIRI on core \d+: GET '/hang' .* its thread goes on at .*app\.py:\d+ in application")
        process.wait_for(r"worker 1 .* has a thread that goes on 0\.2 s after harakiri .*another one takes its place")
        process.wait_for("Respawned worker 1")
        assert ask(process)["worker"] == 1


def test_a_request_that_takes_no_notice_of_its_cancellation_ends_with_its_worker(place: Path) -> None:
    words = ("--harakiri", "0.2", "--harakiri-graceful-timeout", "0.2", "--reload-mercy", "0.5")
    with instance(place, *words) as process:
        lose(process, "/refuse")
        process.wait_for(r"worker 1 .* has a request that goes on 0\.2 s after harakiri")
        process.wait_for(r"has not ended within 0\.5 s \(option reload-mercy\): killing it")
        assert ask(process)["worker"] == 1


def test_harakiri_verbose_logs_the_whole_stack(place: Path) -> None:
    with instance(place, "--harakiri", "0.2", "--harakiri-verbose") as process:
        assert status(process, "/sleep/100") == 504
        process.wait_for(r"HARAKIRI on .*it was waiting at .*\n  File (.*\n)+.*app\.py\", line \d+, in application")


def test_an_app_that_has_raised_gets_a_new_process_and_no_other_request_is_lost(place: Path) -> None:
    with instance(place, "--reload-on-exception-repr", "ValueError: too large") as process:
        slow = Client(process, "/sleep/0.5")
        process.wait_for("a request sleeps")
        old = ask(process)["pid"]
        assert status(process, "/raise") == 500
        process.wait_for(r"has raised an exception \(GET '/raise': ValueError\('too large'\); reload-on-exception\)")
        process.wait_until(lambda: ask(process)["pid"] != old)
        slow.join()
        assert slow.answer is not None


def test_an_app_that_exits_ends_its_worker_but_no_other_request(place: Path) -> None:
    with instance(place) as process:
        slow = Client(process, "/sleep/0.5")
        process.wait_for("a request sleeps")
        worker = ask(process)["pid"]
        assert status(process, "/exit") == 500
        process.wait_for(r"has been ended by its app \(GET '/exit': SystemExit\(3\)\): another one takes its place")
        process.wait_until(lambda: ask(process)["pid"] != worker)
        slow.join()
        assert slow.answer["pid"] == worker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_each_signal_to_stop_lets_requests_finish(place: Path, number: signal.Signals) -> None:
    words = ("--hook-master-start", "unix_signal:15 gracefully_kill_them_all", "--processes", "2")
    with instance(place, *words) as process:
        slow = Client(process, "/sleep/0.5")
        process.wait_for("a request sleeps")
        process.popen.send_signal(number)
        assert process.end() == 0
        slow.join()
        assert slow.answer is not None
        process.wait_for(f"{number.name} received: finishing the running requests")
        process.wait_until(lambda: gone(process))


def test_a_signal_to_the_whole_group_stops_gracefully(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        slow = Client(process, "/sleep/0.5")
        process.wait_for("a request sleeps")
        for pid in process.family():
            os.kill(pid, signal.SIGTERM)
        assert process.end() == 0
        slow.join()
        assert slow.answer is not None
        assert "another one takes its place" not in process.output


def test_a_second_signal_kills_the_workers(place: Path) -> None:
    with instance(place) as process:
        slow = Client(process, "/sleep/1000")
        process.wait_for("a request sleeps")
        process.popen.send_signal(signal.SIGTERM)
        process.wait_for("finishing the running requests")
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_for("SIGTERM received: killing the workers")
        slow.join()
        assert slow.answer is None
