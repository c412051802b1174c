"""One websocket behind its handshake: bytes to events, messages to bytes. No I/O.

What lives here: `Frames`, over wsproto's `Connection`, and the events that it gives. What does not: the payload of
messages (`payload`), when something is sent or answered (`cores.websocket`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import wsproto.events
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.frame_protocol import CloseReason

from uwsgi_async.wire.websocket.handshake import Deflate
from uwsgi_async.wire.websocket.payload import Payload

NO_STATUS, ABNORMAL = 1005, 1006
"""Codes that stand in no frame: a close frame without a code, and an end without a close frame (RFC 6455, 7.4.1)."""

PROTOCOL_ERROR, BAD_DATA, TOO_BIG = 1002, 1007, 1009

_REASONS = {TOO_BIG: "message too big", BAD_DATA: "invalid data"}
_MAY_BE_SENT = (range(1000, 1004), range(1007, 1015), range(3000, 5000))


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


def check_close_code(code: int) -> None:
    """Raise ValueError for a code that no close frame may have (RFC 6455, 7.4)."""
    if not any(code in codes for codes in _MAY_BE_SENT):
        raise ValueError(f"a websocket can be closed with 1000 to 1003, 1007 to 1014 or 3000 to 4999, not {code}")


class Frames:
    """The server's end of a websocket; a state machine.

    ``max_size``: bytes of the largest message that a client may send. ``deflate``: what was agreed about compression.
    """

    __slots__ = ("_connection", "_events", "_parts")

    def __init__(self, max_size: int, deflate: Deflate | None = None) -> None:
        payload = Payload(max_size, None if deflate is None else deflate.window_bits)
        self._connection = Connection(ConnectionType.SERVER, [payload])
        self._events: Iterator[wsproto.events.Event] | None = None
        self._parts: list[Any] = []  # of one message: all str or all bytes

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

    def encode(self, message: str | bytes) -> bytes:
        """Return a text message or a binary one as a frame. Raises UnicodeEncodeError for text without UTF-8."""
        if isinstance(message, str):
            return self._connection.send(wsproto.events.TextMessage(data=message))
        return self._connection.send(wsproto.events.BytesMessage(data=message))

    def ping(self) -> bytes:
        return self._connection.send(wsproto.events.Ping())

    def pong(self, payload: bytes) -> bytes:
        return self._connection.send(wsproto.events.Pong(payload=payload))

    def close(self, code: int, reason: str) -> bytes:
        """Return the close frame that begins or answers the end. A long reason is cut; 1005 is no code at all."""
        sent = CloseReason.NO_STATUS_RCVD if code == NO_STATUS else code  # wsproto compares by identity
        return self._connection.send(wsproto.events.CloseConnection(code=sent, reason=reason or None))

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
        failed = self._connection.state in (ConnectionState.OPEN, ConnectionState.LOCAL_CLOSING)
        code = int(event.code)
        reason = _REASONS.get(code, event.reason) if failed else event.reason
        return Close(code, reason or "", failed)
