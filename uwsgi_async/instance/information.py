"""What an app is told of the configuration: ``uwsgi.opt`` and ``uwsgi.magic_table``.

What lives here: `opt_of`, `magic_table`. What does not: the other globals of the module (`server.information`).
Source: plugins/python/python_plugin.c; on Python 3 a name that was read several times keeps its last value there.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import fields

from uwsgi_async.options.build import by_field
from uwsgi_async.options.settings import Configuration, Options

_OF_THE_PROGRAM = {"%": "%", "(": "%(", "[": "\033"}


def opt_of(options: Options) -> dict[str, bytes | bool]:
    """Return ``uwsgi.opt``: what was read, placeholders too; inside a program the options that were given.

    True stands for no value.
    """
    return _read(options.configuration) if options.configuration.read else _given(options)


def magic_table(configuration: Configuration, hostname: str) -> dict[bytes, bytes]:
    """Return ``uwsgi.magic_table``. Source: uWSGI, "Magic variables"."""
    pairs = (pair.partition("=") for pair in configuration.magic)
    table = _OF_THE_PROGRAM | ({letter: value for letter, _, value in pairs} or _without_config(hostname))
    return {_bytes(letter): _bytes(value) for letter, value in table.items()}


def _read(configuration: Configuration) -> dict[str, bytes | bool]:
    found: dict[str, bytes | bool] = {}
    for pair in configuration.read:
        name, equals, value = pair.partition("=")
        found[name] = _bytes(value) if equals else True
    return found


def _given(options: Options) -> dict[str, bytes | bool]:
    """The options that differ from their defaults: of several values the last one."""
    given: dict[str, bytes | bool] = {}
    for declared in by_field().values():
        for part in fields(options):
            value = getattr(getattr(options, part.name), declared.field, declared.default)
            if declared.flags and value != declared.default:
                last = value[-1] if isinstance(value, tuple) else value
                given[declared.flags[0]] = True if last is True else str(last).encode()
    return given


def _without_config(hostname: str) -> dict[str, str]:
    return {
        "V": "2.0.31",
        "h": hostname,
        "v": os.getcwd(),
        "b": sys.executable,
        "u": str(os.getuid()),
        "g": str(os.getgid()),
        "k": str(os.cpu_count() or 1),
        "t": str(int(time.time())),
        "T": str(time.time_ns() // 1000),
    }


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
