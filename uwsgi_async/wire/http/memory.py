"""`HeadMemory`: the last good heads of a listener, because a keep-alive client sends the same bytes again and again.

What lives here: what is remembered, and how much of it at most. What does not: judging heads (`reader`).
"""

from uwsgi_async.wire.http.head import RequestHead

MAX_HEADS = 128
MAX_HEAD_BYTES = 1024
MAX_VARS = 48
"""With all three limits a memory takes about two megabytes when clients try to fill it, far less in real life."""


class HeadMemory:
    """Verdicts on heads without a body, by their bytes and the peer's address."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[tuple[bytes, str], RequestHead] = {}

    def __len__(self) -> int:
        return len(self._heads)

    def recall(self, raw: bytes, peer: str) -> RequestHead | None:
        """Return the head that ``peer`` has sent in the same bytes before; None if it is not remembered."""
        if len(raw) > MAX_HEAD_BYTES:
            return None  # not even looked up: hashing the first bytes of a body costs more than reading it
        return self._heads.get((raw, peer))

    def remember(self, raw: bytes, peer: str, head: RequestHead) -> None:
        """Keep ``head`` if it is small enough and has no body; its vars are shared from now on."""
        if head.content_length != 0 or len(raw) > MAX_HEAD_BYTES or len(head.vars) > MAX_VARS:
            return
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()  # those that still come are back in a moment
        head.vars.shared = True
        self._heads[raw, peer] = head
