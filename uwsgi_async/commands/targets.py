"""Which instance a command is about, and what it tells about itself.

A target is a pid, a file that holds one, an address of the stats server, or a URL of it. Pids are looked up at the
instance's local address, so a stale pidfile, or one of another program, is never taken for an instance.

What lives here: `read_statistics`, `find`. What does not: the stats server (`instance.statistics`), what is done with
the instance (`signals`, `table`, `top`). Plain blocking sockets: a command has nothing else to do.
"""

from __future__ import annotations

import http.client
import os
import socket
import stat
import struct
from urllib.parse import urlsplit

from uwsgi_async.api.statistics import InstanceStatistics
from uwsgi_async.errors import AddressError, BrokenError, PeerError, UsageError
from uwsgi_async.instance.statistics.document import decode
from uwsgi_async.instance.statistics.server import local_address
from uwsgi_async.wire.address import AbstractAddress, Address, FdAddress, TcpAddress, UnixAddress, parse_address

TIMEOUT = 10.0
"""Seconds that an instance has to answer."""

_PATIENCE = 0.3  # seconds until a server that says nothing is taken for one that speaks HTTP
_MOST_BYTES = 256 * 1024 * 1024
_LONGEST_PIDFILE = 32  # bytes
_UCRED = struct.Struct("3i")  # <sys/socket.h>: pid, uid, gid


def read_statistics(target: str) -> InstanceStatistics:
    """Return what the instance tells. Raises `UsageError` when there is none, `PeerError` when it is something else."""
    if target.startswith("http://"):
        return decode(_read_url(target))
    pid = _pid(target)
    if pid is not None:
        return _read_local(pid)
    return decode(_read_address(_address(target), target))


def find(target: str) -> InstanceStatistics:
    """Return the same of an instance whose ``pid`` is sure to be its process on this machine.

    Raises `UsageError` also when it runs on another machine, or as somebody else.
    """
    told = read_statistics(target)
    if _pid(target) is None:
        here = _read_local(told.pid)
        if (here.pid, here.started) != (told.pid, told.started):
            raise UsageError(f"the instance at {target} runs on another machine: run the command there")
    return told


def connect_and_read(text: str) -> int:
    """Print what comes from an address, as uWSGI does; return the exit status. Raises `AddressError`."""
    try:
        with _connect(parse_address(text)) as sock:
            sock.settimeout(None)
            while data := sock.recv(65536):
                os.write(1, data)
    except OSError as error:
        raise UsageError(f"cannot read from {text}: {error.strerror or error}") from error
    return 0


def _pid(target: str) -> int | None:
    """Return the process id that ``target`` is, or that the file holds; None for an address."""
    if target.isascii() and target.isdecimal():
        return int(target)
    try:
        if not stat.S_ISREG(os.stat(target).st_mode):
            return None
        with open(target, "rb") as file:
            text = file.read(_LONGEST_PIDFILE).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read {target!r}: {error.strerror}") from error
    if not text.isdigit():
        raise UsageError(f"expected a process id in the file {target!r}, but it holds {text!r}")
    return int(text)


def _address(target: str) -> Address:
    try:
        address = parse_address(target)
    except AddressError as error:
        raise UsageError(f"expected a pid, a pidfile or an address of a stats server: {error}") from None
    if isinstance(address, UnixAddress) and not os.path.exists(address.path):
        raise UsageError(f"there is no pidfile and no socket {address.path!r}")
    return address


def _read_local(pid: int) -> InstanceStatistics:
    """Return what the instance of process ``pid`` on this machine tells."""
    sentence = f"there is no uwsgi-async instance with process id {pid} on this machine that this user may ask"
    try:
        with _connect(local_address(pid)) as sock:
            server, _, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            if server != pid:  # the name is free to take, the process id is not
                raise UsageError(sentence)
            data = _read_all(sock)
    except OSError as error:
        raise UsageError(sentence) from error
    if not data:
        raise UsageError(sentence)
    return decode(data)


def _read_url(url: str) -> bytes:
    parts = urlsplit(url)
    try:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
        try:
            connection.request("GET", parts.path or "/")
            return connection.getresponse().read(_MOST_BYTES)
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UsageError(f"cannot read from {url}: {error}") from error


def _read_address(address: Address, target: str) -> bytes:
    try:
        with _connect(address) as sock:
            sock.settimeout(_PATIENCE)
            try:
                sock.recv(1, socket.MSG_PEEK)
            except TimeoutError:
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            sock.settimeout(TIMEOUT)
            data = _read_all(sock)
    except OSError as error:
        raise UsageError(f"cannot read from {target}: {error.strerror or error}") from error
    return data.partition(b"\r\n\r\n")[2] if data.startswith(b"HTTP/") else data


def _read_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while part := sock.recv(65536):
        data += part
        if len(data) > _MOST_BYTES:
            raise PeerError(f"expected statistics, but more than {_MOST_BYTES} bytes came")
    return bytes(data)


def _connect(address: Address) -> socket.socket:
    """Return a connected socket. Raises OSError."""
    if isinstance(address, TcpAddress):
        return socket.create_connection((address.host or "127.0.0.1", address.port), TIMEOUT)
    if isinstance(address, FdAddress):
        raise BrokenError(f"expected an address, but the file descriptor {address} came")
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(TIMEOUT)
        sock.connect(f"\0{address.name}" if isinstance(address, AbstractAddress) else address.path)
    except BaseException:
        sock.close()
        raise
    return sock
