"""The language of epmd, Erlang's port mapper: where a node listens, and that this one does.

What lives here: requests to bytes, bytes to answers; no I/O (`naming`). Source: Erlang's "Distribution Protocol"
(erl_dist_protocol), "EPMD Protocol".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from uwsgi_async.errors import ErlangError, NodeDownError

PORT: Final = 4369
LONGEST_ANSWER: Final = 64 << 10  # bytes
VERSION: Final = 6  # of the distribution protocol, which OTP 23 and later speak

_ALIVE2: Final = 120
_ALIVE2_ANSWER: Final = 121
_ALIVE2_X_ANSWER: Final = 118
_PORT_PLEASE2: Final = 122
_PORT2_ANSWER: Final = 119
_HIDDEN: Final = 72
_TCP: Final = 0
_TAKEN: Final = 1  # the one result but 0 that epmd gives


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node listens, and which versions of the distribution protocol it speaks."""

    port: int
    highest: int
    lowest: int


def encode_alive(alive: str, port: int) -> bytes:
    """Return the request to register the hidden node ``alive``, the part of its name before the @."""
    name = alive.encode()
    head = struct.pack(">BHBBHHH", _ALIVE2, port, _HIDDEN, _TCP, VERSION, VERSION, len(name))
    return _request(head + name + b"\0\0")


def decode_alive(data: bytes) -> int | None:
    """Return the creation, which tells this run of the node from the ones before; None: more bytes are needed.

    Raises `NodeDownError` when another node has the name, `ErlangError` for what is no answer.
    """
    if not data:
        return None
    if data[0] not in (_ALIVE2_ANSWER, _ALIVE2_X_ANSWER):
        raise ErlangError(f"epmd has answered with {data[0]}, not with {_ALIVE2_X_ANSWER}")
    size = 4 if data[0] == _ALIVE2_X_ANSWER else 2
    if len(data) > 1 and data[1]:
        raise NodeDownError("the name is taken: another node has registered it with epmd")
    if len(data) < 2 + size:
        return None
    return int.from_bytes(data[2 : 2 + size], "big")


def encode_port_please(alive: str) -> bytes:
    """Return the request for the address of the node ``alive`` of that host."""
    return _request(bytes([_PORT_PLEASE2]) + alive.encode())


def decode_port(data: bytes) -> NodeAddress | None:
    """Return the address of a node, given all that epmd has sent so far; None: more bytes are needed.

    Raises `NodeDownError` when there is no such node, `ErlangError` for what is no answer.
    """
    if not data:
        return None
    if data[0] != _PORT2_ANSWER:
        raise ErlangError(f"epmd has answered with {data[0]}, not with {_PORT2_ANSWER}")
    if len(data) > 1 and data[1]:
        raise NodeDownError("no node of that name is registered with epmd there")
    if len(data) < 10:
        return None
    port, kind, protocol, highest, lowest = struct.unpack_from(">HBBHH", data, 2)
    if protocol != _TCP:
        raise ErlangError(f"the node (of kind {kind}) speaks protocol {protocol}, not TCP")
    return NodeAddress(port, highest, lowest)


def _request(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data
