"""HTTP/1.1 without I/O: bytes to request heads and bodies, and responses to bytes.

`HttpReader` is for reading, `response_head` and `encode_chunk` are for writing. See docs/design.md, "wire/".
"""

from uwsgi_async.wire.http.encode import (
    CONTINUE,
    LAST_CHUNK,
    ResponseHead,
    date_header,
    encode_chunk,
    response_head,
    simple_response,
)
from uwsgi_async.wire.http.head import RequestHead
from uwsgi_async.wire.http.reader import Endpoint, HttpReader

__all__ = [
    "CONTINUE",
    "LAST_CHUNK",
    "Endpoint",
    "HttpReader",
    "RequestHead",
    "ResponseHead",
    "date_header",
    "encode_chunk",
    "response_head",
    "simple_response",
]
