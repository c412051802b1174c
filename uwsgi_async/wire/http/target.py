"""The request target: which forms are accepted, and the path decoded as uWSGI's http socket decodes it."""

import re

from uwsgi_async.errors import BadRequestError

HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9\-._~%!$&'()*+;=]*+)(?::[0-9]*+)?")
"""uri-host [":" port] (RFC 9110, 7.2), without the comma, which only a joined pair of Hosts would have."""

_ABSOLUTE = re.compile(r"https?://([^/?]+)([^?]*)(.*)", re.IGNORECASE)
_SEGMENT = re.compile(rb"/((?:[^%/]|%%|%[^%].|%[^%]?\Z)*+)", re.DOTALL)
_ESCAPE = re.compile(rb"%(%|..?|)", re.DOTALL)
_HEX_DIGITS = frozenset("0123456789ABCDEFabcdef")


def split_rare_target(method: str, target: str) -> tuple[str, str, str | None]:
    """Return path (not decoded), query and authority of a target that is not a path (RFC 9112, 3.2).

    The authority is None for "*". Raises `BadRequestError` (400) for a target in none of the forms that ``method``
    allows, or with user information (RFC 9110, 4.2.4).
    """
    if target == "*" and method == "OPTIONS":
        return target, "", None
    match = _ABSOLUTE.fullmatch(target)
    if match is None or not HOST.fullmatch(match[1]) or match[1][0] == ":":
        raise BadRequestError(400, f"expected a path, or an http URL, as request target, got {target[:80]!r}")
    return match[2] or "/", match[3][1:], match[1]


def decode_path(path: str) -> str:
    """Return PATH_INFO of ``path`` as uWSGI makes it: escapes decoded, "." and ".." segments removed.

    As in uWSGI, only literal dots make a dot segment, an escaped "/" counts when ".." removes a segment, "%%" is
    "%", a digit that is not hexadecimal counts as 0, an escape cut off by the end is left out, and "/.." is "".
    The result is a latin-1 str (PEP 3333: bytes as code points).
    """
    if "%" not in path and "/." not in path:
        return path
    if path[0] != "/":
        return path
    segments = _SEGMENT.findall(path.encode("latin-1"))
    last = len(segments) - 1
    out = b""
    for number, segment in enumerate(segments):
        if segment == b"..":
            slash = out.rfind(b"/")
            out = out[: slash + 1] if number == last else out[: max(slash, 0)]
        elif segment != b".":
            out += b"/" + _ESCAPE.sub(_decode_escape, segment)
        elif number == last:
            out += b"/"
    return out.decode("latin-1")


def _decode_escape(match: re.Match[bytes]) -> bytes:
    digits = match[1].decode("latin-1")
    if digits == "%":
        return b"%"
    if len(digits) < 2:
        return b""
    high, low = (int(digit, 16) if digit in _HEX_DIGITS else 0 for digit in digits)
    return bytes((high * 16 + low,))
