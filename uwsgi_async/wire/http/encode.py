"""Response heads, chunks and whole error responses to bytes (RFC 9112, 4 and 7.1)."""

import re
import time
from email.utils import formatdate
from http import HTTPStatus

from uwsgi_async.errors import AppError, UsageError

LAST_CHUNK = b"0\r\n\r\n"
"""The end of a chunked body, without trailers."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The interim response that a client with Expect: 100-continue waits for (RFC 9110, 15.2.1)."""

MAX_CACHED_NAMES = 1024

_PLAIN, _DATE, _CONNECTION, _LENGTH = 0, 1, 2, 4
_KINDS = {"date": _DATE, "connection": _CONNECTION, "content-length": _LENGTH}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS = re.compile(r"[1-9][0-9][0-9](?: [^\x00\r\n]*)?")

_names: dict[str, tuple[str, int]] = {}  # to the beginning of the field's line, and its kind
_good_statuses: set[str] = set()
_date = (0, "")


def encode_head(
    status: str,
    headers: list[tuple[str, str]],
    *,
    http_1_1: bool,
    keep_alive: bool,
    chunked: bool = False,
    content_length: int | None = None,
    date: bool = True,
) -> bytes:
    """Return the head of a response.

    ``status`` is as in WSGI, "200 OK"; ``headers`` are the app's, in its order. Behind them are added:
    Content-Length for ``content_length`` (bytes; None = not added) unless the app gave one, Transfer-Encoding if
    ``chunked``, Date if ``date`` and the app gave none, and Connection where ``keep_alive`` is not what the version
    means by itself and the app gave none (RFC 9112, 9.3).

    Raises `AppError` for a status, a name or a value that HTTP cannot carry, for Transfer-Encoding (hop-by-hop, so
    not the app's: PEP 3333), and for a second Content-Length or one in a chunked response. Raises `UsageError` for
    ``chunked`` with ``content_length`` or without ``http_1_1``.
    """
    seen = 0
    try:
        if status not in _good_statuses:
            _check_status(status)
        text = "HTTP/1.1 " + status if http_1_1 else "HTTP/1.0 " + status
        for name, value in headers:
            begin, kind = _names.get(name) or _learn_name(name)
            if kind:
                if kind & seen & _LENGTH:
                    raise AppError("expected one Content-Length from the app, got a second one")
                seen |= kind
            text += begin + value
    except (TypeError, ValueError) as error:
        raise AppError(f"expected str for status, and for each header's name and value, got {headers!r}") from error
    lines = len(headers)
    if text.count("\n") != lines or text.count("\r") != lines or "\0" in text:
        raise AppError(f"expected header values without CR, LF and NUL, got one in {headers!r}")
    if chunked or content_length is not None:
        text += _framing(http_1_1, chunked, content_length, seen)
    if keep_alive != http_1_1 and not seen & _CONNECTION:
        text += "\r\nConnection: keep-alive" if keep_alive else "\r\nConnection: close"
    text += _date_end() if date and not seen & _DATE else "\r\n\r\n"
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError as error:
        raise AppError(f"expected status and headers in latin-1, got {text[error.start]!r}") from error


def encode_chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk; b"" gives b"", as an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def date_header() -> bytes:
    r"""Return the field b"Date: ...\r\n" for now (RFC 9110, 5.6.7), made once per second."""
    return _date_end()[2:-2].encode("ascii")


def simple_response(status: int) -> bytes:
    """Return a whole response with ``status`` and its reason phrase as text; it closes the connection."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Unknown"
    body = f"{status} {reason}\n".encode("ascii")
    head = encode_head(
        f"{status} {reason}",
        [("Content-Type", "text/plain")],
        http_1_1=True,
        keep_alive=False,
        content_length=len(body),
    )
    return head + body


def _date_end() -> str:
    """Return the Date field and the end of the head, for a text that has no line end yet."""
    global _date
    now = int(time.time())
    if now != _date[0]:
        _date = (now, f"\r\nDate: {formatdate(now, usegmt=True)}\r\n\r\n")
    return _date[1]


def _check_status(status: str) -> None:
    if not isinstance(status, str) or not _STATUS.fullmatch(status):
        raise AppError(f"expected a status as '200 OK', got {status!r}")
    if len(_good_statuses) < MAX_CACHED_NAMES:
        _good_statuses.add(status)


def _learn_name(name: str) -> tuple[str, int]:
    if not _TOKEN.fullmatch(name):
        raise AppError(f"expected a header name, got {name!r}")
    lower = name.lower()
    if lower == "transfer-encoding":
        raise AppError("expected the server to choose Transfer-Encoding, got one from the app: leave it out")
    learned = (f"\r\n{name}: ", _KINDS.get(lower, _PLAIN))
    if len(_names) < MAX_CACHED_NAMES:
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
