"""The tasks that one process knows of and has not begun, the most urgent first.

What lives here: `Backlog`. What does not: where they come from (`scanning`, `watching`), running them (`runner`).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable
from itertools import count

import anyio

from uwsgi_async.spooler.names import version_key
from uwsgi_async.spooler.scanning import level_of

_Order = tuple[float, tuple[str | int, ...] | int]


class Backlog:
    """Paths, each once. ``ordered``: by name; else first come, first served; in both, by priority before that.

    ``begins``: at which part, 0.0 to 1.0, of what comes at once this process begins when it is not ordered: processes
    of one directory hear the same, and each would find each task taken by another one.
    """

    def __init__(self, directory: str, *, ordered: bool, begins: float = 0.0) -> None:
        self._directory = directory
        self._ordered = ordered
        self._begins = begins
        self._depth = directory.count("/") + 1  # of what has no priority
        self._first: list[tuple[_Order, str]] = []  # a heap: what has a priority; when ordered all of them
        self._rest: deque[str] = deque()
        self._known: set[str] = set()
        self._arrival = count()
        self._waiting: deque[anyio.Event] = deque()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Backlog of {self._directory}: {len(self)}, {len(self._waiting)} wait>"

    def __len__(self) -> int:
        return len(self._first) + len(self._rest)

    def add(self, paths: Iterable[str]) -> None:
        """Take what is not known yet."""
        fresh = [path for path in dict.fromkeys(paths) if path not in self._known]
        self._known.update(fresh)
        begin = int(len(fresh) * self._begins)
        for path in (*fresh[begin:], *fresh[:begin]) if begin else fresh:
            if self._ordered or path.count("/") > self._depth:
                heapq.heappush(self._first, (self._order(path), path))
            else:
                self._rest.append(path)
        for _ in fresh[: len(self._waiting)]:
            self._waiting.pop().set()  # the last one to wait: its memory is warm

    def done(self, path: str) -> None:
        """Forget a path that `next` gave: from now on it may come again."""
        self._known.discard(path)

    async def next(self) -> str | None:
        """Wait for the next one; None when the backlog is closed. A checkpoint only when it has to wait."""
        while not (self._rest or self._first) or self._closed:
            if self._closed:
                return None
            event = anyio.Event()
            self._waiting.append(event)
            try:
                await event.wait()
            except BaseException:
                self._pass_on(event)
                raise
        return heapq.heappop(self._first)[1] if self._first else self._rest.popleft()

    def close(self) -> None:
        """Give out no more."""
        self._closed = True
        while self._waiting:
            self._waiting.pop().set()

    def _pass_on(self, event: anyio.Event) -> None:
        """Let another one be woken instead of one that was cancelled."""
        if not event.is_set():
            self._waiting.remove(event)
        elif self._waiting:
            self._waiting.pop().set()

    def _order(self, path: str) -> _Order:
        level = level_of(self._directory, path)
        return (level, version_key(path)) if self._ordered else (level, next(self._arrival))
