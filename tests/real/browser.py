"""A real browser, Chromium without a window, through its DevTools protocol.

What lives here: `browser`, `Page`. Nothing drives it but one websocket and JSON: it is a peer like others.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests.real.parts import require

PATIENCE = 30.0  # seconds


class Browser:
    """A running Chromium."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def open(self, url: str) -> Page:
        """Open a page of its own and wait until it is loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, target, session)
        page.call("Page.navigate", url=url)
        page.until("document.readyState == 'complete' && location.href != 'about:blank'")
        return page

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        self._connection.send(json.dumps({**message, "sessionId": session} if session else message))
        while True:
            answer = json.loads(self._connection.recv(timeout=PATIENCE))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]


class Page:
    """A page that is open."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser = browser
        self._target = target
        self._session = session

    def call(self, method: str, **parameters: Any) -> Any:
        return self._browser.call(method, self._session, **parameters)

    def run(self, script: str) -> Any:
        """Return what a JavaScript expression is, a promise's value when it has one."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until an expression is true; return what it is then."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.run(script)):
            assert time.monotonic() < deadline, f"not true in {PATIENCE:g} s: {script}"
            time.sleep(0.02)
        return found

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)


@contextmanager
def browser(place: Path) -> Iterator[Browser]:
    """Run Chromium with its files in ``place``."""
    program = require("chromium", "chromium")
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command += ["--remote-debugging-port=0", f"--user-data-dir={place}", "about:blank"]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        port, path = _address(process, place).split("\n")[:2]
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as connection:
            yield Browser(connection)
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _address(process: subprocess.Popen[bytes], place: Path) -> str:
    """Return what Chromium writes about where it listens: a port, and a path."""
    found = place / "DevToolsActivePort"
    deadline = time.monotonic() + PATIENCE
    while not found.exists() or found.read_text().count("\n") < 1:
        alive = process.poll() is None and time.monotonic() < deadline
        assert alive, (place / "log").read_text(errors="replace")
        time.sleep(0.05)
    return found.read_text()
