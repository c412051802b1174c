"""The incoming side of a websocket: bytes to events, with a parser only while there is something to parse. No I/O.

What lives here: `Inbox`, and `Readers`, the parsers that the websockets of a worker lend each other. A parser takes
3 KB and is empty between two messages, so ten thousand idle websockets need none. What does not: the parser (`frames`),
how it is known that a message has ended (`meter`).
"""

from __future__ import annotations

from uwsgi_async.wire.websocket.frames import Close, Event, FrameReader, read_whole
from uwsgi_async.wire.websocket.meter import FrameMeter

_SPARE = 16


class Readers:
    """Parsers that have nothing to do. ``max_size``: bytes of the largest message that a client may send."""

    __slots__ = ("_spare", "max_size")

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._spare: list[FrameReader] = []

    def __repr__(self) -> str:
        return f"<Readers, {len(self._spare)} to spare>"

    def borrow(self, compressed: bool) -> FrameReader:
        """Return a reader for a connection whose next byte begins a message. ``compressed``: messages may be."""
        if not self._spare:
            return FrameReader(self.max_size, compressed)
        reader = self._spare.pop()
        reader.compressed = compressed
        return reader

    def give_back(self, reader: FrameReader) -> None:
        """Take back a reader that stands between two messages."""
        if len(self._spare) < _SPARE:
            self._spare.append(reader)


class Inbox:
    """What has come on one websocket. ``compressed``: messages may be. After a `Close` nothing more comes out."""

    __slots__ = ("_compressed", "_meter", "_next", "_reader", "_readers")

    def __init__(self, readers: Readers, compressed: bool) -> None:
        self._readers = readers
        self._compressed = compressed
        self._meter = FrameMeter()
        self._reader: FrameReader | None = None
        self._next: Event | None = None  # decoded, and not yet asked for

    @property
    def wanted(self) -> int:
        """The bytes to take from the socket so that no byte of a later frame is among them."""
        return self._meter.wanted

    def take(self, data: bytes) -> None:
        """Take bytes that came over the connection."""
        if self._reader is None:
            if self._next is None and self._meter.at_rest:
                self._next = read_whole(data, self._readers.max_size)
                if self._next is not None:
                    return
            self._reader = self._readers.borrow(self._compressed)
        self._meter.take(data)
        self._reader.receive_data(data)

    def next_event(self) -> Event | None:
        """Return the next event, None when more bytes are needed."""
        if self._next is not None:
            decoded, self._next = self._next, None
            return decoded
        reader = self._reader
        if reader is None:
            return None
        event = reader.next_event()
        if isinstance(event, Close):
            self._reader = None
        elif event is None and self._meter.at_rest:
            self._reader = None
            self._readers.give_back(reader)
        return event

    @property
    def pending(self) -> bool:
        """Whether `next_event` has something to return."""
        if self._next is None:
            self._next = self.next_event()
        return self._next is not None
