"""What the options say of loggers: ``[name ]kind[:argument]`` to a `Logger`, the rest to patterns.

What lives here: `read_logger`, `Opener`, `read_patterns`, `read_routes`, `connect_udp`. What does not: what loggers do
(`loggers`, `logfile`). Source: uWSGI's page "Logging"; plugins/logfile, logsocket, syslog, rsyslog.
"""

from __future__ import annotations

import os
import re
import socket
import syslog
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Final

from uwsgi_async.errors import OptionError
from uwsgi_async.instance.logs.logfile import Logfile, Rotation
from uwsgi_async.instance.logs.loggers import Complain, DatagramLogger, FdLogger, Frame, Logger

_NAMED = re.compile(r"([A-Za-z0-9]+) (.+)", re.DOTALL)
_UDP = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^/:]+):[0-9]{1,5}")
_SYSLOG_PORT: Final = 514
_SYSLOG_SOCKET: Final = "/dev/log"
_FACILITY_NAMES: Final = (
    *("auth", "cron", "daemon", "kern", "lpr", "mail", "news", "syslog", "user", "uucp"),
    *(f"local{number}" for number in range(8)),
)
_FACILITIES: Final = {
    **{name: getattr(syslog, f"LOG_{name.upper()}") for name in _FACILITY_NAMES},
    "security": syslog.LOG_AUTH,
    "authpriv": 10 << 3,  # <sys/syslog.h>; Python does not name these two
    "ftp": 11 << 3,
}


@dataclass(frozen=True, slots=True)
class Spec:
    """A logger as it was asked for. ``name``: None without one. ``option``: which asked, for errors."""

    name: str | None
    kind: str
    argument: str
    option: str


def read_logger(text: str, option: str) -> Spec:
    """Return what ``[name ]kind[:argument]`` means. Raises `OptionError` for an unknown kind."""
    named = _NAMED.fullmatch(text)
    name, rest = (named[1], named[2]) if named else (None, text)
    kind, _, argument = rest.partition(":")
    if kind not in _KINDS:
        raise OptionError(
            f"{option}: there is no logger {kind!r}; there are {', '.join(_KINDS)}. "
            "For other services let an agent read the file, the socket or the syslog"
        )
    return Spec(name, kind, argument, option)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opener:
    """What loggers need to know besides their own option.

    ``default``: where the log would go without them. ``packet_size``: bytes of an rsyslog datagram;
    ``split``: longer lines make several, else they are cut. ``opened``: closes what has been opened.
    """

    default: FdLogger
    rotation: Rotation
    packet_size: int
    split: bool
    complain: Complain
    opened: ExitStack

    def open(self, spec: Spec) -> Logger:
        """Return the logger. Raises `OptionError` for a wrong argument, or for a place that cannot be opened."""
        try:
            logger = _KINDS[spec.kind](self, spec.argument)
        except OSError as error:
            reason = error.strerror or str(error)
            raise OptionError(f"{spec.option}: cannot open {spec.kind}:{spec.argument}: {reason}") from error
        except ValueError as error:
            raise OptionError(f"{spec.option}: {spec.kind}:{spec.argument}: {error}") from error
        self.opened.callback(logger.close)
        return logger

    def file(self, argument: str) -> Logger:
        """``path``, or ``logfile=path[,maxsize=bytes][,backupname=path]``."""
        if "=" not in argument:
            return Logfile(_needed(argument, "the path of a file"), self.rotation, complain=self.complain)
        pairs = dict(pair.partition("=")[::2] for pair in argument.split(","))
        path = pairs.pop("logfile", "")
        maxsize = pairs.pop("maxsize", "0")
        rotation = replace(self.rotation, maxsize=int(maxsize), backupname=pairs.pop("backupname", None))
        if pairs or not path:
            raise ValueError("expected logfile=path, maxsize=bytes and backupname=path, the first at least")
        return Logfile(path, rotation, check=True, complain=self.complain)

    def fd(self, argument: str) -> Logger:
        """The number of a descriptor that is open."""
        fd = int(_needed(argument, "the number of an open file descriptor"))
        os.fstat(fd)
        return FdLogger(fd, self.complain)

    def stdio(self, _argument: str) -> Logger:
        """Where the log would go without loggers."""
        return self.default

    def socket(self, argument: str) -> Logger:
        """``host:port`` or the path of a UNIX socket; what follows a comma stands before each line."""
        address, _, prefix = _needed(argument, "host:port or the path of a UNIX socket").partition(",")
        before = prefix.encode()
        return DatagramLogger(_address(address, None), lambda line: (before + line,), self.complain)

    def syslog(self, argument: str) -> Logger:
        """``identity[,facility]``, to the local syslog."""
        identity, _, name = argument.partition(",")
        if name and name not in _FACILITIES:
            raise ValueError(f"there is no facility {name!r}; there are {', '.join(_FACILITIES)}")
        priority = _FACILITIES[name or "daemon"] | syslog.LOG_INFO
        return DatagramLogger(_SYSLOG_SOCKET, syslog_frame(priority, identity or "uwsgi"), self.complain)

    def rsyslog(self, argument: str) -> Logger:
        """``host[:port][,identity[,priority]]`` or the path of a UNIX socket instead of the host."""
        where, _, rest = _needed(argument, "host:port or the path of a UNIX socket").partition(",")
        identity, _, priority = rest.partition(",")
        frame = syslog_frame(
            int(priority or 29), identity or f"{socket.gethostname()} uwsgi", self.packet_size, split=self.split
        )
        return DatagramLogger(_address(where, _SYSLOG_PORT), frame, self.complain)


_KINDS: Final[dict[str, Callable[[Opener, str], Logger]]] = {
    "file": Opener.file,
    "fd": Opener.fd,
    "stdio": Opener.stdio,
    "socket": Opener.socket,
    "syslog": Opener.syslog,
    "rsyslog": Opener.rsyslog,
}


def read_patterns(texts: Iterable[str], option: str) -> list[re.Pattern[bytes]]:
    """Return the regular expressions. Raises `OptionError` for what is none."""
    return [_pattern(text, option) for text in texts]


def read_routes(texts: Iterable[str], option: str, names: Collection[str]) -> list[tuple[re.Pattern[bytes], str]]:
    """Return the routes that ``name pattern`` mean. ``names``: of the loggers there are. Raises `OptionError`."""
    routes = []
    for text in texts:
        name, space, pattern = text.partition(" ")
        if not space:
            raise OptionError(f"{option}: expected the name of a logger and a regular expression, but {text!r} came")
        if name not in names:
            known = f"there are {', '.join(names)}" if names else "no logger has a name: give one as 'name file:...'"
            raise OptionError(f"{option}: there is no logger named {name!r}; {known}")
        routes.append((_pattern(pattern, option), name))
    return routes


def syslog_frame(priority: int, identity: str, size: int = 0, *, split: bool = False) -> Frame:
    """Return what makes datagrams of RFC 3164 of a line.

    ``size``: bytes of one; 0 = no limit. ``split``: a longer line makes several, else it is cut.
    """

    def frame(line: bytes) -> Iterable[bytes]:
        text = line.removesuffix(b"\n")
        head = f"<{priority}>{time.ctime()[4:19]} {identity}: ".encode()
        room = max(size - len(head), 1) if size else len(text)
        if len(text) <= room:
            return (head + text,)
        pieces = [head + text[start : start + room] for start in range(0, len(text), room)]
        return pieces if split else pieces[:1]

    return frame


def _pattern(text: str, option: str) -> re.Pattern[bytes]:
    try:
        return re.compile(text.encode())
    except re.error as error:
        raise OptionError(f"{option}: {text!r} is no regular expression: {error}") from error


def is_udp(address: str) -> bool:
    """Whether this is ``host:port``, and not a path."""
    return _UDP.fullmatch(address) is not None


def connect_udp(address: str) -> int | None:
    """Return a descriptor that is connected to the UDP address ``host:port``; None when it is none. Raises OSError."""
    if not is_udp(address):
        return None
    host, _, port = address.rpartition(":")
    family, kind, _, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as sock:
        sock.connect(target)
        return sock.detach()


def _needed(argument: str, what: str) -> str:
    if not argument:
        raise ValueError(f"expected {what} behind the colon")
    return argument


def _address(text: str, port: int | None) -> tuple[str, int] | str:
    """Return (host, port), or the path of a UNIX socket. ``port``: the usual one; None: there is none."""
    if text.startswith("/") or (":" not in text and port is None):
        return text
    host, colon, number = text.rpartition(":") if ":" in text else (text, "", "")
    if colon and not (number.isascii() and number.isdigit() and 0 < int(number) < 65536):
        raise ValueError(f"expected a port from 1 to 65535, but {number!r} came")
    return host.strip("[]"), int(number) if colon else port or 0
