"""The command, run as a user would: `start` gives a server process, and everything it says."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
TIMEOUT = 20  # seconds for anything that a process is waited for

COMMAND = (sys.executable, "-m", "uwsgi_async")


class Process:
    """A started program. ``url``: the first one that it printed. ``output``: all of it so far, both streams."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.popen = process
        self.url = ""
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the output has what ``pattern`` matches."""
        with self._changed:
            self._changed.wait_for(lambda: re.search(pattern, self.output) or not self._reader.is_alive(), TIMEOUT)
        match = re.search(pattern, self.output)
        assert match is not None, f"expected {pattern!r} in the output:\n{self.output}"
        return match

    def get(self, path: str = "/") -> bytes:
        with urlopen(self.url + path, timeout=TIMEOUT) as answer:
            body: bytes = answer.read()
        return body

    def end(self) -> int:
        """Wait for the process's own end and return its exit status."""
        status = self.popen.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        return status

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


@contextmanager
def program(*words: str, cwd: Path = ROOT) -> Iterator[Process]:
    """Run any program; what is left of it at the end is killed."""
    popen = subprocess.Popen(
        words, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    process = Process(popen)
    try:
        yield process
    finally:
        if popen.poll() is None:
            popen.kill()
        process.end()
        assert popen.stdout is not None
        popen.stdout.close()


@contextmanager
def server(*words: str, cwd: Path = ROOT) -> Iterator[Process]:
    """Run ``uwsgi-async`` with an HTTP socket on a free port, and these words; it serves when the block begins."""
    with program(*COMMAND, "--http-socket", "127.0.0.1:0", *words, cwd=cwd) as process:
        process.url = process.wait_for(r"http://127\.0\.0\.1:\d+")[0]
        yield process


def run(*words: str, cwd: Path = ROOT) -> tuple[int, str]:
    """Run ``uwsgi-async`` with these words until it ends; return its exit status and its output."""
    with program(*COMMAND, *words, cwd=cwd) as process:
        return process.end(), process.output
