"""The uwsgi packet: bytes in, packets out. No I/O, no meaning of the payload.

A packet is ``u8 modifier1, u16 little-endian size, u8 modifier2`` and then ``size`` bytes of payload.
What lives here: `Packet`, `PacketReader`, `encode_packet` and the modifiers' names.
What does not: the request variables in a payload (`vars.py`); sockets (`cores`); what a modifier does (`handlers`).
"""

import struct
from dataclasses import dataclass
from typing import Final

from uwsgi_async.errors import BadRequestError
from uwsgi_async.options.settings import PacketOptions

MODIFIER_WSGI: Final = 0  # a request for the WSGI app; its payload is vars
MODIFIER_SPOOL: Final = 17  # a task for the spooler; its payload is vars
MODIFIER_WSGI_PATH_INFO: Final = 30  # as MODIFIER_WSGI; SCRIPT_NAME is to be cut off PATH_INFO
MODIFIER_PING: Final = 100  # is the server alive? The answer has the same modifier
MODIFIER_SIGNAL: Final = 110  # raise the uwsgi signal whose number is modifier2
MODIFIER_CACHE: Final = 111  # a command for the cache, told by modifier2
MODIFIER_RPC: Final = 173  # call a registered function; the payload is an array
MODIFIER_ANSWER: Final = 255  # the answer to MODIFIER_SPOOL and MODIFIER_SIGNAL: modifier2 is 1 for done, 0 for refused

HEADER_SIZE: Final = 4  # bytes
MAX_PAYLOAD: Final = 0xFFFF  # bytes

_HEADER = struct.Struct("<BHB")


@dataclass(frozen=True, slots=True)
class Packet:
    """One uwsgi packet. Both modifiers are ints of 0 to 255, ``payload`` has at most `MAX_PAYLOAD` bytes."""

    modifier1: int
    modifier2: int
    payload: bytes


class PacketReader:
    """Cuts packets off a stream of bytes, however the stream was split.

    Once a method has raised `BadRequestError`, the stream is out of step and the reader is of no further use.
    """

    __slots__ = ("_buffer", "_max")

    def __init__(self, options: PacketOptions) -> None:
        self._max = options.buffer_size
        self._buffer = bytearray()

    def __repr__(self) -> str:
        return f"<PacketReader {len(self._buffer)} bytes buffered>"

    @property
    def idle(self) -> bool:
        """True when no byte is buffered: a connection that ends now was cut nowhere."""
        return not self._buffer

    def receive_data(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._buffer += data

    def next_packet(self) -> Packet | None:
        """Return the next packet, or None: more bytes are needed.

        Raises `BadRequestError` (413) as soon as the header announces more than ``buffer_size`` bytes of payload.
        """
        buffer = self._buffer
        if len(buffer) < HEADER_SIZE:
            return None
        modifier1, size, modifier2 = _HEADER.unpack_from(buffer)
        if size > self._max:
            raise BadRequestError(413, f"invalid request block size: {size} (max {self._max})")
        end = HEADER_SIZE + size
        if len(buffer) < end:
            return None
        payload = bytes(buffer[HEADER_SIZE:end])
        del buffer[:end]
        return Packet(modifier1, modifier2, payload)

    def take_rest(self) -> bytes:
        """Return the bytes behind the packets returned so far, and forget them: the beginning of a request's body."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


def encode_packet(modifier1: int, modifier2: int, payload: bytes = b"") -> bytes:
    """Return the packet's bytes.

    Raises ValueError for a modifier outside 0 to 255 and a payload of more than `MAX_PAYLOAD` bytes.
    """
    if not (0 <= modifier1 <= 255 and 0 <= modifier2 <= 255):
        raise ValueError(f"modifiers are 0 to 255, not {modifier1} and {modifier2}")
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a uwsgi packet carries at most {MAX_PAYLOAD} bytes, not {len(payload)}")
    return _HEADER.pack(modifier1, len(payload), modifier2) + payload
