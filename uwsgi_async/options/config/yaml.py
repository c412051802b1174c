"""YAML, and what uWSGI takes for it: the text of a config file to entries with their lines.

uWSGI is built with libyaml or with a reader of its own, which takes each ``key: value`` line as it stands. So a file
that works there need not be YAML: a value may begin with ``%`` or ``@``, or have a colon and a blank in it. In a file
that is no YAML such values are read as if they were in quotes. Needs PyYAML (the extra ``yaml``). Source: core/yaml.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from uwsgi_async.errors import OptionError
from uwsgi_async.options.config.entries import Entry, Origin

_NEEDS_QUOTES = re.compile(
    r"""^(?P<name>[ ]+(?:[\w-]+[ ]*:|-)[ \t]+)
        (?P<value>(?:[%@`]|[^\s\#'"\[{&*!|>].*:(?:[ \t]|$)).*?)
        (?=[ \t]+\#|[ \t\r]*$)""",
    re.MULTILINE | re.VERBOSE,
)


def read_yaml(text: str, section: str, source: str) -> list[Entry] | None:
    """Read YAML: a mapping of sections, each a mapping of options; None when there is no such section.

    Raises `OptionError` with the line for text that cannot be read either way.
    """
    try:
        import yaml
    except ImportError as error:
        raise OptionError(f"{source}: reading YAML needs PyYAML: pip install 'uwsgi-async[yaml]'") from error
    try:
        try:
            root = yaml.compose(text, yaml.SafeLoader)
        except yaml.YAMLError:
            root = yaml.compose(_quoted(text), yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise OptionError(f"{source}:{line}: this is not YAML: {getattr(error, 'problem', error)}") from error
    except (RecursionError, ValueError) as error:
        raise OptionError(f"{source}:1: this is not YAML that can be read: {error}") from error
    for key, value in _pairs(root, source):
        if key.value == section:
            return list(_from_node(value, source))
    return None


def _from_node(section: Any, source: str) -> Iterator[Entry]:
    for key, value in _pairs(section, source):
        origin = Origin(source, key.start_mark.line + 1)
        items = value.value if value.id == "sequence" else [value]
        for item in items:
            if item.id != "scalar":
                raise OptionError(f"{origin}: {key.value}: expected a value or a list of values")
            yield Entry(str(key.value), str(item.value), Origin(source, item.start_mark.line + 1))


def _pairs(node: Any, source: str) -> Iterable[tuple[Any, Any]]:
    if node is None or (node.id == "scalar" and not node.value):
        return []
    line = node.start_mark.line + 1
    if node.id != "mapping":
        raise OptionError(f"{source}:{line}: expected key: value pairs, but a {node.id} came")
    for key, _ in node.value:
        if key.id != "scalar":
            raise OptionError(f"{source}:{line}: expected a name before the colon, but a {key.id} came")
    pairs: list[tuple[Any, Any]] = node.value
    return pairs


def _quoted(text: str) -> str:
    """Return ``text`` with each value in quotes that YAML cannot read without them."""

    def quote(match: re.Match[str]) -> str:
        value = match["value"].replace("'", "''")
        return f"{match['name']}'{value}'"

    return _NEEDS_QUOTES.sub(quote, text)
