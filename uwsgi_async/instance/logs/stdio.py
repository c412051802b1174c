"""The standard streams of a process that serves: what Python and C print is part of the log.

What lives here: `LogStreams`, which replaces ``sys.stdout`` and ``sys.stderr``, `Pipe`, through which everything that
is written to descriptors 1 and 2 comes back as lines, and `PipeThread`, which reads one. What does not: where lines
go (`chain`), the master's end of the pipes of its workers (`collector`).
"""

from __future__ import annotations

import io
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TextIO

from uwsgi_async.instance.logs.loggers import STREAMS, FdLogger

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NAMES: Final = {1: ("stdout", "__stdout__"), 2: ("stderr", "__stderr__")}  # of the module `sys`
_BUFFER: Final = 64 * 1024  # bytes; a line up to this length is written at once


class LogStreams:
    """Replaces ``sys.stdout`` and ``sys.stderr``: a line is written at once, and an error of writing raises nothing.

    uWSGI does the same to Python 3's streams. An app's ``print`` would else raise OSError when the disk is full, and
    what stands in a buffer would be lost with its process.
    """

    def __init__(self) -> None:
        self._before = {name: getattr(sys, name) for names in _NAMES.values() for name in names}
        for fd, names in _NAMES.items():
            stream = _stream(getattr(sys, names[0]), fd)
            for name in names:
                setattr(sys, name, stream)

    def close(self) -> None:
        """Put back what was there."""
        for name, before in self._before.items():
            getattr(sys, name).flush()
            setattr(sys, name, before)


class Pipe:
    """A pipe whose writing end takes the place of standard output and error, and whose lines go to ``write``.

    A line without an end is passed on when it is longer than the buffer, or at the end of the stream.
    """

    def __init__(self, write: Callable[[bytes], None], ends: tuple[int, int] | None = None) -> None:
        self.reader, self.writer = ends or os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.reader, False)
        self._write = write
        self._rest = b""

    def __repr__(self) -> str:
        return f"<Pipe from fd {self.writer} to fd {self.reader}>"

    def take_streams(self) -> None:
        """Let standard output and error be the writing end, for Python, C and programs that are started."""
        for stream in STREAMS:
            os.dup2(self.writer, stream, inheritable=True)

    def drain(self) -> bool:
        """Pass on every line that is there; False at the end of the stream."""
        while True:
            try:
                data = os.read(self.reader, _BUFFER)
            except BlockingIOError:
                return True
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._write(line + b"\n")
            if len(self._rest) >= _BUFFER or not data:
                self.flush()
            if not data:
                return False

    def flush(self) -> None:
        """Pass on what has come of a line that has no end yet."""
        if self._rest:
            self._write(self._rest + b"\n")
            self._rest = b""

    def close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def close(self) -> None:
        self.close_writer()
        os.close(self.reader)


class PipeThread:
    """Reads a pipe in a thread of its own, so that a process without a master may print as much as it likes.

    Start it in a process that will not fork any more. `stop` returns when everything that was written has been passed
    on; whoever writes has stopped before, or uses other descriptors by now.
    """

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._waker, self._wake = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._read, name="uwsgi_async log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        os.write(self._wake, b"x")
        self._thread.join()
        self._pipe.drain()
        self._pipe.flush()
        os.close(self._wake)
        os.close(self._waker)

    def _read(self) -> None:
        poll = select.poll()
        poll.register(self._pipe.reader, select.POLLIN)
        poll.register(self._waker, select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll()]
            if self._pipe.reader in ready and not self._pipe.drain():
                return
            if self._waker in ready:
                return


class _LogRaw(io.RawIOBase):
    """The raw end of a standard stream."""

    def __init__(self, fd: int) -> None:
        self._logger = FdLogger(fd)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._logger.fd

    def isatty(self) -> bool:
        return os.isatty(self._logger.fd)

    def write(self, data: ReadableBuffer, /) -> int:
        line = bytes(data)
        self._logger.write(line)
        return len(line)


def _stream(before: TextIO | None, fd: int) -> TextIO:
    if before is not None:
        before.flush()
    buffer = io.BufferedWriter(_LogRaw(fd), _BUFFER)
    encoding = getattr(before, "encoding", None) or "utf-8"
    return io.TextIOWrapper(buffer, encoding, "backslashreplace", line_buffering=True)
