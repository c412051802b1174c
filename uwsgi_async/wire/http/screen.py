"""What a request head must look like, byte by byte, before any parser sees it (RFC 9112, 2 to 5).

Stricter than either parser, so that there is nothing left on which they could differ: no bare CR or LF, no line
folding, no control bytes, no blank before a colon, single spaces in the request line.
"""

import re

from uwsgi_async.errors import BadRequestError

TOKEN = rb"[!#-'*+\-.^-z|~0-9A-Z]"
"""A regex class: the bytes of a token (RFC 9110, 5.6.2)."""

VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]"
"""A regex class: the bytes of a field value (RFC 9110, 5.5)."""

_REQUEST_LINE = re.compile(rb"%b++ [!-\"$-~]++ HTTP/[0-9]\.[0-9]\r\n" % TOKEN)
_FIELDS = re.compile(rb"(?:%b++:[^\r]*+\r\n)*+\r\n" % TOKEN)
_NOT_CONTROLS = bytes({*range(0x20, 0x7F), *range(0x80, 0x100), 0x09})
_BARE_LF = re.compile(rb"(?<!\r)\n")

match_request_line = _REQUEST_LINE.match
_match_fields = _FIELDS.fullmatch


def count_fields(fields: bytes) -> int:
    """Return the number of field lines in ``fields``, or -1 if they, or the empty line behind them, are malformed.

    The regex sees to names, colons and CRs, and to each CR being followed by an LF; what is left of the bytes
    without all that are not control bytes must then be the CRLFs (RFC 9110, 5.5).
    """
    controls = fields.translate(None, _NOT_CONTROLS)
    lines = len(controls) >> 1
    if controls != b"\r\n" * lines or _match_fields(fields) is None:
        return -1
    return lines - 1


def check_line_ends(data: bytes | bytearray, start: int, end: int) -> None:
    """Raise `BadRequestError` (400) for an LF without a CR in ``data[start:end]`` (RFC 9112, 2.2)."""
    if _BARE_LF.search(data, start, end):
        raise BadRequestError(400, "expected CRLF at the end of each line, got a bare LF")


def refuse_request_line(head: bytes) -> BadRequestError:
    """Return the error for a head whose request line `match_request_line` refused."""
    line = head[: head.find(b"\r\n")][:80]
    return BadRequestError(400, f"expected a request line as 'GET /path HTTP/1.1', without a fragment, got {line!r}")


def refuse_fields(fields: bytes) -> BadRequestError:
    """Return the error for field lines, with the empty line behind them, that `count_fields` refused."""
    lines = fields[:-4].split(b"\r\n")
    bad = next((line for line in lines if count_fields(line + b"\r\n\r\n") < 0), b"")
    return BadRequestError(400, f"expected a header field as 'Name: value', got {bad[:80]!r}")
