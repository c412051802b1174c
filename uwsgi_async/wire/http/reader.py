"""`HttpReader`: the bytes of one connection to request heads and bodies, without any I/O.

The reader finds where a head ends, where a body ends, and what is too large; the parsers only see whole heads.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from uwsgi_async.errors import BadRequestError, UsageError
from uwsgi_async.options.settings import HttpOptions
from uwsgi_async.wire.http import by_h11, by_httptools
from uwsgi_async.wire.http.chunked import ChunkedDecoder
from uwsgi_async.wire.http.contract import FieldsParser, FieldsRefusedError
from uwsgi_async.wire.http.head import RequestHead
from uwsgi_async.wire.http.memory import HeadMemory
from uwsgi_async.wire.http.names import add_field
from uwsgi_async.wire.http.rules import judge
from uwsgi_async.wire.http.screen import (
    check_line_ends,
    count_fields,
    match_request_line,
    refuse_fields,
    refuse_request_line,
)
from uwsgi_async.wire.http.target import decode_path, split_rare_target
from uwsgi_async.wire.vars import Vars

MAX_LEADING_LINES = 4
"""Most empty lines tolerated before a request line (RFC 9112, 2.2: at least one)."""

_PARSERS: dict[str, FieldsParser] = {"httptools": by_httptools.parse_fields, "h11": by_h11.parse_fields}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the readers of a listener share: its options, its name for SERVER_NAME and SERVER_PORT, its memory.

    ``extra``: further variables of all its requests, such as HTTPS.
    """

    options: HttpOptions
    server_name: str = ""
    server_port: str = ""
    memory: HeadMemory = field(default_factory=HeadMemory)
    extra: Mapping[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        given = {"SERVER_NAME": self.server_name, "SERVER_PORT": self.server_port, **self.extra}
        object.__setattr__(self, "given", given)


class HttpReader:
    """Reads the requests of one connection (RFC 9112); a state machine without I/O.

    ``peer``: the client's address, for REMOTE_ADDR. After a `BadRequestError` the reader is of no use.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_endpoint",
        "_in_body",
        "_leading",
        "_options",
        "_peer",
        "_position",
        "_remaining",
        "_scanned",
    )

    def __init__(self, endpoint: Endpoint, peer: str = "") -> None:
        self._endpoint = endpoint
        self._options = endpoint.options
        self._peer = peer
        self._buffer: bytes | bytearray = b""
        self._position = 0  # in the buffer: what is before it is done with
        self._scanned = 0  # in the buffer: no head ends before it
        self._leading = 0  # empty lines before the head, so far
        self._in_body = False
        self._remaining = 0  # bytes, of a body with a length
        self._chunks: ChunkedDecoder | None = None

    @property
    def idle(self) -> bool:
        """True between two messages, with no byte buffered."""
        return not self._in_body and self._position == len(self._buffer)

    @property
    def in_head(self) -> bool:
        """True while bytes of an incomplete head are buffered."""
        return not self._in_body and self._position < len(self._buffer)

    @property
    def chunk_left(self) -> int:
        """The bytes of the current chunk that `next_body` has not returned yet; 0 for a body without chunks."""
        return 0 if self._chunks is None else self._chunks.chunk_left

    def receive_data(self, data: bytes) -> None:
        """Take bytes that came over the connection."""
        position = self._position
        if position == len(self._buffer):
            self._buffer = data
        elif position or type(self._buffer) is bytes:
            self._buffer = bytearray(self._buffer[position:]) + data
        else:
            self._buffer += data
            return
        self._scanned = max(self._scanned - position, 0)
        self._position = 0

    def next_head(self) -> RequestHead | None:
        """Return the next request's head, or None if more bytes are needed. Do not change it: it may be shared.

        Raises `BadRequestError` with 400, 417, 431, 501 or 505, and `UsageError` if `next_body` has not returned
        b"" for the body before.
        """
        if self._in_body:
            raise UsageError('expected next_body until it returns b"", got next_head in a body')
        buffer = self._buffer
        start = self._position
        if start == len(buffer):
            return None
        if buffer[start] <= 13:
            start = self._skip_leading_lines(start)
        scanned = self._scanned
        end = buffer.find(b"\r\n\r\n", scanned if scanned > start else start) + 4
        if end == 3:
            self._check_incomplete(start)
            return None
        if end - start > self._options.max_header_bytes:
            raise self._too_long(start)
        raw = buffer[start:end]
        if type(raw) is not bytes:
            raw = bytes(raw)
        self._leading = 0
        if end == len(buffer):
            self._buffer = b""  # an idle connection must not hold on to its last bytes
            self._position = self._scanned = 0
        else:
            self._position = self._scanned = end
        memory = self._endpoint.memory
        head = memory.recall(raw, self._peer)
        if head is not None:
            return head
        try:
            head = parse_head(raw, self._endpoint, self._peer)
        except BadRequestError:
            check_line_ends(raw, 0, len(raw))  # first, as in a head that comes in pieces
            raise
        memory.remember(raw, self._peer, head)
        if head.content_length != 0:
            self._start_body(head.content_length)
        return head

    def next_body(self) -> bytes | None:
        """Return bytes of the current body, b"" once it is complete, or None if more bytes are needed.

        Raises `BadRequestError` with 400 or 413 for a malformed chunked body.
        """
        if not self._in_body:
            return b""
        data = self._next_counted() if self._chunks is None else self._next_chunked(self._chunks)
        if data == b"":
            self._in_body = False
            self._chunks = None
        if self._position == len(self._buffer):
            self._buffer = b""
            self._position = self._scanned = 0
        return data

    def take_rest(self) -> bytes:
        """Return what is buffered behind a head, and forget it: the connection goes on with another protocol."""
        rest = bytes(self._buffer[self._position :])
        self._buffer = b""
        self._position = self._scanned = 0
        return rest

    def _next_chunked(self, decoder: ChunkedDecoder) -> bytes | None:
        data = decoder.decode(self._buffer, self._position)
        self._position = decoder.position
        return data

    def _next_counted(self) -> bytes | None:
        if not self._remaining:
            return b""
        start = self._position
        data = bytes(self._buffer[start : start + self._remaining])
        self._position = start + len(data)
        self._remaining -= len(data)
        return data or None

    def _start_body(self, length: int | None) -> None:
        self._in_body = True
        if length is None:
            self._chunks = ChunkedDecoder(self._options.max_chunk_overhead)
        else:
            self._remaining = length

    def _skip_leading_lines(self, start: int) -> int:
        if self._buffer[start] == 10:  # not seen by check_line_ends if the byte before, of a body, is a CR
            raise BadRequestError(400, "expected a request, got a bare LF")
        while self._buffer.startswith(b"\r\n", start):
            start += 2
            self._leading += 1
            if self._leading > MAX_LEADING_LINES:
                raise BadRequestError(400, f"expected at most {MAX_LEADING_LINES} empty lines before a request")
        self._position = start
        return start

    def _check_incomplete(self, start: int) -> None:
        """Refuse an incomplete head as soon as it cannot become a good one."""
        length = len(self._buffer)
        if length - start > self._options.max_header_bytes:
            raise self._too_long(start)
        check_line_ends(self._buffer, max(start, self._scanned), length)
        self._scanned = max(start, length - 3)

    def _too_long(self, start: int) -> BadRequestError:
        limit = self._options.max_header_bytes
        check_line_ends(self._buffer, start, start + limit)
        return BadRequestError(431, f"expected at most {limit} bytes of request line and headers, got more")


def parse_head(raw: bytes, endpoint: Endpoint, peer: str) -> RequestHead:
    """Return the head ``raw``, from its request line to its empty line; raises as `HttpReader.next_head` does."""
    options = endpoint.options
    line = match_request_line(raw)
    if line is None:
        raise refuse_request_line(raw)
    method, uri, protocol = line[0].decode("ascii").split(" ")
    http_1_1 = protocol == "HTTP/1.1\r\n"
    if not http_1_1 and protocol != "HTTP/1.0\r\n":
        raise BadRequestError(505, f"expected HTTP/1.0 or HTTP/1.1, got {protocol.rstrip()}")
    if method == "CONNECT":
        raise BadRequestError(501, "expected a request to this server, got CONNECT")
    authority = None
    if uri[0] == "/":
        path, _, query = uri.partition("?")
    else:
        path, query, authority = split_rare_target(method, uri)
    fields = raw[line.end() :]
    count = count_fields(fields)
    if count < 0:
        raise refuse_fields(fields)
    if count > options.max_header_count:
        raise BadRequestError(431, f"expected at most {options.max_header_count} header fields, got {count}")
    head = RequestHead()
    head.method = method
    head.http_1_1 = http_1_1
    environ: dict[str, str] = {
        "REQUEST_METHOD": method,
        "REQUEST_URI": uri,
        "PATH_INFO": decode_path(path) if "%" in path or "/." in path else path,
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": "HTTP/1.1" if http_1_1 else "HTTP/1.0",
        "SCRIPT_NAME": "",
    }
    try:
        _PARSERS[options.http_parser](fields, count, environ)
    except FieldsRefusedError as refused:
        raise _judge_refused(head, fields, refused) from refused
    judge(head, environ)
    if authority is not None:
        environ["HTTP_HOST"] = authority
    environ |= endpoint.given
    environ["REMOTE_ADDR"] = peer
    head.vars = vars = Vars(environ)
    vars.head = raw
    return head


def _judge_refused(head: RequestHead, fields: bytes, refused: FieldsRefusedError) -> BadRequestError:
    """Return the error of fields that a parser refused: the one of the rules if they name one, else 400."""
    environ: dict[str, str] = {}
    try:
        for field in fields[:-4].split(b"\r\n"):
            name, _, value = field.partition(b":")
            add_field(environ, name, value)
        judge(head, environ)
    except BadRequestError as error:
        return error
    return BadRequestError(400, f"expected header fields that the parser understands: {refused}")
