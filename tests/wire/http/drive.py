"""Drives an `HttpReader` over pieces of bytes and tells what came out, in a form that can be compared."""

import itertools
from collections.abc import Iterable
from typing import Any

from uwsgi_async.errors import BadRequestError
from uwsgi_async.options.settings import HttpOptions
from uwsgi_async.wire.http import Endpoint, HttpReader, RequestHead

PARSERS = ("httptools", "h11")

Event = tuple[Any, ...]


def describe(head: RequestHead) -> Event:
    names = ("method", "http_1_1", "keep_alive", "content_length", "expect_continue", "upgrade")
    vars = {
        name: value for name, value in head.vars.items() if name not in ("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR")
    }
    return ("head", vars, *(getattr(head, name) for name in names))


class Driver:
    """Collects events: ("head", ...), ("body", bytes) when a body is complete, ("error", status) as the last one."""

    def __init__(self, options: HttpOptions) -> None:
        self.reader = HttpReader(Endpoint(options))
        self.events: list[Event] = []
        self.body: bytes | None = None

    @property
    def failed(self) -> bool:
        return bool(self.events) and self.events[-1][0] == "error"

    def feed(self, data: bytes) -> None:
        if self.failed or not data:
            return
        self.reader.receive_data(data)
        try:
            while self._step():
                pass
        except BadRequestError as error:
            self.events.append(("error", error.status))

    def _step(self) -> bool:
        if self.body is None:
            head = self.reader.next_head()
            if head is None:
                return False
            self.events.append(describe(head))
            self.body = None if head.content_length == 0 else b""
            return True
        data = self.reader.next_body()
        if data is None:
            return False
        if data:
            self.body += data
        else:
            self.events.append(("body", self.body))
            self.body = None
        return True


def run(parser: str, pieces: Iterable[bytes], **options: int) -> list[Event]:
    driver = Driver(HttpOptions(http_parser=parser, **options))  # type: ignore[arg-type]
    for piece in pieces:
        driver.feed(piece)
    return driver.events


def one_by_one(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


def split_at(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def verdict(events: list[Event]) -> int | None:
    """The status of the error, 200 for a complete request, None if bytes are missing."""
    if events and events[-1][0] == "error":
        return int(events[-1][1])
    if events and (events[-1][0] == "body" or events[-1][5] == 0):
        return 200
    return None
