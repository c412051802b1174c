"""A program in a terminal of its own, as a user has it: what it shows is read, and keys are pressed."""

from __future__ import annotations

import os
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.command import TIMEOUT


class Terminal:
    """``shown``: all that was written so far, with what commands the terminal."""

    def __init__(self, fd: int, process: subprocess.Popen[bytes]) -> None:
        self._fd = fd
        self.process = process
        self._data = b""

    @property
    def shown(self) -> str:
        return self._data.decode("utf-8", "replace")

    def wait_for(self, pattern: str) -> None:
        """Wait until something has been shown that ``pattern`` matches."""
        deadline = time.monotonic() + TIMEOUT
        while not re.search(pattern, self.shown):
            assert self._read(deadline), f"expected {pattern!r} to be shown, but there was:\n{self.shown}"

    def press(self, keys: str) -> None:
        os.write(self._fd, keys.encode())

    def end(self) -> int:
        """Read until the program has ended, and return its exit status."""
        deadline = time.monotonic() + TIMEOUT
        while self._read(deadline):
            pass
        return self.process.wait(TIMEOUT)

    def _read(self, deadline: float) -> bool:
        """Wait for more; return False at the end, and at the deadline."""
        if not select.select([self._fd], [], [], max(deadline - time.monotonic(), 0))[0]:
            return False
        try:
            part = os.read(self._fd, 65536)
        except OSError:  # EIO: the program has ended, and with it its side of the terminal
            return False
        self._data += part
        return bool(part)


@contextmanager
def in_terminal(*words: str) -> Iterator[Terminal]:
    """Run a program with a terminal as its input, output and error output; it is killed at the end of the block."""
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "200"},
            start_new_session=True,
        )
    finally:
        os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
