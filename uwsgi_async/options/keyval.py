"""uWSGI's way of several values in one option: "pages=2,file=/dev/fb0".

What lives here: `parse_keyval`, and `number` for its values. What does not: what the keys mean (the subsystems).
Source: uwsgi_kvlist_parse in core/utils.c. A backslash takes the meaning from the comma behind it.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection

from uwsgi_async.errors import OptionError


def parse_keyval(text: str, keys: Collection[str], option: str) -> dict[str, str]:
    """Return the values by their keys; of a key that comes twice, the last.

    Raises `OptionError` for a key that is none of ``keys``, and for a word without "=".
    """
    values = {}
    for word in _words(text):
        key, equals, value = word.partition("=")
        if not equals:
            raise OptionError(
                f"{option}: expected key=value pairs with commas between them, but {word!r} came in {text!r}"
            )
        if key not in keys:
            near = difflib.get_close_matches(key, list(keys), 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(keys))}"
            raise OptionError(f"{option}: unknown key {key!r} in {text!r}; {hint}")
        values[key] = value
    return values


def number(text: str, key: str, option: str, minimum: int = -(2**63), maximum: int = 2**63 - 1) -> int:
    """Return the whole number that ``text`` spells, in decimal, or in hexadecimal with 0x in front.

    Raises `OptionError` for anything else, and outside of the range.
    """
    try:
        value = int(text, 16 if text.lower().startswith("0x") else 10)
    except ValueError:
        raise OptionError(f"{option}: {key} must be a whole number, not {text!r}") from None
    if not minimum <= value <= maximum:
        raise OptionError(f"{option}: {key} must be from {minimum} to {maximum}, not {value}")
    return value


def _words(text: str) -> list[str]:
    words, word, escaped = [], "", False
    for character in text:
        if escaped:
            word, escaped = word + character, False
        elif character == "\\":
            escaped = True
        elif character == ",":
            words.append(word)
            word = ""
        else:
            word += character
    words.append(word)
    return [word for word in words if word]
