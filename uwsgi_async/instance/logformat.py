"""A log format to a function that makes the line: ``%(uri) took %(msecs)``.

What lives here: `compile_format`, `VARIABLES`. What does not: which requests are logged, and where (`requestlog`).
A format is compiled once; for each request its parts are joined, all raw text (see `logrecord`). A name that is no
variable is one that the app may note by `uwsgi.set_logvar`. What is empty is "-".
A variable in quotes cannot end them: a quote and a backslash in its value are ``\\x22`` and ``\\x5c``, as nginx writes
them; in a format that is a JSON object, which begins with "{", they are escaped as JSON wants it.
Source: uWSGI's page "LogFormat", core/logging.c.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Final

from uwsgi_async.api.information import mem
from uwsgi_async.api.metrics import metric_get
from uwsgi_async.cores.request import Request
from uwsgi_async.instance.logmessages import date_format
from uwsgi_async.instance.logrecord import MEGABYTE, MICROS, RequestRecord, raw_of, text_of
from uwsgi_async.options.settings import LogOptions

Variable = Callable[[RequestRecord, Request], str]

_PART = re.compile(r"%\(([^%()][^)]*)\)")
_COMMON_TIME: Final = "%d/%b/%Y:%H:%M:%S %z"


def _var(name: str) -> Variable:
    return lambda _, request: request.vars.get(name, "")


VARIABLES: Final[Mapping[str, Variable]] = {
    "uri": lambda record, _: record.uri,
    "method": lambda record, _: record.method,
    "user": lambda record, _: record.remote_user,
    "addr": lambda record, _: record.remote_addr,
    "host": _var("HTTP_HOST"),
    "proto": lambda record, _: record.protocol,
    "uagent": _var("HTTP_USER_AGENT"),
    "referer": _var("HTTP_REFERER"),
    "status": lambda record, _: str(record.status),
    "rsize": lambda record, _: str(record.body_bytes),
    "hsize": lambda record, _: str(record.header_bytes),
    "size": lambda record, _: str(record.header_bytes + record.body_bytes),
    "cl": lambda _, request: request.vars.get("CONTENT_LENGTH") or "0",
    "micros": lambda record, _: str(record.micros),
    "msecs": lambda record, _: str(record.micros // 1000),
    "secs": lambda record, _: f"{record.elapsed:f}",
    "time": lambda record, _: str(int(record.began)),
    "tmsecs": lambda record, _: str(int(record.began * 1000)),
    "tmicros": lambda record, _: str(int(record.began * MICROS)),
    "ltime": lambda record, _: _formatted(record.began, _COMMON_TIME),
    "ctime": lambda record, _: time.ctime(int(record.began)),
    "epoch": lambda _record, _request: str(int(time.time())),
    "pid": lambda record, _: str(record.pid),
    "wid": lambda record, _: str(record.worker),
    "switches": lambda record, _: str(record.switches),
    "vars": lambda record, _: str(record.var_count),
    "core": lambda record, _: str(record.core),
    "vsz": lambda _record, _request: str(mem()[1]),
    "rss": lambda _record, _request: str(mem()[0]),
    "vszM": lambda _record, _request: str(mem()[1] // MEGABYTE),
    "rssM": lambda _record, _request: str(mem()[0] // MEGABYTE),
    "pktsize": lambda record, _: str(record.var_bytes),
    "modifier1": lambda _record, _request: "0",
    "modifier2": lambda _record, _request: "0",
    "headers": lambda record, _: str(record.header_count),
    "werr": lambda _, request: str(int(request.response.write_error)),
    "rerr": lambda _, request: str(int(request.body.read_error)),
    "ioerr": lambda _, request: str(request.response.write_error + request.body.read_error),
}
"""The variables by name; `ftime`, `var.NAME`, `metric.NAME` and logvars are made by `compile_format`."""


def compile_format(options: LogOptions) -> Callable[[RequestRecord, Request], str]:
    """Return what makes the line of a request by ``options.log_format``, raw."""
    format = raw_of(options.log_format or "")
    quote = _quoted_in_json if format.lstrip().startswith("{") else _quoted
    parts: list[str | Variable] = []
    position = 0
    for match in _PART.finditer(format):
        variable = _variable(match[1], options)
        before = format[position : match.start()]
        parts += [before, quote(variable) if before.endswith('"') else variable]
        position = match.end()
    parts.append(format[position:])
    pieces = [part for part in parts if part]

    def line(record: RequestRecord, request: Request) -> str:
        return "".join([part if isinstance(part, str) else part(record, request) or "-" for part in pieces])

    return line


def fields(record: RequestRecord, request: Request) -> dict[str, str | int | float]:
    """Return the variables that make sense in JSON, numbers as numbers, and the app's logvars; no text is raw."""
    vars = request.vars
    found: dict[str, str | int | float] = {
        "time": record.began,
        "pid": record.pid,
        "wid": record.worker,
        "core": record.core,
        "addr": text_of(record.remote_addr),
        "user": text_of(record.remote_user),
        "method": text_of(record.method),
        "uri": text_of(record.uri),
        "proto": text_of(record.protocol),
        "host": text_of(vars.get("HTTP_HOST", "")),
        "referer": text_of(vars.get("HTTP_REFERER", "")),
        "uagent": text_of(vars.get("HTTP_USER_AGENT", "")),
        "status": record.status,
        "headers": record.header_count,
        "hsize": record.header_bytes,
        "rsize": record.body_bytes,
        "size": record.header_bytes + record.body_bytes,
        "cl": _number(vars.get("CONTENT_LENGTH", "")),
        "micros": record.micros,
        "vars": record.var_count,
        "pktsize": record.var_bytes,
        "switches": record.switches,
        "werr": int(request.response.write_error),
        "rerr": int(request.body.read_error),
    }
    for name, value in (request.logvars or {}).items():
        found.setdefault(name.decode("utf-8", "backslashreplace"), value.decode("utf-8", "backslashreplace"))
    return found


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0


def _quoted(variable: Variable) -> Variable:
    def quoted(record: RequestRecord, request: Request) -> str:
        value = variable(record, request)
        return value.replace("\\", "\\x5c").replace('"', "\\x22") if "\\" in value or '"' in value else value

    return quoted


def _quoted_in_json(variable: Variable) -> Variable:
    return lambda record, request: json.dumps(text_of(variable(record, request)))[1:-1]


def _variable(name: str, options: LogOptions) -> Variable:
    if name == "ftime":
        strftime = (date_format(options.log_date) if options.log_format_strftime else None) or _COMMON_TIME
        return lambda record, _: _formatted(record.began, strftime)
    if name in VARIABLES:
        return VARIABLES[name]
    if name.startswith("var."):
        return _var(name.removeprefix("var."))
    if name.startswith("metric."):
        metric = name.removeprefix("metric.")
        return lambda _record, _request: str(metric_get(metric))
    key = name.encode("latin-1")

    def logvar(_record: RequestRecord, request: Request) -> str:
        value = request.logvars.get(key) if request.logvars else None
        return "" if value is None else value.decode("latin-1")

    return logvar


def _formatted(seconds: float, format: str) -> str:
    return raw_of(time.strftime(format, time.localtime(seconds)))
