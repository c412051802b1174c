"""Where the log goes, and how an instance and its processes are called.

What lives here: two subsystems of `settings.Options`, declared as all are there.
"""

from dataclasses import dataclass

from uwsgi_async.options.declare import option


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggerOptions:
    """Where the log goes. For `instance.logs`."""

    logto: str | None = option(None, "logto", help="write the log, standard output and error to this file or host:port")
    logto2: str | None = option(None, "logto2", help="the same, but opened when the privileges have been dropped")
    logfile_chmod: str | None = option(None, "logfile-chmod", help="mode of log files, three octal digits")
    logfile_chown: bool = option(False, "logfile-chown", help="give the log file to the user that the instance runs as")
    log_truncate: bool = option(False, "log-truncate", help="empty the log file at the start")
    log_reopen: bool = option(False, "log-reopen", help="open the log file again at each reload")
    log_maxsize: int = option(
        0, "log-maxsize", unit="bytes", help="rename the log file when it is larger; 0 = never", minimum=0
    )
    log_backupname: str | None = option(
        None, "log-backupname", help="new name of the log file then; without: the time behind the old one"
    )
    touch_logrotate: tuple[str, ...] = option(
        (), "touch-logrotate", repeat=True, help="rename the log file and begin another when this file is touched"
    )
    touch_logreopen: tuple[str, ...] = option(
        (), "touch-logreopen", repeat=True, help="open the log file again when this file is touched"
    )
    logger: tuple[str, ...] = option(
        (),
        "logger",
        repeat=True,
        help="send the log to file:, socket:, syslog:, rsyslog:, fd: or stdio; see docs/logging.md",
    )
    req_logger: tuple[str, ...] = option(
        (), "req-logger", "logger-req", repeat=True, help="send the lines of requests there, and only there"
    )
    log_syslog: tuple[str, ...] = option(
        (), "log-syslog", repeat=True, bare="uwsgi", help="send the log to syslog, as identity[,facility]"
    )
    log_socket: tuple[str, ...] = option(
        (), "log-socket", repeat=True, help="send the log to this UDP address or UNIX datagram socket"
    )
    log_encoder: tuple[str, ...] = option(
        (),
        "log-encoder",
        repeat=True,
        placeholders=True,
        help="change each line: prefix, suffix, nl, format, json, gzip",
    )
    log_req_encoder: tuple[str, ...] = option(
        (), "log-req-encoder", repeat=True, placeholders=True, help="change each line of a request"
    )
    log_route: tuple[str, ...] = option(
        (), "log-route", repeat=True, placeholders=True, help="send lines that match to a named logger: name regexp"
    )
    log_req_route: tuple[str, ...] = option(
        (), "log-req-route", repeat=True, placeholders=True, help="send lines of requests that match to a named logger"
    )
    log_drain: tuple[str, ...] = option(
        (), "log-drain", repeat=True, placeholders=True, help="drop lines that match this regular expression"
    )
    log_filter: tuple[str, ...] = option(
        (), "log-filter", repeat=True, placeholders=True, help="drop lines that match none of these expressions"
    )
    rsyslog_packet_size: int = option(
        1024,
        "rsyslog-packet-size",
        unit="bytes",
        help="largest datagram to an rsyslog logger",
        minimum=100,
        maximum=65507,
    )
    rsyslog_split_messages: bool = option(
        False, "rsyslog-split-messages", help="send what is longer in several datagrams; else it is cut"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NameOptions:
    """How the instance is called, and its processes in ps(1). For `instance.names`, and for the app."""

    mode: str | None = option(None, "mode", help="a word for the app, which it finds as uwsgi.mode")

    auto_procname: bool = option(False, "auto-procname", help="call each process by what it does")
    procname: str | None = option(None, "procname", help="call all processes so")
    procname_master: str | None = option(None, "procname-master", help="call the master so")
    procname_prefix: str | None = option(None, "procname-prefix", help="put this before the names of the processes")
    procname_prefix_spaced: str | None = option(
        None, "procname-prefix-spaced", help="put this and a space before the names of the processes"
    )
    procname_append: str | None = option(None, "procname-append", help="put this behind the names of the processes")
