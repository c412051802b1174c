"""Messages of the uwsgi protocol to other servers, with any modifiers, and what they answer.

What lives here: `encode_message`, `MessageAnswer`, `send_message`, `ask`. What does not: calls of functions (`calls`),
the packet (`wire.uwsgi`). uWSGI had them until 1.4. Source: plugins/python/uwsgi_pymodule.c and proto/uwsgi.c of uWSGI
1.4.10.
"""

from __future__ import annotations

import marshal
import socket
from collections.abc import AsyncIterable, Mapping
from typing import Any, Final

from uwsgi_async.errors import NodeGoneError
from uwsgi_async.options.settings import PacketOptions
from uwsgi_async.peers.sockets import PeerAnswer, PeerSocket, answers_of
from uwsgi_async.wire.uwsgi import HEADER_SIZE, MAX_PAYLOAD, PacketReader, encode_packet, encode_vars

_HTTP: Final = ord("H")  # an answer that begins with it is an HTTP response, not a packet
_ROOMY: Final = PacketOptions(buffer_size=MAX_PAYLOAD)


def encode_message(modifier1: int, modifier2: int, message: Any) -> bytes:
    """Return the packet of a message: vars for a mapping, bytes as they are, str in UTF-8, all else by `marshal`.

    Of a mapping what is no text is left out, as in uWSGI: an environ has much of that. Raises ValueError for what no
    packet can carry.
    """
    if isinstance(message, Mapping):
        payload = encode_vars(_texts(message))
    elif isinstance(message, str):
        payload = message.encode()
    else:
        payload = message if isinstance(message, bytes) else marshal.dumps(message)
    return encode_packet(modifier1, modifier2, payload)


class MessageAnswer(PeerAnswer):
    """The answer to a message, as it comes: what is in the packet, or a whole HTTP response.

    ``async for chunk in answer``; then, or by `aclose`, the connection is closed that was opened for it. Raises
    `NodeGoneError` when it is cut, and `NodeTimeoutError`.
    """

    def __init__(self, peer: PeerSocket) -> None:
        super().__init__(peer)
        self._head = b""
        self._left: int | None = None  # bytes of the packet; None: until the end of the stream
        self._begun = False

    def __repr__(self) -> str:
        return f"<MessageAnswer of {self._peer!r}>"

    def __aiter__(self) -> MessageAnswer:
        return self

    async def __anext__(self) -> bytes:
        chunk = b""
        try:
            chunk = await self._next()
        finally:
            if not chunk:  # the end, or an error
                self.close()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def _next(self) -> bytes:
        """Return what comes next; b"" at the end."""
        if self._peer is None:
            return b""
        if not self._begun:
            chunk = await self._begin(self._peer)
            if chunk:
                return chunk
        if self._left is None:
            return await self._peer.receive() if self._begun else b""
        if self._left == 0:
            return b""
        chunk = await self._peer.receive(self._left)
        if not chunk:
            raise NodeGoneError(f"the answer ended {self._left} bytes too soon")
        self._left -= len(chunk)
        return chunk

    async def _begin(self, peer: PeerSocket) -> bytes:
        """Read the header; return it if it is the beginning of an HTTP response."""
        while len(self._head) < HEADER_SIZE:
            data = await peer.receive(HEADER_SIZE - len(self._head))
            if not data:
                if self._head:
                    raise NodeGoneError("the answer ended in its header")
                return b""
            self._head += data
        self._begun = True
        if self._head[0] == _HTTP:
            return self._head
        self._left = int.from_bytes(self._head[1:3], "little")
        return b""


async def send_message(peer: PeerSocket, data: bytes, body: AsyncIterable[bytes] | None = None) -> MessageAnswer:
    """Send a packet, and the body behind it; return what will be answered, which the caller closes.

    Raises `NodeGoneError` and `NodeTimeoutError`; the connection is the caller's then.
    """
    await peer.send(data)
    if body is not None:
        async for chunk in body:
            await peer.send(chunk)
    return MessageAnswer(peer)


async def ask(address: str, data: bytes, timeout: float | None) -> bytes:
    """Send a packet to an address, and return the payload of the packet that is answered; b"" when none is.

    Raises what `PeerSocket` raises, and `NodeGoneError` for an answer that is cut.
    """
    reader = PacketReader(_ROOMY)
    with await PeerSocket.open(address, timeout) as peer:
        await peer.send(data)
        while received := await peer.receive():
            reader.receive_data(received)
            with answers_of(address):
                packet = reader.next_packet()
            if packet is not None:
                return packet.payload
    if not reader.idle:
        raise NodeGoneError(f"{address} closed the connection in the middle of an answer")
    return b""


def pass_fd(fd: int, data: bytes, passed: int) -> None:
    """Send a packet over the UNIX socket ``fd``, and with it another fd. Raises OSError."""
    sock = socket.socket(fileno=fd)
    try:
        sent = socket.send_fds(sock, [data[:HEADER_SIZE]], [passed])
        if sent != HEADER_SIZE:
            raise NodeGoneError("the header of the packet was not taken at once")
        sock.sendall(data[HEADER_SIZE:])
    finally:
        sock.detach()


def _texts(message: Mapping[Any, Any]) -> dict[str, str]:
    texts = {}
    for key, value in message.items():
        if isinstance(key, str | bytes) and isinstance(value, str | bytes) and key:
            texts[_latin(key)] = _latin(value)
    return texts


def _latin(text: str | bytes) -> str:
    """Return text in which each character is a byte: that of an environ is so already (PEP 3333)."""
    if isinstance(text, bytes):
        return text.decode("latin-1")
    return text if text.isascii() or max(text) <= "\xff" else text.encode().decode("latin-1")
