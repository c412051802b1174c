"""Messages of the log: with a date, as JSON, and never a line more than there are messages."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uwsgi_async.instance.logmessages import date_format, message_formatter
from uwsgi_async.options.settings import LogOptions


def record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    exc_info: Any = None
    if error is not None:
        try:
            raise error
        except BaseException:  # noqa: BLE001 - it is what is to be told
            exc_info = sys.exc_info()
    return logging.LogRecord("uwsgi_async", logging.INFO, __file__, 1, message, arguments, exc_info)


def told(message: str, *arguments: object, error: BaseException | None = None, **options: Any) -> str:
    return message_formatter(LogOptions(**options)).format(record(message, *arguments, error=error))


@given(st.text())
def test_an_argument_cannot_end_the_line(text: str) -> None:
    line = told("%s: refused: %s", text, ValueError(text))
    assert len(line.splitlines()) <= 1
    assert "\x1b" not in line


def test_a_message_of_the_app_stays_as_it_is() -> None:
    assert told("two\nlines \x1b[1m 100%") == "two\nlines \x1b[1m 100%"


def test_an_errors_text_never_begins_in_the_first_column_of_a_line() -> None:
    cause = ValueError("cause\n[pid: 1|app: 0] forged\r[pid: 2")
    error = RuntimeError("text\n[pid: 3|app: 0] forged")
    error.__cause__ = cause
    error.add_note("a note\nof two lines")
    lines = told("%s: the app raised an error", "GET '/'", error=error).splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == [
        "GET '/': the app raised an error",
        "ValueError: cause",
        "The above exception was the direct cause of the following exception:",
        "Traceback (most recent call last):",
        "RuntimeError: text",
    ]
    assert "    [pid: 1|app: 0] forged\\x0d[pid: 2" in lines


@given(st.text())
def test_a_traceback_has_no_forged_line(text: str) -> None:
    own = ("Traceback (most recent call last):", "KeyErr", "OSError", "the app")
    for line in told("the app", error=OSError(text)).splitlines():
        assert line.startswith((" ", *own)) or not line


def test_a_chain_that_is_a_circle_ends() -> None:
    first, second = ValueError("1"), ValueError("2")
    first.__context__, second.__context__ = second, first
    assert "ValueError: 1" in told("x", error=first)


@given(st.text())
def test_json_is_one_printable_line(text: str) -> None:
    line = told("%s", text, error=ValueError(text), log_json=True)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["message"] == text


@pytest.mark.parametrize(
    ("value", "format"),
    [(None, None), ("false", None), ("OFF", None), ("true", ""), ("1", ""), ("yes", ""), ("%Y", "%Y"), ("now", "now")],
)
def test_log_date_is_a_switch_or_a_format(value: str | None, format: str | None) -> None:
    assert date_format(value) == format


def test_the_date_stands_before_the_message() -> None:
    created = record("x").created
    assert told("x", log_date="%Y") == f"{time.localtime(created).tm_year} - x"
    assert told("x", log_date="true").endswith(f" {time.localtime(created).tm_year} - x")
