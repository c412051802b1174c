"""The chapter of what an app may change while the instance runs: uWSGI's dynamic options, and the text of its pings.

What lives here: the functions, and `Switches`, what an instance gives them. What does not: what the numbers do
(`instance.dynamic`). Source: plugins/python/uwsgi_pymodule.c, for the options of uWSGI 1.9.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Protocol

from uwsgi_async.errors import NoInstanceError

__all__ = ["get_option", "getoption", "set_option", "set_warning_message", "setoption"]

logger = logging.getLogger("uwsgi_async")

OPTIONS: Final = 256
"""How many dynamic options there are."""

WARNING_LIMIT: Final = 80
"""Bytes of a warning message."""

_LOWEST, _HIGHEST = -(1 << 31), (1 << 31) - 1  # a C int


class Switches(Protocol):
    """What all processes of an instance see changed at once."""

    warning: bytes

    def get(self, number: int) -> int: ...

    def set(self, number: int, value: int) -> None: ...


_switches: Switches | None = None


@contextmanager
def switched(switches: Switches) -> Iterator[None]:
    """Let the functions of this chapter work on ``switches`` while the block runs."""
    global _switches
    before, _switches = _switches, switches
    try:
        yield
    finally:
        _switches = before


def get_option(number: int) -> int:
    """Return a dynamic option by its number, 0 to 255.

    0 logging, 1 max-requests, 2 socket-timeout, 3 memory-report, 5 harakiri, 9 log-zero, 10 log-slow, 11 log-4xx,
    12 log-5xx, 13 log-big, 14 log-sendfile, 19 max-worker-lifetime, 20 min-worker-lifetime, 21 log-ioerror; times are
    whole seconds, log-slow milliseconds. The others are numbers that mean nothing here. Raises ValueError for a number
    that there is not.
    """
    return _the_switches().get(_number(number))


def set_option(number: int, value: int) -> int:
    """Change a dynamic option, in all processes; return ``value``. See `get_option` for the numbers.

    It takes effect at once in this process and a quarter of a second later in the others; a reload begins with the
    configuration again. Raises ValueError for a number that there is not, and for a value that is no C int.
    """
    value = operator.index(value)
    if not _LOWEST <= value <= _HIGHEST:
        raise ValueError(f"expected a value from {_LOWEST} to {_HIGHEST}, but {value} came")
    _the_switches().set(_number(number), value)
    return value


getoption = get_option
setoption = set_option


def set_warning_message(message: str) -> bool:
    """Answer pings (modifier1 100 of the uwsgi protocol) with this text, 80 bytes at most, in all processes. True."""
    if not isinstance(message, str):
        raise TypeError(f"set_warning_message() argument 1 must be str, not {type(message).__name__}")
    data = message.encode()
    if len(data) > WARNING_LIMIT:
        logger.warning("- warning message must be max %d chars, it will be truncated -", WARNING_LIMIT)
    _the_switches().warning = data[:WARNING_LIMIT]
    return True


def warning_message() -> bytes:
    """Return what pings are answered with; b"" where nobody has set a text."""
    return b"" if _switches is None else _switches.warning


def _number(number: int) -> int:
    number = operator.index(number)
    if not 0 <= number < OPTIONS:
        raise ValueError(f"expected the number of an option, 0 to {OPTIONS - 1}, but {number} came")
    return number


def _the_switches() -> Switches:
    if _switches is None:
        raise NoInstanceError("no uwsgi_async instance runs in this process")
    return _switches
