"""Encoders: what becomes of a line before a logger gets it, one after the other.

What lives here: `read_encoder`. What does not: which lines go where (`chain`). Source: uWSGI's page "Log encoders",
core/logging.c.
"""

from __future__ import annotations

import gzip
import json
import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from uwsgi_async.errors import OptionError

Encode = Callable[[bytes], bytes]

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_STRFTIME: Final = "strftime:"


@dataclass(frozen=True, slots=True)
class Encoder:
    """One link. ``logger``: the name of the only logger that it is for; None: it is for all of them."""

    logger: str | None
    encode: Encode


def read_encoder(text: str, option: str) -> Encoder:
    """Return the encoder that ``name[:logger][ arguments]`` means. ``option``: its name, for the error.

    Raises `OptionError` for an unknown name.
    """
    name, _, arguments = text.partition(" ")
    name, _, logger = name.partition(":")
    make = _ENCODERS.get(name)
    if make is None:
        raise OptionError(f"{option}: there is no encoder {name!r}; there are {', '.join(_ENCODERS)}")
    return Encoder(logger or None, make(arguments))


def _format(template: str, escape: Callable[[str], str]) -> Encode:
    pieces = _VARIABLE.split(template)  # text and names take turns

    def encode(line: bytes) -> bytes:
        text = line.decode("utf-8", "surrogateescape")
        parts = [_value(piece, text, escape) if index % 2 else piece for index, piece in enumerate(pieces)]
        return "".join(parts).encode("utf-8", "surrogateescape")

    return encode


def _value(name: str, text: str, escape: Callable[[str], str]) -> str:
    if name == "msg":
        return escape(text.removesuffix("\n"))
    if name == "msgnl":
        return escape(text)
    if name in _CLOCKS:
        return str(int(time.time() * _CLOCKS[name]))
    if name.startswith(_STRFTIME):
        return escape(time.strftime(name.removeprefix(_STRFTIME)))
    return ""  # as uWSGI


def _json_text(text: str) -> str:
    return json.dumps(text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))[1:-1]


_CLOCKS: Final = {"unix": 1, "millis": 1000, "micros": 1_000_000}  # in a second
_ENCODERS: Final[Mapping[str, Callable[[str], Encode]]] = {
    "prefix": lambda text: lambda line: text.encode() + line,
    "suffix": lambda text: lambda line: line + text.encode(),
    "nl": lambda _: lambda line: line + b"\n",
    "format": lambda template: _format(template, str),
    "json": lambda template: _format(template, _json_text),
    "gzip": lambda _: gzip.compress,
    "compress": lambda _: zlib.compress,
}
