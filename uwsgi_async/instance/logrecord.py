"""What the log tells of a request, and uWSGI's default line of it.

What lives here: `RequestRecord`, `default_line`, `one_line`. What does not: other formats (`logformat`), which requests
are logged (`requestlog`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MICROS: Final = 1_000_000  # in a second

# One request is one line, and no terminal is told to do anything: C0, C1 and Unicode's line breaks are escaped.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_ESCAPES = _CONTROLS | {0x2028: "\\u2028", 0x2029: "\\u2029"}


@dataclass(slots=True)
class RequestRecord:
    """What one request's log line tells.

    ``app_id`` is -1 without an app; ``app_requests`` counts this app's requests, ``total_requests`` all requests.
    ``var_count`` counts names and values: 2 for each variable; ``var_bytes`` is the packet's size.
    ``began`` is in seconds since the epoch; ``elapsed`` is in seconds.
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
    began: float
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
    worker: int = 1

    @property
    def micros(self) -> int:
        """The whole microseconds that it took; never negative."""
        return int(self.elapsed * MICROS + 0.5) if self.elapsed > 0 else 0


def default_line(record: RequestRecord, *, micros: bool = False) -> str:
    """Return the record as uWSGI's default request line, without a newline.

    ``micros``: tell the time taken in microseconds, not in whole milliseconds gone by.
    """
    r = record
    taken = f"{r.micros} micros" if micros else f"{r.micros // 1000} msecs"
    via = f" via {r.via}() " if r.via else " "
    return (
        f"[pid: {r.pid}|app: {r.app_id}|req: {r.app_requests}/{r.total_requests}] {r.remote_addr} ({r.remote_user}) "
        f"{{{r.var_count} vars in {r.var_bytes} bytes}} [{_ctime(int(r.began))}] {r.method} {r.uri} => "
        f"generated {r.body_bytes} bytes in {taken}{via}({r.protocol} {r.status}) "
        f"{r.header_count} headers in {r.header_bytes} bytes ({r.switches} switches on core {r.core})"
    )


def one_line(text: str) -> str:
    """Return ``text`` with everything escaped that would end the line or command a terminal."""
    # The quick test first: whatever needs an escape is not printable.
    return text if text.isprintable() else text.translate(_ESCAPES)


@lru_cache(maxsize=4)
def _ctime(second: int) -> str:
    return time.ctime(second)
