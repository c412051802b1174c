"""Where a frame ends in the bytes of a connection, so that no more of them is taken than one frame.

What lives here: `FrameMeter`. What does not: what is in a frame (`frames`). An app that watches the file descriptor of
its websocket, as uWSGI's examples do, must find it readable as long as a message waits. So what was not asked for has
to stay in the kernel. uWSGI takes a page at once, and its app sleeps beside messages that have come.
"""

from __future__ import annotations

_SMALLEST = 6  # bytes of a client's frame: two, and the mask
_LENGTH_BYTES = {126: 2, 127: 8}
_MOST = 64 * 1024


class FrameMeter:
    """Follows the frames of one connection from its first byte on. ``wanted``: bytes to take next, never 0."""

    __slots__ = ("_head", "_left", "wanted")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0  # bytes of the payload
        self.wanted = _SMALLEST

    def take(self, data: bytes) -> None:
        """Note what was taken: ``wanted`` bytes at most."""
        if self._left:
            self._left -= len(data)
        else:
            self._head += data
            missing = self._missing()
            if missing > 0:
                self.wanted = missing
                return
        if not self._left:
            self._head, self.wanted = b"", _SMALLEST
        else:
            self.wanted = min(self._left, _MOST)

    def _missing(self) -> int:
        """Return how many bytes the head still needs; note how long the payload is when it needs none."""
        head = self._head
        if len(head) < _SMALLEST:
            return _SMALLEST - len(head)
        masked, short = head[1] & 0x80, head[1] & 0x7F
        length_bytes = _LENGTH_BYTES.get(short, 0)
        size = 2 + length_bytes + (4 if masked else 0)
        if len(head) < size:
            return size - len(head)
        length = int.from_bytes(head[2 : 2 + length_bytes]) if length_bytes else short
        self._left = max(size + length - len(head), 0)
        return 0
