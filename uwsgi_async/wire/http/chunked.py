"""One strict decoder of chunked bodies, whichever parser reads the heads (RFC 9112, 7.1).

Each step looks at the bytes from left to right and fails at the first bad one, so that the verdict does not depend
on how the bytes were split on their way.
"""

import re
from collections.abc import Callable

from uwsgi_async.errors import BadRequestError
from uwsgi_async.wire.http.screen import TOKEN, VALUE

# The longest good beginning of a line; what follows is judged by hand.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16}+)(;%b*+)?+" % VALUE)
_TRAILER = re.compile(rb"%b++(:%b*+)?+" % (TOKEN, VALUE))


_Step = Callable[["ChunkedDecoder", bytes | bytearray], bytes | None]


class ChunkedDecoder:
    """Decodes one body; the caller keeps the buffer and the position in it."""

    __slots__ = ("_max_overhead", "_overhead", "_remaining", "_step", "position")

    def __init__(self, max_overhead: int) -> None:
        """``max_overhead``: most bytes of extensions and trailers in this body."""
        self._max_overhead = max_overhead
        self._overhead = 0
        self._remaining = 0
        self._step: _Step = ChunkedDecoder._read_size
        self.position = 0

    @property
    def chunk_left(self) -> int:
        """The bytes of the current chunk that are still to come; 0 when what was decoded last was its end."""
        return self._remaining

    def decode(self, buffer: bytes | bytearray, position: int) -> bytes | None:
        """Return the next bytes of the body, b"" at its end, or None if more bytes are needed.

        ``buffer`` is read from ``position`` on; afterwards `position` tells how far. Raises `BadRequestError`
        (400, 413).
        """
        self.position = position
        while True:
            step = self._step
            data = step(self, buffer)
            if data is not None or self._step is step:
                return data

    def _read_size(self, buffer: bytes | bytearray) -> bytes | None:
        match = _SIZE_LINE.match(buffer, self.position)
        if match is None:
            if self.position < len(buffer):
                raise BadRequestError(400, "expected a chunk size of 1 to 16 hexadecimal digits")
            return None
        extension = match.end() - match.end(1)
        self._check_overhead(extension)
        if self._skip_line_end(buffer, match.end()):
            self._overhead += extension
            self._remaining = int(match[1], 16)
            self._step = ChunkedDecoder._read_data if self._remaining else ChunkedDecoder._read_trailer
        return None

    def _read_data(self, buffer: bytes | bytearray) -> bytes | None:
        start = self.position
        data = bytes(buffer[start : start + self._remaining])
        self.position = start + len(data)
        self._remaining -= len(data)
        if not self._remaining:
            self._step = ChunkedDecoder._read_data_end
        return data or None

    def _read_data_end(self, buffer: bytes | bytearray) -> None:
        if self._skip_line_end(buffer, self.position):
            self._step = ChunkedDecoder._read_size

    def _read_trailer(self, buffer: bytes | bytearray) -> bytes | None:
        while True:
            start = self.position
            match = _TRAILER.match(buffer, start)
            if match is None:
                return b"" if self._skip_line_end(buffer, start) else None
            self._check_overhead(match.end() - start)
            if match[1] is None and match.end() < len(buffer):
                raise BadRequestError(400, "expected a trailer field as 'Name: value'")
            if match[1] is None or not self._skip_line_end(buffer, match.end()):
                return None
            self._check_overhead(self.position - start)
            self._overhead += self.position - start

    def _check_overhead(self, more: int) -> None:
        if self._overhead + more > self._max_overhead:
            raise BadRequestError(
                413, f"expected at most {self._max_overhead} bytes of chunk extensions and trailers, got more"
            )

    def _skip_line_end(self, buffer: bytes | bytearray, position: int) -> bool:
        """Move behind the CRLF at ``position``; False if it is not there yet, 400 if something else is."""
        line_end = buffer[position : position + 2]
        if line_end == b"\r\n":
            self.position = position + 2
            return True
        if line_end in (b"", b"\r"):
            return False
        wrong = line_end if line_end[:1] == b"\r" else line_end[:1]  # the same, however the bytes were cut
        raise BadRequestError(400, f"expected CRLF in the framing of a chunked body, got {bytes(wrong)!r}")
