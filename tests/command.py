"""The command, run as a user would: `start` gives a server process, and everything it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
TIMEOUT = 20  # seconds for anything that a process is waited for

# A program in the background of a shell is started with SIGINT ignored, and its children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

COMMAND = (sys.executable, "-m", "uwsgi_async")


class Process:
    """A started program. ``url``: the first one that it printed. ``output``: all of it so far, both streams."""

    def __init__(self, process: subprocess.Popen[str], mark: bytes) -> None:
        self.popen = process
        self._mark = mark
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

    def post(self, path: str, data: bytes) -> bytes:
        with urlopen(self.url + path, data, timeout=TIMEOUT) as answer:
            body: bytes = answer.read()
        return body

    def family(self) -> set[int]:
        """The process ids of everything that it has started and that still runs, itself included."""
        return {pid for pid in _processes() if self._mark in _environment(pid)}

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain; the output was:\n{self.output}"
            time.sleep(0.02)

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
    mark = f"FAMILY_MARK={uuid.uuid4()}"
    name, _, value = mark.partition("=")
    popen = subprocess.Popen(
        words,
        cwd=cwd,
        env={**os.environ, name: value, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    process = Process(popen, mark.encode())
    try:
        yield process
    finally:
        for pid in process.family():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
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


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _environment(pid: int) -> list[bytes]:
    """The environment that a process began with; nothing for one that has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
