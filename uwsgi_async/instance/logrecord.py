"""What the log tells of a request, and uWSGI's default line of it.

What lives here: `RequestRecord`, `default_line`, and what makes one safe line of any text. What does not: other formats
(`logformat`), which requests are logged (`requestlog`).

A line is put together of *raw* text, in which each character is one byte, as in the request's vars: nothing has to be
looked at for that. `one_line` makes real text of it at the end; only then something that is not ASCII is UTF-8, or told
as ``\\xff``. Whatever a client sends, a request is one line: uWSGI lets it end there and go on with a line of its own.
"""

from __future__ import annotations

import time
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MICROS: Final = 1_000_000  # in a second
MEGABYTE: Final = 1 << 20

# What ends a line, commands a terminal or turns text around: controls, formats, line and paragraph ends, surrogates.
_UNSAFE: Final = ("Cc", "Cf", "Zl", "Zp", "Cs")


@dataclass(slots=True)
class RequestRecord:
    """What one request's log line tells.

    ``app_id`` is -1 without an app; ``app_requests`` counts this app's requests, ``total_requests`` all requests.
    ``var_count`` counts names and values: 2 for each variable; ``var_bytes`` is the packet's size.
    ``began`` is in seconds since the epoch; ``elapsed`` is in seconds.
    ``switches`` is how often the core gave way. ``via`` is "", "sendfile", "route" or "offload". All text is raw.
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


def default_line(record: RequestRecord, *, micros: bool = False, memory: tuple[int, int] | None = None) -> str:
    """Return the record as uWSGI's default request line, raw and without a newline.

    ``micros``: tell the time taken in microseconds, not in whole milliseconds gone by. ``memory``: begin with the RSS
    and the address space of the process, in bytes.
    """
    r = record
    begin = ""
    if memory is not None:
        rss, vsz = memory
        begin = f"{{address space usage: {vsz} bytes/{vsz // MEGABYTE}MB}} "
        begin += f"{{rss usage: {rss} bytes/{rss // MEGABYTE}MB}} "
    taken = f"{r.micros} micros" if micros else f"{r.micros // 1000} msecs"
    via = f" via {r.via}() " if r.via else " "
    return (
        f"{begin}[pid: {r.pid}|app: {r.app_id}|req: {r.app_requests}/{r.total_requests}] {r.remote_addr} "
        f"({r.remote_user}) {{{r.var_count} vars in {r.var_bytes} bytes}} [{_ctime(int(r.began))}] "
        f"{r.method} {r.uri} => generated {r.body_bytes} bytes in {taken}{via}({r.protocol} {r.status}) "
        f"{r.header_count} headers in {r.header_bytes} bytes ({r.switches} switches on core {r.core})"
    )


def one_line(raw: str) -> str:
    """Return raw text as one line of text that is safe to print."""
    # The quick test first: nearly every line passes it.
    return raw if raw.isascii() and raw.isprintable() else safe(text_of(raw))


def text_of(raw: str) -> str:
    """Return the text that the bytes of ``raw`` are in UTF-8; other bytes as ``\\xff``."""
    return raw if raw.isascii() else raw.encode("latin-1", "backslashreplace").decode("utf-8", "backslashreplace")


def raw_of(text: str) -> str:
    """Return ``text`` as raw text."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")


def safe(text: str) -> str:
    """Return ``text`` with everything escaped that would end the line, command a terminal or turn it around."""
    return text if text.isprintable() else "".join([c if c.isprintable() else _escaped(c) for c in text])


def _escaped(character: str) -> str:
    code = ord(character)
    if unicodedata.category(character) not in _UNSAFE:
        return character
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@lru_cache(maxsize=4)
def _ctime(second: int) -> str:
    return time.ctime(second)
