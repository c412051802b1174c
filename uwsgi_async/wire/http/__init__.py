"""HTTP/1.1 without I/O: bytes to request heads and bodies, and responses to bytes.

`HttpReader` is for reading, the `encode_*` functions are for writing. See docs/design.md, "wire/".
"""

from uwsgi_async.wire.http.encode import (
    CONTINUE,
    LAST_CHUNK,
    date_header,
    encode_chunk,
    encode_head,
    simple_response,
)
from uwsgi_async.wire.http.head import RequestHead
from uwsgi_async.wire.http.reader import HttpReader

__all__ = [
    "CONTINUE",
    "LAST_CHUNK",
    "HttpReader",
    "RequestHead",
    "date_header",
    "encode_chunk",
    "encode_head",
    "simple_response",
]
