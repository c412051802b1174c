"""Frames to events and messages to frames, behind the handshake. No I/O.

What lives here: `FrameReader`, over wsproto's `Connection`, the events that it gives, `read_whole`, which is a short
way for short messages, and `encode_message` with its kin. What does not: the payload of messages (`payload`), when
something is sent or answered (`cores.websocket`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import wsproto.events
from wsproto.connection import Connection, ConnectionState, ConnectionType

from uwsgi_async.wire.websocket.payload import Payload, deflated

NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
"""Codes that stand in no frame: a close frame without a code, and an end without a close frame (RFC 6455, 7.4.1)."""

_BAD_DATA, _TOO_BIG = 1007, 1009
_REASONS = {_TOO_BIG: "message too big", _BAD_DATA: "invalid data"}
_MAY_BE_SENT = (range(1000, 1004), range(1007, 1015), range(3000, 5000))
_LONGEST_REASON = 123  # bytes
_FIN, _COMPRESSED = 0x80, 0x40
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_WHOLE = (_FIN | _TEXT, _FIN | _BINARY)
_MASKED = 0x80
_TWO_BYTES = 126  # in the place of a length: it is in the next two bytes
_SHORTEST = 6  # bytes of a client's frame: two, and the mask
_LONGEST_WHOLE = 4096  # bytes; beyond that a reader is as fast


class Ping(NamedTuple):
    """The client asks whether we live; it wants a pong with the same payload."""

    payload: bytes


class Pong(NamedTuple):
    """The client lives."""

    payload: bytes


class Close(NamedTuple):
    """The client ends the websocket, or (``failed``) it has broken the protocol, and we must end it.

    ``code`` and ``reason``: what the client said, 1005 for nothing; if it has failed what it is to be told.
    """

    code: int
    reason: str
    failed: bool


Event = str | bytes | Ping | Pong | Close
"""A whole message, text or binary, or a control frame."""


class FrameReader:
    """Reads a client's frames. Between two messages it holds nothing of them, and may go to another connection.

    ``max_size``: bytes of the largest message. ``compressed``: messages may be; set it with each new connection.
    """

    __slots__ = ("_connection", "_events", "_parts", "_payload")

    def __init__(self, max_size: int, compressed: bool = False) -> None:
        self._payload = Payload(max_size, compressed)
        self._connection = Connection(ConnectionType.SERVER, [self._payload])
        self._events: Iterator[wsproto.events.Event] | None = None
        self._parts: list[Any] = []  # of one message: all str or all bytes

    @property
    def compressed(self) -> bool:
        return self._payload.compressed

    @compressed.setter
    def compressed(self, compressed: bool) -> None:
        self._payload.compressed = compressed

    def receive_data(self, data: bytes) -> None:
        """Take bytes that came over the connection. After a `Close` there is nothing more to take."""
        self._connection.receive_data(data)

    def next_event(self) -> Event | None:
        """Return the next event, None when more bytes are needed. Nothing is decoded before it is asked for."""
        if self._events is None:
            self._events = self._connection.events()
        for event in self._events:
            if isinstance(event, (wsproto.events.TextMessage, wsproto.events.BytesMessage)):
                message = self._message(event)
                if message is not None:
                    return message
            elif isinstance(event, wsproto.events.Ping):
                return Ping(bytes(event.payload))
            elif isinstance(event, wsproto.events.Pong):
                return Pong(bytes(event.payload))
            elif isinstance(event, wsproto.events.CloseConnection):
                return self._close(event)
        self._events = None
        return None

    def _message(self, event: wsproto.events.TextMessage | wsproto.events.BytesMessage) -> str | bytes | None:
        """Return the message that is complete with this part of it, else None."""
        data = bytes(event.data) if isinstance(event.data, bytearray) else event.data
        if event.message_finished and not self._parts:
            return data
        self._parts.append(data)
        if not event.message_finished:
            return None
        parts, self._parts = self._parts, []
        return "".join(parts) if isinstance(data, str) else b"".join(parts)  # wsproto does not mix them

    def _close(self, event: wsproto.events.CloseConnection) -> Close:
        failed = self._connection.state is ConnectionState.OPEN
        code = int(event.code)
        reason = _REASONS.get(code, event.reason) if failed else event.reason
        return Close(code, reason or "", failed)


def read_whole(data: bytes, max_size: int) -> str | bytes | None:
    """Return the message if ``data`` is one short frame that is a whole message, else None: then a reader must tell.

    Most messages come so, and this takes a tenth of a reader's time. ``data`` must begin with a frame, outside of a
    message. Whatever is not as it should be is None, too.
    """
    if len(data) < _SHORTEST or data[0] not in _WHOLE:
        return None
    size, start = data[1] - _MASKED, 6
    if size == _TWO_BYTES and len(data) >= 8:
        size, start = data[2] << 8 | data[3], 8
        if size < _TWO_BYTES:
            return None  # RFC 6455, 5.2: the length must have its shortest form
    elif not 0 <= size < _TWO_BYTES:
        return None
    if len(data) != start + size or size > min(_LONGEST_WHOLE, max_size):
        return None
    mask = data[start - 4 : start] * (size // 4 + 1)
    payload = (int.from_bytes(data[start:]) ^ int.from_bytes(mask[:size])).to_bytes(size)
    if data[0] == _FIN | _BINARY:
        return payload
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return None


def encode_message(message: str | bytes, window_bits: int | None = None) -> bytes:
    """Return a text message (str) or a binary one as a frame. Raises UnicodeEncodeError for text without UTF-8.

    ``window_bits``: compress it if that is worth it, for a client that looks back so far; None: it stays as it is.
    """
    if isinstance(message, str):
        opcode, payload = _TEXT, message.encode()
    else:
        opcode, payload = _BINARY, message
    if window_bits is not None:
        smaller = deflated(payload, window_bits)
        if smaller is not None:
            return _frame(_COMPRESSED | opcode, smaller)
    return _frame(opcode, payload)


def encode_ping() -> bytes:
    return _frame(_PING, b"")


def encode_pong(payload: bytes) -> bytes:
    return _frame(_PONG, payload)


def encode_close(code: int, reason: str = "") -> bytes:
    """Return a close frame; 1005 is one without a code. A reason of more than 123 bytes is cut."""
    if code == NO_STATUS:
        return _frame(_CLOSE, b"")
    text = reason.encode(errors="replace")
    if len(text) > _LONGEST_REASON:
        text = text[:_LONGEST_REASON].decode(errors="ignore").encode()
    return _frame(_CLOSE, struct.pack("!H", code) + text)


def check_close_code(code: int) -> None:
    """Raise ValueError for a code that no close frame may have (RFC 6455, 7.4)."""
    if not any(code in codes for codes in _MAY_BE_SENT):
        raise ValueError(f"a websocket can be closed with 1000 to 1003, 1007 to 1014 or 3000 to 4999, not {code}")


def _frame(first: int, payload: bytes) -> bytes:
    """Return one whole frame of a server's: never masked (RFC 6455, 5.1). ``first``: opcode and reserved bits."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | first, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", _FIN | first, 126, size) + payload
    return struct.pack("!BBQ", _FIN | first, 127, size) + payload
