"""What apps hand in as messages and data: str (as UTF-8), bytes, and whatever is like bytes."""

from __future__ import annotations

Data = str | bytes | bytearray | memoryview


def to_bytes(data: Data) -> bytes:
    """Return ``data`` as bytes. Raises TypeError for what has none."""
    if type(data) is bytes:
        return data
    if isinstance(data, str):
        return data.encode()
    return bytes(memoryview(data))
