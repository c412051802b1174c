"""A blocking websocket client, for servers in processes of their own: parity, nginx, the examples."""

from __future__ import annotations

import socket
from types import TracebackType

from tests.websockets.client import CLOSE, PING, PONG, TEXT, Frame, close_payload, frame, handshake
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

PATIENCE = 20.0  # seconds


class PlainClient:
    """One connection to a port of this machine. ``head``: the server's answer to the handshake."""

    def __init__(self, port: int, path: str = "/", more: str = "", *, request: bytes | None = None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._buffer = b""
        self.sock.sendall(handshake(path, more=more) if request is None else request)
        while b"\r\n\r\n" not in self._buffer:
            self._fill()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        self.head = head.decode("latin-1").split("\r\n")

    def __enter__(self) -> PlainClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.sock.close()

    def header(self, name: str) -> str | None:
        """Return the value of a field of the answer."""
        for line in self.head[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name.lower():
                return value.strip()
        return None

    def send(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))

    def say(self, text: str) -> None:
        """Send a text message."""
        self.send(frame(TEXT, text.encode()))

    def next(self) -> Frame | None:
        """Return the next frame; None at the end of the connection."""
        try:
            self._need(2)
            size, start = self._buffer[1] & 127, 2
            if size >= 126:
                start = 4 if size == 126 else 10
                self._need(start)
                size = int.from_bytes(self._buffer[2:start])
            self._need(start + size)
        except (EOFError, ConnectionError):
            return None
        found = Frame(self._buffer[0], self._buffer[start : start + size])
        self._buffer = self._buffer[start + size :]
        return found

    def text(self) -> str:
        """Return the next frame that is no ping; it must be a text message."""
        while (found := self.next()) is not None and found.opcode == PING:
            self.send(frame(PONG, found.payload))
        assert found is not None, "the server has closed"
        assert found.first == 0x80 | TEXT, found
        return found.payload.decode()

    def leave(self, code: int = 1000) -> Frame | None:
        """Send a close frame, and return the server's, None if there was none."""
        self.send(frame(CLOSE, close_payload(code)))
        return self.end()

    def end(self) -> Frame | None:
        """Return the server's close frame; None if the connection ends without one."""
        while (found := self.next()) is not None and found.opcode != CLOSE:
            pass
        return found

    def _need(self, size: int) -> None:
        while len(self._buffer) < size:
            self._fill()

    def _fill(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data


def uwsgi_handshake(path: str) -> bytes:
    """Return what nginx sends for a websocket with ``uwsgi_pass``."""
    fields = dict(line.split(": ") for line in handshake(path).decode().split("\r\n")[1:] if line)
    vars = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in fields.items()}
    vars |= {"REQUEST_METHOD": "GET", "REQUEST_URI": path, "PATH_INFO": path, "QUERY_STRING": ""}
    return encode_packet(0, 0, encode_vars({**vars, "SERVER_PROTOCOL": "HTTP/1.1", "CONTENT_LENGTH": ""}))
