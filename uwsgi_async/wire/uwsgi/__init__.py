"""The uwsgi protocol, sans-IO: packets (`packet.py`) and the request variables in them (`vars.py`)."""

from uwsgi_async.wire.uwsgi.packet import (
    HEADER_SIZE,
    MAX_PAYLOAD,
    MODIFIER_ANSWER,
    MODIFIER_CACHE,
    MODIFIER_PING,
    MODIFIER_RPC,
    MODIFIER_SIGNAL,
    MODIFIER_SPOOL,
    MODIFIER_WSGI,
    MODIFIER_WSGI_PATH_INFO,
    Packet,
    PacketReader,
    encode_packet,
)
from uwsgi_async.wire.uwsgi.vars import decode_items, decode_vars, encode_items, encode_vars, parse_file

__all__ = [
    "HEADER_SIZE",
    "MAX_PAYLOAD",
    "MODIFIER_ANSWER",
    "MODIFIER_CACHE",
    "MODIFIER_PING",
    "MODIFIER_RPC",
    "MODIFIER_SIGNAL",
    "MODIFIER_SPOOL",
    "MODIFIER_WSGI",
    "MODIFIER_WSGI_PATH_INFO",
    "Packet",
    "PacketReader",
    "decode_items",
    "decode_vars",
    "encode_items",
    "encode_packet",
    "encode_vars",
    "parse_file",
]
