"""The head of a response that another server has made: an HTTP status line, or CGI's fields alone. No I/O.

What lives here: `HeadSplitter`. What does not: the heads of our own responses (`wire.http.encode`). Source: RFC 9112,
4; RFC 3875, 6.2 and 6.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from uwsgi_async.errors import BadRequestError

LARGEST_HEAD: Final = 64 << 10  # bytes

_END: Final = re.compile(rb"\r\n\r\n|\n\n")
_LONGEST_END: Final = 4  # bytes
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"})
_OK: Final = "200 OK"
_FOUND: Final = "302 Found"


@dataclass(frozen=True, slots=True)
class ForeignHead:
    """Status and fields, as an app would give them to start_response; what is for one connection only is left out."""

    status: str
    headers: list[tuple[str, str]]


class HeadSplitter:
    """Finds the head of a response, however its bytes were split. ``rest``: what has come of the body by then."""

    __slots__ = ("_buffer", "_searched", "rest")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0  # no end of a head begins before this
        self.rest = b""

    def __repr__(self) -> str:
        return f"<HeadSplitter {len(self._buffer)} bytes buffered>"

    def receive_data(self, data: bytes) -> ForeignHead | None:
        """Take the next bytes; return the head when it is complete. Raises `BadRequestError` (502) for what is none."""
        self._buffer += data
        found = _END.search(self._buffer, self._searched)
        end = found.end() if found else len(self._buffer)
        if end > LARGEST_HEAD:
            raise BadRequestError(502, f"the head of a response has more than {LARGEST_HEAD} bytes")
        if found is None:
            self._searched = max(end - _LONGEST_END, 0)
            return None
        self.rest = bytes(self._buffer[end:])
        return _parse(bytes(self._buffer[:end]).decode("latin-1"))


def _parse(text: str) -> ForeignHead:
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    status = ""
    if lines[0].startswith("HTTP/"):
        _, _, status = lines.pop(0).partition(" ")
    headers: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequestError(502, f"expected a field of a response's head, but {line[:80]!r} came")
        if name.lower() == "status" and not status:
            status = value.strip()
        elif name.lower() not in _HOP_BY_HOP:
            headers.append((name, value.strip()))
    if not status:
        status = _FOUND if any(name.lower() == "location" for name, _ in headers) else _OK
    if not (status[:3].isascii() and status[:3].isdigit() and status[3:4] in ("", " ")):
        raise BadRequestError(502, f"expected a status such as '200 OK' in the head of a response, not {status[:80]!r}")
    return ForeignHead(status.rstrip(), headers)
