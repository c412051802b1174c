"""What systemd is told of an instance by the command, with a master and without one; a socket plays its part."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import Process, server
from tests.instance.harness import APP, lose


class Manager:
    """Reads what is told, message by message."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def told(self) -> dict[str, str]:
        """Return the next message that is no sign of life."""
        while "WATCHDOG" in (message := self.next()):
            pass
        return message

    def wait_for_silence(self) -> None:
        """Read until nothing has come for a second."""
        self._sock.settimeout(1)
        for _ in range(1000):
            try:
                self.next()
            except TimeoutError:
                return
        pytest.fail("the signs of life go on")

    def next(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self._sock.recv(4096).decode().split("\n"))


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield Manager(sock)


@contextmanager
def serving(place: Path, *words: str) -> Iterator[Process]:
    (place / "app.py").write_text(APP)
    with server(*words, "app.py", cwd=place) as process:
        yield process


@pytest.mark.parametrize("words", [(), ("--master",)], ids=["alone", "master"])
def test_start_and_end_are_told(tmp_path: Path, manager: Manager, words: tuple[str, ...]) -> None:
    with serving(tmp_path, *words) as process:
        ready = manager.told()
        assert (ready["READY"], ready["MAINPID"]) == ("1", str(process.popen.pid))
        assert ready["STATUS"]
        process.popen.send_signal(signal.SIGTERM)
        assert manager.told() == {"STOPPING": "1", "STATUS": "SIGTERM received"}
        assert process.end() == 0


def test_a_reload_is_told_at_its_beginning_and_its_end(tmp_path: Path, manager: Manager) -> None:
    with serving(tmp_path, "--master") as process:
        manager.told()
        process.popen.send_signal(signal.SIGHUP)
        reloading = manager.told()
        assert (reloading["RELOADING"], reloading["STATUS"]) == ("1", "SIGHUP received")
        assert int(reloading["MONOTONIC_USEC"]) > 0
        assert manager.told()["READY"] == "1"


def test_a_reload_that_has_failed_is_over_and_says_why(tmp_path: Path, manager: Manager) -> None:
    with serving(tmp_path, "--master") as process:
        manager.told()
        (tmp_path / "app.py").write_text("import no_such_library")
        process.popen.send_signal(signal.SIGHUP)
        assert manager.told()["RELOADING"] == "1"
        ready = manager.told()
        assert ready["READY"] == "1"
        assert "the old workers go on" in ready["STATUS"]
        assert "no_such_library" in ready["STATUS"]


@pytest.mark.parametrize("words", [(), ("--master",), ("--trio",)], ids=["alone", "master", "trio"])
def test_the_watchdog_is_fed(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with serving(tmp_path, *words):
        assert [message for _ in range(6) if "WATCHDOG" in (message := manager.next())].count({"WATCHDOG": "1"}) >= 4


def test_without_a_master_the_watchdog_sees_that_the_loop_hangs(
    tmp_path: Path, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    with serving(tmp_path, "--blocking-limit", "0") as process:
        slow = threading.Thread(target=lose, args=(process, "/hang"))
        slow.start()
        manager.wait_for_silence()
    slow.join()
