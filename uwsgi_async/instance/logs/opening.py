"""From the options of a process's log to its loggers.

What lives here: `open_loggers`, `Loggers`, `absolute`. What does not: single options (`specs`), what is done with the
standard streams (`process`).
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from uwsgi_async.errors import OptionError
from uwsgi_async.instance.logs.chain import Chain, Rules
from uwsgi_async.instance.logs.encoders import read_encoder
from uwsgi_async.instance.logs.logfile import Logfile, Rotation
from uwsgi_async.instance.logs.loggers import FdLogger
from uwsgi_async.instance.logs.specs import Opener, Spec, connect_udp, is_udp, read_logger, read_patterns, read_routes
from uwsgi_async.options.loggers import LoggerOptions

_STDERR: Final = 2
_DIRECT: Final = frozenset({"file", "fd", "stdio"})  # kinds of loggers that are descriptors


@dataclass(frozen=True, slots=True, kw_only=True)
class Loggers:
    """What has been opened.

    ``default``: where the log goes without loggers. ``messages`` and ``requests``: what takes lines. ``piped``: whether
    what is printed must be looked at line by line. ``is_stderr``: the default is standard error as it is.
    ``opened``: closes all of it.
    """

    default: FdLogger
    messages: Chain
    requests: Chain
    piped: bool
    is_stderr: bool
    opened: ExitStack


def open_loggers(options: LoggerOptions, inherited: int | None) -> Loggers:
    """Open what ``options`` say; ``inherited`` as in `process.ProcessLogs`.

    Raises `OptionError`, and then leaves nothing open.
    """
    specs = [read_logger(text, "logger") for text in options.logger]
    specs += [read_logger(f"syslog:{text}", "log-syslog") for text in options.log_syslog]
    specs += [read_logger(f"socket:{text}", "log-socket") for text in options.log_socket]
    rules = _message_rules(options, specs)
    unnamed = [spec.kind for spec in specs if spec.name is None]
    piped = rules.any or len(unnamed) > 1 or not _DIRECT.issuperset(unnamed)
    rotation = Rotation(
        maxsize=options.log_maxsize, backupname=options.log_backupname, mode=_mode(options.logfile_chmod)
    )
    with ExitStack() as opened:
        default = _default(options, rotation, inherited, piped=piped)
        opened.callback(default.close)
        opener = Opener(
            default=default,
            rotation=rotation,
            packet_size=options.rsyslog_packet_size,
            split=options.rsyslog_split_messages,
            complain=lambda sentence: default.write(f"{sentence}\n".encode()),
            opened=opened,
        )
        messages = Chain([(spec.name, opener.open(spec)) for spec in specs], rules, default)
        requests = _request_chain(options, opener) or messages
        return Loggers(
            default=default,
            messages=messages,
            requests=requests,
            piped=piped,
            is_stderr=options.logto is None and options.logto2 is None,
            opened=opened.pop_all(),
        )


def absolute(options: LoggerOptions) -> LoggerOptions:
    """Return the options with the paths that uWSGI looks for in the directory of the start, not in ``chdir``."""
    paths = {name: getattr(options, name) for name in ("logto", "logto2")}
    return replace(
        options, **{name: os.path.abspath(path) for name, path in paths.items() if path and not is_udp(path)}
    )


def _default(options: LoggerOptions, rotation: Rotation, inherited: int | None, *, piped: bool) -> FdLogger:
    """Return where the log goes without loggers: logto, else standard error."""
    stderr = _STDERR if inherited is None else inherited
    path, option = options.logto or options.logto2, "logto" if options.logto else "logto2"
    if path is None:
        # The descriptor of standard error becomes a pipe, here or in a process that is forked from here.
        return FdLogger(os.dup(stderr), owned=True) if piped and inherited is None else FdLogger(stderr)
    try:
        udp = connect_udp(path)
        if udp is not None:
            return FdLogger(udp, owned=True)
        late = options.logto is None and inherited is None
        return Logfile(path, rotation, inherited=stderr if late else inherited, late=late)
    except OSError as error:
        raise OptionError(f"{option}: cannot open {path!r}: {error.strerror}") from error


def _message_rules(options: LoggerOptions, specs: list[Spec]) -> Rules:
    return Rules(
        encoders=[read_encoder(text, "log-encoder") for text in options.log_encoder],
        routes=read_routes(options.log_route, "log-route", _names(specs)),
        drain=read_patterns(options.log_drain, "log-drain"),
        only=read_patterns(options.log_filter, "log-filter"),
    )


def _request_chain(options: LoggerOptions, opener: Opener) -> Chain | None:
    """Return what takes the lines of requests; None when they go where messages go."""
    specs = [read_logger(text, "req-logger") for text in options.req_logger]
    rules = Rules(
        encoders=[read_encoder(text, "log-req-encoder") for text in options.log_req_encoder],
        routes=read_routes(options.log_req_route, "log-req-route", _names(specs)),
    )
    if not specs and not rules.any:
        return None
    return Chain([(spec.name, opener.open(spec)) for spec in specs], rules, opener.default)


def _names(specs: list[Spec]) -> list[str]:
    return [spec.name for spec in specs if spec.name is not None]


def _mode(text: str | None) -> int | None:
    if text is None:
        return None
    if len(text) != 3 or any(digit not in "01234567" for digit in text):
        raise OptionError(f"logfile-chmod: expected three octal digits such as 640, but {text!r} came")
    return int(text, 8)
