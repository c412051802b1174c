"""From the entries of all sources to `Options`, and what is to be said about each entry that is not one of ours.

What lives here: `resolve`, `Resolution`. What does not: reading (`config`), single values (`values`), the words of
the command line (`commandline`). Every entry that cannot be used is reported, not only the first one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from uwsgi_async.errors import OptionError
from uwsgi_async.options import catalog
from uwsgi_async.options.build import assemble, by_field, nearest
from uwsgi_async.options.config.engine import Reading
from uwsgi_async.options.config.entries import COMMAND_LINE, Entry
from uwsgi_async.options.config.words import WORDS
from uwsgi_async.options.conflicts import conflicts
from uwsgi_async.options.declare import Declaration
from uwsgi_async.options.render import dashed
from uwsgi_async.options.settings import Options
from uwsgi_async.options.values import expected, from_text, is_flag, is_number

_PLACEHOLDER = re.compile(r"[%$@]\([^()]*\)")
_SLIP = 0.8  # so alike are a name in a file and an option that the one was probably meant to be the other
_COMMENT = re.compile(r"\s+[;#].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the sources come to.

    ``options``: None when there are ``problems``. ``problems``: sentences, one for each entry that makes a start
    impossible. ``remarks``: sentences about entries that change nothing. ``given``: the entries that count, in order.
    """

    options: Options | None
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    given: tuple[Entry, ...]


@cache
def by_name() -> Mapping[str, Declaration]:
    """Return every built option by each of its names and letters, without dashes."""
    return {flag: declared for declared in by_field().values() for flag in declared.flags}


def resolve(reading: Reading) -> Resolution:
    """Return what ``reading`` means. Raises nothing: what is wrong is in ``problems``."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    remarks = list(reading.warnings)
    for entry in reading.entries:
        declared = by_name().get(entry.key)
        if declared is not None:
            try:
                _take(declared, entry, values)
            except OptionError as error:
                problems.append(str(error))
            continue
        known = catalog.lookup(entry.key)
        if known is None:
            if entry.key in reading.placeholders and not reading.strict:
                continue
            sentence, fatal = _unknown(entry, reading)
        else:
            sentence = f"{name_of(entry)}: {known.reason}"
            fatal = known.verdict == "unsupported" and not reading.ignore_unsupported
            if known.verdict == "unsupported":
                sentence = f"{name_of(entry)} is not supported: {known.reason}"
        if sentence:
            (problems if fatal else remarks).append(sentence)
    options = None
    if not problems:
        options = assemble(values)
        problems += conflicts(options)
    if problems:
        options = None
    return Resolution(options, tuple(problems), tuple(remarks), reading.entries)


def name_of(entry: Entry) -> str:
    """Return how an entry is called in a message: as it was typed, or with its file and line."""
    return dashed(entry.key) if entry.origin is COMMAND_LINE else f"{entry.origin}: {entry.key}"


def _take(declared: Declaration, entry: Entry, values: dict[str, Any]) -> None:
    text = entry.value
    if text is not None and declared.bare is None and not is_flag(declared) and not declared.placeholders:
        unknown = _PLACEHOLDER.search(text)
        if unknown is not None:
            raise OptionError(f"{name_of(entry)}: the placeholder {unknown[0]} has no value")
    value: Any
    if is_flag(declared) and not text:
        value = True
    elif not text and declared.bare is not None:
        value = from_text(declared, declared.bare, name_of(entry))
    elif text is None:
        raise OptionError(f"{name_of(entry)}: expected {expected(declared)}, but no value came")
    else:
        if entry.origin is not COMMAND_LINE and (is_number(declared) or is_flag(declared)):
            text = _COMMENT.sub("", text)  # uWSGI reads a number up to the first other character
        value = from_text(declared, text, name_of(entry))
    if declared.repeat:
        value = (*values.get(declared.field, ()), value)
    values[declared.field] = value


def _unknown(entry: Entry, reading: Reading) -> tuple[str, bool]:
    """What to say about a name that no one knows, and whether it makes a start impossible."""
    match = nearest(entry.key, [name for name in names() if len(name) > 1], cutoff=_SLIP if entry.origin.line else 0.5)
    hint = f"did you mean {match}?" if match else "docs/options.md lists all of them"
    if entry.origin is COMMAND_LINE:
        hint = f"did you mean --{match}?" if match else "--help lists all of them"
        return f"unknown option {dashed(entry.key)}; {hint}", True
    if reading.strict:
        return f"{name_of(entry)}: unknown option (and strict is set); {hint}", True
    # As in uWSGI, an unknown name in a file is a placeholder. One that is so near to an option is more likely a slip.
    if match and entry.origin.line:
        return f"{name_of(entry)}: no option, so it is only a placeholder; {hint}", False
    return "", False


@cache
def names() -> tuple[str, ...]:
    """Return every name that means something: built options, words of the config language, the rest of uWSGI's."""
    return (*by_name(), *WORDS, *catalog.known())
