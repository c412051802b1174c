"""HTTP/1.1 without I/O: bytes to request heads and bodies, and responses to bytes.

`HttpReader` is for reading, the `encode_*` functions are for writing. See docs/design.md, "wire/".
"""

from uwsgi_async.wire.http.encode import (
    CLOSE,
    CONTINUE,
    LAST_CHUNK,
    NO_FIELDS,
    Fields,
    check_status,
    date_header,
    encode_chunk,
    encode_fields,
    encode_head,
    simple_response,
)
from uwsgi_async.wire.http.head import RequestHead
from uwsgi_async.wire.http.reader import Endpoint, HttpReader

__all__ = [
    "CLOSE",
    "CONTINUE",
    "LAST_CHUNK",
    "NO_FIELDS",
    "Endpoint",
    "Fields",
    "HttpReader",
    "RequestHead",
    "check_status",
    "date_header",
    "encode_chunk",
    "encode_fields",
    "encode_head",
    "simple_response",
]
