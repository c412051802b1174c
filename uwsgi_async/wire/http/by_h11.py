"""Header fields parsed by h11: the reference, in pure Python."""

import re

import h11

from uwsgi_async.wire.http.contract import FieldsRefusedError
from uwsgi_async.wire.http.names import add_field

# An HTTP/1.0 request line, so that h11 does not look for a Host before `rules` does.
_REQUEST_LINE = b"GET / HTTP/1.0\r\n"
_FRAMING = re.compile(rb"^(content-length|transfer-encoding):([^\r]*)\r\n", re.IGNORECASE | re.MULTILINE)
_FRAMING_NAMES = (b"content-length", b"transfer-encoding")


def parse_fields(fields: bytes, count: int, environ: dict[str, str]) -> None:
    """Parse with h11; see `contract.FieldsParser`."""
    head = _REQUEST_LINE + fields
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head))
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as error:
        raise FieldsRefusedError(str(error)) from error
    if not isinstance(event, h11.Request):
        raise FieldsRefusedError(f"expected a request with {count} fields from h11, got {event!r}")
    for name, value in event.headers.raw_items():
        if name.lower() not in _FRAMING_NAMES:
            add_field(environ, name, value)
    # h11 merges equal lengths into one and writes the coding in lower case; `rules` must see both as they were sent.
    for name, value in _FRAMING.findall(fields):
        add_field(environ, name, value)
