"""An instance with a master: its workers live, are replaced, reload and end, and nothing is left behind."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.command import run, server
from tests.instance.harness import APP, ask, gone, instance, lose, pid_of, pids, status


def test_each_worker_serves_and_knows_itself(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        seen: dict[int, int] = {}

        def all_seen() -> bool:
            answer = ask(process)
            seen[answer["worker"]] = answer["pid"]
            assert answer["master"] == process.popen.pid
            assert answer["numproc"] == 2
            assert answer["ready"] is True
            assert answer["reload"] is False
            return len(seen) == 2

        # Which worker accepts is the kernel's choice: an idle one that sleeps at a connection leaves the rest.
        holders = [threading.Thread(target=process.get, args=("/sleep",)) for _ in range(4)]
        for holder in holders:
            holder.start()
        process.wait_until(all_seen)
        for holder in holders:
            holder.join()
        assert seen == pids(process)


def test_more_than_one_process_needs_no_other_option(place: Path) -> None:
    with server("-p", "2", "app.py", cwd=place) as process:
        assert ask(process)["master"] == process.popen.pid


def test_requests_of_all_workers_are_counted(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        asked = itertools.count()
        # A request is counted when its answer is on the way: the next one may be quicker.
        for _ in range(6):
            process.wait_until(lambda: ask(process)["requests"] == next(asked))


def test_a_killed_worker_is_replaced_and_the_reason_is_logged(place: Path) -> None:
    with instance(place, "--processes", "1") as process:
        before = ask(process)["pid"]
        os.kill(before, signal.SIGKILL)
        process.wait_for(rf"worker 1 \(pid: {before}\) was killed by signal 9 \(SIGKILL\)")
        after = ask(process)
        assert after["pid"] != before
        assert ask(process, "/workers")["answer"][0]["respawn_count"] == 1


def test_a_worker_that_dies_at_once_is_replaced_ever_more_slowly(place: Path) -> None:
    with instance(place) as process:
        for _ in range(3):
            with pytest.raises((OSError, HTTPException)):
                process.get("/die")
        process.wait_for(r"ended with status 7 .*starting it again in 0\.1 s")
        process.wait_for(r"ended with status 7 .*starting it again in 0\.2 s")
        assert ask(process)["worker"] == 1


def test_sigterm_ends_the_instance_when_its_requests_are_answered(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        bodies: list[bytes] = []
        clients = [threading.Thread(target=lambda: bodies.append(process.get("/sleep"))) for _ in range(6)]
        for client in clients:
            client.start()
        process.wait_until(lambda: process.output.count("a request sleeps") == 6)
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        for client in clients:
            client.join()
        assert len(bodies) == 6
        process.wait_until(lambda: gone(process))
        assert "Traceback" not in process.output


@pytest.mark.parametrize("victim", ["master", "zygote", "fork server", "worker"])
def test_nothing_is_left_behind_when_a_process_is_killed(place: Path, victim: str) -> None:
    with instance(place, "--processes", "2") as process:
        if victim == "master":
            pid = process.popen.pid
        else:
            pid = pids(process)[1] if victim == "worker" else pid_of(process, victim)
        os.kill(pid, signal.SIGKILL)
        if victim != "master":
            process.popen.send_signal(signal.SIGTERM)
        process.end()
        process.wait_until(lambda: gone(process))


def test_a_dead_fork_server_is_replaced_when_a_worker_is_wanted(place: Path) -> None:
    with instance(place) as process:
        worker = ask(process)["pid"]
        os.kill(pid_of(process, "fork server"), signal.SIGKILL)
        assert ask(process)["pid"] == worker
        os.kill(worker, signal.SIGKILL)
        process.wait_for("the fork server was killed by signal 9")
        assert ask(process)["pid"] != worker


def test_a_worker_whose_loop_hangs_is_killed_and_its_traceback_is_logged(place: Path) -> None:
    with instance(place, "--processes", "2", "--harakiri", "1") as process:
        hanging = threading.Thread(target=lose, args=(process, "/hang"))
        hanging.start()
        process.wait_for("HARAKIRI: its event loop has not turned")
        process.wait_for(r"app\.py\", line \d+ in application")
        process.wait_for(r"was killed by signal 9 \(SIGKILL\)")
        assert ask(process)["answer"] is None
        hanging.join()


def test_a_request_over_the_harakiri_limit_is_cancelled_alone(place: Path) -> None:
    with instance(place, "--harakiri", "0.2", "--blocking-limit", "0") as process:
        before = ask(process)["pid"]
        assert status(process, "/sleep") == 504
        process.wait_for("HARAKIRI on core")
        assert ask(process)["pid"] == before


def test_user_harakiri_kills_the_worker_unless_it_is_taken_back(place: Path) -> None:
    with instance(place) as process:
        before = ask(process, "/call/set_user_harakiri/100")["pid"]
        ask(process, "/call/set_user_harakiri/0")
        ask(process, "/call/set_user_harakiri/1")
        process.wait_for(r"HARAKIRI \(user\) triggered")
        process.wait_for("Respawned worker 1")
        assert ask(process)["pid"] != before


@pytest.mark.parametrize("how", ["SIGHUP", "reload()"])
def test_a_reload_brings_new_code(place: Path, how: str) -> None:
    with instance(place, "--processes", "2") as process:
        before = set(pids(process).values())
        (place / "app.py").write_text(APP.replace("VERSION = 1", "VERSION = 20"))  # of another size: see PEP 3147
        if how == "SIGHUP":
            process.popen.send_signal(signal.SIGHUP)
        else:
            assert ask(process, "/call/reload")["answer"] is True
        process.wait_for("reloaded in")
        process.wait_until(lambda: not before & process.family())
        answer = ask(process)
        assert answer["version"] == 20
        assert answer["reload"] is True
        assert not before & set(pids(process).values())


def test_code_that_does_not_load_leaves_the_old_workers_serving(place: Path) -> None:
    with instance(place) as process:
        before = ask(process)["pid"]
        (place / "app.py").write_text("import no_such_library")
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("the reload has failed, the old workers go on: .*No module named 'no_such_library'")
        assert ask(process)["pid"] == before
        (place / "app.py").write_text(APP)
        process.popen.send_signal(signal.SIGHUP)
        process.wait_for("reloaded in")
        process.wait_until(lambda: ask(process)["pid"] != before)


def test_stop_ends_the_instance(place: Path) -> None:
    with instance(place) as process:
        assert ask(process, "/call/stop")["answer"] is True
        assert process.end() == 0
        process.wait_until(lambda: gone(process))


def test_a_worker_is_replaced_after_max_requests(place: Path) -> None:
    with instance(place, "--max-requests", "3", "--min-worker-lifetime", "0") as process:
        first = [ask(process)["pid"] for _ in range(3)]
        assert len(set(first)) == 1
        process.wait_for(r"has served 3 requests \(option max-requests\)")
        process.wait_for("Respawned worker 1")
        process.wait_until(lambda: not Path(f"/proc/{first[0]}").exists())
        assert ask(process)["pid"] != first[0]


def test_a_worker_is_replaced_after_its_lifetime(place: Path) -> None:
    with instance(place, "--max-worker-lifetime", "0.3") as process:
        before = ask(process)["pid"]
        process.wait_for("Respawned worker 1")
        process.wait_until(lambda: ask(process)["pid"] != before)


@pytest.mark.parametrize("lazy", [(), ("--lazy-apps",)])
def test_an_app_that_cannot_be_loaded_ends_the_instance_with_a_sentence(tmp_path: Path, lazy: tuple[str, ...]) -> None:
    (tmp_path / "app.py").write_text("import no_such_library")
    words = ("--http-socket", "127.0.0.1:0", "--master", "--processes", "2", *lazy, "app.py")
    status, output = run(*words, cwd=tmp_path)
    assert status == 22
    assert "No module named 'no_such_library'" in output


def test_lazy_apps_are_loaded_in_each_worker(place: Path) -> None:
    (place / "app.py").write_text(
        APP + r"os.write(1, b'loaded in %d of worker %d\n' % (os.getpid(), uwsgi.worker_id()))"
    )
    with instance(place, "--processes", "2", "--lazy-apps") as process:
        for number, pid in pids(process).items():
            process.wait_for(f"loaded in {pid} of worker {number}")


def test_hooks_run_in_the_worker(place: Path) -> None:
    hooks = r"""
def forked():
    os.write(1, b"hello from %d\n" % os.getpid())
uwsgi.post_fork_hook = forked
def ending():
    os.write(1, b"bye from %d\n" % os.getpid())
uwsgi.atexit = ending
"""
    (place / "app.py").write_text(APP + hooks)
    with instance(place) as process:
        pid = ask(process)["pid"]
        process.wait_for(f"hello from {pid}")
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_for(f"bye from {pid}")


def test_the_pidfile_holds_the_master_while_it_lives(place: Path) -> None:
    with instance(place, "--pidfile", "app.pid") as process:
        assert (place / "app.pid").read_text() == f"{process.popen.pid}\n"
        process.popen.send_signal(signal.SIGTERM)
        process.end()
        assert not (place / "app.pid").exists()


def test_workers_that_do_not_end_in_time_are_killed(place: Path) -> None:
    with instance(place, "--reload-mercy", "0.5") as process:
        hanging = threading.Thread(target=lose, args=(process, "/hang"))
        hanging.start()
        time.sleep(0.2)
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_for(r"has not ended within 0\.5 s")
        hanging.join()
        process.wait_until(lambda: gone(process))
