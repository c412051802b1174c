"""FastCGI from the side that asks: a request to records, and records to what an application answers. No I/O.

What lives here: `encode_request`, `encode_stdin`, `ResponseReader`. What does not: sockets (`peers.fastcgi`), the head
of a CGI response, which is a part of the output. Source: the FastCGI Specification, 3.3 (records), 3.4 (names and
values), 5.1 and 5.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from uwsgi_async.errors import BadRequestError

_VERSION: Final = 1
_BEGIN, _END, _PARAMS, _STDIN, _STDOUT, _STDERR = 1, 3, 4, 5, 6, 7
_RESPONDER: Final = 1
_REQUEST_ID: Final = 1
_HEADER: Final = struct.Struct(">BBHHBx")
_END_BODY: Final = struct.Struct(">IB3x")
_LARGEST: Final = 0xFFFF  # bytes of a record's content
_SHORT: Final = 0x7F  # the longest name or value whose length is one byte
_LONG: Final = 1 << 31
_PROBLEMS: Final = {1: "it serves one request at a time", 2: "it is overloaded", 3: "it has no such role"}


@dataclass(frozen=True, slots=True)
class Output:
    """What the application has written. ``is_error``: to its error output."""

    data: bytes
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class End:
    """The end of the response. ``status``: of the application's exit. ``problem``: why it has refused; "" if not."""

    status: int
    problem: str = ""


def encode_request(params: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the records that begin a request, with its parameters. The connection is closed behind the answer."""
    stream = b"".join(_length(name) + _length(value) + name + value for name, value in params)
    begin = _record(_BEGIN, struct.pack(">HB5x", _RESPONDER, 0))
    return begin + b"".join(_records(_PARAMS, stream)) + _record(_PARAMS, b"")


def encode_stdin(data: bytes) -> bytes:
    """Return the records of a piece of the body; b"" is its end."""
    return b"".join(_records(_STDIN, data)) if data else _record(_STDIN, b"")


class ResponseReader:
    """Cuts an answer off a stream of bytes, however the stream was split."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return f"<ResponseReader {len(self._buffer)} bytes buffered>"

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._buffer += data

    def next_event(self) -> Output | End | None:
        """Return what comes next; None: more bytes are needed. Raises `BadRequestError` for what is no FastCGI."""
        while True:
            record = self._next_record()
            if record is None:
                return None
            kind, request, content = record
            if request != _REQUEST_ID:
                continue  # management records are answers to questions that we have not asked
            if kind in (_STDOUT, _STDERR) and content:
                return Output(content, kind == _STDERR)
            if kind == _END:
                return _end(content)

    def _next_record(self) -> tuple[int, int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < _HEADER.size:
            return None
        version, kind, request, size, padding = _HEADER.unpack_from(buffer)
        if version != _VERSION:
            raise BadRequestError(400, f"expected FastCGI of version {_VERSION}, but {bytes(buffer[:8])!r} came")
        end = _HEADER.size + size
        if len(buffer) < end + padding:
            return None
        content = bytes(buffer[_HEADER.size : end])
        del buffer[: end + padding]
        return kind, request, content


def _end(content: bytes) -> End:
    if len(content) < _END_BODY.size:
        raise BadRequestError(400, f"the end of a FastCGI request has {_END_BODY.size} bytes, not {len(content)}")
    status, protocol = _END_BODY.unpack_from(content)
    return End(status, _PROBLEMS.get(protocol, f"its protocol status is {protocol}") if protocol else "")


def _record(kind: int, content: bytes) -> bytes:
    return _HEADER.pack(_VERSION, kind, _REQUEST_ID, len(content), 0) + content


def _records(kind: int, stream: bytes) -> Iterator[bytes]:
    for start in range(0, len(stream), _LARGEST):
        yield _record(kind, stream[start : start + _LARGEST])


def _length(text: bytes) -> bytes:
    return bytes([len(text)]) if len(text) <= _SHORT else (len(text) | _LONG).to_bytes(4, "big")
