"""Loops and conditions: how often an entry inside of one counts, and what ``%(_)`` is in it.

What lives here: `repetitions`. What does not: where a loop or condition begins and ends (`engine`). It is asked anew
for each entry, as in uWSGI: what an entry sets may change the answer for the next one.
Source: uWSGI's page "ConfigLogic", core/config.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from uwsgi_async.errors import OptionError
from uwsgi_async.options.config.entries import Entry
from uwsgi_async.options.config.words import LOOPS
from uwsgi_async.options.config.world import World

MOST = 10_000
"""Repetitions of one entry."""

_PLUGINS = ("python", "python3", "http", "asyncio", "greenlet", "ugreen", "gevent")
"""The plugins of uWSGI whose work is done here; for ``if-plugin``."""

Value = Callable[[str], str | None]


def repetitions(logic: Entry, world: World, value_of: Value) -> Sequence[str | None]:
    """Return what ``%(_)`` is in each repetition of an entry inside of ``logic``; None leaves it as it is.

    ``value_of`` gives the value of an option that was read so far, None for one that was not. Raises `OptionError`
    for an argument that cannot be understood, OSError for a list that cannot be read.
    """
    if logic.key in LOOPS:
        return _loop(logic, logic.value or "", world)
    holds, value = _condition(logic, logic.value or "", world, value_of)
    wanted = not logic.key.startswith("if-not-")
    return [value] if holds == wanted else []


def _loop(logic: Entry, value: str, world: World) -> Sequence[str]:
    if logic.key == "for":
        return [item for item in value.split(" ") if item]
    if logic.key == "for-glob":
        return world.glob(value) or [value]
    if logic.key == "for-readline":
        lines = world.read(value).split("\n")
        return [line.rstrip("\r") for line in (lines if lines[-1] else lines[:-1])]
    if not (value.isascii() and value.isdigit() and len(value) <= 9 and int(value) <= MOST):
        raise OptionError(f"{logic.origin}: for-times: expected a number up to {MOST}, not {value!r}")
    return [str(number) for number in range(1, int(value) + 1)]


def _condition(logic: Entry, value: str, world: World, value_of: Value) -> tuple[bool, str | None]:
    """Return whether what is asked for is so, and what ``%(_)`` is then."""
    what = logic.key.removeprefix("if").removeprefix("-").removeprefix("not-")
    if what in ("env", "opt"):
        name, equals, expected = value.partition("=")
        known = world.environ.get(name) if what == "env" else value_of(name)
        return known is not None and (not equals or known == expected), known
    if what == "reload":
        return world.reload, None
    if what == "hostname-match":
        try:
            return re.search(value, world.hostname) is not None, value
        except re.error as error:
            raise OptionError(f"{logic.origin}: {logic.key}: {value!r} is no regular expression: {error}") from error
    tests: dict[str, Callable[[str], bool]] = {
        "exists": world.exists,
        "file": world.is_file,
        "dir": world.is_dir,
        "directory": world.is_dir,
        "plugin": _PLUGINS.__contains__,
        "hostname": lambda name: name == world.hostname,
    }
    return tests[what](value), value
