"""Clients that ask all the time and check each answer, for as long as a ``with`` block lasts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from itertools import count

APP = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["QUERY_STRING"].encode()]
"""
"""Answers with the question, so that an answer to another question is seen."""

_TIMEOUT = 20  # seconds
_PAUSE = 0.005  # seconds; longer than an answer takes, so that the connection is idle most of the time


class Client:
    """One client. ``kind``: "keep" asks again at once over its connection, "pause" after a pause, "new" opens another.

    No client asks a second time for what it got no answer to. ``failures``: what went wrong, with the question.
    """

    def __init__(self, host: str, port: int, kind: str) -> None:
        self.kind = kind
        self.answers = 0
        self.failures: list[str] = []
        self._host = host
        self._port = port
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = HTTPConnection(self._host, self._port, timeout=_TIMEOUT)
        for number in count():
            if self._stop.is_set():
                break
            try:
                self._ask(connection, f"{self.kind}-{number}")
                self.answers += 1
            except (OSError, HTTPException, AssertionError) as error:
                self.failures.append(f"{self.kind}-{number} after {self.answers} answers: {error!r}")
                connection.close()
            if self.kind == "pause":
                time.sleep(_PAUSE)
            elif self.kind == "new":
                connection.close()
        connection.close()

    def _ask(self, connection: HTTPConnection, question: str) -> None:
        connection.request("GET", f"/?{question}")
        answer = connection.getresponse()  # closes the connection, if the server says so
        body = answer.read()
        assert (answer.status, body) == (200, question.encode()), f"the answer was {answer.status} {body[:200]!r}"


class Load:
    """Clients of all kinds at each of these ports of 127.0.0.1, from the beginning of the block to its end."""

    def __init__(self, ports: Sequence[int], of_each: int = 2) -> None:
        kinds = ("keep", "pause", "new")
        self.clients = [Client("127.0.0.1", port, kind) for port in ports for kind in kinds for _ in range(of_each)]

    def __enter__(self) -> Load:
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.stop()

    @property
    def failures(self) -> list[str]:
        return [failure for client in self.clients for failure in client.failures]

    def wait_for(self, more: int, wait_until: Callable[[Callable[[], bool]], None]) -> None:
        """Wait until each client has got so many answers more, or a failure."""
        wanted = [client.answers + more for client in self.clients]
        wait_until(
            lambda: (
                any(client.failures for client in self.clients)
                or all(client.answers >= each for client, each in zip(self.clients, wanted, strict=True))
            )
        )
