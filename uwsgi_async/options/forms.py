"""The forms of options whose text has parts, such as ``/admin=admin.py``: one reader for the check and for the use.

What lives here: the readers, and a `Form` for each. What does not: which option has which form (`settings`).
A reader raises ValueError for a text that has not the form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from uwsgi_async.options.declare import Form

_MAX_MODE = 0o7777
_SERVE_MODES = {
    **dict.fromkeys(("x-sendfile", "xsendfile"), "X-Sendfile"),
    **dict.fromkeys(("x-accel-redirect", "xaccelredirect", "nginx"), "X-Accel-Redirect"),
}


def read_pair(text: str) -> tuple[str, str]:
    """Return what stands on both sides of the first "="; the left side may be empty, the right one must not."""
    left, equals, right = text.partition("=")
    if not equals or not right:
        raise ValueError(f"expected two parts with '=' between them, got {text!r}")
    return left, right


def read_variable(text: str) -> tuple[str, str | None]:
    """Return name and value of an environment variable; the value is None for a name alone, which is to be removed."""
    name, equals, value = text.partition("=")
    if not name:
        raise ValueError(f"expected the name of a variable, got {text!r}")
    return name, value if equals else None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """For how many ``seconds`` something is fresh, if ``pattern`` matches it."""

    pattern: re.Pattern[str]
    seconds: int


def read_lifetime(text: str) -> Lifetime:
    """Return a regular expression and seconds, with a blank between them."""
    pattern, _, seconds = text.partition(" ")
    return Lifetime(read_pattern(pattern), _read_seconds(seconds.strip()))


def read_type_lifetime(text: str) -> Lifetime:
    """Return a content type, which has to match as a whole, and seconds, with "=" between them."""
    kind, seconds = read_pair(text)
    if not kind:
        raise ValueError(f"expected a content type before '=', got {text!r}")
    return Lifetime(re.compile(rf"\A{re.escape(kind)}\Z"), _read_seconds(seconds))


def read_pattern(text: str) -> re.Pattern[str]:
    """Return a regular expression. It is Python's, not PCRE's; they are the same in nearly everything."""
    if not text:
        raise ValueError("expected a regular expression, got nothing")
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error


def read_mode(text: str) -> int:
    """Return permissions that are written in octal."""
    if not (text.isascii() and text.isdigit() and int(text, 10) < 10**5):
        raise ValueError(f"expected permissions in octal, got {text!r}")
    try:
        mode = int(text, 8)
    except ValueError as error:
        raise ValueError(f"expected permissions in octal, got {text!r}") from error
    if mode > _MAX_MODE:
        raise ValueError(f"expected permissions in octal, 7777 at most, got {text!r}")
    return mode


def read_master_hook(text: str) -> None:
    """Accept the one hook that is in most containers' configuration: its signal stops gracefully, hook or not."""
    signal, _, function = text.partition(" ")
    if signal not in ("unix_signal:15", "unix_signal:2", "unix_signal:3") or function != "gracefully_kill_them_all":
        raise ValueError(f"expected unix_signal:15 gracefully_kill_them_all, other hooks are not built, got {text!r}")


def read_serve_mode(text: str) -> str:
    """Return the header that names a file to the web server in front."""
    header = _SERVE_MODES.get(text.lower())
    if header is None:
        raise ValueError(f"expected one of {', '.join(_SERVE_MODES)}, got {text!r}")
    return header


def _read_seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise ValueError(f"expected a number of seconds, got {text!r}")
    return int(text)


MOUNT: Final = Form("/admin=admin.py", read_pair)
STATIC_MAP: Final = Form("/static=/srv/app/static", read_pair)
VARIABLE: Final = Form("NAME=value", read_variable)
LIFETIME: Final = Form(r"\.css$ 3600", read_lifetime)
TYPE_LIFETIME: Final = Form("text/css=3600", read_type_lifetime)
PATTERN: Final = Form(r"\.(css|js)$", read_pattern)
SERVE_MODE: Final = Form("x-sendfile", read_serve_mode)
MODE: Final = Form("022", read_mode)
MASTER_HOOK: Final = Form("unix_signal:15 gracefully_kill_them_all", read_master_hook)
