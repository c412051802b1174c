"""The chapter of globals and of small helpers: what this instance is, the log, clock, memory, packet files.

What lives here: `InstanceInformation`, which an instance fills when it starts, and the functions that need no
request. Source: plugins/python/uwsgi_pymodule.c; uWSGI 2.0.31 as measured.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from uwsgi_async.spooler.decide import SPOOL_IGNORE, SPOOL_OK, SPOOL_RETRY
from uwsgi_async.wire.uwsgi import parse_file

__all__ = ["log", "logsize", "mem", "micros", "parsefile"]

logger = logging.getLogger("uwsgi_async")

VERSION_INFO = (2, 0, 31, 0, b"")
"""The version of uWSGI whose behaviour this API has: apps compare with it."""


_log_size: Callable[[], int] = int


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceInformation:
    """The globals of the ``uwsgi`` module; there are none for what is None, but for ``unbit``.

    ``started_on``: unix seconds; ``buffer_size``: bytes; ``sockets``: fds.
    """

    cores: int
    buffer_size: int
    sockets: list[int]
    loop: bytes
    hostname: bytes
    has_threads: int
    opt: dict[str, bytes | bool]
    magic_table: dict[bytes, bytes]
    numproc: int = 1
    started_on: int = field(default_factory=lambda: int(time.time()))
    version: bytes = b"2.0.31"
    version_info: tuple[int, int, int, int, bytes] = VERSION_INFO
    is_a_reload: bool = False
    mode: bytes | None = None
    pidfile: bytes | None = None
    unbit: None = None
    spoolers: tuple[bytes, ...] | None = None
    SPOOL_OK: int = SPOOL_OK
    SPOOL_RETRY: int = SPOOL_RETRY
    SPOOL_IGNORE: int = SPOOL_IGNORE


def log(line: str | bytes) -> bool:
    """Write a line to the log. Always True."""
    if isinstance(line, bytes):
        line = line.decode("utf-8", "replace")
    if not isinstance(line, str):
        raise TypeError(f"log() argument 1 must be str, not {type(line).__name__}")
    logger.info(line)  # without arguments: the app's own text stays as it is
    return True


def logsize() -> int:
    """Return the bytes in the log file; 0 when the log goes to no file."""
    return _log_size()


def tell_log_size(size: Callable[[], int]) -> None:
    """Let `logsize` return what ``size`` does, from now on in this process and those that are forked from it."""
    global _log_size
    _log_size = size


def micros() -> int:
    """Return the wall clock in microseconds."""
    return time.time_ns() // 1000


def mem() -> tuple[int, int]:
    """Return (rss, vsz) of this process in bytes."""
    with open("/proc/self/statm", "rb") as file:
        pages = file.read().split()
    size = os.sysconf("SC_PAGESIZE")
    return int(pages[1]) * size, int(pages[0]) * size


def parsefile(path: str) -> dict[bytes, bytes] | None:
    """Return the vars of a file that holds one uwsgi packet (a spool file does); None when it is none."""
    try:
        with open(path, "rb") as file:
            return parse_file(file.read(4 + 65535))
    except OSError:
        return None
