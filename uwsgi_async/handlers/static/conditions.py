"""What a client wants of a file: all of it, a part, or only to hear that it has not changed.

What lives here: `select`, sans-IO: from a request's variables and a file's size and date to a `Selection`. What does
not: any header but those that the selection needs (`headers`), files (`files`).
Source: RFC 9110, 13.1 and 13.2.2 (conditions, their order), 14.1.1, 14.2 and 15.3.7 (ranges). There are no ETags
here, so a list of them never matches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate, mktime_tz, parsedate_tz
from functools import lru_cache

OK = "200 OK"
PARTIAL = "206 Partial Content"
NOT_MODIFIED = "304 Not Modified"
PRECONDITION_FAILED = "412 Precondition Failed"
NOT_SATISFIABLE = "416 Requested Range Not Satisfiable"

_RANGE = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)
_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Selection:
    """What to answer. ``start`` and ``count``: the part of the file, in bytes; the count is 0 where none is sent.

    ``range``: the value of Content-Range; "" where there is none.
    """

    status: str
    start: int = 0
    count: int = 0
    range: str = ""


def select(vars: Mapping[str, str], size: int, mtime: int, *, ranges: bool = True) -> Selection:
    """Return what to answer to a GET or HEAD with these variables. ``mtime``: unix seconds. ``ranges``: heed Range."""
    status = _judge(vars, mtime)
    if status != OK:
        return Selection(status)
    wanted = vars.get("HTTP_RANGE") if ranges and vars.get("REQUEST_METHOD") == "GET" else None
    if wanted is None or not _range_counts(vars.get("HTTP_IF_RANGE"), mtime):
        return Selection(OK, 0, size)
    return _part(wanted, size)


def http_date(seconds: float) -> str:
    """Return unix seconds as HTTP writes a date (RFC 9110, 5.6.7)."""
    return _http_date(int(seconds))


def parse_date(text: str) -> int | None:
    """Return a date of HTTP in unix seconds; None for what is none. All three forms of RFC 9110, 5.6.7 are read."""
    try:
        parsed = parsedate_tz(text)
        return None if parsed is None else int(mktime_tz(parsed))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _judge(vars: Mapping[str, str], mtime: int) -> str:
    """Return the status that the conditions lead to, in the order of RFC 9110, 13.2.2."""
    if "HTTP_IF_MATCH" in vars:
        if vars["HTTP_IF_MATCH"].strip() != "*":
            return PRECONDITION_FAILED
    elif "HTTP_IF_UNMODIFIED_SINCE" in vars:
        since = parse_date(vars["HTTP_IF_UNMODIFIED_SINCE"])
        if since is not None and mtime > since:
            return PRECONDITION_FAILED
    if "HTTP_IF_NONE_MATCH" in vars:
        if vars["HTTP_IF_NONE_MATCH"].strip() == "*":
            return NOT_MODIFIED
    elif "HTTP_IF_MODIFIED_SINCE" in vars:
        since = parse_date(vars["HTTP_IF_MODIFIED_SINCE"])
        if since is not None and mtime <= since:
            return NOT_MODIFIED
    return OK


def _range_counts(if_range: str | None, mtime: int) -> bool:
    """Whether the client's part is of the file as it is now. Only the very date counts (RFC 9110, 13.1.5)."""
    return if_range is None or parse_date(if_range) == mtime


def _part(wanted: str, size: int) -> Selection:
    bounds = _bounds(wanted, size)
    if bounds is None:
        return Selection(OK, 0, size)
    start, end = bounds
    if start >= end:
        return Selection(NOT_SATISFIABLE, range=f"bytes */{size}")
    return Selection(PARTIAL, start, end - start, f"bytes {start}-{end - 1}/{size}")


def _bounds(wanted: str, size: int) -> tuple[int, int] | None:
    """Return first byte and end of the range that is wanted of ``size`` bytes; None where it means nothing.

    Several ranges mean nothing: a server may ignore them (RFC 9110, 14.2). Nor does one whose end is before its
    beginning (14.1.1), or the last bytes of an empty file, which no Content-Range could tell.
    """
    match = _RANGE.fullmatch(wanted)
    if match is None:
        return None
    first, last = match[1], match[2]
    if first:
        start = _number(first)
        end = _number(last) + 1 if last else size
        return None if last and end <= start else (start, min(end, size))
    count = _number(last)
    return None if not last or (count and not size) else (max(size - count, 0), size)


def _number(digits: str) -> int:
    """Return a number of bytes; one with more digits than any file has bytes is just large."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS


@lru_cache(maxsize=512)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)
