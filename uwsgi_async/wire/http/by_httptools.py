"""Header fields parsed by httptools (llhttp): the fast one of the two parsers.

Two things make it fast. Making an llhttp parser costs more than parsing a small head with it, so one that stands at
a clean message boundary goes back on a shelf and is used again, by any connection (the shelf's pop and append are
atomic, so threads may share it). And the callback per field is a dict's own ``__setitem__``, no Python function;
heads for which that is not enough are parsed a second time, field by field.
"""

from collections.abc import Callable

import httptools

from uwsgi_async.wire.http.contract import FieldsRefusedError
from uwsgi_async.wire.http.names import add_field, environ_keys

_REQUEST_LINE = b"GET / HTTP/1.1\r\n"
_MAX_SHELVED = 4


class _Collector:
    """An llhttp parser and the fields of the head that it parses, by name as sent."""

    __slots__ = ("feed", "fields", "on_header")

    def __init__(self) -> None:
        self.fields: dict[bytes, bytes] = {}
        self.on_header = self.fields.__setitem__
        self.feed = _new_parser(self)


class _PairCollector:
    """The same for heads with a repeated field, a dropped one, or one whose name is not cached."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        self.pairs: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name, value))


_shelf: list[_Collector] = []


def parse_fields(fields: bytes, count: int, environ: dict[str, str]) -> None:
    """Parse with llhttp; see `contract.FieldsParser`."""
    try:
        collector = _shelf.pop()
    except IndexError:
        collector = _Collector()
    try:
        collector.feed(_REQUEST_LINE + fields)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise FieldsRefusedError(str(error)) from error
    found = collector.fields
    wanted = len(environ) + count
    try:
        for name, value in found.items():
            environ[environ_keys[name]] = value.decode("latin-1").rstrip(" \t")
    except KeyError:
        wanted = -1
    if len(environ) != wanted:
        _parse_field_by_field(fields, environ)
    if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" not in environ and "HTTP_UPGRADE" not in environ:
        found.clear()
        if len(_shelf) < _MAX_SHELVED:
            _shelf.append(collector)


def _parse_field_by_field(fields: bytes, environ: dict[str, str]) -> None:
    collector = _PairCollector()
    try:
        _new_parser(collector)(_REQUEST_LINE + fields)
    except httptools.HttpParserUpgrade:
        pass
    added: dict[str, str] = {}
    for name, value in collector.pairs:
        add_field(added, name, value)
    environ.update(added)


def _new_parser(protocol: object) -> Callable[[bytes], None]:
    """Return `feed_data` of a new parser that leaves length, coding and persistence of messages to `rules`."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(
        lenient_chunked_length=True, lenient_transfer_encoding=True, lenient_keep_alive=True
    )
    return parser.feed_data
