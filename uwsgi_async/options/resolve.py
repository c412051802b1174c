"""From the entries of all sources to `Options`, and what is to be said about each entry that is not one of ours.

What lives here: `resolve`, `Resolution`, and the names that mean something. What does not: reading (`config`), single
values (`values`), the words of the command line (`commandline`). Every entry that cannot be used is reported, not only
the first one.
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
from uwsgi_async.options.config.entries import Entry
from uwsgi_async.options.config.words import SHORT, WORDS
from uwsgi_async.options.conflicts import conflicts
from uwsgi_async.options.declare import Declaration
from uwsgi_async.options.settings import Options
from uwsgi_async.options.values import expected, from_config, from_text, is_flag, says_no

_PLACEHOLDER = re.compile(r"([%$@])\(([^()]*)\)")
_SHORT = 6  # characters: any shorter name is like some option
_SLIP = 0.8  # so alike are a name in a file and an option that the one was probably meant to be the other


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the sources come to.

    ``options``: None when there are ``problems``. ``problems``: sentences, one for each entry that makes a start
    impossible. ``remarks``: sentences about entries that mean less, or something else, than one may think.
    """

    options: Options | None
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


@cache
def by_name() -> Mapping[str, Declaration]:
    """Return every built option by each of its names, without dashes. Letters are for the command line alone."""
    return {flag: declared for declared in by_field().values() for flag in declared.flags if len(flag) > 1}


@cache
def by_letter() -> Mapping[str, str]:
    """Return the name that each letter of the command line stands for."""
    built = {flag: declared.flags[0] for declared in by_field().values() for flag in declared.flags if len(flag) == 1}
    return {**catalog.letters(), **SHORT, **built}


@cache
def names() -> frozenset[str]:
    """Return every name that means something: built options, words of the config language, the rest of uWSGI's."""
    return frozenset((*by_name(), *WORDS, *catalog.known()))


def resolve(reading: Reading) -> Resolution:
    """Return what ``reading`` means. Raises nothing: what is wrong is in ``problems``."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    remarks = list(reading.warnings)
    for entry in reading.entries:
        declared = by_name().get(entry.key)
        if declared is not None:
            try:
                _take(declared, entry, reading, values, remarks)
            except OptionError as error:
                problems.append(str(error))
            continue
        sentence, fatal = _about(entry, reading)
        if sentence:
            (problems if fatal else remarks).append(sentence)
    listed = (entry.key if entry.value is None else f"{entry.key}={entry.value}" for entry in reading.listed)
    values["read"] = tuple(each for each in listed if "\0" not in each)
    values["magic"] = tuple(f"{letter}={value}" for letter, value in reading.magic.items() if value)
    options = None
    if not problems:
        options = assemble(values)
        problems += conflicts(options)
    return Resolution(None if problems else options, tuple(dict.fromkeys(problems)), tuple(dict.fromkeys(remarks)))


def name_of(entry: Entry) -> str:
    """Return how an entry is called in a message: as it was typed, or with its file and line."""
    return entry.origin.flag or f"{entry.origin}: {entry.key}"


def _take(declared: Declaration, entry: Entry, reading: Reading, values: dict[str, Any], remarks: list[str]) -> None:
    """Put the value of a built option into ``values``. Raises `OptionError`."""
    name, text = name_of(entry), entry.value
    if text is not None and not declared.placeholders:
        _check_placeholders(entry, text, reading)
    value: Any
    if not text and (declared.bare is not None or is_flag(declared)):
        value = from_text(declared, "true" if declared.bare is None else declared.bare, name)
    elif text is None:
        raise OptionError(f"{name}: expected {expected(declared)}, but no value came")
    elif entry.origin.flag:
        value = from_text(declared, text, name)
    else:
        value, remark = from_config(declared, text, name)
        remarks += [remark] if remark else []
    if declared.repeat:
        value = (*values.get(declared.field, ()), value)
    values[declared.field] = value


def _check_placeholders(entry: Entry, text: str, reading: Reading) -> None:
    found = _PLACEHOLDER.search(text)
    if found is None:
        return
    sentence = f"{name_of(entry)}: the placeholder {found[0]} has no value"
    if found[1] == "$":
        raise OptionError(f"{sentence}: expected the environment to have {found[2]!r}")
    if any(each.key == found[2].split(" ")[0] for each in reading.listed):
        raise OptionError(f"{sentence}: in an inherited file none are replaced, in an included one they are")
    raise OptionError(f"{sentence}: expected an option or a placeholder {found[2]!r} in some config file")


def _about(entry: Entry, reading: Reading) -> tuple[str, bool]:
    """What to say about an entry that is not built, "" for nothing, and whether it makes a start impossible."""
    known = catalog.lookup(entry.key)
    if known is None:
        return _unknown(entry, reading)
    if known.takes == "none" and entry.value and says_no(entry.value):
        return "", False  # a switch that is off
    if known.verdict == "no meaning":
        return f"{name_of(entry)}: {known.reason}", False
    return f"{name_of(entry)} is not supported: {known.reason}", not reading.ignore_unsupported


def _unknown(entry: Entry, reading: Reading) -> tuple[str, bool]:
    if not reading.strict and entry.key in reading.asked:
        return "", False
    cutoff = 0.5 if reading.strict else _SLIP
    match = nearest(entry.key, names(), cutoff) if reading.strict or len(entry.key) >= _SHORT else None
    hint = f"did you mean {match}?" if match else "docs/options.md lists all of them"
    if reading.strict:
        return f"{name_of(entry)}: unknown option (and strict is set); {hint}", True
    # As in uWSGI, an unknown name in a file is a placeholder. One that is so near to an option is more likely a slip.
    return f"{name_of(entry)}: no option, so it is only a placeholder; {hint}" if match else "", False
