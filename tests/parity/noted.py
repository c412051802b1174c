"""Both servers with an app whose handlers write lines into a file, and which a request tells what to do.

What lives here: `Server`, `both_started`. What does not: what is compared (the tests of signals and decorators).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.parity.harness import APPS, Running, start
from tests.parity.oracle import require

_PATIENCE = 20.0  # seconds


class Server:
    """One of the two. ``ran``: the file that its handlers write to."""

    def __init__(self, running: Running, ran: Path) -> None:
        self.running = running
        self.ran = ran
        self.seen = 0

    def post(self, words: object) -> object:
        seen = self.running.request("POST", "/", json.dumps(words).encode())
        assert seen.status == 200, seen
        return json.loads(seen.body)

    def change_watched_file(self) -> None:
        """Change the file that the app watches, by one write: emptying it as well would be a second change."""
        with open(f"{self.ran}.watched", "a") as file:
            file.write("changed")

    def lines(self, count: int) -> list[str]:
        """Wait for so many new lines, and return them."""
        lines = self.until(lambda lines: len(lines) >= count)
        self.seen += len(lines)
        return lines

    def until(self, enough: Callable[[list[str]], bool]) -> list[str]:
        """Wait until the lines since the last `lines` are enough, and return them; they stay new."""
        deadline = time.monotonic() + _PATIENCE
        while not enough(lines := self.ran.read_text().splitlines()[self.seen :]):
            assert time.monotonic() < deadline, (lines, self.running.log_path.read_text()[-2000:])
            time.sleep(0.01)
        return lines


@contextmanager
def both_started(app: str, tmp: Path, *options: str) -> Iterator[tuple[Server, Server]]:
    """Start the oracle and ours with a master and two workers."""
    require()
    with ExitStack() as stack:
        oracle, ours = (stack.enter_context(started(name, app, tmp, *options)) for name in ("oracle", "ours"))
        yield oracle, ours


@contextmanager
def started(name: str, app: str, tmp: Path, *options: str) -> Iterator[Server]:
    """Start one of them."""
    ran = tmp / f"{name}.ran"
    ran.write_text("")
    (tmp / f"{name}.ran.watched").write_text("")
    (tmp / f"{name}.ran.directory").mkdir()
    words = ["--master", "--processes", "2", "--wsgi-file", str(APPS / app), *options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAN", str(ran))
        with start(name, tmp, *words, cwd=tmp) as running:
            yield Server(running, ran)
