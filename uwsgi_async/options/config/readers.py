"""One reader per format: the text of a config file to entries with their lines.

ini is read by uWSGI's own rules, which are not configparser's: a section may come again, a key may come again and adds
a value, a line without "=" is a key without a value, and there are no comments behind a value. In the other formats
a list is a key that comes again, and true, false and numbers are their text.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from uwsgi_async.errors import OptionError
from uwsgi_async.options.config.entries import Entry, Origin
from uwsgi_async.options.config.yaml import read_yaml

Reader = Callable[[str, str, str], list[Entry] | None]
"""(text, section, source) to entries; None when there is no such section. Raises `OptionError` with the line.

In JSON and TOML a missing section is an error, as in uWSGI's JSON.
"""

_BLANKS = " \t\r"


def read_ini(text: str, section: str, source: str) -> list[Entry] | None:
    """Read ini."""
    entries: list[Entry] = []
    current, found = "", False
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(_BLANKS)
        if not line or line[0] in ";#":
            continue
        if line[0] == "[":
            if not line.endswith("]"):
                raise OptionError(f"{source}:{number}: expected a section as [name], but {line[:80]!r} came")
            current = line[1:-1]
            found = found or current == section
        elif current == section:
            key, _, value = line.partition("=")
            if not key.strip(_BLANKS):
                raise OptionError(f"{source}:{number}: expected key = value, but {line[:80]!r} came")
            entries.append(Entry(key.rstrip(_BLANKS), value.strip(_BLANKS), Origin(source, number)))
    return entries if found or (entries and not section) else None


def read_json(text: str, section: str, source: str) -> list[Entry] | None:
    """Read JSON: an object of sections, each an object of options."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise OptionError(f"{source}:{error.lineno}: this is not JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:
        raise OptionError(f"{source}:1: this JSON cannot be read: {error}") from error
    return _from_tables(data, section, source, _lines(text, r'"((?:[^"\\]|\\.)*)"\s*:'))


def read_toml(text: str, section: str, source: str) -> list[Entry] | None:
    """Read TOML: a table per section. ``tool.uwsgi-async`` means the table of that name inside the other."""
    try:
        data: Any = tomllib.loads(text)
    except (RecursionError, ValueError) as error:
        where = re.search(r"line (\d+)", str(error))
        line = where[1] if where else text.count("\n") + 1
        raise OptionError(f"{source}:{line}: this is not TOML that can be read: {error}") from error
    *path, last = section.split(".")
    for part in path:
        data = data.get(part, {}) if isinstance(data, dict) else {}
    return _from_tables(data, last, source, _lines(text, r"(?m)^\s*\"?([\w-]+)\"?\s*="))


READERS: Mapping[str, Reader] = {
    "ini": read_ini,
    "yaml": read_yaml,
    "yml": read_yaml,
    "json": read_json,
    "js": read_json,
    "toml": read_toml,
}
"""By the format's name, which is the option's and the file's suffix."""


def _from_tables(data: Any, section: str, source: str, lines: Mapping[str, int]) -> list[Entry]:
    if not isinstance(data, dict):
        raise OptionError(f"{source}:1: expected sections with options, but a {type(data).__name__} came")
    if section not in data:
        raise OptionError(f"{source}:1: expected options in {section!r}, but there is no such section")
    options = data[section]
    if not isinstance(options, dict):
        raise OptionError(f"{source}:{lines.get(section, 1)}: expected options in {section!r}")
    entries = []
    for key, value in options.items():
        origin = Origin(source, lines.get(key, 1))
        items = value if isinstance(value, list) else [value]
        entries += [Entry(key, _text(item, key, origin), origin) for item in items]
    return entries


def _text(item: object, key: str, origin: Origin) -> str:
    if item is None:
        return "0"
    if isinstance(item, bool):
        return "1" if item else "0"
    if isinstance(item, str | int | float):
        return str(item)
    raise OptionError(f"{origin}: {key}: expected a value or a list of values, but a {type(item).__name__} came")


def _lines(text: str, pattern: str) -> dict[str, int]:
    """The line of each key. Neither parser tells it; the last key of a name is near enough for an error."""
    return {match[1]: text.count("\n", 0, match.start(1)) + 1 for match in re.finditer(pattern, text)}
