"""Notifications over datagram sockets: what systemd is told of the instance, and what others tell the instance.

What lives here: `Notifier`, the sender of sd_notify(3), without libsystemd: one datagram for each message; and the
receiver of ``notify-socket``, which logs what comes. What does not: sockets that systemd passes (`listeners`), when
what is told (`master`, the command). Without a service manager that listens, nothing is sent. Source: sd_notify(3),
sd_watchdog_enabled(3), systemd.service(5), ``Type=notify-reload``; uWSGI's core/notify.c.
"""

from __future__ import annotations

import logging
import os
import socket
import stat
import time
from collections.abc import Mapping

import anyio

from uwsgi_async.errors import BindError

logger = logging.getLogger("uwsgi_async")

_LARGEST = 8192  # bytes of a notification, as in uWSGI
_PATIENCE = 1.0  # seconds for a service manager that does not read
_MICROS = 1_000_000
_NANOS_IN_MICRO = 1000


class Notifier:
    """Sends to ``address``: a path, ``@name`` for an abstract socket, None for nobody.

    ``watchdog``: seconds after which the service manager kills an instance that was silent; None: it never does.
    """

    def __init__(self, address: str | None, watchdog: float | None = None) -> None:
        self.watchdog = watchdog if address is not None else None
        self._address = address
        self._complained = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> Notifier:
        """Return the notifier that ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` describe.

        ``pid``: of the process that is to report; None is this one.
        """
        address = environ.get("NOTIFY_SOCKET") or None
        if address is not None and not address.startswith(("/", "@")):
            logger.warning("NOTIFY_SOCKET: expected a path or @name, but %r came: nothing is reported", address)
            address = None
        micros = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid() if pid is None else pid))
        watchdog = int(micros) / _MICROS if meant and micros.isascii() and micros.isdecimal() and int(micros) else None
        return cls(address, watchdog)

    def __repr__(self) -> str:
        return f"<Notifier of {self._address or 'nobody'}>"

    def ready(self, status: str) -> None:
        """Tell that the instance serves: after its start, and after each reload, whether that has worked or not."""
        self._send("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")

    def reloading(self, status: str) -> None:
        """Tell that a reload begins; `ready` must follow."""
        micros = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // _NANOS_IN_MICRO
        self._send("RELOADING=1", f"MONOTONIC_USEC={micros}", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        """Tell that the instance is about to end."""
        self._send("STOPPING=1", f"STATUS={status}")

    async def feed_watchdog(self) -> None:
        """Tell twice in the watchdog's time that this event loop turns; returns at once when nobody asks."""
        if self.watchdog is None:
            return
        while True:
            self._send("WATCHDOG=1")
            await anyio.sleep(self.watchdog / 2)

    def _send(self, *assignments: str) -> None:
        if self._address is None:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        state = "\n".join(" ".join(assignment.splitlines()) for assignment in assignments)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.settimeout(_PATIENCE)
                sock.sendto(state.encode(), address)
        except OSError as error:
            if not self._complained:
                logger.warning("the service manager at %s cannot be reached: %s", self._address, error)
            self._complained = True


def open_notify_socket(path: str) -> socket.socket:
    """Return the socket of ``notify-socket``, bound to ``path`` in the place of one that nobody reads any more.

    Raises `BindError` when something else is there, or the system refuses.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.setblocking(False)
    try:
        if _is_stale(path):
            os.unlink(path)
        sock.bind(path)
    except OSError as error:
        sock.close()
        raise BindError(f"notify-socket: cannot make {path!r}: {error.strerror or error}") from error
    return sock


def _is_stale(path: str) -> bool:
    """Whether a socket is there that nobody reads."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            pass  # bind tells better what is wrong
    return False


async def log_notifications(sock: socket.socket) -> None:
    """Log each datagram as one line, until cancelled."""
    while True:
        await anyio.wait_readable(sock)
        try:
            data = sock.recv(_LARGEST)
        except BlockingIOError:
            continue
        text = data.decode("utf-8", "backslashreplace").rstrip("\n")
        logger.info("[notify-socket] %s", "".join(c if c.isprintable() else repr(c)[1:-1] for c in text))
