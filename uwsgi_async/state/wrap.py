"""Whole numbers as a machine has them: signed, of some bytes, wrapping around, divided toward 0."""

from __future__ import annotations


def wrapped(width: int, value: int) -> int:
    """Return ``value`` modulo the size of a number of ``width`` bytes, as a signed number."""
    half = 1 << 8 * width - 1
    return (value + half) % (2 * half) - half


def quotient(value: int, divisor: int) -> int:
    """Return ``value`` divided by ``divisor``, which is not 0, rounded toward 0 as C does."""
    result = abs(value) // abs(divisor)
    return result if (value < 0) == (divisor < 0) else -result
