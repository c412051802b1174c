"""The log: which requests have a line, and where lines go.

What lives here: `RequestLog`, and `configure_logging`, which the command calls. What does not: what a line looks like
(`logrecord`, `logformat`), log files and rotation.

Inside a program of somebody's own, everything goes through the loggers ``uwsgi_async`` and ``uwsgi_async.request``,
and nothing is configured. Under the command, messages still do, but a request's line is written to stderr at once:
the logging module would cost more than the request. Measured: 1.3 against 6 microseconds.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import TextIO

from uwsgi_async.cores.request import Request
from uwsgi_async.instance.logformat import compile_format, fields
from uwsgi_async.instance.logrecord import RequestRecord, default_line, one_line
from uwsgi_async.options.settings import LogOptions

logger = logging.getLogger("uwsgi_async")
request_logger = logging.getLogger("uwsgi_async.request")

_STDERR = 2


class RequestLog:
    """Logs a request that has ended, if its options say so.

    ``always``: whether it wants to be called with each request, or only with those that asked for it.
    ``pid``: the process id, ``worker`` its number.
    """

    def __init__(self, options: LogOptions, pid: int, worker: int) -> None:
        self._options = options
        self._pid = pid
        self._worker = worker
        self._write, self._enabled = _destination(options)
        self._conditions = any(
            (
                options.log_slow,
                options.log_big,
                options.log_zero,
                options.log_4xx,
                options.log_5xx,
                options.log_sendfile,
            )
        )
        self.always = self._enabled or self._conditions
        self._line = self._choose_line()

    def __call__(self, request: Request) -> None:
        """Log ``request``. Runs for each request that has ended."""
        record = self._record(request)
        if self._enabled or request.log_this or self._is_remarkable(record):
            self._write(self._line(record, request))

    def _choose_line(self) -> Callable[[RequestRecord, Request], str]:
        options = self._options
        if options.log_json:
            return lambda record, request: json.dumps(fields(record, request))
        if options.log_format is not None:
            formatted = compile_format(options)
            return lambda record, request: one_line(formatted(record, request))
        micros = options.log_micros
        return lambda record, _: one_line(default_line(record, micros=micros))

    def _is_remarkable(self, record: RequestRecord) -> bool:
        o = self._options
        return self._conditions and bool(
            (o.log_slow and record.micros >= o.log_slow * 1000)
            or (o.log_big and record.body_bytes >= o.log_big)
            or (o.log_zero and record.body_bytes == 0)
            or (o.log_4xx and 400 <= record.status <= 499)
            or (o.log_5xx and 500 <= record.status <= 599)
            or (o.log_sendfile and record.via == "sendfile")
        )

    def _record(self, request: Request) -> RequestRecord:
        vars, response, requests = request.vars, request.response, request.connection.pool.requests
        address = vars.get("REMOTE_ADDR", "")
        if self._options.log_x_forwarded_for:
            # As uWSGI: the last address, which the front end nearest to us has added.
            address = vars.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip() or address
        elapsed = request.elapsed
        return RequestRecord(
            self._pid,
            request.app_id,
            requests if request.app_requests is None else request.app_requests,
            requests,
            address,
            vars.get("REMOTE_USER", ""),
            2 * len(vars),
            vars.packet_size,
            time.time() - elapsed,
            vars.get("REQUEST_METHOD", ""),
            vars.get("REQUEST_URI", ""),
            response.body_bytes,
            elapsed,
            vars.get("SERVER_PROTOCOL", ""),
            response.code,
            response.header_count,
            response.header_bytes,
            request.switches + (request.app_id >= 0),
            request.core.id,
            response.via,
            self._worker,
        )


def configure_logging(options: LogOptions) -> None:
    """Send the messages of `uwsgi_async` to stderr, from INFO up; request lines unless ``disable_logging``.

    May be called again: the latest call counts. Other loggers are left alone.
    """
    for handler in [h for h in logger.handlers if isinstance(h, _StderrHandler)]:
        logger.removeHandler(handler)
    logger.addHandler(_StderrHandler(options))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    request_logger.setLevel(logging.INFO)
    request_logger.disabled = options.disable_logging


class _StderrHandler(logging.StreamHandler[TextIO]):
    """The handler that `configure_logging` made, told from the application's own ones by its type."""

    def __init__(self, options: LogOptions) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(_JsonFormatter() if options.log_json else _PlainFormatter(options.log_date))


class _PlainFormatter(logging.Formatter):
    """The message alone, or with ``date`` before it: "true" is the time as ctime(3) writes it, else a format."""

    def __init__(self, date: str | None) -> None:
        super().__init__("%(message)s")
        self._date = date

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        if self._date is None or self._date.lower() in ("false", "off", "no", "0"):
            return message
        if self._date.lower() in ("true", "on", "yes", "1"):
            return f"{time.ctime(record.created)} - {message}"
        return f"{time.strftime(self._date, time.localtime(record.created))} - {message}"


class _JsonFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        found = {"time": record.created, "pid": record.process, "level": record.levelname.lower()}
        found["message"] = record.getMessage()
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return json.dumps(found)


def _destination(options: LogOptions) -> tuple[Callable[[str], None], bool]:
    """Return what takes a line, and whether it wants all of them."""
    if any(isinstance(handler, _StderrHandler) for handler in logger.handlers):
        return _write_to_stderr, not options.disable_logging
    enabled = not options.disable_logging and request_logger.isEnabledFor(logging.INFO)
    if options.disable_logging:
        return lambda line: logger.info("%s", line), enabled
    return lambda line: request_logger.info("%s", line), enabled


def _write_to_stderr(line: str) -> None:
    """Write a line at once, so that a process which is killed has lost none, and none is mixed with another's."""
    try:
        os.write(_STDERR, f"{line}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # nowhere to complain: that is where complaints go
