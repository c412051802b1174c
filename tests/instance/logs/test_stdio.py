"""What Python and C print is part of the log."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from uwsgi_async.instance.logs.stdio import LogStreams, Pipe, PipeThread


@contextmanager
def log_streams() -> Iterator[int]:
    """The log streams, in front of a pipe; gives the pipe's reading end."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    saved = [os.dup(fd) for fd in (1, 2)]
    for stream in (1, 2):
        os.dup2(writer, stream)
    streams = LogStreams()
    try:
        yield reader
    finally:
        streams.close()
        for fd, stream in zip(saved, (1, 2), strict=True):
            os.dup2(fd, stream)
            os.close(fd)
        os.close(reader)
        os.close(writer)


def test_a_printed_line_is_written_at_once_and_in_one_piece() -> None:
    with log_streams() as reader:
        print("a", "b", end="")
        with pytest.raises(BlockingIOError):
            os.read(reader, 100)
        print("c")
        assert os.read(reader, 100) == b"a bc\n"
        print("error", file=sys.stderr)
        assert os.read(reader, 100) == b"error\n"


def test_a_print_on_a_full_disk_raises_nothing() -> None:
    with log_streams():
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, 1)
        os.close(full)
        print("for nobody")
        sys.stdout.flush()
        assert sys.stdout.fileno() == 1


def test_characters_that_the_encoding_lacks_are_escaped() -> None:
    with log_streams() as reader:
        print("\udcff")
        assert os.read(reader, 100) == b"\\udcff\n"


def test_the_streams_of_before_come_back() -> None:
    before = sys.stdout, sys.__stderr__
    streams = LogStreams()
    assert sys.stdout is not before[0]
    streams.close()
    assert (sys.stdout, sys.__stderr__) == before


def test_a_pipe_gives_lines_however_they_are_written() -> None:
    lines: list[bytes] = []
    pipe = Pipe(lines.append)
    for piece in (b"one\ntw", b"o\n", b"three"):
        os.write(pipe.writer, piece)
        assert pipe.drain()
    assert lines == [b"one\n", b"two\n"]
    pipe.close_writer()
    assert not pipe.drain()
    assert lines == [b"one\n", b"two\n", b"three\n"]
    pipe.close()


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    lines: list[bytes] = []
    pipe = Pipe(lines.append)
    for _ in range(40):
        os.write(pipe.writer, b"x" * 4000)
        pipe.drain()
    assert len(lines) == 2
    assert all(len(line) < 70_000 for line in lines)
    pipe.close()


def test_a_thread_passes_on_more_than_a_pipe_holds() -> None:
    lines: list[bytes] = []
    pipe = Pipe(lines.append)
    thread = PipeThread(pipe)
    for number in range(20_000):
        os.write(pipe.writer, b"line %d\n" % number)
    thread.stop()
    assert lines == [b"line %d\n" % number for number in range(20_000)]
    pipe.close()
