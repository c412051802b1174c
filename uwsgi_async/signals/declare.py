"""What an app registers with the instance: targets of signals, and what raises signals by itself.

What lives here: the declarations, and their form on the way to the router. What does not: the functions that make them
(`api.signals`), what becomes of them (`router`, `sources`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from uwsgi_async.errors import BrokenError


@dataclass(frozen=True, slots=True)
class Registration:
    """``signal`` is for ``target``, in uWSGI's words."""

    signal: int
    target: str


@dataclass(frozen=True, slots=True)
class Timer:
    """``signal`` is raised every ``seconds``; ``iterations`` times, 0 is for ever. 0 seconds: never, as in uWSGI."""

    signal: int
    seconds: float
    iterations: int = 0
    kind: Literal["timer", "rb_timer"] = "timer"


@dataclass(frozen=True, slots=True)
class Cron:
    """``signal`` is raised in each minute that matches. See `cron.matches` for what the numbers mean."""

    signal: int
    minute: int
    hour: int
    day: int
    month: int
    weekday: int


@dataclass(frozen=True, slots=True)
class FileMonitor:
    """``signal`` is raised when something happens to the file, or to a file in the directory, at ``path``."""

    signal: int
    path: str


@dataclass(frozen=True, slots=True)
class Probe:
    """``signal`` is raised when what can be connected to no longer can, and when it can again.

    ``address``: as in the options. ``timeout``: seconds of one try. ``every``: seconds between two.
    """

    signal: int
    address: str
    timeout: float
    every: float


Source = Timer | Cron | FileMonitor | Probe
"""What raises signals by itself."""

Declaration = Registration | Source

_KINDS: dict[str, type[Declaration]] = {kind.__name__: kind for kind in get_args(Declaration)}


def encode(declarations: Sequence[Declaration]) -> list[Any]:
    """Return declarations in a form that JSON knows."""
    return [[type(each).__name__, asdict(each)] for each in declarations]


def decode(entries: Sequence[Any]) -> list[Declaration]:
    """Return what `encode` was given. Raises `BrokenError` for anything else: it comes from a process of the user's."""
    try:
        return [_checked(_KINDS[name](**values)) for name, values in entries]
    except (KeyError, TypeError, ValueError) as error:
        raise BrokenError(f"expected what a process of this instance has registered, got {entries!r:.80}") from error


def _checked(declaration: Declaration) -> Declaration:
    for name, hint in _HINTS[type(declaration).__name__].items():
        value = getattr(declaration, name)
        if get_origin(hint) is Literal:
            fits = value in get_args(hint)
        else:
            fits = isinstance(value, (int, float) if hint is float else hint) and not isinstance(value, bool)
        if not fits:
            raise TypeError(f"{name} must be {hint}")
    return declaration


_HINTS = {name: get_type_hints(kind) for name, kind in _KINDS.items()}
