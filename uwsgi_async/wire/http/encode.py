"""Response heads, chunks and whole error responses to bytes (RFC 9112, 4 and 7.1).

What lives here: `response_head`, which checks what an app says once and remembers it, and `ResponseHead`, which gives
the bytes for each framing. What does not: which framing it is (`cores.response`).
"""

from __future__ import annotations

import re
from email.utils import formatdate
from http import HTTPStatus
from time import time

from uwsgi_async.errors import AppError, UsageError

LAST_CHUNK = b"0\r\n\r\n"
"""The end of a chunked body, without trailers."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The interim response that a client with Expect: 100-continue waits for (RFC 9110, 15.2.1)."""

MAX_CACHED = 1024
MAX_CACHED_LINE = 256
"""Header lines that are remembered, and the longest: apps send the same ones again and again."""

MAX_HEADS = 256
MAX_CACHED_HEAD = 1024
"""Whole heads that are remembered, and the longest in characters: half a megabyte at most."""

_PLAIN, _DATE, _CONNECTION, _LENGTH, _CLOSE = 0, 1, 2, 4, 8
_KINDS = {"date": _DATE, "connection": _CONNECTION, "content-length": _LENGTH}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\x01-\x09\x0b\x0c\x0e-\xff]*")
_STATUS = re.compile(r"[1-9][0-9][0-9](?: [\x01-\x09\x0b\x0c\x0e-\xff]*)?")

_names: dict[str, tuple[str, int]] = {}  # to the beginning of the field's line, and its kind
_Line = tuple[str, int, int]  # a field's line, its kind, and the number of bytes that a Content-Length says
_lines: dict[tuple[str, str], _Line] = {}
_MAX_LENGTH_DIGITS = 18
_good_statuses: set[str] = set()
_date = (0, "")


Framing = tuple[bool, bool, bool, int | None, bool]
"""What a head says about the message, as `ResponseHead.encode` takes it; a plain tuple, because one is made for every
response:

- http_1_1: the version, else HTTP/1.0;
- keep_alive: Connection is added where this is not what the version means by itself (RFC 9112, 9.3);
- chunked: Transfer-Encoding is added;
- content_length: bytes, added as Content-Length; None = not added;
- date: Date is added.

A field that the app has given itself is never added.
"""


class ResponseHead:
    """An app's status and header fields, checked and encoded, with the bytes that were last made of them.

    ``bodyless``: the status means that there is no body (RFC 9110, 6.4.1). ``close``: the app asks for the end of the
    connection. ``count``: the app's fields. ``length``: its Content-Length in bytes, None without one. Responses share
    it: change nothing.
    """

    __slots__ = (
        "_encoded",
        "_framing",
        "_kinds",
        "_made",
        "_stale",
        "_text",
        "bodyless",
        "close",
        "count",
        "length",
        "status",
    )

    def __init__(self, status: str, headers: list[tuple[str, str]]) -> None:
        _check_status(status)
        self.status = status
        self._text, self._kinds, self.length = _encode_fields(headers)
        self.count = len(headers)
        self.bodyless = status[:3] in ("204", "304")
        self.close = bool(self._kinds & _CLOSE)
        self._framing: Framing | None = None
        self._made = self._stale = 0  # the second, unix time, that the bytes are good for, since Date is in them
        self._encoded = b""

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status}, {self.count} fields>"

    def encode(self, framing: Framing) -> bytes:
        """Return the bytes of the head, with what ``framing`` adds behind the app's fields.

        Raises `AppError` for a Content-Length of the app's in a chunked response, and `UsageError` for a framing that
        is chunked and has a length, or is not HTTP/1.1.
        """
        now = time()
        if framing == self._framing and self._made <= now < self._stale:
            return self._encoded
        http_1_1, keep_alive, chunked, content_length, date = framing
        text = ("HTTP/1.1 " if http_1_1 else "HTTP/1.0 ") + self.status + self._text
        if chunked or content_length is not None:
            text += _framing(http_1_1, chunked, content_length, self._kinds)
        if keep_alive != http_1_1 and not self._kinds & _CONNECTION:
            text += "\r\nConnection: keep-alive" if keep_alive else "\r\nConnection: close"
        second = int(now)
        text += _date_end(second) if date and not self._kinds & _DATE else "\r\n\r\n"
        self._encoded = encoded = text.encode("latin-1")
        self._framing, self._made, self._stale = framing, second, second + 1
        return encoded


_heads: dict[tuple[object, ...], ResponseHead] = {}


def response_head(status: str, headers: list[tuple[str, str]]) -> ResponseHead:
    """Return what an app gave to start_response, checked and encoded; the fields stay in its order.

    Raises TypeError for a status that is no str and for anything but pairs of str, and `AppError` for a status that is
    not as "200 OK", for a name or a value that HTTP cannot carry, for Transfer-Encoding (hop-by-hop, so not the
    app's: PEP 3333), and for a second Content-Length or one that is no number of bytes.
    """
    key = (status, *headers)
    try:
        head = _heads.get(key)
    except TypeError:  # something in it is not hashable: say what
        head = None
    if head is None:
        head = ResponseHead(status, headers)
        if len(head.status) + len(head._text) <= MAX_CACHED_HEAD:
            if len(_heads) >= MAX_HEADS:
                _heads.clear()  # those that still come are back in a moment
            _heads[key] = head
    return head


def encode_chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk; b"" gives b"", as an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def date_header() -> bytes:
    r"""Return the field b"Date: ...\r\n" for now (RFC 9110, 5.6.7), made once per second."""
    return _date_end(int(time()))[2:-2].encode("ascii")


def simple_response(status: int) -> bytes:
    """Return a whole response with ``status`` and its reason phrase as text; it closes the connection."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    body = f"{status} {reason}\n".encode("ascii")
    head = response_head(f"{status} {reason}", [("Content-Type", "text/plain")])
    return head.encode((True, False, False, len(body), True)) + body


def _date_end(now: int) -> str:
    """Return the Date field for that second and the end of the head, for a text that has no line end yet."""
    global _date
    if now != _date[0]:
        _date = (now, f"\r\nDate: {formatdate(now, usegmt=True)}\r\n\r\n")
    return _date[1]


def _check_status(status: str) -> None:
    if status in _good_statuses:
        return
    if not isinstance(status, str):
        raise TypeError(f"http status must be a str such as '200 OK', not {type(status).__name__}")
    if not _STATUS.fullmatch(status):
        raise AppError(f"expected a status as '200 OK', got {status!r}")
    if len(_good_statuses) < MAX_CACHED:
        _good_statuses.add(status)


def _encode_fields(headers: list[tuple[str, str]]) -> tuple[str, int, int | None]:
    """Return the fields' lines, flags such as `_CLOSE`, and the Content-Length in bytes, None without one."""
    text = ""
    kinds = 0
    length = None
    for header in headers:
        try:
            line, kind, number = _lines.get(header) or _learn_line(header)
        except TypeError as error:  # it is not even hashable
            raise TypeError(f"http header must be a tuple of two str, not {header!r}") from error
        text += line
        if kind:
            if kind & _LENGTH:
                if length is not None:
                    raise AppError("expected one Content-Length from the app, got a second one")
                length = number
            kinds |= kind
    return text, kinds, length


def _content_length(value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= _MAX_LENGTH_DIGITS):
        raise AppError(f"Content-Length must be a number of bytes, the app gave {value!r}")
    return int(value)


def _learn_line(header: tuple[str, str]) -> _Line:
    """Check a header field and return what is to be known about it."""
    if not (isinstance(header, tuple) and len(header) == 2 and isinstance(header[1], str)):
        raise TypeError
    name, value = header
    begin, kind = _names.get(name) or _learn_name(name)
    if not _VALUE.fullmatch(value):
        raise AppError(f"expected header values in latin-1 without CR, LF and NUL, got {header!r}")
    if kind == _CONNECTION and value.lower() == "close":
        kind |= _CLOSE
    learned = (begin + value, kind, _content_length(value) if kind == _LENGTH else 0)
    if len(learned[0]) <= MAX_CACHED_LINE:
        if len(_lines) >= MAX_CACHED:
            _lines.clear()  # those that still come are back in a moment
        _lines[header] = learned
    return learned


def _learn_name(name: str) -> tuple[str, int]:
    if not isinstance(name, str):
        raise TypeError
    if not _TOKEN.fullmatch(name):
        raise AppError(f"expected a header name, got {name!r}")
    lower = name.lower()
    if lower == "transfer-encoding":
        raise AppError("expected the server to choose Transfer-Encoding, got one from the app: leave it out")
    learned = (f"\r\n{name}: ", _KINDS.get(lower, _PLAIN))
    if len(_names) < MAX_CACHED:
        _names[name] = learned
    return learned


def _framing(http_1_1: bool, chunked: bool, content_length: int | None, seen: int) -> str:
    if not chunked:
        return "" if seen & _LENGTH else f"\r\nContent-Length: {content_length}"
    if content_length is not None or not http_1_1:
        raise UsageError("expected chunked only for HTTP/1.1 and without content_length")
    if seen & _LENGTH:
        raise AppError("expected no Content-Length from the app in a chunked response, got one")
    return "\r\nTransfer-Encoding: chunked"
