"""Websockets, sans-IO: the opening handshake, frames to messages and back, and where a frame ends.

The frames themselves are wsproto's. RFC 6455; RFC 7692 (permessage-deflate).
"""

from uwsgi_async.wire.websocket.frames import ABNORMAL, Close, Event, Frames, Ping, Pong, check_close_code
from uwsgi_async.wire.websocket.handshake import (
    VERSION,
    Deflate,
    accept_token,
    check_handshake,
    negotiate_deflate,
    offers_websocket,
    subprotocols,
)
from uwsgi_async.wire.websocket.meter import FrameMeter

__all__ = [
    "ABNORMAL",
    "VERSION",
    "Close",
    "Deflate",
    "Event",
    "FrameMeter",
    "Frames",
    "Ping",
    "Pong",
    "accept_token",
    "check_close_code",
    "check_handshake",
    "negotiate_deflate",
    "offers_websocket",
    "subprotocols",
]
