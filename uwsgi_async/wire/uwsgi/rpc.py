"""Calls of functions in uwsgi packets of modifier1 173: bytes to calls and answers, and back. No I/O.

What lives here: `RpcCall`, its codecs, and `AnswerReader`. What does not: the packet around (`packet`), XML-RPC
(`wire.xmlrpc`), who calls whom (`peers`, `cores.rpc`). Source: uWSGI's core/rpc.c and plugins/rpc/rpc_plugin.c.

A call is an array: the name, then the arguments. The answer is a packet of modifier2 0 with the result, or, when that
has more bytes than a packet, one of modifier2 5 whose vars tell its CONTENT_LENGTH, and the result behind it. No
answer means that there is no such function, or that it gave nothing. As an extension of ours a call may have the
second form, too; real uWSGI knows no function of the name that it reads there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from uwsgi_async.errors import BadRequestError
from uwsgi_async.options.settings import PacketOptions
from uwsgi_async.wire.uwsgi.array import decode_array, encode_array
from uwsgi_async.wire.uwsgi.packet import MAX_PAYLOAD, MODIFIER_RPC, Packet, PacketReader, encode_packet
from uwsgi_async.wire.uwsgi.vars import decode_vars, encode_vars

RPC_PACKET: Final = 0  # answered with a packet
RPC_RAW: Final = 1  # answered with the result alone; so are all values that have no other meaning
RPC_HTTP: Final = 2  # the payload is the vars of a request, whose path is the call; answered with an HTTP response
RPC_XML: Final = 3  # the payload is the vars of a request, whose body is XML-RPC; so is the answer
RPC_LONG: Final = 5  # the vars tell the CONTENT_LENGTH of what follows

MAX_ARGUMENTS: Final = 254
LARGEST_CALL: Final = (MAX_ARGUMENTS + 1) * (2 + MAX_PAYLOAD)  # bytes

_LENGTH: Final = "CONTENT_LENGTH"
_DIGITS: Final = 18
_ROOMY: Final = PacketOptions(buffer_size=MAX_PAYLOAD)


@dataclass(frozen=True, slots=True)
class RpcCall:
    """Which function is called, and with what."""

    name: bytes
    arguments: tuple[bytes, ...] = ()


def encode_call(call: RpcCall) -> bytes:
    """Return the bytes of a call. Raises ValueError for more than 254 arguments, and one of more than 65535 bytes."""
    if len(call.arguments) > MAX_ARGUMENTS:
        raise ValueError(
            f"a function of another instance has at most {MAX_ARGUMENTS} arguments, not {len(call.arguments)}"
        )
    array = encode_array((call.name, *call.arguments))
    if len(array) <= MAX_PAYLOAD:
        return encode_packet(MODIFIER_RPC, RPC_PACKET, array)
    return _encode_long(array)


def decode_call(array: bytes) -> RpcCall:
    """Return the call of an array. Raises `BadRequestError` (400) for a malformed one."""
    items = decode_array(array, MAX_ARGUMENTS + 1)
    if not items:
        raise BadRequestError(400, "expected the name of a function, but the array is empty")
    return RpcCall(items[0], tuple(items[1:]))


def decode_path(path: str) -> RpcCall | None:
    """Return the call that a path such as /name/argument/argument is; None for a path without a name."""
    parts = [part.encode("latin-1") for part in path.split("/") if part]
    return RpcCall(parts[0], tuple(parts[1:])) if parts else None


def encode_result(result: bytes) -> bytes:
    """Return the bytes of an answer."""
    if len(result) <= MAX_PAYLOAD:
        return encode_packet(MODIFIER_RPC, RPC_PACKET, result)
    return _encode_long(result)


def decode_length(payload: bytes) -> int:
    """Return how many bytes follow a packet of `RPC_LONG`. Raises `BadRequestError` (400)."""
    text = decode_vars(payload).get(_LENGTH, "")
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS):
        raise BadRequestError(400, f"CONTENT_LENGTH must be a number of bytes, not {text[:40]!r}")
    return int(text)


class AnswerReader:
    """Reads the answer to one call, however its bytes were split. ``largest``: bytes of a result that is taken."""

    __slots__ = ("_largest", "_length", "_packets", "_parts", "_received")

    def __init__(self, largest: int) -> None:
        self._packets = PacketReader(_ROOMY)
        self._largest = largest
        self._length: int | None = None  # None: the packet has not come yet
        self._parts: list[bytes] = []
        self._received = 0

    def __repr__(self) -> str:
        return f"<AnswerReader {self._received} of {'?' if self._length is None else self._length} bytes>"

    @property
    def has_begun(self) -> bool:
        """Whether any byte has come: if none has before the end, there is no answer."""
        return self._length is not None or not self._packets.idle

    def receive_data(self, data: bytes) -> bytes | None:
        """Take the next bytes; return the result when it is complete, else None.

        Raises `BadRequestError` for what is no answer to a call, and (413) as soon as one is announced that is too
        large.
        """
        if self._length is None:
            self._packets.receive_data(data)
            packet = self._packets.next_packet()
            if packet is None:
                return None
            data = self._begin(packet)
        assert self._length is not None
        self._parts.append(data)
        self._received += len(data)
        return b"".join(self._parts)[: self._length] if self._received >= self._length else None

    def _begin(self, packet: Packet) -> bytes:
        """Take note of how much is to come; return what has come of it already."""
        if packet.modifier1 != MODIFIER_RPC or packet.modifier2 not in (RPC_PACKET, RPC_LONG):
            raise BadRequestError(
                400, f"expected the answer to a call, but modifiers {packet.modifier1}, {packet.modifier2} came"
            )
        is_long = packet.modifier2 == RPC_LONG
        self._length = decode_length(packet.payload) if is_long else len(packet.payload)
        if self._length > self._largest:
            raise BadRequestError(
                413, f"a result of {self._length} bytes is larger than {self._largest} (option rpc-max-size)"
            )
        return self._packets.take_rest() if is_long else packet.payload


def _encode_long(data: bytes) -> bytes:
    return encode_packet(MODIFIER_RPC, RPC_LONG, encode_vars({_LENGTH: str(len(data))})) + data
