"""The magic variables of a config file: ``%d`` is its directory, ``%n`` its name without the extension, and so on.

Replaced in the file's text before anything else is looked at, so they also work in section names and keys. A letter
that means nothing is removed with its ``%``; ``%%`` is ``%``, and ``%(`` is left for the placeholders (`expand`).
Source: uWSGI's page "Configuration", "Magic variables".
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from uwsgi_async.options.config.world import STDIN, World

_MAGIC = re.compile(r"%(.)")
_OF_THE_FIRST = "OSPDCENXIJ"  # what the letters mean for the first file, whatever is included later
_MOST_PARTS = 10  # of a directory: %0 to %9


def magic_of_file(path: str, section: str, world: World, first: Mapping[str, str] | None) -> dict[str, str]:
    """Return the magic variables for ``path``, by letter. ``first``: those of the first file; None in that one."""
    table = dict(world.facts())
    table["o"] = f"{path}:{section}" if section else path
    if path != STDIN:
        full = world.real_path(path)
        directory, name = os.path.split(full)
        stem, dot, extension = name.rpartition(".")
        parts = [part for part in directory.split("/") if part][:_MOST_PARTS]
        table |= {
            "p": full,
            "s": name,
            "d": f"{directory.rstrip('/')}/",
            "c": os.path.basename(directory),
            "e": extension if dot else "",
            "n": stem if dot else name,
            "x": section,
            "i": str(world.inode(full)),
            "j": f"{_djb33x(full):08x}",
        }
        table |= {str(number): part for number, part in enumerate(parts)}
    for letter in _OF_THE_FIRST:
        table[letter] = (table if first is None else first).get(letter.lower() if first is None else letter, "")
    return table


def substitute(text: str, table: Mapping[str, str]) -> str:
    """Return ``text`` with its magic variables replaced."""

    def value(match: re.Match[str]) -> str:
        letter = match[1]
        return "%" if letter == "%" else "%(" if letter == "(" else table.get(letter, "")

    return _MAGIC.sub(value, text)


def _djb33x(text: str) -> int:
    """The hash of a file's name that %j is; printed with its lowest byte first, as uWSGI does on this machine."""
    value = 5381
    for byte in text.encode():
        value = ((value << 5) + value ^ byte) & 0xFFFFFFFF
    return int.from_bytes(value.to_bytes(4, "little"), "big")
