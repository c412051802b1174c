"""What a request head must look like, byte by byte, before any parser sees it (RFC 9112, 2 to 5).

Stricter than either parser, so that there is nothing left on which they could differ: no bare CR or LF, no line
folding, no control bytes, no blank before a colon, single spaces in the request line.
"""

import re

from uwsgi_async.errors import BadRequestError

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""A regex class: the bytes of a token (RFC 9110, 5.6.2)."""

VALUE = rb"[^\x00-\x08\x0a-\x1f\x7f]"
"""A regex class: the bytes of a field value (RFC 9110, 5.5)."""

_REQUEST_LINE = re.compile(rb"(%b++) ([!-~]++) HTTP/([0-9])\.([0-9])\r\n" % TOKEN)
_FIELDS = re.compile(rb"(?:%b++:%b*+\r\n)*+\r\n" % (TOKEN, VALUE))
_BARE_LF = re.compile(rb"(?<!\r)\n")

match_request_line = _REQUEST_LINE.match
match_fields = _FIELDS.fullmatch


def check_line_ends(data: bytes | bytearray, start: int, end: int) -> None:
    """Raise `BadRequestError` (400) for an LF without a CR in ``data[start:end]`` (RFC 9112, 2.2)."""
    if _BARE_LF.search(data, start, end):
        raise BadRequestError(400, "expected CRLF at the end of each line, got a bare LF")


def refuse_request_line(head: bytes) -> BadRequestError:
    """Return the error for a head whose request line `match_request_line` refused."""
    line = head[: head.find(b"\r\n")][:80]
    return BadRequestError(400, f"expected a request line as 'GET /path HTTP/1.1', got {line!r}")


def refuse_fields(fields: bytes) -> BadRequestError:
    """Return the error for field lines, with the empty line behind them, that `match_fields` refused."""
    lines = fields[:-4].split(b"\r\n")
    bad = next((line for line in lines if not match_fields(line + b"\r\n\r\n")), b"")
    return BadRequestError(400, f"expected a header field as 'Name: value', got {bad[:80]!r}")
