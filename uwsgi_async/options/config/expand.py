"""The placeholders in values: ``$(ENV)``, ``@(file)`` and ``%(option)``, in this order, as uWSGI replaces them.

What lives here: `expand`, `compute`. What does not: where values come from (`engine`). A placeholder that has no value
is left as it is: a log format means something of its own by ``%(...)``. ``%(a b + 2)`` computes from left to right:
words are put together, and ``+``, ``-``, ``*``, ``/``, ``++`` and ``--`` work on whole numbers.
Source: uWSGI's page "Configuration", "Placeholders"; uwsgi_apply_config_pass (core/utils.c), uwsgi_manage_placeholder
(core/config.c). Done right: what a placeholder at the very beginning stands for is looked at again, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from uwsgi_async.errors import OptionError

Lookup = Callable[[str], str | None]

LARGEST = 1 << 20
"""Characters of a value: placeholders may stand for themselves, twice."""

_MOST = 1000  # replacements in one value
_LEADING_NUMBER = re.compile(r"\s*([+-]?\d{1,18})", re.ASCII)


def expand(value: str, symbol: str, lookup: Lookup) -> str:
    """Return ``value`` with each ``symbol(name)`` replaced by what ``lookup`` gives, again and again.

    Raises `OptionError` for a value that grows without end.
    """
    position = replaced = 0
    while (found := _find(value, symbol, position)) is not None:
        begin, end = found
        text = lookup(value[begin + 2 : end]) if end > begin + 2 else None
        if text is None:
            position = end + 1
            continue
        replaced += 1
        if replaced > _MOST or len(value) + len(text) > LARGEST:
            raise OptionError(f"the placeholders in this value never come to an end: {value[:60]!r}...")
        value, position = value[:begin] + text + value[end + 1 :], 0
    return value


def compute(expression: str, lookup: Lookup) -> str | None:
    """Return the value of what stands in ``%(...)``; None when it has none."""
    if " " not in expression:
        return lookup(expression)
    value: str | None = None
    operator = ""
    for word in filter(None, expression.split(" ")):
        if word in ("+", "-", "*", "/"):
            operator = word
            continue
        if word in ("++", "--"):
            if value is not None:
                value = str(_number(value) + (1 if word == "++" else -1))
            operator = ""
            continue
        other = word if word.isascii() and word.isdigit() else lookup(word) or ""
        value = (value or "") + other if not operator else str(_apply(operator, _number(value or ""), _number(other)))
        operator = ""
    return value


def _find(value: str, symbol: str, position: int) -> tuple[int, int] | None:
    """Return where the next ``symbol(...)`` begins and where its closing parenthesis stands; None: there is none.

    Of one inside of another it is the inner one: then the outer has a name that can be looked up.
    """
    begin = depth = 0
    for match in re.compile(f"[{symbol}()]").finditer(value, position):
        if match[0] == symbol:
            begin = match.start()
            depth = 1 if value.startswith("(", begin + 1) else 0
        elif depth and match.start() > begin + 1:
            depth += 1 if match[0] == "(" else -1
            if depth == 0:
                return begin, match.start()
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
