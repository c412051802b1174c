"""The options that an app may change while the instance runs, in memory that all processes of a generation share.

What lives here: `DynamicOptions`. What does not: the functions (`api.dynamic`). A number is written and read at once,
so there is no lock. Whoever works by the options asks `applied` for them now and then. Source: uWSGI 1.9, uwsgi.h,
UWSGI_OPTION_LOGGING and the others.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from uwsgi_async.api.dynamic import OPTIONS, WARNING_LIMIT
from uwsgi_async.options.settings import Options

_ITEM: Final = 4  # bytes of a number
_HIGHEST: Final = (1 << 31) - 1
_SIZE: Final = OPTIONS * _ITEM + 1 + WARNING_LIMIT  # the numbers, the length of the warning, the warning


@dataclass(frozen=True, slots=True)
class _Meaning:
    """The option that a number is: its subsystem and field, and what makes its value of the number."""

    part: str
    field: str
    value: Callable[[int], Any]


def _not(number: int) -> bool:
    return not number


def _seconds(number: int) -> float:
    return float(max(number, 0))


def _some_seconds(number: int) -> float:
    return float(max(number, 1))


_MEANINGS: Final[Mapping[int, _Meaning]] = {
    0: _Meaning("log", "disable_logging", _not),
    1: _Meaning("process", "max_requests", abs),
    2: _Meaning("cores", "socket_timeout", _some_seconds),
    3: _Meaning("log", "memory_report", bool),
    5: _Meaning("cores", "harakiri", _seconds),
    9: _Meaning("log", "log_zero", bool),
    10: _Meaning("log", "log_slow", abs),
    11: _Meaning("log", "log_4xx", bool),
    12: _Meaning("log", "log_5xx", bool),
    13: _Meaning("log", "log_big", abs),
    14: _Meaning("log", "log_sendfile", bool),
    19: _Meaning("process", "max_worker_lifetime", _seconds),
    20: _Meaning("process", "min_worker_lifetime", _seconds),
    21: _Meaning("log", "log_ioerror", bool),
}


class DynamicOptions:
    """The numbers, beginning with those of ``options``. ``fd``: of the memory; it is this object's to close.

    ``options``: as the generation began. ``changed``: called in this process after each change that was made here.
    """

    def __init__(self, fd: int, options: Options) -> None:
        self.fd = fd
        self.changed: Callable[[], None] = lambda: None
        self.options = self._applied = options
        self._map = mmap.mmap(fd, _SIZE)
        self._numbers = memoryview(self._map)[: OPTIONS * _ITEM].cast("i")
        self._first = _numbers(options)
        self._seen = b""

    @classmethod
    def create(cls, options: Options) -> DynamicOptions:
        """Return new numbers, those of ``options``. Raises OSError."""
        fd = os.memfd_create("uwsgi_async dynamic options")
        try:
            os.ftruncate(fd, _SIZE)
            made = cls(fd, options)
        except BaseException:
            os.close(fd)
            raise
        for number, value in made._first.items():
            made._numbers[number] = value
        return made

    def __repr__(self) -> str:
        return f"<DynamicOptions fd={self.fd}>"

    def get(self, number: int) -> int:
        return self._numbers[number]

    def set(self, number: int, value: int) -> None:
        self._numbers[number] = value
        self.changed()

    @property
    def warning(self) -> bytes:
        """What pings are answered with, 80 bytes at most."""
        start = OPTIONS * _ITEM
        return self._map[start + 1 : start + 1 + self._map[start]]

    @warning.setter
    def warning(self, message: bytes) -> None:
        start = OPTIONS * _ITEM
        self._map[start] = 0  # who looks now sees nothing, not a piece
        self._map[start + 1 : start + 1 + len(message)] = message
        self._map[start] = len(message)

    def applied(self) -> Options:
        """Return the options as they are now; the same object as before if nothing has changed."""
        now = self._map[: OPTIONS * _ITEM]
        if now != self._seen:
            self._seen = now
            self._applied = self._apply()
        return self._applied

    def close(self) -> None:
        self._numbers.release()
        self._map.close()
        os.close(self.fd)

    def _apply(self) -> Options:
        options = self.options
        for number, meaning in _MEANINGS.items():
            value = self._numbers[number]
            if value != self._first[number]:
                part = replace(getattr(options, meaning.part), **{meaning.field: meaning.value(value)})
                options = replace(options, **{meaning.part: part})
        return options


def _numbers(options: Options) -> dict[int, int]:
    """Return the numbers that are not 0, and those that mean something."""
    found = {
        number: min(int(getattr(getattr(options, meaning.part), meaning.field)), _HIGHEST)
        for number, meaning in _MEANINGS.items()
    }
    return {**found, 0: int(not options.log.disable_logging), 7: options.app.threads, 15: options.sockets.listen}
