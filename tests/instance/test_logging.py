"""Where the log of a running instance goes, and that it loses nothing: alone, and with a master and workers."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from pathlib import Path

import pytest

from tests.command import COMMAND, program, run
from tests.instance.logged import APP, answers, load, logging_instance, text, wait_for

ALONE: tuple[str, ...] = ()
WORKERS = ("--master", "--processes", "2")
BOTH = pytest.mark.parametrize("how", [ALONE, WORKERS], ids=["alone", "workers"])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


PRINTED = ["printed", "an error", "from C", "from a program", "logged", r'File ".*app\.py", line \d+ in application']


@BOTH
def test_what_python_and_c_and_programs_print_is_in_the_log_file(place: Path, how: tuple[str, ...]) -> None:
    with logging_instance(place, "--logto", "log", *how) as process:
        process.get("/print")
        wait_for(process, place / "log", r"GET /print => generated \d+ bytes")
        positions = [re.search(pattern, text(place / "log")) for pattern in PRINTED]
        assert [match.start() for match in positions if match] == sorted(m.start() for m in positions if m)
        assert len([match for match in positions if match]) == len(PRINTED)
    assert process.output == ""


@BOTH
def test_lines_of_requests_have_a_file_of_their_own(place: Path, how: tuple[str, ...]) -> None:
    with logging_instance(place, "--logger", "file:log", "--req-logger", "file:requests", *how) as process:
        process.get("/print")
        wait_for(process, place / "requests", r"GET /print => generated")
        assert len(text(place / "requests").splitlines()) == 1
        assert "printed" in text(place / "log")
        assert "=> generated" not in text(place / "log")


@BOTH
def test_the_log_is_reopened_by_a_signal_when_it_has_been_moved(place: Path, how: tuple[str, ...]) -> None:
    with logging_instance(place, "--logto", "log", *how) as process:
        os.rename(place / "log", place / "log.1")
        process.get("/number?1")
        wait_for(process, place / "log.1", r"GET /number\?1 ")
        process.popen.send_signal(signal.SIGUSR2)
        wait_for(process, place / "log", "the log file .* has been opened again")
        process.wait_until(lambda: process.get("/number?2") and "number 2" in text(place / "log"))
        assert "number 1\n" in text(place / "log.1")


@BOTH
def test_the_log_follows_a_file_that_logrotate_has_made(place: Path, how: tuple[str, ...]) -> None:
    with logging_instance(place, "--logto", "log", *how) as process:
        os.rename(place / "log", place / "log.1")
        (place / "log").touch(0o600)
        process.wait_until(lambda: process.get("/number?2") and "number 2" in text(place / "log"))
        assert (place / "log").stat().st_mode & 0o777 == 0o600


@BOTH
def test_a_truncated_log_goes_on_at_its_beginning(place: Path, how: tuple[str, ...]) -> None:
    with logging_instance(place, "--logto", "log", *how) as process:
        os.truncate(place / "log", 0)
        process.get("/number?1")
        wait_for(process, place / "log", r"GET /number\?1 ")
        assert text(place / "log").startswith("number 1\n")


@BOTH
def test_the_log_is_rotated_when_it_has_grown_or_a_file_is_touched(place: Path, how: tuple[str, ...]) -> None:
    words = ("--logto", "log", "--log-maxsize", "40000", "--touch-logrotate", "touch", "--log-backupname", "before")
    with logging_instance(place, *words, *how) as process:
        process.get("/long")
        wait_for(process, place / "before", "logsize: 5.*, triggering rotation to before")
        os.unlink(place / "before")
        (place / "touch").touch()
        wait_for(process, place / "before", "triggering rotation to before")
        process.wait_until(lambda: process.get("/number?2") and "number 2" in text(place / "log"))


def test_the_log_is_reopened_when_a_file_is_touched(place: Path) -> None:
    with logging_instance(place, "--logto", "log", "--touch-logreopen", "touch") as process:
        os.rename(place / "log", place / "log.1")
        (place / "touch").touch()
        wait_for(process, place / "log", "has been opened again")


@BOTH
def test_logsize_tells_the_bytes_in_the_log_file(place: Path, how: tuple[str, ...]) -> None:
    with logging_instance(place, "--logto", "log", *how) as process:
        before = (place / "log").stat().st_size
        assert before <= int(process.get("/")) <= (place / "log").stat().st_size


def test_the_log_is_emptied_at_the_start_when_that_is_asked_for(place: Path) -> None:
    (place / "log").write_text("old\n")
    with logging_instance(place, "--logto", "log", "--log-truncate"):
        assert "old" not in text(place / "log")


@pytest.mark.parametrize("rotate", ["move and signal", "move and create", "size"])
def test_no_line_is_lost_under_load_while_the_log_is_rotated(place: Path, rotate: str) -> None:
    words = ("--logto", "log", "--master", "--processes", "2", "--blocking-limit", "0")
    if rotate == "size":
        words = (*words, "--log-maxsize", "10000")
    with logging_instance(place, *words) as process:
        with load(process) as wanted:
            for turn in range(4):
                if rotate == "size":
                    process.wait_until(lambda: len(list(place.glob("log.*"))) > 1)
                    break
                os.rename(place / "log", place / f"log.{turn}")
                if rotate == "move and create":
                    (place / "log").touch()
                else:
                    process.popen.send_signal(signal.SIGUSR2)
                process.wait_until(lambda: "number" in text(place / "log"))
        process.popen.send_signal(signal.SIGTERM)
        process.end()
    lines = [line for file in place.glob("log*") for line in file.read_text().splitlines()]
    assert sorted(line.split()[1] for line in lines if line.startswith("number ")) == sorted(wanted)
    asked = [re.search(r"\] GET /number\?(\d+-\d+) => generated .* on core \d+\)$", line) for line in lines]
    assert sorted(match[1] for match in asked if match) == sorted(wanted)


@BOTH
def test_a_full_disk_fails_no_request(place: Path, how: tuple[str, ...]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    words = ("--http-socket", address, *how, "--logto", "/dev/full", "app.py")
    with program(*COMMAND, *words, cwd=place) as process:
        process.url = f"http://{address}"
        process.wait_until(lambda: answers(process))
        for path in ("/log", "/long", "/number?1"):
            assert process.get(path) == b"0"
        process.popen.send_signal(signal.SIGTERM)
        assert process.end() == 0


def test_an_error_at_the_start_is_on_the_terminal_and_in_the_log(place: Path) -> None:
    (place / "app.py").write_text("import no_such_library")
    status, output = run("--http-socket", "127.0.0.1:0", "--logto", "log", "app.py", cwd=place)
    assert status == 22
    for place_of_it in (output, text(place / "log")):
        assert "No module named 'no_such_library'" in place_of_it


def test_a_log_that_cannot_be_opened_ends_it_before_it_begins(place: Path) -> None:
    status, output = run("--http-socket", "127.0.0.1:0", "--logto", "no/log", "app.py", cwd=place)
    assert status == 2
    assert re.fullmatch(r"uwsgi-async: logto: cannot open '.*no/log': No such file or directory\n", output)


@BOTH
def test_several_loggers_get_every_line_and_routes_take_theirs(place: Path, how: tuple[str, ...]) -> None:
    words = ("--logger", "file:log", "--logger", "file:copy", "--logger", "numbers file:numbers")
    with logging_instance(place, *words, "--log-route", "numbers number", *how) as process:
        process.get("/print")
        process.get("/number?7")
        wait_for(process, place / "numbers", r"GET /number\?7 ")
        wait_for(process, place / "numbers", "number 7")
        wait_for(process, place / "copy", "GET /print")
        for pattern in PRINTED:
            wait_for(process, place / "log", pattern)
            wait_for(process, place / "copy", pattern)
        assert "number" not in text(place / "log")


@BOTH
def test_a_line_longer_than_a_pipe_holds_stays_in_one_piece(place: Path, how: tuple[str, ...]) -> None:
    with logging_instance(place, "--logger", "file:log", "--logger", "file:copy", *how) as process:
        clients = [threading.Thread(target=process.get, args=("/long",)) for _ in range(6)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        process.wait_until(lambda: text(place / "log").count("xxx\n") == 6)
        assert {len(line) for line in text(place / "log").splitlines() if "xx" in line} == {50_000}


def test_what_a_worker_prints_when_its_master_was_killed_is_in_every_log(place: Path) -> None:
    words = ("--logger", "file:log", "--logger", "file:copy", *WORKERS)
    with logging_instance(place, *words) as process:
        client = threading.Thread(target=process.get, args=("/sleep",))
        client.start()
        wait_for(process, place / "copy", "sleeping")
        process.popen.kill()
        client.join()
        for name in ("log", "copy"):
            wait_for(process, place / name, r"awake\nand C too\n")
            wait_for(process, place / name, "GET /sleep => generated")
        process.wait_until(lambda: not process.family())


def test_where_a_worker_hung_is_in_every_log(place: Path) -> None:
    words = ("--logger", "file:log", "--logger", "file:copy", *WORKERS, "--harakiri", "1")
    with logging_instance(place, *words) as process:
        client = threading.Thread(target=answers, args=(process, "/hang"))
        client.start()
        for name in ("log", "copy"):
            wait_for(process, place / name, r'File ".*app\.py", line \d+ in application')
        client.join()


def test_the_log_goes_to_a_udp_address(place: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(20)
        words = ("--http-socket", "127.0.0.1:0", "--logto", f"127.0.0.1:{sock.getsockname()[1]}", "app.py")
        with program(*COMMAND, *words, cwd=place) as process:
            match = None
            while match is None:
                match = re.search(rb"http://127\.0\.0\.1:\d+", sock.recv(65536))
            process.url = match[0].decode()
            process.get("/print")
            seen = b""
            while b"GET /print" not in seen:
                seen += sock.recv(65536)
            assert b"printed\nan error\nfrom C\nfrom a program\n" in seen
