"""The payload of messages: counted and inflated on its way in, deflated on its way out (RFC 7692).

What lives here: `Payload`, an extension in wsproto's sense, and `deflated`. What does not: frames (`frames`), what is
agreed (`handshake`). Why not wsproto's own PerMessageDeflate: it inflates whatever comes to its end, so that a client's
64 KB become 64 MB before anybody can count them, and it compresses each message, also the shortest.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

if TYPE_CHECKING:
    from zlib import _Decompress

WORTH_COMPRESSING = 512
"""Bytes of the shortest message that is compressed: less is not worth the time, about 10 microseconds."""

_TAIL = b"\x00\x00\xff\xff"  # what each compressed message ends with, and is not sent (RFC 7692, 7.2.1)
_MIN_BITS, _MAX_BITS = 9, 15
_NONE = RsvBits(False, False, False)
_RSV1 = RsvBits(True, False, False)


class Payload(Extension):
    """Limits what a client sends to ``max_size`` bytes a message, and inflates it if it is ``compressed``.

    A message that is too large ends the websocket with 1009, one that cannot be inflated with 1007.
    """

    name = "payload"

    def __init__(self, max_size: int, compressed: bool) -> None:
        self.compressed = compressed
        self._max_size = max_size
        self._size = 0  # bytes of the message so far, as the app gets them
        self._in_message = False  # the current frame is a part of a message
        self._inflate: _Decompress | None = None  # of the current message, if it is compressed

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool:
        return False  # a client's side, which this is not

    def frame_inbound_header(
        self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._in_message = not opcode.iscontrol()
        begins = self._in_message and opcode is not Opcode.CONTINUATION
        if begins:
            self._size = 0
            self._inflate = zlib.decompressobj(-_MAX_BITS) if rsv.rsv1 and self.compressed else None
        if self._in_message and self._inflate is None and self._size + payload_length > self._max_size:
            return CloseReason.MESSAGE_TOO_BIG
        return _RSV1 if begins and self.compressed else _NONE

    def frame_inbound_payload_data(self, proto: Any, data: bytes) -> bytes | CloseReason:
        if not self._in_message:
            return data
        if self._inflate is not None:
            return self._inflated(self._inflate, data)
        self._size += len(data)
        return data

    def frame_inbound_complete(self, proto: Any, fin: bool) -> bytes | CloseReason | None:
        if not fin or not self._in_message:
            return None
        inflate, self._inflate = self._inflate, None
        rest = None if inflate is None else self._inflated(inflate, _TAIL)
        self._size = 0
        return rest

    def _inflated(self, inflate: _Decompress, data: bytes) -> bytes | CloseReason:
        room = self._max_size - self._size
        try:
            data = inflate.decompress(data, room + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        if len(data) > room:
            return CloseReason.MESSAGE_TOO_BIG
        self._size += len(data)
        return data


def deflated(payload: bytes, window_bits: int) -> bytes | None:
    """Return ``payload`` compressed by itself; None when it is too short for that.

    ``window_bits``: the logarithm of how far the client can look back, 9 to 15.
    """
    if len(payload) < WORTH_COMPRESSING:
        return None
    # A window beyond the message would only cost memory, and the time to clear it.
    bits = min(window_bits, max(_MIN_BITS, len(payload).bit_length()))
    deflate = zlib.compressobj(wbits=-bits)
    return deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]
