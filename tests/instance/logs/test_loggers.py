"""A logger never raises, never mixes lines, and tells what it has lost."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from uwsgi_async.instance.logs.loggers import DatagramLogger, FdLogger
from uwsgi_async.instance.logs.specs import syslog_frame


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def put(fd: int, path: str, flags: int = os.O_WRONLY | os.O_APPEND | os.O_CREAT) -> None:
    """Let ``fd`` be the file at ``path``."""
    fresh = os.open(path, flags)
    os.dup2(fresh, fd)
    os.close(fresh)


def test_a_line_is_written_as_it_is(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    FdLogger(writer).write(b"a line\n")
    assert os.read(reader, 100) == b"a line\n"


def test_lines_that_do_not_fit_on_the_disk_are_counted_and_told_once_it_works_again(
    pipe: tuple[int, int], tmp_path: Path
) -> None:
    complaints: list[str] = []
    _, fd = pipe
    logger = FdLogger(fd, complaints.append)
    put(fd, "/dev/full", os.O_WRONLY)
    for number in range(3):
        logger.write(b"lost %d\n" % number)
    put(fd, str(tmp_path / "log"))
    for number in range(2):
        logger.write(b"kept %d\n" % number)
    assert (tmp_path / "log").read_bytes() == (
        b"kept 0\n*** 3 lines of the log could not be written: No space left on device ***\nkept 1\n"
    )
    assert len(complaints) == 1
    assert "No space left on device" in complaints[0]


def test_a_reader_that_is_gone_is_no_error(pipe: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    logger = FdLogger(writer, owned=True)
    logger.write(b"for nobody\n")
    assert logger.lost == 1
    logger.close()


def test_a_line_that_was_torn_does_not_run_into_the_next_one(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    logger = FdLogger(writer)
    logger.write(b"x" * 200_000 + b"\n")  # more than a pipe takes
    assert logger.lost == 1
    os.set_blocking(reader, False)
    taken = read_all(reader)
    assert set(taken) == {ord("x")}
    logger.write(b"next\n")
    told = b"*** 1 line of the log could not be written: Resource temporarily unavailable ***\n"
    assert read_all(reader) == b"\nnext\n" + told


def test_a_place_that_is_full_for_a_moment_is_waited_for(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(writer, False)
    os.set_blocking(reader, False)
    logger = FdLogger(writer)
    taken = b""

    class Draining(FdLogger):
        def _may_try_again(self, error: OSError) -> bool:
            nonlocal taken
            taken += read_all(reader)
            return super()._may_try_again(error)

    logger = Draining(writer)
    logger.write(b"x" * 200_000 + b"\n")
    assert taken + read_all(reader) == b"x" * 200_000 + b"\n"
    assert logger.lost == 0


def test_the_streams_are_the_file_of_the_logger(tmp_path: Path) -> None:
    saved = [os.dup(fd) for fd in (1, 2)]
    logger = FdLogger(os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT), owned=True)
    try:
        logger.take_streams()
        os.write(1, b"from C\n")
        os.system("echo from a program >&2")
    finally:
        for fd, stream in zip(saved, (1, 2), strict=True):
            os.dup2(fd, stream)
            os.close(fd)
        logger.close()
    assert (tmp_path / "log").read_bytes() == b"from C\nfrom a program\n"


def read_all(fd: int) -> bytes:
    data = b""
    try:
        while part := os.read(fd, 65536):
            data += part
    except BlockingIOError:
        pass
    return data


# --- datagrams ------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind(str(tmp_path / "socket"))
        yield sock


def plain(line: bytes) -> tuple[bytes]:
    return (line,)


def test_a_line_is_a_datagram(receiver: socket.socket) -> None:
    logger = DatagramLogger(receiver.getsockname(), plain)
    logger.write(b"one\n")
    logger.write(b"two\n")
    assert [receiver.recv(100), receiver.recv(100)] == [b"one\n", b"two\n"]
    logger.close()


def test_a_line_goes_to_a_udp_port_by_name() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind(("127.0.0.1", 0))
        logger = DatagramLogger(("localhost", sock.getsockname()[1]), plain)
        logger.write(b"one\n")
        assert sock.recv(100) == b"one\n"
        logger.close()


def test_lines_for_a_receiver_that_is_not_there_are_told_when_it_comes(tmp_path: Path) -> None:
    complaints: list[str] = []
    logger = DatagramLogger(str(tmp_path / "socket"), plain, complaints.append)
    logger.write(b"lost\n")
    logger.write(b"lost\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind(str(tmp_path / "socket"))
        logger.write(b"kept\n")
        assert sock.recv(100) == b"kept\n"
        assert sock.recv(100) == b"*** 2 lines of the log could not be written: No such file or directory ***\n"
    assert len(complaints) == 1
    logger.close()


def test_a_receiver_that_does_not_read_holds_up_one_line_and_not_each(receiver: socket.socket) -> None:
    logger = DatagramLogger(receiver.getsockname(), plain)
    began = time.monotonic()
    while not logger.lost:
        logger.write(b"x" * 1000)
    waited = time.monotonic() - began
    began = time.monotonic()
    for _ in range(200):
        logger.write(b"x" * 1000)
    assert waited > 0.05
    assert time.monotonic() - began < 10  # 200 times a tenth of a second would be 20
    assert logger.lost == 201
    logger.close()


def test_a_line_that_no_datagram_can_hold_is_cut(receiver: socket.socket) -> None:
    logger = DatagramLogger(receiver.getsockname(), plain)
    logger.write(b"x" * 1_000_000)
    assert receiver.recv(1_000_000) == b"x" * 65507
    assert logger.lost == 0
    logger.close()


# --- syslog ---------------------------------------------------------------------------------------------------


def test_a_frame_is_rfc_3164s() -> None:
    (datagram,) = syslog_frame(30, "app")(b"a line\n")
    assert re.fullmatch(rb"<30>[A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d app: a line", datagram)


def test_a_long_line_is_cut_to_the_packet_size() -> None:
    (datagram,) = syslog_frame(30, "app", 100)(b"x" * 1000)
    assert len(datagram) == 100


def test_a_long_line_is_split_when_that_is_asked_for() -> None:
    datagrams = list(syslog_frame(30, "app", 100, split=True)(b"x" * 1000))
    assert all(len(datagram) <= 100 for datagram in datagrams)
    assert b"".join(datagram.partition(b"app: ")[2] for datagram in datagrams) == b"x" * 1000
