"""Options from keywords, and what the command line shares with that: all declarations, and the last assembly.

What lives here: `build`, for `uwsgi_async.run`. What does not: text (`commandline.py`), single values (`values.py`).
"""

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, get_type_hints

from uwsgi_async.errors import OptionError
from uwsgi_async.options.conflicts import conflicts
from uwsgi_async.options.declare import Declaration, declarations
from uwsgi_async.options.settings import Options
from uwsgi_async.options.values import from_object


def build(**kwargs: Any) -> Options:
    """Return the options given as keywords, e.g. ``build(cores=100, http_socket="127.0.0.1:0")``.

    A keyword is the name of a field of any subsystem; a repeated option takes one value or a sequence of them.
    Times are seconds, sizes bytes. Raises `OptionError` for an unknown keyword, a wrong type, a value out of range, and
    options that exclude each other.
    """
    known = by_field()
    values = {}
    for name, value in kwargs.items():
        if name not in known:
            raise OptionError(f"unknown option {name!r}; {_hint(name, known)}")
        values[name] = from_object(known[name], value, name)
    options = assemble(values)
    problems = conflicts(options)
    if problems:
        raise OptionError("\n".join(problems))
    return options


@cache
def subsystems() -> Mapping[str, type]:
    """Return the dataclass of each field of `Options`, by the field's name."""
    return get_type_hints(Options)


@cache
def groups() -> tuple[type, ...]:
    """Return the dataclasses that have options of a person, in the order of ``--help``."""
    return tuple(each for each in subsystems().values() if any(declared.flags for declared in declarations(each)))


@cache
def by_field() -> Mapping[str, Declaration]:
    """Return every declaration there is, by its field's name."""
    return {declared.field: declared for subsystem in subsystems().values() for declared in declarations(subsystem)}


def assemble(values: Mapping[str, Any]) -> Options:
    """Return the options with these values, which are known and checked, by their fields' names."""
    known = by_field()
    parts = {
        part: subsystem(**{name: value for name, value in values.items() if known[name].subsystem is subsystem})
        for part, subsystem in subsystems().items()
    }
    return Options(**parts)


def nearest(name: str, candidates: Iterable[str], cutoff: float = 0.5) -> str | None:
    """Return the candidate that ``name`` was perhaps meant to be, or None. ``cutoff``: 0.0 to 1.0, how alike."""
    matches = difflib.get_close_matches(name, list(candidates), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def _hint(name: str, known: Mapping[str, Declaration]) -> str:
    flag = name.replace("_", "-")
    same = next((field for field, declared in known.items() if flag in declared.flags), None)
    match = same or nearest(name, known)
    return f"did you mean {match!r}?" if match else "docs/options.md lists all of them"
