"""The log: which requests have a line, and where lines go.

What lives here: `RequestLog`, and `logging_to`, which the command uses. What does not: what a line looks like
(`logrecord`, `logformat`, `logmessages`), where lines go (`logs`).

Inside a program of somebody's own, everything goes through the loggers ``uwsgi_async`` and ``uwsgi_async.request``,
and nothing is configured. Under the command, messages still do, but a request's line is given to its logger at once:
the logging module would cost more than the request. Measured: 1.3 against 6 microseconds.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from uwsgi_async.api.information import mem, tell_log_size
from uwsgi_async.cores.request import Request
from uwsgi_async.instance.logformat import compile_format, fields
from uwsgi_async.instance.logmessages import message_formatter
from uwsgi_async.instance.logrecord import RequestRecord, default_line, one_line
from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.options.settings import LogOptions, Options

logger = logging.getLogger("uwsgi_async")
request_logger = logging.getLogger("uwsgi_async.request")


class RequestLog:
    """Logs a request that has ended, if its options say so.

    ``always``: whether it wants to be called with each request, or only with those that asked for it.
    ``pid``: the process id, ``worker`` its number.
    """

    def __init__(self, options: LogOptions, pid: int, worker: int) -> None:
        self.options = self._options = options
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
                options.log_ioerror,
            )
        )
        self.always = self._enabled or self._conditions
        self._line = self._choose_line()

    def __call__(self, request: Request) -> None:
        """Log ``request``. Runs for each request that has ended."""
        record = self._record(request)
        if self._enabled or request.log_this or self._is_remarkable(record, request):
            self._write(self._line(record, request))

    def with_options(self, options: LogOptions) -> RequestLog:
        """Return a log of the same process with other options."""
        return RequestLog(options, self._pid, self._worker)

    def _choose_line(self) -> Callable[[RequestRecord, Request], str]:
        options = self._options
        if options.log_json:
            return lambda record, request: json.dumps(fields(record, request))
        if options.log_format is not None:
            formatted = compile_format(options)
            return lambda record, request: one_line(formatted(record, request))
        micros = options.log_micros
        if options.memory_report:
            return lambda record, _: one_line(default_line(record, micros=micros, memory=mem()))
        return lambda record, _: one_line(default_line(record, micros=micros))

    def _is_remarkable(self, record: RequestRecord, request: Request) -> bool:
        o = self._options
        return self._conditions and bool(
            (o.log_slow and record.micros >= o.log_slow * 1000)
            or (o.log_big and record.body_bytes >= o.log_big)
            or (o.log_zero and record.body_bytes == 0)
            or (o.log_4xx and 400 <= record.status <= 499)
            or (o.log_5xx and 500 <= record.status <= 599)
            or (o.log_sendfile and record.via == "sendfile")
            or (o.log_ioerror and (request.response.write_error or request.body.read_error))
        )

    def _record(self, request: Request) -> RequestRecord:
        vars, response, requests = request.vars, request.response, request.connection.pool.requests
        address = vars.get("REMOTE_ADDR", "")
        if self._options.log_x_forwarded_for:
            address = vars.get("HTTP_X_FORWARDED_FOR") or address  # all of it, as in uWSGI
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


@contextmanager
def logging_to(options: Options) -> Iterator[ProcessLogs]:
    """Let the log of this process go where ``options`` say while the block runs; gives the log.

    Raises `OptionError` when a log file or a logger cannot be opened.
    """
    logs = ProcessLogs(options.loggers)
    try:
        logs.take_streams()
        configure_logging(options.log, logs)
        yield logs
    finally:
        _remove_handlers()
        tell_log_size(int)
        logs.close()


def configure_logging(options: LogOptions, logs: ProcessLogs) -> None:
    """Send the messages of `uwsgi_async` to ``logs``, from INFO up; request lines unless ``disable_logging``.

    May be called again: the latest call counts. Other loggers are left alone.
    """
    _remove_handlers()
    logger.addHandler(LogsHandler(options, logs))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    request_logger.setLevel(logging.INFO)
    request_logger.disabled = options.disable_logging
    tell_log_size(logs.size)


def _remove_handlers() -> None:
    for handler in [h for h in logger.handlers if isinstance(h, LogsHandler)]:
        logger.removeHandler(handler)


class LogsHandler(logging.Handler):
    """The handler that `configure_logging` made, told from the application's own ones by its type."""

    def __init__(self, options: LogOptions, logs: ProcessLogs) -> None:
        super().__init__()
        self.logs = logs
        self.setFormatter(message_formatter(options))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - what every handler of `logging` does
            self.handleError(record)
            return
        write = self.logs.requests.write if record.name == request_logger.name else self.logs.messages.write
        write(encoded(line))


def configured_logs() -> ProcessLogs | None:
    """Return the log of this process; None in a program that has not called `configure_logging`."""
    return next((handler.logs for handler in logger.handlers if isinstance(handler, LogsHandler)), None)


def encoded(line: str) -> bytes:
    """Return a line as it is written, with its newline."""
    return f"{line}\n".encode("utf-8", "backslashreplace")


def _destination(options: LogOptions) -> tuple[Callable[[str], None], bool]:
    """Return what takes a line, and whether it wants all of them."""
    logs = configured_logs()
    if logs is not None:
        write = logs.requests.write
        return lambda line: write(encoded(line)), not options.disable_logging
    enabled = not options.disable_logging and request_logger.isEnabledFor(logging.INFO)
    if options.disable_logging:
        return lambda line: logger.info("%s", line), enabled
    return lambda line: request_logger.info("%s", line), enabled
