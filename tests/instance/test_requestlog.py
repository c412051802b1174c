import dataclasses
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from uwsgi_async.instance.logrecord import RequestRecord, default_line, one_line, raw_of
from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.instance.requestlog import configure_logging
from uwsgi_async.options.loggers import LoggerOptions
from uwsgi_async.options.settings import LogOptions

ENDED = 1_763_937_730.75
RECORD = RequestRecord(
    pid=12,
    app_id=0,
    app_requests=3,
    total_requests=4,
    remote_addr="127.0.0.1",
    remote_user="",
    var_count=32,
    var_bytes=401,
    began=ENDED,
    method="GET",
    uri="/a?b=c",
    body_bytes=1024,
    elapsed=0.0129994,
    protocol="HTTP/1.1",
    status=200,
    header_count=2,
    header_bytes=77,
    switches=5,
    core=9,
)


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    loggers = [logging.getLogger("uwsgi_async"), logging.getLogger("uwsgi_async.request")]
    before = [(log, log.level, log.propagate, log.disabled, log.handlers[:]) for log in loggers]
    yield
    for log, level, propagate, disabled, handlers in before:
        log.setLevel(level)
        log.propagate, log.disabled, log.handlers[:] = propagate, disabled, handlers


def test_a_line_has_uwsgis_shape() -> None:
    assert default_line(RECORD) == (
        "[pid: 12|app: 0|req: 3/4] 127.0.0.1 () {32 vars in 401 bytes} "
        f"[{time.ctime(ENDED)}] GET /a?b=c => generated 1024 bytes in 12 msecs (HTTP/1.1 200) "
        "2 headers in 77 bytes (5 switches on core 9)"
    )


def test_micros_are_told_on_request() -> None:
    assert " bytes in 12999 micros (HTTP/1.1" in default_line(RECORD, micros=True)


def test_whole_milliseconds_do_not_lose_one_to_the_float() -> None:
    for millis in range(1000):
        assert f" bytes in {millis} msecs (" in default_line(dataclasses.replace(RECORD, elapsed=millis / 1000))


def test_a_clock_that_went_back_is_no_time() -> None:
    assert " in 0 msecs " in default_line(dataclasses.replace(RECORD, elapsed=-1.0))


def test_via_is_named_between_spaces() -> None:
    assert " msecs via sendfile() (HTTP/1.1 200)" in default_line(dataclasses.replace(RECORD, via="sendfile"))


def test_the_user_is_in_parentheses() -> None:
    assert "] 127.0.0.1 (ada) {" in default_line(dataclasses.replace(RECORD, remote_user="ada"))


def test_empty_fields_are_empty() -> None:
    line = default_line(dataclasses.replace(RECORD, remote_addr="", method="", uri="", protocol="", app_id=-1))
    assert line.startswith("[pid: 12|app: -1|req: 3/4]  () {")
    assert "]   => generated" in line
    assert "( 200)" in line


UNSAFE = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E, 0x2066, 0xFEFF, 0xE0001)]


@pytest.mark.parametrize("field", ["remote_addr", "remote_user", "method", "uri", "protocol"])
def test_a_request_is_one_line_that_commands_no_terminal(field: str) -> None:
    for character in UNSAFE:
        code = ord(character)
        changes: dict[str, Any] = {field: raw_of(f"a{character}b")}
        line = one_line(default_line(dataclasses.replace(RECORD, **changes)))
        escape = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
        assert f"a{escape}b" in line
        assert character not in line
        assert len(line.splitlines()) == 1


def test_other_characters_stay_and_bytes_that_are_no_text_are_told_as_such() -> None:
    uri = raw_of("/\xe4\u20ac\xa0\\\U0001f680") + "\xff\x80"
    assert "GET /\xe4\u20ac\xa0\\\U0001f680\\xff\\x80 =>" in one_line(
        default_line(dataclasses.replace(RECORD, uri=uri))
    )


def test_the_memory_is_told_on_request() -> None:
    line = default_line(RECORD, memory=(17428480, 60547072))
    assert line.startswith(
        "{address space usage: 60547072 bytes/57MB} {rss usage: 17428480 bytes/16MB} [pid: 12|app: 0|req: 3/4] "
    )


def test_the_time_is_that_of_each_records_second() -> None:
    for second in (0, 1, 86_400, 0):
        assert f"[{time.ctime(second)}]" in default_line(dataclasses.replace(RECORD, began=second + 0.999))


def test_messages_and_requests_go_to_stderr_plain_and_once(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogOptions(disable_logging=True), ProcessLogs(LoggerOptions()))
    configure_logging(LogOptions(), ProcessLogs(LoggerOptions()))
    logging.getLogger("uwsgi_async").info("up")
    logging.getLogger("uwsgi_async").debug("not this")
    logging.getLogger("uwsgi_async.request").info("one request")
    captured = capfd.readouterr()
    assert captured.err == "up\none request\n"
    assert captured.out == ""


def test_disable_logging_silences_requests_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogOptions(disable_logging=True), ProcessLogs(LoggerOptions()))
    logging.getLogger("uwsgi_async").info("up")
    logging.getLogger("uwsgi_async.request").info("one request")
    assert capfd.readouterr().err == "up\n"


def test_a_message_that_cannot_be_formatted_is_told_and_raises_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogOptions(), ProcessLogs(LoggerOptions()))
    logging.getLogger("uwsgi_async").info("%d things", "no number")
    assert "Logging error" in capfd.readouterr().err


def test_other_handlers_stay() -> None:
    handler = logging.NullHandler()
    logging.getLogger("uwsgi_async").addHandler(handler)
    configure_logging(LogOptions(), ProcessLogs(LoggerOptions()))
    assert handler in logging.getLogger("uwsgi_async").handlers
