"""A reload, whoever asks for it: the new code serves before the old ends, or the old goes on and the log says why."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.command import program
from tests.instance.harness import APP, ask, gone, instance, lose, starting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.command import Process


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def change(place: Path, version: int = 20) -> None:
    """Write new code; of another size each time, so that no cached bytecode is taken for it (see PEP 3147)."""
    (place / "app.py").write_text(APP.replace("VERSION = 1", f"VERSION = {version}"))


def touch(path: Path) -> None:
    """Change a file's time for certain, whatever the file system's grain."""
    path.touch()
    after = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(after, after))


def tell(place: Path, letters: str) -> None:
    """Write to the master FIFO, which must be there."""
    fd = os.open(place / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    os.write(fd, letters.encode())
    os.close(fd)


def hang_up(process: Process) -> None:
    process.popen.send_signal(signal.SIGHUP)


def reloads(process: Process) -> int:
    return process.output.count("reloaded in")


def await_reload(process: Process, number: int = 1) -> None:
    process.wait_until(lambda: reloads(process) >= number)


def await_version(process: Process, version: int) -> None:
    """An old worker accepts until it has read that it is to end, a moment after the new ones serve."""
    process.wait_until(lambda: ask(process)["version"] == version)


@contextmanager
def connected(process: Process) -> Iterator[HTTPConnection]:
    """A keep-alive connection to an instance."""
    address = urlsplit(process.url)
    connection = HTTPConnection(address.hostname or "", address.port, timeout=20)
    try:
        connection.connect()
        yield connection
    finally:
        connection.close()


def ask_over(connection: HTTPConnection) -> tuple[str, bool]:
    """Ask over a connection; return the answer, and whether the server keeps the connection."""
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.read().decode(), answer.getheader("Connection") != "close"


# --- whoever asks -----------------------------------------------------------------------------------------------


WAYS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "one has been touched": ("--touch-reload=one", lambda place: touch(place / "one")),
    "two has been touched": ("--touch-reload=two", lambda place: touch(place / "two")),
    "new has been touched": ("--touch-reload=new", lambda place: touch(place / "new")),
    "tree has changed": ("--fs-reload=tree", lambda place: touch(place / "tree" / "leaf")),
    "file has changed": ("--fs-brutal-reload=file", lambda place: touch(place / "file")),
    "r in the master FIFO": ("--master-fifo=fifo", lambda place: tell(place, "r")),
    "R in the master FIFO": ("--master-fifo=fifo", lambda place: tell(place, "R")),
}


def test_each_way_to_ask_reloads_and_is_named(place: Path) -> None:
    for name in ("one", "two", "file"):
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


def test_what_needs_a_master_starts_one(place: Path) -> None:
    with program(
        sys.executable, "-m", "uwsgi_async", "--http-socket", "127.0.0.1:0", "--touch-reload", "app.py", "app.py",
        cwd=place,
    ) as process:  # fmt: skip
        process.wait_for("spawned the master process")


def test_exit_on_reload_stops(place: Path) -> None:
    with instance(place, "--exit-on-reload") as process:
        hang_up(process)
        assert process.end() == 0
        process.wait_for(r"SIGHUP received, and exit-on-reload: finishing the running requests")
        process.wait_until(lambda: gone(process))


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


def test_the_fifo_is_removed_when_the_master_is_killed(place: Path) -> None:
    with instance(place, "--master-fifo", "fifo") as process:
        tell(place, "l")
        os.kill(process.popen.pid, signal.SIGKILL)
        process.wait_until(lambda: gone(process))
        assert not (place / "fifo").exists()


def test_a_fifo_that_cannot_be_made_ends_the_start_with_a_sentence(place: Path) -> None:
    (place / "fifo").write_text("precious")
    with starting(place, "--master-fifo", "fifo") as process:
        assert process.end() == 2
        assert "/fifo' is there already and is no FIFO" in process.output
        assert "spawned the fork server" not in process.output
