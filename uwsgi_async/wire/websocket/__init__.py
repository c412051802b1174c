"""Websockets, sans-IO: the opening handshake, frames to messages and back, and where a frame ends.

The frames themselves are wsproto's. RFC 6455; RFC 7692 (permessage-deflate).
"""

from uwsgi_async.wire.websocket.frames import (
    ABNORMAL,
    Close,
    Event,
    Ping,
    Pong,
    check_close_code,
    encode_close,
    encode_message,
    encode_ping,
    encode_pong,
)
from uwsgi_async.wire.websocket.handshake import (
    VERSION,
    Deflate,
    accept_token,
    check_handshake,
    negotiate_deflate,
    offers_websocket,
    subprotocols,
)
from uwsgi_async.wire.websocket.inbox import Inbox, Readers

__all__ = [
    "ABNORMAL",
    "VERSION",
    "Close",
    "Deflate",
    "Event",
    "Inbox",
    "Ping",
    "Pong",
    "Readers",
    "accept_token",
    "check_close_code",
    "check_handshake",
    "encode_close",
    "encode_message",
    "encode_ping",
    "encode_pong",
    "negotiate_deflate",
    "offers_websocket",
    "subprotocols",
]
