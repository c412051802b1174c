"""The request log: one line for each request, in uWSGI's shape.

What lives here: `RequestRecord`, `format_line`, and `configure_logging`, which the command line calls.
What does not: counting requests and bytes (`cores`), log files and rotation (the service manager's work).
"""

import logging
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TextIO

from uwsgi_async.options.settings import LogOptions

logger = logging.getLogger("uwsgi_async")
request_logger = logging.getLogger("uwsgi_async.request")

_MICROS: Final = 1_000_000  # in a second
_MICROS_PER_MILLI: Final = 1_000

# One request is one line, and no terminal is told to do anything: C0, C1 and Unicode's line breaks are escaped.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES = _CONTROLS | {0x2028: "\\u2028", 0x2029: "\\u2029"}


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """What one request's log line tells.

    ``app_id`` is -1 without an app; ``app_requests`` counts this app's requests, ``total_requests`` all requests.
    ``var_count`` counts names and values: 2 for each variable; ``var_bytes`` is the packet's size.
    ``ended`` is in seconds since the epoch and printed as local time; ``elapsed`` is in seconds.
    ``switches`` is how often the core gave way. ``via`` is "", "sendfile", "route" or "offload".
    """

    pid: int
    app_id: int
    app_requests: int
    total_requests: int
    remote_addr: str
    remote_user: str
    var_count: int
    var_bytes: int
    ended: float
    method: str
    uri: str
    body_bytes: int
    elapsed: float
    protocol: str
    status: int
    header_count: int
    header_bytes: int
    switches: int
    core: int
    via: str = ""


def format_line(record: RequestRecord, *, micros: bool = False) -> str:
    """Return the record as uWSGI's default request line, without a newline.

    ``micros``: tell the time taken in microseconds, not in whole milliseconds gone by; it is never negative.
    """
    r = record
    taken = int(r.elapsed * _MICROS + 0.5) if r.elapsed > 0 else 0
    unit = "micros"
    if not micros:
        taken //= _MICROS_PER_MILLI
        unit = "msecs"
    via = f" via {r.via}() " if r.via else " "
    line = (
        f"[pid: {r.pid}|app: {r.app_id}|req: {r.app_requests}/{r.total_requests}] {r.remote_addr} ({r.remote_user}) "
        f"{{{r.var_count} vars in {r.var_bytes} bytes}} [{_ctime(int(r.ended))}] {r.method} {r.uri} => "
        f"generated {r.body_bytes} bytes in {taken} {unit}{via}({r.protocol} {r.status}) "
        f"{r.header_count} headers in {r.header_bytes} bytes ({r.switches} switches on core {r.core})"
    )
    # The quick test first: whatever needs an escape is not printable.
    return line if line.isprintable() else line.translate(_ESCAPES)


def configure_logging(options: LogOptions) -> None:
    """Send the messages of `uwsgi_async` to stderr, plain, from INFO up; request lines unless ``disable_logging``.

    May be called again: the latest call counts. Other loggers are left alone.
    """
    for handler in [h for h in logger.handlers if isinstance(h, _StderrHandler)]:
        logger.removeHandler(handler)
    logger.addHandler(_StderrHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    request_logger.setLevel(logging.INFO)
    request_logger.disabled = options.disable_logging


class _StderrHandler(logging.StreamHandler[TextIO]):
    """The handler that `configure_logging` made, told from the application's own ones by its type."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(logging.Formatter("%(message)s"))


@lru_cache(maxsize=4)
def _ctime(second: int) -> str:
    return time.ctime(second)
