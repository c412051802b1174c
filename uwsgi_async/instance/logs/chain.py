"""Which loggers a line goes to, and through which encoders.

What lives here: `Chain`. What does not: the loggers (`loggers`), what options say (`specs`). The rules are uWSGI's: a
line that a route matches goes to the loggers of all routes that match, and nowhere else; any other line goes to
every logger without a name. Source: uWSGI's page "Logging", core/logging.c.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from uwsgi_async.instance.logs.encoders import Encode, Encoder
from uwsgi_async.instance.logs.loggers import Logger

Write = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a chain does with a line.

    ``routes``: pattern and name of a logger. ``drain``: lines with one of these are dropped. ``only``: when there are
    any, lines without one of these are dropped.
    """

    encoders: Sequence[Encoder] = ()
    routes: Sequence[tuple[re.Pattern[bytes], str]] = ()
    drain: Sequence[re.Pattern[bytes]] = ()
    only: Sequence[re.Pattern[bytes]] = ()

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.encoders or self.routes or self.drain or self.only)


class Chain:
    """Sends lines on. ``loggers``: with their names, None without one. ``default``: where lines go if none has any.

    ``write`` takes a line with its newline, and never raises. Of the attributes, ``loggers`` are those without the
    default, and ``single`` is the only one, when every line goes to it unchanged; None when there is more to do.
    """

    def __init__(self, loggers: Sequence[tuple[str | None, Logger]], rules: Rules, default: Logger) -> None:
        self.loggers = [logger for _, logger in loggers]
        unnamed = [logger for name, logger in loggers if name is None] or [default]
        self._unnamed = [_encoding(logger, None, rules) for logger in unnamed]
        named = {name: _encoding(logger, name, rules) for name, logger in reversed(loggers) if name is not None}
        self._routes = [(pattern, named[name]) for pattern, name in rules.routes]
        self._rules = rules
        self.single = unnamed[0] if len(unnamed) == 1 and not rules.any else None
        self.write: Write = self._send if self.single is None else self.single.write

    def __repr__(self) -> str:
        return f"<Chain to {self.loggers or 'the default'}>"

    def _send(self, line: bytes) -> None:
        rules = self._rules
        if any(pattern.search(line) for pattern in rules.drain):
            return
        if rules.only and not any(pattern.search(line) for pattern in rules.only):
            return
        for write in [write for pattern, write in self._routes if pattern.search(line)] or self._unnamed:
            write(line)


def _encoding(logger: Logger, name: str | None, rules: Rules) -> Write:
    """Return what encodes a line for ``logger`` and gives it the line."""
    encoders: list[Encode] = [each.encode for each in rules.encoders if each.logger is None or each.logger == name]
    if not encoders:
        return logger.write

    def write(line: bytes) -> None:
        for encode in encoders:
            line = encode(line)
        logger.write(line)

    return write
