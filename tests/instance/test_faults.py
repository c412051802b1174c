"""What breaks, and what is lost by it: processes killed under load, file descriptors that run out, nonsense."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import threading
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.command import Process
from tests.instance.harness import APP, Client, ask, gone, instance, pid_of, pids
from uwsgi_async.errors import BrokenError
from uwsgi_async.instance import forkserver
from uwsgi_async.instance.channel import Channel, Hello, pair
from uwsgi_async.instance.reaper import Exit, Reaper

FAULTY = APP.replace(
    "    answer = None\n",
    r"""    answer = None
    if path.startswith("/n/"):
        os.write(1, b"begun %s in %d\n" % (path[3:].encode(), os.getpid()))
        uwsgi.async_sleep(0.02)
    elif path == "/junk":
        from uwsgi_async.api import process
        process._control.channel._sock.send(b"no message at all")
""",
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(FAULTY)
    return tmp_path


class Crowd:
    """Clients that ask all the time, each request with a number of its own. ``failed``: numbers without an answer."""

    def __init__(self, process: Process, size: int = 8) -> None:
        self.failed: list[str] = []
        self.answered = [0] * size
        self._process = process
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(size)]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        while not self._end.is_set():
            name = f"{number}.{self.answered[number] + len(self.failed)}"
            try:
                with urlopen(f"{self._process.url}/n/{name}", timeout=20) as answer:
                    answer.read()
                self.answered[number] += 1
            except (OSError, HTTPException):
                self.failed.append(name)

    def wait_for(self, more: int) -> None:
        """Wait until each client has got so many answers more."""
        wanted = [count + more for count in self.answered]
        self._process.wait_until(lambda: all(map(int.__ge__, self.answered, wanted)))

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def test_killed_workers_lose_only_the_requests_that_they_held(place: Path) -> None:
    with instance(place, "--processes", "2", "--forkbomb-delay", "0.1") as process:
        crowd = Crowd(process)
        killed = set()
        for number in (1, 2, 1):
            crowd.wait_for(3)
            victim = pids(process)[number]
            killed.add(victim)
            os.kill(victim, signal.SIGKILL)
            process.wait_for(rf"worker {number} \(pid: {victim}\) was killed by signal 9")
        crowd.wait_for(3)
        crowd.end()
        begun = dict(re.findall(r"begun (\S+) in (\d+)", process.output))
        assert {int(begun[name]) for name in crowd.failed if name in begun} <= killed
        assert len(crowd.failed) < 8 * 3


def test_a_killed_fork_server_loses_no_request(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        crowd = Crowd(process)
        os.kill(pid_of(process, "fork server"), signal.SIGKILL)
        process.wait_for("the fork server was killed by signal 9")
        crowd.wait_for(5)
        crowd.end()
        assert crowd.failed == []


def test_a_killed_master_loses_no_request_that_a_worker_has(place: Path) -> None:
    with instance(place, "--processes", "2") as process:
        slow = [Client(process, "/sleep/0.7") for _ in range(6)]
        process.wait_until(lambda: process.output.count("a request sleeps") == 6)
        os.kill(process.popen.pid, signal.SIGKILL)
        for client in slow:
            client.join()
            assert client.answer is not None
        process.wait_until(lambda: gone(process))


def test_a_worker_without_file_descriptors_serves_one_after_the_other(place: Path) -> None:
    with instance(place) as process:
        worker = ask(process)["pid"]
        free = max(map(int, os.listdir(f"/proc/{worker}/fd"))) + 5
        _, hard = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (free, hard))
        clients = [Client(process, "/sleep/0.1") for _ in range(15)]
        for client in clients:
            client.join()
        assert all(client.answer is not None for client in clients), process.output
        process.wait_for("cannot accept connections: Too many open files")
        assert ask(process)["pid"] == worker


def test_a_master_without_file_descriptors_starts_the_worker_when_it_has_some(place: Path) -> None:
    with instance(place) as process:
        worker, master = ask(process)["pid"], process.popen.pid
        limits = resource.prlimit(master, resource.RLIMIT_NOFILE)
        resource.prlimit(master, resource.RLIMIT_NOFILE, (4, limits[1]))
        os.kill(worker, signal.SIGKILL)
        process.wait_for("worker 1 cannot be started: Too many open files; trying again")
        resource.prlimit(master, resource.RLIMIT_NOFILE, limits)
        assert ask(process)["pid"] != worker


def test_a_worker_that_sends_nonsense_is_killed_and_replaced(place: Path) -> None:
    with instance(place) as process:
        worker = pids(process)[1]
        Client(process, "/junk").join()
        process.wait_for("expected a message of another process of this instance, got b'no message at all': killing it")
        process.wait_for("Respawned worker 1")
        assert ask(process)["pid"] != worker


def test_a_fork_server_that_hangs_does_not_keep_the_instance_from_ending(place: Path) -> None:
    hang = "\nos.register_at_fork(before=lambda: os.path.exists('hang') and time.sleep(1000))\n"
    (place / "app.py").write_text(FAULTY + hang)
    with instance(place, "--reload-mercy", "0.5") as process:
        worker = ask(process)["pid"]
        (place / "hang").touch()
        os.kill(worker, signal.SIGKILL)
        process.wait_for("was killed by signal 9")
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        process.wait_until(lambda: gone(process))


@pytest.mark.parametrize("loop", ["--trio", "--uvloop"])
def test_all_of_it_works_on_the_other_event_loops(place: Path, loop: str) -> None:
    with instance(place, loop, "--harakiri", "0.5", "--max-requests", "1000") as process:
        old = ask(process)["pid"]
        slow = Client(process, "/sleep/0.3")
        process.wait_for("a request sleeps")
        os.kill(old, signal.SIGTERM)
        process.wait_until(lambda: ask(process)["pid"] != old)
        slow.join()
        assert slow.answer["pid"] == old
        Client(process, "/sleep/100").join()
        process.wait_for("HARAKIRI on core")
        last = Client(process, "/sleep/0.3")
        process.wait_until(lambda: process.output.count("a request sleeps") == 3)
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0
        last.join()
        assert last.answer is not None


# --- the parts ------------------------------------------------------------------------------------------------


def test_a_fork_that_the_system_refuses_ends_no_fork_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    with caplog.at_level(logging.ERROR, "uwsgi_async"):
        assert forkserver.fork_orphan() is False
    assert "a process cannot be forked: Resource temporarily unavailable" in caplog.text


@pytest.mark.anyio
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'["Hello"]',
        b'["Hello", {}]',
        b'["Hello", {"pid": "1"}]',
        b'["Nothing", {}]',
        b"\xff",
        b"null",
    ],
)
async def test_what_is_no_message_is_refused(data: bytes) -> None:
    ours, theirs = pair()
    channel = Channel(ours)
    try:
        with theirs:
            theirs.send(data)
            if data:
                with pytest.raises(BrokenError, match="expected a message of another process"):
                    await channel.receive()
            else:
                assert await channel.receive() is None
    finally:
        channel.close()


def test_a_message_that_no_one_reads_is_not_sent() -> None:
    ours, theirs = pair()
    channel = Channel(ours)
    try:
        with theirs:
            while channel.send(Hello(1)):
                pass
        assert channel.send(Hello(1)) is False
    finally:
        channel.close()


def spawn(*words: str) -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", *words], os.environ)


@pytest.mark.anyio
async def test_the_end_of_a_process_is_told_to_all_who_wait() -> None:
    reaper = Reaper()
    child = reaper.adopt(spawn("exit 7"))
    while child.exit is None:
        reaper.collect()
    assert await child.wait() == Exit(7)
    assert str(child.exit) == "ended with status 7"
    child.kill(signal.SIGKILL)  # the number may be another's by now


@pytest.mark.anyio
async def test_a_process_that_ended_before_it_was_adopted_is_not_waited_for() -> None:
    reaper = Reaper()
    pid = spawn("kill -9 $$")
    while pid not in reaper._strangers:
        reaper.collect()
    assert await reaper.adopt(pid).wait() == Exit(-9)
    assert pid not in reaper._strangers


@pytest.mark.anyio
async def test_a_process_with_the_number_of_one_that_has_ended_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    reaper = Reaper()
    pid = spawn("read line")  # ends with the end of its input
    reaper._strangers[pid] = Exit(3)
    child = reaper.adopt(pid)
    assert child.exit is None or child.exit == Exit(1)
    child.kill(signal.SIGKILL)
    while child.exit is None:
        reaper.collect()
    assert child.exit in (Exit(-9), Exit(1))


def test_an_exit_says_how() -> None:
    assert str(Exit(-6)) == "was killed by signal 6 (SIGABRT)"
    assert str(Exit(-40)) == "was killed by signal 40 (SIGRTMIN+6)"
    assert Exit(0).orderly
    assert not Exit(0, "died at its start").orderly
