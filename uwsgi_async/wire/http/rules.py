"""The one function that judges a parsed head: framing, Host, persistence, Expect, Upgrade.

Both parsers end here, so that there is one verdict. The order of the checks is part of it: framing comes first, as
a message whose end is in doubt must not get any answer but 400 (RFC 9112, 6.3).
"""

from uwsgi_async.errors import BadRequestError
from uwsgi_async.wire.http.head import RequestHead
from uwsgi_async.wire.http.target import HOST

MAX_LENGTH_DIGITS = 18
"""Most digits of a Content-Length: fewer than would overflow 64 bits."""

MAX_CACHED_HOSTS = 64
MAX_CACHED_HOST_LENGTH = 255

_good_hosts: set[str] = set()


def judge(head: RequestHead, environ: dict[str, str]) -> None:
    """Set the rest of ``head``'s attributes from the fields in ``environ``; `head.http_1_1` is set already.

    Raises `BadRequestError`: 400, 417 or 501.
    """
    http_1_1 = head.http_1_1
    if "HTTP_TRANSFER_ENCODING" in environ:
        _check_coding(environ, http_1_1)
        length = None
    else:
        sent = environ.get("CONTENT_LENGTH")
        length = 0 if sent is None else _parse_length(sent)
    host = environ.get("HTTP_HOST")
    if host is None:
        if http_1_1:
            raise BadRequestError(400, "expected a Host in an HTTP/1.1 request, got none")
    elif host not in _good_hosts and not _is_good_host(host):
        raise BadRequestError(400, f"expected a host and an optional port in Host, got {host[:80]!r}")
    head.content_length = length
    head.keep_alive = http_1_1
    head.upgrade = False
    if "HTTP_CONNECTION" in environ:
        _judge_connection(head, environ)
    head.expect_continue = "HTTP_EXPECT" in environ and http_1_1 and _expects_continue(environ, length)


def _is_good_host(host: str) -> bool:
    """RFC 9112, 3.2; the first few good hosts are remembered, as most clients send the same one."""
    if not HOST.fullmatch(host):
        return False
    if len(_good_hosts) < MAX_CACHED_HOSTS and len(host) <= MAX_CACHED_HOST_LENGTH:
        _good_hosts.add(host)
    return True


def _check_coding(environ: dict[str, str], http_1_1: bool) -> None:
    """RFC 9112, 6.1 and 6.3."""
    if "CONTENT_LENGTH" in environ:
        raise BadRequestError(400, "expected Transfer-Encoding or Content-Length, got both")
    if not http_1_1:
        raise BadRequestError(400, "expected no Transfer-Encoding in an HTTP/1.0 request, got one")
    coding = environ["HTTP_TRANSFER_ENCODING"]
    if coding.lower() != "chunked":
        raise BadRequestError(501, f"expected the transfer coding chunked, got {coding[:80]!r}")


def _parse_length(text: str) -> int:
    """RFC 9112, 6.3; digits only, so that a list of equal lengths is refused as well."""
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_LENGTH_DIGITS):
        raise BadRequestError(400, f"expected up to {MAX_LENGTH_DIGITS} digits in Content-Length, got {text[:80]!r}")
    return int(text)


def _judge_connection(head: RequestHead, environ: dict[str, str]) -> None:
    """RFC 9112, 9.3 and RFC 9110, 7.6.1; close wins; Upgrade is ignored in HTTP/1.0 (RFC 9110, 7.8)."""
    sent = environ["HTTP_CONNECTION"].lower()
    if sent == "keep-alive":
        head.keep_alive = True
        return
    options = [option.strip(" \t") for option in sent.split(",")]
    head.keep_alive = "close" not in options and (head.http_1_1 or "keep-alive" in options)
    head.upgrade = head.http_1_1 and "upgrade" in options and bool(environ.get("HTTP_UPGRADE"))


def _expects_continue(environ: dict[str, str], length: int | None) -> bool:
    """RFC 9110, 10.1.1; without a body there is nothing to wait for."""
    expectation = environ["HTTP_EXPECT"]
    if expectation.lower() != "100-continue":
        raise BadRequestError(417, f"expected the expectation 100-continue, got {expectation[:80]!r}")
    return length != 0
