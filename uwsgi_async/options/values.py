"""One option's value: from a command line's text or a Python object to the declared type and range.

What lives here: `from_text`, `from_config`, `from_object`, `expected`. What does not: which options there are
(`settings.py`). All raise `OptionError` with one sentence: the option, what was expected, what came.
"""

import math
import re
from collections.abc import Sequence
from types import NoneType
from typing import Any, Final, Literal, NoReturn, get_args, get_origin

from uwsgi_async.errors import OptionError
from uwsgi_async.options.declare import Declaration

_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

_LARGEST: Final = 1 << 63  # of any number; infinity and "not a number" are not below it
_COMMENT: Final = re.compile(r"\s+[;#].*", re.DOTALL)


def from_text(declaration: Declaration, text: str, name: str) -> Any:
    """Return the value that ``text`` spells; of a repeated option, one item. ``name`` is for the error's sentence."""
    kind = _kind(declaration)
    if kind is bool:
        value = _WORDS.get(text.lower())
        return _reject(declaration, text, name) if value is None else value
    if kind in (int, float):
        try:
            return _checked(declaration, kind(text), text, name)
        except ValueError as error:
            if isinstance(error, OptionError):
                raise
            _reject(declaration, text, name)
    return _checked(declaration, text, text, name)


def from_config(declaration: Declaration, text: str, name: str) -> tuple[Any, str | None]:
    """Return the value that ``text`` is in a config file or the environment, and a remark on it or None.

    As uWSGI takes it: whatever does not say no is a yes; a number ends before a comment; yes and no are numbers where a
    value may be left out; a number beyond a limit of uWSGI's own is that limit.
    """
    kind = _kind(declaration)
    if kind is bool and text.lower() not in _WORDS:
        return True, f"{name}: {text!r} is taken as true, as uWSGI does; expected true or false, and nothing behind it"
    if kind not in (int, float):
        return from_text(declaration, text, name), None
    text = _COMMENT.sub("", text)
    if declaration.bare is not None and text.lower() in _WORDS and not text.isdigit():
        text = declaration.bare if _WORDS[text.lower()] else "0"
    if declaration.clamp and text.isascii() and text.isdigit() and int(text[:20]) > (declaration.maximum or math.inf):
        most = f"{declaration.maximum:g}"
        return from_text(declaration, most, name), f"{name}: {text} is more than there can be: it is {most}"
    return from_text(declaration, text, name), None


def from_object(declaration: Declaration, value: object, name: str) -> Any:
    """Return ``value`` in the declared type: an int may stand for a float, one item for a tuple of one."""
    if not declaration.repeat:
        return _item(declaration, value, name)
    if isinstance(value, str | int | float):
        return (_item(declaration, value, name),)
    if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray):
        _reject(declaration, value, name)
    return tuple(_item(declaration, item, name) for item in value)


def expected(declaration: Declaration) -> str:
    """Return what the option takes, in words, e.g. "a number of seconds, at least 0"."""
    kind = _kind(declaration)
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        *others, last = get_args(kind)
        return f"{', '.join(others)} or {last}" if others else str(last)
    if kind not in (int, float):
        return f"text such as {declaration.form.example}" if declaration.form is not None else "text"
    what = "a number" if kind is float else "a whole number"
    bounds = (("at least", declaration.minimum), ("at most", declaration.maximum))
    told = " and ".join(f"{words} {bound}" for words, bound in bounds if bound is not None)
    return what + (f" of {declaration.unit}" if declaration.unit else "") + (f", {told}" if told else "")


def is_yes_or_no(text: str) -> bool:
    """True for a word that says yes or no, such as "true" or "off"."""
    return text.lower() in _WORDS


def says_no(text: str) -> bool:
    """True for a word that switches off: "false", "no", "off" or "0"."""
    return _WORDS.get(text.lower()) is False


def is_flag(declaration: Declaration) -> bool:
    """True for an option that takes no value on the command line: its presence says yes."""
    return _kind(declaration) is bool


def _kind(declaration: Declaration) -> Any:
    """The type of one item: of ``tuple[str, ...]`` and of ``str | None`` it is str."""
    kind = declaration.type
    if declaration.repeat:
        return get_args(kind)[0]
    if NoneType in get_args(kind):
        return next(arg for arg in get_args(kind) if arg is not NoneType)
    return kind


def _item(declaration: Declaration, value: object, name: str) -> Any:
    kind = _kind(declaration)
    if value is None and NoneType in get_args(declaration.type):
        return None
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    wanted = str if get_origin(kind) is Literal else kind
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        _reject(declaration, value, name)
    return _checked(declaration, value, value, name)


def _checked(declaration: Declaration, value: Any, came: object, name: str) -> Any:
    kind = _kind(declaration)
    if get_origin(kind) is Literal:
        fits = value in get_args(kind)
    elif kind in (int, float):
        low, high = declaration.minimum, declaration.maximum
        fits = abs(value) < _LARGEST and (low is None or value >= low) and (high is None or value <= high)
    else:
        fits = not isinstance(value, str) or ("\0" not in value and _has_form(declaration, value))
    return value if fits else _reject(declaration, came, name)


def _has_form(declaration: Declaration, value: str) -> bool:
    if declaration.form is None:
        return True
    try:
        declaration.form.read(value)
    except ValueError:
        return False
    return True


def _reject(declaration: Declaration, came: object, name: str) -> NoReturn:
    raise OptionError(f"{name}: expected {expected(declaration)}, but {came!r:.200} came") from None
