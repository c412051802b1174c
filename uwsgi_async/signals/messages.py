"""What a process and the router of signals say to each other.

What lives here: the messages. What does not: how they travel (`instance.channel`), what they make somebody do
(`router`, `end`). Those that come by the thousand are a few bytes, one for each signal's number; the others are made of
what JSON knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args


@dataclass(frozen=True, slots=True)
class Numbers:
    """A message of bytes, at least one."""

    numbers: bytes


@dataclass(frozen=True, slots=True)
class Raise(Numbers):
    """Process to router: these signals are raised."""


@dataclass(frozen=True, slots=True)
class Handled(Numbers):
    """Process to router: these signals, which were delivered, have been handled. Of each number the oldest is meant."""


@dataclass(frozen=True, slots=True)
class Deliver(Numbers):
    """Router to process: handle these signals. They are its until it has handled them, or dies."""


@dataclass(frozen=True, slots=True)
class Accepted(Numbers):
    """Router to process: so many of its signals have got a place, and it may raise as many more.

    The first byte is how many, 0 is possible; the second is 1 when there is no place for the next one now.
    """

    @property
    def count(self) -> int:
        return self.numbers[0]

    @property
    def full(self) -> bool:
        return bool(self.numbers[1])


@dataclass(frozen=True, slots=True)
class Waiting:
    """Process to router: somebody waits for ``signal`` here, -1 is for any; or, with ``yes`` False, nobody any more."""

    signal: int
    yes: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """Process to router: what has been registered there, as `declare.encode` makes it."""

    entries: list[Any]


@dataclass(frozen=True, slots=True)
class HandlerFailed:
    """Process to router: the handler of ``signal`` has raised ``error``, one line."""

    signal: int
    error: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Process to router: what has happened so far?"""


@dataclass(frozen=True, slots=True)
class Told:
    """Router to process: this has, as `values.document` makes it."""

    statistics: dict[str, Any]


ByNumbers = Raise | Handled | Deliver | Accepted
FromProcess = Raise | Handled | Waiting | Declared | HandlerFailed | Ask
ToProcess = Deliver | Accepted | Told

BY_CODE: dict[int, type[Numbers]] = {ord(kind.__name__[0]): kind for kind in get_args(ByNumbers)}
"""The message of each first byte; none of them begins JSON."""

FROM_PROCESS: tuple[type[FromProcess], ...] = get_args(FromProcess)
TO_PROCESS: tuple[type[ToProcess], ...] = get_args(ToProcess)
