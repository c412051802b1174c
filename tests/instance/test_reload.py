"""A reload, whoever asks for it: the new code serves before the old ends, or the old goes on and the log says why."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import load
from tests.command import Process, program
from tests.instance.harness import (
    APP,
    ask,
    ask_over,
    await_reload,
    await_version,
    change,
    connected,
    gone,
    hang_up,
    instance,
    lose,
    pid_of,
    reloads,
    starting,
    status,
    tell,
    touch,
)
from tests.load import Load

# --- whoever asks -----------------------------------------------------------------------------------------------


WAYS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "one has been touched": ("--touch-reload=one", lambda place: touch(place / "one")),
    "two has been touched": ("--touch-reload=two", lambda place: touch(place / "two")),
    "new has been touched": ("--touch-reload=new", lambda place: touch(place / "new")),
    r"chain has been touched \(without lazy-apps": ("--touch-chain-reload=chain", lambda place: touch(place / "chain")),
    "tree has changed": ("--fs-reload=tree", lambda place: touch(place / "tree" / "leaf")),
    "file has changed": ("--fs-brutal-reload=file", lambda place: touch(place / "file")),
    "r in the master FIFO": ("--master-fifo=fifo", lambda place: tell(place, "r")),
    "R in the master FIFO": ("--master-fifo=fifo", lambda place: tell(place, "R")),
    "c in the master FIFO": ("--master-fifo=fifo", lambda place: tell(place, "c")),
}


def test_each_way_to_ask_reloads_and_is_named(place: Path) -> None:
    for name in ("one", "two", "chain", "file"):
        (place / name).touch()
    (place / "tree").mkdir()
    (place / "tree" / "leaf").touch()
    with instance(place, *dict.fromkeys(word for word, _ in WAYS.values())) as process:
        for number, (reason, (_, act)) in enumerate(WAYS.items(), start=1):
            change(place, 20 * 10**number)  # of another size each time
            act(place)
            process.wait_for(f"{reason}.*: reloading")
            await_reload(process, number)
            await_version(process, 20 * 10**number)


def test_a_module_that_was_changed_is_named_and_loaded(place: Path) -> None:
    with instance(place, "--py-autoreload", "0.1") as process:
        change(place)
        process.wait_for(r"changed: uwsgi_file_app \(.*/app\.py\): reloading")
        await_reload(process)
        await_version(process, 20)


def test_what_needs_a_master_starts_one(place: Path) -> None:
    with program(
        sys.executable, "-m", "uwsgi_async", "--http-socket", "127.0.0.1:0", "--touch-reload", "app.py", "app.py",
        cwd=place,
    ) as process:  # fmt: skip
        process.wait_for("spawned the master process")


def test_two_requests_for_a_reload_while_one_runs_are_one_more(place: Path) -> None:
    with instance(place) as process:
        (place / "app.py").write_text("import time; time.sleep(0.3)\n" + APP)
        hang_up(process)
        process.wait_for("SIGHUP received: reloading")
        process.wait_for(r"(?s)spawned the fork server.*spawned the fork server")
        for _ in range(3):
            hang_up(process)
            time.sleep(0.02)  # signals of one number that wait for delivery are one
        change(place)
        await_reload(process, 2)
        await_version(process, 20)
        process.popen.send_signal(signal.SIGTERM)
        process.end()
        assert process.output.count("SIGHUP received: reloading") == 2


def test_a_reload_that_is_asked_for_during_the_start_comes_after_it(place: Path) -> None:
    (place / "app.py").write_text(f"import time; print('loading', flush=True); time.sleep(0.2)\n{APP}")
    with starting(place) as process:
        process.wait_for("loading")
        hang_up(process)
        process.wait_for(r"(?s)serves http.*SIGHUP received: reloading")
        await_reload(process)


@contextmanager
def impatient_instance(place: Path) -> Iterator[Process]:
    """An instance in which a reload gives way at once to the next one."""
    code = (
        "import sys; from uwsgi_async.instance import master; master._PATIENCE = 0.0; "
        "from uwsgi_async.cli import main; sys.exit(main())"
    )
    words = ("--http-socket", "127.0.0.1:0", "--master", "app.py")
    with program(sys.executable, "-c", code, *words, cwd=place) as process:
        process.url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        process.wait_until(lambda: ask(process)["ready"])
        yield process


def test_a_reload_that_hangs_gives_way_to_the_next(place: Path) -> None:
    with impatient_instance(place) as process:
        before = process.family()
        (place / "app.py").write_text("import time; print('hanging', flush=True); time.sleep(1000)")
        hang_up(process)
        process.wait_for("hanging")
        change(place)
        hang_up(process)
        process.wait_for(r"the reload that still runs after \d+ s is given up")
        await_reload(process)
        await_version(process, 20)
        process.wait_until(lambda: len(process.family()) == len(before))


def test_exit_on_reload_stops(place: Path) -> None:
    with instance(place, "--exit-on-reload") as process:
        hang_up(process)
        assert process.end() == 0
        process.wait_for(r"SIGHUP received, and exit-on-reload: finishing the running requests")
        process.wait_until(lambda: gone(process))


# --- modules that change ----------------------------------------------------------------------------------------

HELPER = "import helper\n"


def write_module(path: Path, text: str) -> None:
    """Write a module, and never with the time that it has already."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text)
    if path.stat().st_mtime_ns == before:
        touch(path)


def test_a_module_that_was_broken_is_loaded_when_it_is_mended(place: Path) -> None:
    with instance(place, "--py-autoreload", "0.1") as process:
        write_module(place / "helper.py", "this is no Python, not at all")
        write_module(place / "app.py", HELPER + APP.replace("VERSION = 1", "VERSION = 300"))
        process.wait_for("the reload has failed, the old workers go on: .*SyntaxError")
        assert ask(process)["version"] == 1
        write_module(place / "helper.py", "")
        process.wait_for(r"changed: .*/helper\.py: reloading")
        await_reload(process)
        await_version(process, 300)


def test_a_module_that_was_missing_is_loaded_when_it_is_there(place: Path) -> None:
    with instance(place, "--py-autoreload", "0.1") as process:
        write_module(place / "app.py", HELPER + APP)
        process.wait_for("the reload has failed, the old workers go on: .*No module named 'helper'")
        write_module(place / "helper.py", "")
        await_reload(process)


@pytest.mark.parametrize("words", [(), ("--lazy-apps",)])
def test_a_module_that_a_request_has_imported_is_watched(place: Path, words: tuple[str, ...]) -> None:
    write_module(place / "late.py", "")
    (place / "app.py").write_text(APP.replace("    answer = None", "    answer = None\n    import late", 1))
    with instance(place, "--py-autoreload", "0.1", *words) as process:
        ask(process)
        deadline = time.monotonic() + 20
        while not reloads(process):  # the import is reported a moment after the request
            assert time.monotonic() < deadline, process.output
            touch(place / "late.py")
            time.sleep(0.2)
        process.wait_for(r"changed: late \(.*/late\.py\)")


def test_a_lazy_app_that_was_broken_is_loaded_when_it_is_mended(place: Path) -> None:
    with instance(place, "--py-autoreload", "0.1", "--lazy-apps") as process:
        write_module(place / "app.py", "this is no Python, not at all")
        process.wait_for("the reload has failed, the old workers go on: .*SyntaxError")
        change(place, 300)
        await_reload(process)
        await_version(process, 300)


def test_an_ignored_module_is_not_watched(place: Path) -> None:
    write_module(place / "helper.py", "")
    write_module(place / "other.py", "")
    (place / "app.py").write_text(f"import helper, other\n{APP}")
    with instance(place, "--py-autoreload", "0.1", "--py-auto-reload-ignore", "helper") as process:
        touch(place / "helper.py")
        touch(place / "other.py")
        await_reload(process)
        assert "changed: other" in process.output
        assert "helper" not in process.output


# --- whatever dies ----------------------------------------------------------------------------------------------


def test_a_worker_that_dies_during_a_reload_is_started_again(place: Path) -> None:
    dies_once = """
def forked():
    if not os.path.exists("dead"):
        open("dead", "w").close()
        os._exit(9)
uwsgi.post_fork_hook = forked
"""
    with instance(place, "--processes", "2") as process:
        (place / "app.py").write_text(APP + dies_once)
        hang_up(process)
        process.wait_for("ended with status 9 .*starting it again")
        await_reload(process)
        process.wait_until(lambda: ask(process)["reload"])


def test_new_workers_that_all_die_leave_the_old_ones_and_nothing_else(place: Path) -> None:
    with instance(place, "--processes", "2", "--forkbomb-delay", "0") as process:
        before = process.family()
        dies = (
            "\nimport uwsgi\ndef forked():\n    if uwsgi.worker_id() == 2: os._exit(9)\nuwsgi.post_fork_hook = forked\n"
        )
        (place / "app.py").write_text(APP + dies)
        hang_up(process)
        process.wait_for("the reload has failed, the old workers go on: worker 2 ended with status 9 5 times")
        process.wait_until(lambda: process.family() == before)
        assert ask(process)["reload"] is False


def test_an_old_worker_that_dies_during_a_reload_is_replaced_meanwhile(place: Path) -> None:
    with instance(place) as process:
        before = ask(process)["pid"]
        (place / "app.py").write_text(f"import time; print('loading', flush=True); time.sleep(0.7)\n{APP}")
        hang_up(process)
        process.wait_for("loading")
        os.kill(before, signal.SIGKILL)
        process.wait_for("Respawned worker 1")
        assert ask(process)["reload"] is False
        await_reload(process)
        process.wait_until(lambda: ask(process)["reload"])


def test_a_new_fork_server_that_dies_leaves_the_old_workers(place: Path) -> None:
    with instance(place) as process:
        before = process.family()
        (place / "app.py").write_text(f"import time; print('loading', flush=True); time.sleep(1000)\n{APP}")
        hang_up(process)
        process.wait_for("loading")
        process.wait_until(lambda: process.output.count("spawned the fork server") == 2)
        os.kill(pid_of(process, "fork server"), signal.SIGKILL)
        process.wait_for("the reload has failed, the old workers go on: the fork server was killed by signal 9")
        process.wait_until(lambda: process.family() == before)
        change(place)
        hang_up(process)
        await_reload(process)


def test_the_old_fork_server_may_die_during_a_reload(place: Path) -> None:
    with instance(place) as process:
        old = pid_of(process, "fork server")
        (place / "app.py").write_text(f"import time; print('loading', flush=True); time.sleep(0.3)\n{APP}")
        hang_up(process)
        process.wait_for("loading")
        os.kill(old, signal.SIGKILL)
        await_reload(process)
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))


def test_a_dead_zygote_is_replaced_when_a_fork_server_is_wanted(place: Path) -> None:
    with instance(place) as process:
        os.kill(pid_of(process, "zygote"), signal.SIGKILL)
        change(place)
        hang_up(process)
        await_reload(process)
        await_version(process, 20)
        assert process.output.count("spawned the zygote") == 2


def test_a_zygote_that_dies_before_it_has_forked_is_replaced(place: Path) -> None:
    with instance(place) as process:
        zygote = pid_of(process, "zygote")
        os.kill(zygote, signal.SIGSTOP)
        change(place)
        hang_up(process)
        process.wait_for("SIGHUP received: reloading")
        os.kill(zygote, signal.SIGKILL)
        await_reload(process)
        await_version(process, 20)


def test_a_zygote_that_hangs_is_replaced_when_its_reload_gives_way(place: Path) -> None:
    with impatient_instance(place) as process:
        os.kill(pid_of(process, "zygote"), signal.SIGSTOP)
        change(place)
        hang_up(process)
        process.wait_for("SIGHUP received: reloading")
        hang_up(process)
        process.wait_for(r"the reload that still runs after \d+ s is given up")
        await_reload(process)
        await_version(process, 20)


def test_a_zygote_that_hangs_does_not_keep_the_instance_from_ending(place: Path) -> None:
    with instance(place) as process:
        os.kill(pid_of(process, "zygote"), signal.SIGSTOP)
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))


def test_a_library_that_has_changed_is_imported_anew(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = place / "sitecustomize.py"  # the zygote imports it as it imports this package
    library.write_text("edition = 1")
    monkeypatch.setenv("PYTHONPATH", str(place))
    (place / "app.py").write_text(APP.replace("VERSION = 1", "from sitecustomize import edition as VERSION"))
    with instance(place) as process:
        hang_up(process)
        await_reload(process)
        assert ask(process)["version"] == 1
        library.write_text("edition = 20")
        hang_up(process)
        await_reload(process, 2)
        await_version(process, 20)
        assert process.output.count("spawned the zygote") == 1


# --- connections and requests that are there --------------------------------------------------------------------


def test_an_idle_connection_goes_over_to_the_new_workers(place: Path) -> None:
    with instance(place, "--processes", "2") as process, connected(process) as spoken, connected(process) as silent:
        assert '"version": 1,' in ask_over(spoken)[0]
        change(place)
        hang_up(process)
        await_reload(process)
        process.wait_until(lambda: len(process.family()) == 5)  # the old workers are gone, and nobody waited for it
        for connection in (spoken, silent, spoken):
            answer, kept = ask_over(connection)
            assert '"version": 20,' in answer
            assert kept


def test_a_running_request_is_finished_by_the_old_worker_and_its_connection_closed(place: Path) -> None:
    with instance(place) as process, connected(process) as connection:
        connection.request("GET", "/until-go")
        process.wait_for("a request sleeps")
        change(place)
        hang_up(process)
        await_reload(process)
        (place / "go").touch()
        answer = connection.getresponse()
        assert b'"version": 1,' in answer.read()
        assert answer.getheader("Connection") == "close"


def test_a_request_that_needs_too_long_after_a_reload_is_cancelled(place: Path) -> None:
    with instance(place, "--worker-reload-mercy", "0.2", "--blocking-limit", "0") as process:
        old = ask(process)["pid"]
        answers: list[int] = []
        slow = threading.Thread(target=lambda: answers.append(status(process, "/sleep/1000")))
        slow.start()
        process.wait_for("a request sleeps")
        hang_up(process)
        process.wait_for(r"1 requests did not end within 0\.2 s \(option worker-reload-mercy\) and are cancelled")
        process.wait_until(lambda: old not in process.family())
        slow.join()
        assert answers == [503]


def test_a_worker_that_hangs_after_a_reload_is_killed(place: Path) -> None:
    with instance(place, "--reload-mercy", "0.3") as process:
        old = ask(process)["pid"]
        slow = threading.Thread(target=lose, args=(process, "/hang-in-c"))
        slow.start()
        process.wait_for("a request hangs")
        hang_up(process)
        await_reload(process)
        process.wait_for(rf"\(pid: {old}\) has not ended within 0\.3 s \(option reload-mercy\): killing it")
        process.wait_until(lambda: old not in process.family())
        process.wait_until(lambda: ask(process)["reload"])
        slow.join()


def test_a_brutal_reload_does_not_wait_for_requests(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        old = ask(process)["pid"]
        slow = threading.Thread(target=lose, args=(process, "/sleep/1000"))
        slow.start()
        process.wait_for("a request sleeps")
        tell(place, "R")
        await_reload(process)
        process.wait_until(lambda: old not in process.family())
        slow.join()


def test_a_stop_during_a_reload_ends_both_generations(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        (place / "app.py").write_text(f"import time; print('loading', flush=True); time.sleep(1000)\n{APP}")
        hang_up(process)
        process.wait_for("loading")
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))
        assert "Traceback" not in process.output


def test_a_reload_while_stopping_does_nothing(place: Path) -> None:
    with instance(place) as process:
        slow = threading.Thread(target=process.get, args=("/until-go",))
        slow.start()
        process.wait_for("a request sleeps")
        process.popen.send_signal(signal.SIGTERM)
        process.wait_for("SIGTERM received")
        hang_up(process)
        (place / "go").touch()
        assert process.end() == 0
        slow.join()
        assert "reloading" not in process.output


@pytest.mark.parametrize("loop", [(), ("--trio",), ("--uvloop",)], ids=["asyncio", "trio", "uvloop"])
def test_20_reloads_under_load_lose_no_request(place: Path, loop: tuple[str, ...]) -> None:
    (place / "app.py").write_text(load.APP)
    with instance(place, "--processes", "2", "--disable-logging", *loop) as process:
        with Load([urlsplit(process.url).port or 0]) as clients:
            for number in range(1, 21):
                hang_up(process)
                await_reload(process, number)
                clients.wait_for(1, process.wait_until)
        assert clients.failures == []
        assert "Traceback" not in process.output
