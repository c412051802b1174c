"""What a message of the log looks like: the formatters of the loggers, plain and JSON.

What lives here: `message_formatter`, `date_format`. What does not: requests (`logrecord`, `logformat`), where messages
go (`requestlog`).

What somebody else has sent may be in a message's arguments, and in the text of an error that the app has raised. In
neither it can end the line or command a terminal: in arguments such characters are escaped, in a traceback further
lines of an error's text are moved to the right. A message without arguments is the app's own, or ours: it stays.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from collections.abc import Iterator
from typing import Final

from uwsgi_async.instance.logrecord import safe
from uwsgi_async.options.settings import LogOptions

_YES: Final = ("true", "on", "yes", "1")
_NO: Final = ("false", "off", "no", "0")
_FIRST_COLUMN: Final = (
    "Traceback (most recent call last):",
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)


def message_formatter(options: LogOptions) -> logging.Formatter:
    """Return what formats the messages of an instance with these options."""
    return _JsonFormatter() if options.log_json else _PlainFormatter(options.log_date)


def date_format(log_date: str | None) -> str | None:
    """Return the format for strftime that ``log-date`` asks for; "": as ctime(3) writes it; None: no date."""
    if log_date is None or log_date.lower() in _NO:
        return None
    return "" if log_date.lower() in _YES else log_date


class _PlainFormatter(logging.Formatter):
    """The message alone, or with the date before it."""

    def __init__(self, log_date: str | None) -> None:
        super().__init__("%(message)s")
        self._date = date_format(log_date)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that it has there
        message = safe(record.message) if record.args else record.message
        if self._date is None:
            return message
        if self._date:
            return f"{time.strftime(self._date, time.localtime(record.created))} - {message}"
        return f"{time.ctime(record.created)} - {message}"

    def formatException(self, ei: object) -> str:  # noqa: N802 - the name that it has there
        return _traceback(ei[1]) if isinstance(ei, tuple) and isinstance(ei[1], BaseException) else ""


class _JsonFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        found = {"time": record.created, "pid": record.process, "level": record.levelname.lower()}
        found["message"] = record.getMessage()
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return json.dumps(found)


def _traceback(error: BaseException) -> str:
    """Return the traceback of an error, in which nothing but its own lines begins in the first column."""
    own = {"", *_FIRST_COLUMN}
    for each in _chain(error):
        parts = traceback.format_exception_only(each)
        own |= {part.partition("\n")[0] for part in parts if type(each).__qualname__ in part.partition(":")[0]}
    lines = "".join(traceback.format_exception(error)).rstrip("\n").split("\n")
    return "\n".join(safe(line) if line.startswith(" ") or line in own else f"    {safe(line)}" for line in lines)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it came from, each once."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            waiting += [each.__cause__, each.__context__]
            yield each
