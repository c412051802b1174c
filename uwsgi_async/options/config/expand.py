"""The placeholders in values: ``$(ENV)``, ``@(file)`` and ``%(option)``, in this order, as uWSGI replaces them.

What lives here: `expand`. What does not: where values come from (`engine`). A placeholder that has no value is left as
it is: a log format means something of its own by ``%(...)``. ``%(a b + 2)`` computes from left to right: words are
put together, and ``+``, ``-``, ``*``, ``/``, ``++`` and ``--`` work on whole numbers.
Source: uWSGI's page "Configuration", "Placeholders".
"""

from __future__ import annotations

import re
from collections.abc import Callable

from uwsgi_async.errors import OptionError

Lookup = Callable[[str], str | None]

LARGEST = 65536
"""Characters of an expanded value: placeholders may stand for themselves, twice."""

_MOST = 1000  # replacements in one value
_NUMBER = re.compile(r"[+-]?\d+")
_LEADING_NUMBER = re.compile(r"\s*([+-]?\d{1,18})")


def expand(value: str, symbol: str, lookup: Lookup) -> str:
    """Return ``value`` with each ``symbol(name)`` replaced by what ``lookup`` gives, again and again.

    Raises `OptionError` for a value that grows without end.
    """
    position = 0
    for _ in range(_MOST):
        found = _find(value, symbol, position)
        if found is None:
            return value
        begin, end = found
        text = lookup(value[begin + 2 : end])
        if text is None:
            position = end
            continue
        value = value[:begin] + text + value[end + 1 :]
        position = 0
        if len(value) > LARGEST:
            break
    raise OptionError(f"the placeholders in this value never come to an end: {value[:60]!r}...")


def compute(expression: str, lookup: Lookup) -> str | None:
    """Return the value of what stands in ``%(...)``; None when it is one name without a value."""
    words = expression.split(" ")
    if len(words) == 1:
        return lookup(expression)
    value: str | None = None
    operator = ""
    for word in filter(None, words):
        if word in ("+", "-", "*", "/"):
            operator = word
            continue
        if word in ("++", "--"):
            if value is not None:
                value = str(_number(value) + (1 if word == "++" else -1))
            operator = ""
            continue
        other = word if _NUMBER.fullmatch(word) else lookup(word) or ""
        value = (value or "") + other if not operator else str(_apply(operator, _number(value or ""), _number(other)))
        operator = ""
    return value or ""


def _find(value: str, symbol: str, position: int) -> tuple[int, int] | None:
    """Return where the next ``symbol(...)`` begins and where its closing parenthesis stands."""
    begin = value.find(symbol + "(", position)
    if begin < 0:
        return None
    depth = 0
    for at in range(begin + 1, len(value)):
        if value[at] == "(":
            depth += 1
        elif value[at] == ")":
            depth -= 1
            if depth == 0:
                return (begin, at) if at > begin + 2 else _find(value, symbol, at)
    return None


def _apply(operator: str, left: int, right: int) -> int:
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    if right == 0:
        return 0
    quotient = abs(left) // abs(right)  # as C divides: towards zero
    return quotient if (left < 0) == (right < 0) else -quotient


def _number(text: str) -> int:
    match = _LEADING_NUMBER.match(text)
    return int(match[1]) if match else 0
