"""Status and headers of an ASGI app to a response's head, once for all responses that have the same.

What lives here: `head_of`. What does not: the rules of HTTP for fields, and the bytes (`wire.http`).
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from uwsgi_async.errors import AppError
from uwsgi_async.wire.http import ResponseHead, response_head
from uwsgi_async.wire.http.encode import MAX_CACHED_HEAD, MAX_HEADS

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

_heads: dict[tuple[object, ...], ResponseHead] = {}


def head_of(status: object, headers: Iterable[Iterable[bytes]]) -> ResponseHead:
    """Return the head of an answer with ``status``, an int from 200 to 999, and ``headers``, pairs of bytes.

    Transfer-Encoding is left out, as the specification says: framing is the server's. Raises TypeError for what is of
    another type, and `AppError` for what HTTP cannot carry.
    """
    key = (status, *headers)
    try:
        head = _heads.get(key)
    except TypeError:  # pairs that are lists, which cannot be looked up
        head = None
    return _look_closely(status, key[1:]) if head is None else head


def _look_closely(status: object, headers: Iterable[object]) -> ResponseHead:
    line, pairs = status_line(status), tuple(map(_pair, headers))
    key = (status, *pairs)
    head = _heads.get(key)
    if head is None:
        head = response_head(line, [pair for pair in text_pairs(pairs) if pair[0].lower() != "transfer-encoding"])
        if sum(len(name) + len(value) for name, value in pairs) <= MAX_CACHED_HEAD:
            if len(_heads) >= MAX_HEADS:
                _heads.clear()  # those that still come are back in a moment
            _heads[key] = head
    return head


def status_line(status: object) -> str:
    """Return such as "200 OK" for a final status, an int. Raises as `head_of`."""
    if not isinstance(status, int):
        raise TypeError(f"expected an int as status, got {type(status).__name__}")
    if not 200 <= status <= 999:
        raise AppError(f"expected a status from 200 to 999, got {status}")
    return f"{int(status)} {_PHRASES.get(int(status), '')}".rstrip()


def text_pairs(headers: Iterable[object]) -> list[tuple[str, str]]:
    """Return pairs of bytes as pairs of latin-1 str. Raises TypeError for anything else."""
    pairs = []
    for header in headers:
        name, value = _pair(header)
        pairs.append((name.decode("latin-1"), value.decode("latin-1")))
    return pairs


def _pair(header: object) -> tuple[bytes, bytes]:
    """Return one header as a tuple."""
    try:
        name, value = header  # type: ignore[misc]
    except (TypeError, ValueError):
        name = value = None
    if not (isinstance(name, bytes) and isinstance(value, bytes)):
        raise TypeError(f"expected each header as a pair of bytes, name and value, got {header!r}")
    return name, value
