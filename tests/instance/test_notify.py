"""What systemd is told, byte by byte, over a socket of its kinds."""

from __future__ import annotations

import logging
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from uwsgi_async.errors import BindError
from uwsgi_async.instance.notify import Notifier, log_notifications, open_notify_socket


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        sock.settimeout(5)
        yield sock


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "notify") if request.param == "path" else f"@{uuid.uuid4()}"


def told(sock: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in sock.recv(4096).decode().split("\n"))


def test_the_states_of_an_instance_are_told(address: str) -> None:
    with manager(address) as sock:
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
        notifier.ready("2 workers serve")
        assert told(sock) == {"READY": "1", "MAINPID": str(os.getpid()), "STATUS": "2 workers serve"}
        notifier.stopping("bye")
        assert told(sock) == {"STOPPING": "1", "STATUS": "bye"}


def test_a_reload_is_told_with_its_time_on_the_clock_that_systemd_reads(address: str) -> None:
    with manager(address) as sock:
        before = time.clock_gettime(time.CLOCK_MONOTONIC)
        Notifier(address).reloading("new workers begin")
        message = told(sock)
        assert before <= int(message.pop("MONOTONIC_USEC")) / 1e6 + 1e-6 <= time.clock_gettime(time.CLOCK_MONOTONIC)
        assert message == {"RELOADING": "1", "STATUS": "new workers begin"}


def test_a_status_cannot_say_more_than_a_status(address: str) -> None:
    with manager(address) as sock:
        Notifier(address).stopping("1: no\nREADY=1")
        assert told(sock) == {"STOPPING": "1", "STATUS": "1: no READY=1"}


@pytest.mark.anyio
async def test_the_watchdog_is_fed_twice_in_its_time(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await anyio.lowlevel.checkpoint()

    with manager(address) as sock:
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "40000"})
        assert notifier.watchdog == 0.04
        monkeypatch.setattr(anyio, "sleep", sleep)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(notifier.feed_watchdog)
            for _ in range(5):
                await anyio.wait_readable(sock)
                assert told(sock) == {"WATCHDOG": "1"}
            tasks.cancel_scope.cancel()
    assert len(slept) >= 5 - 1
    assert set(slept) == {0.02}


@pytest.mark.anyio
@pytest.mark.parametrize(
    "environ",
    [
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "/nowhere"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
    ],
)
async def test_a_watchdog_that_nobody_asked_for_is_not_fed(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environ, pid=2)
    assert notifier.watchdog is None
    await notifier.feed_watchdog()


def test_without_a_manager_nothing_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    Notifier.from_environment({}).ready("")
    assert caplog.text == ""


def test_an_address_of_another_kind_is_named(caplog: pytest.LogCaptureFixture) -> None:
    Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1234"}).ready("")
    assert "NOTIFY_SOCKET: expected a path or @name, but 'vsock:2:1234' came" in caplog.text


def test_a_manager_that_is_gone_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "uwsgi_async"):
        notifier = Notifier(str(tmp_path / "nobody"))
        notifier.ready("")
        notifier.stopping("")
    assert caplog.text.count("cannot be reached") == 1


# --- notify-socket ----------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_each_notification_is_one_line_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "notify")
    with open_notify_socket(path) as sock, caplog.at_level(logging.INFO, "uwsgi_async"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(log_notifications, sock)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                for data in (b"hello\n", b"two\nlines \xff \x1b[31m", b""):
                    sender.sendto(data, path)
            with anyio.fail_after(5):
                while caplog.text.count("[notify-socket]") < 3:  # noqa: ASYNC110 - the log has no event
                    await anyio.sleep(0.005)
            tasks.cancel_scope.cancel()
    assert caplog.messages == [
        "[notify-socket] hello",
        "[notify-socket] two\\nlines \\xff \\x1b[31m",
        "[notify-socket] ",
    ]


def test_a_notify_socket_that_nobody_reads_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    open_notify_socket(path).close()
    open_notify_socket(path).close()


def test_a_notify_socket_in_use_and_a_file_stay(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with open_notify_socket(str(path)), pytest.raises(BindError, match="Address already in use"):
        open_notify_socket(str(path))
    (tmp_path / "file").write_text("precious")
    with pytest.raises(BindError, match="Address already in use"):
        open_notify_socket(str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("path", ["/nowhere/notify", "x" * 200])
def test_a_notify_socket_that_cannot_be_made_is_named(path: str) -> None:
    with pytest.raises(BindError, match=r"notify-socket: cannot make '"):
        open_notify_socket(path)
