"""A task as bytes, and back: one uwsgi packet of modifier1 17, and the body behind it. No I/O.

What lives here: `Task`, its codec, and the keys that mean something to the spooler. What does not: files (`writing`,
`claiming`), their names (`names`), what a task is run with (`runner`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from uwsgi_async.errors import BadRequestError, StoreError
from uwsgi_async.wire.uwsgi import HEADER_SIZE, MAX_PAYLOAD, MODIFIER_SPOOL, decode_items, encode_items, encode_packet

AT: Final = b"at"  # unix seconds, before which the task is not run
PRIORITY: Final = b"priority"  # a whole number; 0 comes first, tasks without one last
SPOOLER: Final = b"spooler"  # which spooler: its directory, or its number
BODY: Final = b"body"

# Ours; real uWSGI takes no notice of them and hands them to the task like any other key.
UNIQUE: Final = b"spooler_unique"  # at most one task with this value waits or runs
TIMEOUT: Final = b"spooler_timeout"  # seconds that the task may take
RETRIES: Final = b"spooler_retries"  # how often it is tried again; instead of the option

SPECIAL: Final = frozenset({AT, PRIORITY, UNIQUE, TIMEOUT, RETRIES})
"""The keys that say how a task is written, or how it is run; most tasks have none of them."""

_MEANINGFUL: Final = SPECIAL | {SPOOLER, BODY}
_SIZES: Final = tuple(size.to_bytes(2, "little") for size in range(256))

_DECORATED: Final = b"ud_spool_ret"  # what the decorators of uwsgidecorators.py make of each run
_FOREVER: Final = b"-1"


class Task(NamedTuple):
    """What a task file holds. ``fields`` are never changed. ``body``: b"" is none."""

    fields: Mapping[bytes, bytes]
    body: bytes = b""

    @property
    def forever(self) -> bool:
        """Whether the task asks for another run after each one (the decorator spoolforever)."""
        return self.fields.get(_DECORATED) == _FOREVER

    @property
    def timeout(self) -> float | None:
        """The seconds that it may take by its own account; None: it does not say."""
        return _positive(self.fields.get(TIMEOUT))

    @property
    def retries(self) -> int | None:
        """How often it is to be tried again by its own account; None: it does not say."""
        text = self.fields.get(RETRIES)
        return int(text) if text is not None and text.isdigit() and len(text) < _DIGITS else None


_DIGITS: Final = 18  # of a number that somebody has written


def encode_task(task: Task) -> bytes:
    """Return the content of the task's file.

    Raises ValueError for an empty key, a key or value of more than 65535 bytes, and for all together beyond that,
    4 bytes more for each: what is larger belongs into the body.
    """
    packet = encode_packet(MODIFIER_SPOOL, 0, encode_items(task.fields))
    return packet + task.body


def encode_plain(fields: dict[Any, Any]) -> bytes | None:
    """Return what `encode_task` returns for fields as an app gives them; None for any but a plain task.

    A plain task has keys without a meaning only, and all of its keys and values are short, and str or bytes.
    """
    parts: list[bytes] = []
    for key, value in fields.items():
        if type(key) is str:
            key = key.encode()
        if type(value) is str:
            value = value.encode()
        if type(key) is not bytes or type(value) is not bytes or key in _MEANINGFUL:
            return None
        if not 0 < len(key) < len(_SIZES) > len(value):
            return None
        parts += (_SIZES[len(key)], key, _SIZES[len(value)], value)
    payload = b"".join(parts)
    return None if len(payload) > MAX_PAYLOAD else encode_packet(MODIFIER_SPOOL, 0, payload)


def decode_task(content: bytes) -> Task:
    """Return the task of a file's whole content. Raises `StoreError` for what is none, and says why."""
    size = len(content)
    if size < HEADER_SIZE:
        raise StoreError(f"it has {size} bytes, less than a task's first {HEADER_SIZE}")
    if content[0] != MODIFIER_SPOOL:
        raise StoreError(f"a task begins with the byte {MODIFIER_SPOOL}, not {content[0]}")
    end = HEADER_SIZE + (content[1] | content[2] << 8)
    if size < end:
        raise StoreError(f"it should have {end} bytes or more, but has {size}")
    try:
        return Task(decode_items(content[HEADER_SIZE:end]), content[end:])
    except BadRequestError as error:
        raise StoreError(str(error)) from error


def due(task: Task) -> int:
    """Return the unix second before which the task is not to be run; 0 is at once. Raises ValueError.

    A fraction is cut off, as in uWSGI.
    """
    text = task.fields.get(AT, b"")
    whole = text.partition(b".")[0]
    if text and not (whole.isdigit() and len(whole) < _DIGITS):
        raise ValueError(f"at: expected unix seconds, such as 1767225600, but {text[:40]!r} came")
    return int(whole or b"0")


def priority(task: Task) -> str:
    """Return the name of the sub-directory for the task; "" is none. Raises ValueError.

    uWSGI makes a directory of any name, also outside of the spooler's, and runs only those that are numbers.
    """
    text = task.fields.get(PRIORITY, b"")
    if text and not (text.isdigit() and len(text) < _DIGITS):
        raise ValueError(f"priority: expected a whole number from 0, the most urgent, but {text[:40]!r} came")
    return text.decode()


def check(task: Task) -> None:
    """Raise ValueError for a key of ours with a value that makes no sense."""
    if TIMEOUT in task.fields and task.timeout is None:
        raise ValueError(f"spooler_timeout: expected seconds above 0, but {task.fields[TIMEOUT][:40]!r} came")
    if RETRIES in task.fields and task.retries is None:
        raise ValueError(f"spooler_retries: expected a whole number from 0, but {task.fields[RETRIES][:40]!r} came")


def _positive(text: bytes | None) -> float | None:
    try:
        seconds = float(text) if text is not None else 0.0
    except ValueError:
        return None
    return seconds if 0 < seconds < float("inf") else None
