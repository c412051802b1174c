"""Header fields parsed by httptools (llhttp): the fast one of the two parsers.

Making an llhttp parser costs more than parsing a small head with it, so one that stands at a clean message boundary
goes back on a shelf and is used again, by any connection. The shelf's pop and append are atomic, so threads may
share it.
"""

import httptools

from uwsgi_async.wire.http.contract import FieldsRefusedError
from uwsgi_async.wire.http.names import environ_key, environ_keys, join_field

_REQUEST_LINE = b"GET / HTTP/1.1\r\n"
_MAX_SHELVED = 4


class _Collector:
    """llhttp's callbacks: they fill the environ of the request at hand, without an object per field."""

    __slots__ = ("environ", "failure", "feed", "finished")

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self.finished = False
        parser = httptools.HttpRequestParser(self)
        # The length, the coding and the persistence of messages are judged by `rules`, in all cases.
        parser.set_dangerous_leniencies(
            lenient_chunked_length=True, lenient_transfer_encoding=True, lenient_keep_alive=True
        )
        self.feed = parser.feed_data

    def on_header(self, name: bytes, value: bytes) -> None:
        key = environ_keys.get(name)
        if key is None:
            key = environ_key(name)
        if key:
            environ = self.environ
            text = value.decode("latin-1").rstrip(" \t")
            if key in environ:
                join_field(environ, key, text)
            else:
                environ[key] = text

    def on_message_complete(self) -> None:
        self.finished = True


_shelf: list[_Collector] = []


def parse_fields(fields: bytes, environ: dict[str, str]) -> None:
    """Parse with llhttp; see `contract.FieldsParser`."""
    collector = _shelf.pop() if _shelf else _Collector()
    collector.environ = environ
    collector.finished = False
    try:
        collector.feed(_REQUEST_LINE + fields)
    except httptools.HttpParserUpgrade:
        return
    except httptools.HttpParserError as error:
        raise FieldsRefusedError(str(error)) from error
    if collector.finished and len(_shelf) < _MAX_SHELVED:
        _shelf.append(collector)
