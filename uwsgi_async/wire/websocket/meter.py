"""Where frames and messages end in the bytes of a connection.

What lives here: `FrameMeter`, which reads lengths and nothing else. What does not: what is in a frame (`frames`). It is
asked two things. How many bytes to take so that no more than one frame is taken: an app that watches the descriptor of
its websocket, as uWSGI's examples do, must find it readable as long as a message waits. uWSGI takes a page at once, and
its app sleeps beside messages that have come. And whether all that came was whole: then nothing of this connection is
left in its parser.
"""

from __future__ import annotations

_SMALLEST = 6  # bytes of a client's frame: two, and the mask
_LENGTH_BYTES = {126: 2, 127: 8}
_MOST = 64 * 1024
_FIN, _MASKED, _CONTROL = 0x80, 0x80, 0x08


class FrameMeter:
    """Follows the frames of one connection from its first byte on. ``in_message``: fragments are still to come."""

    __slots__ = ("_head", "_left", "in_message")

    def __init__(self) -> None:
        self._head = b""  # of a frame, as far as it has come
        self._left = 0  # bytes of the payload that are still to come
        self.in_message = False

    @property
    def at_rest(self) -> bool:
        """Whether what has come ends with the end of a message, or of a control frame outside of one."""
        return not (self._left or self._head or self.in_message)

    @property
    def wanted(self) -> int:
        """The bytes to take next, never 0, so that those of the next frame stay where they are."""
        if self._left:
            return min(self._left, _MOST)
        return max(_head_size(self._head), _SMALLEST) - len(self._head)

    def take(self, data: bytes) -> None:
        """Note what was taken."""
        position, size = 0, len(data)
        while position < size:
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                position += step
            else:
                position = self._take_head(data, position)

    def _take_head(self, data: bytes, position: int) -> int:
        """Take the rest of a head, or as much of it as is there; return the position behind it."""
        start = position - len(self._head)
        head = self._head + data[position : position + 14 - len(self._head)]
        size = _head_size(head)
        if len(head) < size:
            self._head = head
            return len(data)
        first, short = head[0], head[1] & 0x7F
        length_bytes = _LENGTH_BYTES.get(short, 0)
        self._head = b""
        self._left = int.from_bytes(head[2 : 2 + length_bytes]) if length_bytes else short
        if not first & _CONTROL:
            self.in_message = not first & _FIN
        return start + size


def _head_size(head: bytes) -> int:
    """Return the bytes that a head has, as far as it tells by now."""
    if len(head) < 2:
        return 2
    return 2 + _LENGTH_BYTES.get(head[1] & 0x7F, 0) + (4 if head[1] & _MASKED else 0)
