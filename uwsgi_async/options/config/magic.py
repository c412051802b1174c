"""The magic variables of a config file: ``%d`` is its directory, ``%n`` its name without the extension, and so on.

Replaced in the file's text before anything else is looked at, so they also work in section names and keys. A letter
that means nothing is removed with its ``%``; ``%%`` is ``%``, and ``%(`` is left for the placeholders (`expand`). At
the end of a line ``%`` is itself: uWSGI joins the line with the next one there, also if it is a comment.
Source: uWSGI's page "Configuration", "Magic variables"; magic_sub (core/utils.c), config_magic_table_fill
(core/uwsgi.c).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from uwsgi_async.options.config.world import World

OF_FILES: Final = "opsdcenxij"
"""Letters that mean the file they stand in; the capital ones mean the first file that is no template."""

_MAGIC = re.compile(r"%(.)")
_MOST_PARTS = 10  # of a directory: %0 to %9


def magic_of_file(path: str, world: World) -> dict[str, str]:
    """Return the magic variables for ``path`` by letter, all but ``o`` and ``x``."""
    full = world.real_path(path)
    directory, name = os.path.split(full)
    stem, dot, extension = name.rpartition(".")
    parts = [part for part in directory.split("/") if part][:_MOST_PARTS]
    return {
        "p": full,
        "s": name,
        "d": f"{directory.rstrip('/')}/",
        "c": os.path.basename(directory),
        "e": extension if dot else "",
        "n": stem if dot else name,
        "i": str(world.inode(full)),
        "j": f"{_djb33x(full):08X}",
        **dict.fromkeys("0123456789", ""),
        **{str(number): part for number, part in enumerate(parts)},
    }


def of_the_first(table: Mapping[str, str]) -> dict[str, str]:
    """Return the capital letters that mean the file which ``table`` is about."""
    return {letter.upper(): table.get(letter, "") for letter in OF_FILES}


def substitute(text: str, table: Mapping[str, str]) -> str:
    """Return ``text`` with its magic variables replaced."""

    def value(match: re.Match[str]) -> str:
        letter = match[1]
        return "%" if letter == "%" else "%(" if letter == "(" else table.get(letter, "")

    return _MAGIC.sub(value, text)


def _djb33x(text: str) -> int:
    """The hash of a file's name that %j is; printed with its lowest byte first, as uWSGI does on this machine."""
    value = 5381
    for byte in text.encode("utf-8", "surrogateescape"):
        value = ((value << 5) + value ^ byte) & 0xFFFFFFFF
    return int.from_bytes(value.to_bytes(4, "little"), "big")
