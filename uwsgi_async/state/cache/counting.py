"""Numbers in a cache: signed, of 64 bits, little endian, as the C type that uWSGI keeps there.

What lives here: to bytes and back, and C's division. What does not: who counts (`local`, `quick`).
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable
from typing import Final

Operation = Callable[[int, int], int]

NUMBER_SIZE: Final = 8  # bytes
SIGN: Final = 1 << 63
NUMBER: Final = struct.Struct("<q")


def pack(number: int) -> bytes:
    """Return the bytes of a number; one that is too large wraps around."""
    if not -SIGN <= number < SIGN:
        number = (number + SIGN) % (2 * SIGN) - SIGN
    return NUMBER.pack(number)


def unpack(value: bytes) -> int:
    """Return the number in the first eight bytes; what is missing is zero."""
    number: int = NUMBER.unpack(value if len(value) == NUMBER_SIZE else value[:NUMBER_SIZE].ljust(NUMBER_SIZE, b"\0"))[
        0
    ]
    return number


def long(number: int) -> int:
    """Return an int that fits. Raises OverflowError in uWSGI's words, and TypeError for what is none."""
    number = operator.index(number)
    if not -SIGN <= number < SIGN:
        raise OverflowError("Python int too large to convert to C long")
    return number


def quotient(value: int, divisor: int) -> int:
    """Divide as C does, toward zero; by zero gives zero, as in uWSGI."""
    if divisor == 0:
        return 0
    result = abs(value) // abs(divisor)
    return result if (value < 0) == (divisor < 0) else -result
