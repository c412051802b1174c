"""Listening sockets: from an address to a socket that is bound, listening and non-blocking.

What lives here: `open_listener`, `Listener`, `systemd_fds`. What does not: the spelling of addresses
(`wire.address`), accepting (`cores.listener`).
"""

import errno
import os
import socket
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NoReturn

from uwsgi_async.errors import AddressError, BindError, OptionError
from uwsgi_async.instance.certificates import Tls
from uwsgi_async.instance.ownfile import OwnFile
from uwsgi_async.wire.address import AbstractAddress, Address, FdAddress, TcpAddress, UnixAddress

Protocol = Literal["http", "uwsgi"]

_SYSTEMD_FIRST_FD: Final = 3
_MAX_UNIX_PATH: Final = 107  # bytes; the kernel has room for 108 with the NUL
_MAX_MODE: Final = 0o7777
_REACHABLE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # by a client on this machine
_FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)

_HINTS = {
    errno.EADDRINUSE: "something else listens there; stop it, or choose another address (port 0 is any free port)",
    errno.EADDRNOTAVAIL: "no network interface of this machine has that address",
    errno.ENOENT: "the directory does not exist",
    errno.ENOTDIR: "a part of its path is not a directory",
    errno.EROFS: "the file system is read-only",
}


@dataclass(frozen=True, slots=True)
class Listener:
    """One listening socket.

    ``name`` is its address as the system tells it, such as "127.0.0.1:4321" or a path. ``url`` is where an HTTP
    client on this machine reaches it, also when it listens at every address; None for uwsgi and UNIX sockets.
    ``file``: the socket file that was made for it; only the process that opened it removes it. ``share``: its number,
    from 1, among several at one address, between which the kernel divides the connections; 0 for one alone.
    ``tls``: the certificates, where TLS is spoken.
    """

    sock: socket.socket
    protocol: Protocol
    name: str
    url: str | None
    file: OwnFile | None = None
    share: int = 0
    tls: Tls | None = None
    _opener: int = field(default_factory=os.getpid)

    def close(self) -> None:
        """Close the socket, and remove the UNIX socket file that was made for it. May be called again."""
        if self.sock.fileno() == -1:
            return
        if self.file is not None and os.getpid() == self._opener:
            self.file.remove()
        self.sock.close()


def open_listener(
    address: Address,
    *,
    protocol: Protocol,
    backlog: int,
    chmod: str | None = None,
    chown: tuple[int, int] | None = None,
    share: int = 0,
    tls: Tls | None = None,
) -> Listener:
    """Return the open listener of an address.

    ``backlog``: connections that the kernel queues. ``chmod``: mode of a UNIX socket's file in octal, e.g. "660";
    None leaves it to the umask. ``chown``: user and group of that file; -1 leaves the group. A socket of `FdAddress`
    keeps its own backlog; its file stays when it is closed. ``share``: the number of this socket among several that
    share a TCP address (SO_REUSEPORT); 0 does not share. ``tls``: the certificates, to speak TLS.

    Raises `BindError` when the system refuses, `AddressError` when the address cannot be used as it is, `OptionError`
    when ``chmod`` is not a mode.
    """
    mode = _mode(chmod)
    file = None
    if isinstance(address, FdAddress):
        sock = _adopt(address)
    elif isinstance(address, TcpAddress):
        sock = _bind_tcp(address, share > 0)
    elif isinstance(address, AbstractAddress):
        sock = _bind(address, socket.AF_UNIX, f"\0{address.name}")
    else:
        sock, file = _bind_unix(address, mode, chown)
    if not isinstance(address, FdAddress):
        try:
            sock.listen(backlog)
        except OSError as error:
            if file is not None:
                file.remove()
            sock.close()
            _fail(address, error)
    sock.setblocking(False)
    name, url = _describe(sock, protocol, "http" if tls is None else "https")
    return Listener(sock, protocol, name, url, file, share if isinstance(address, TcpAddress) else 0, tls)


def listeners_of(worker: int, workers: int, listeners: Sequence[Listener]) -> list[Listener]:
    """Return the listeners that a worker serves: of those that share an address its own, and all others.

    There may be more or fewer workers than shares, after a reload: every share has a worker, and every worker one.
    """
    shares = max((listener.share for listener in listeners), default=0)
    return [
        listener
        for listener in listeners
        if not listener.share or (listener.share - worker) % min(shares, workers) == 0
    ]


def systemd_fds() -> tuple[int, ...]:
    """Return the file descriptors that systemd (or another one that sets LISTEN_FDS) passed to this process."""
    pid, count = os.environ.get("LISTEN_PID", ""), os.environ.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdecimal()) or pid != str(os.getpid()):
        return ()
    return tuple(range(_SYSTEMD_FIRST_FD, _SYSTEMD_FIRST_FD + int(count)))


def _mode(chmod: str | None) -> int | None:
    if chmod is None:
        return None
    try:
        mode = int(chmod, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= _MAX_MODE:
        raise OptionError(f"chmod-socket: expected a mode in octal such as 660, but {chmod!r} came")
    return mode


def _bind_tcp(address: TcpAddress, shared: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            address.host or "0.0.0.0", address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise BindError(f"cannot listen at {address}: the host {address.host!r} is not known ({error})") from error
    # As in uWSGI, a name that has addresses of both families means the one of IPv4.
    family, _, _, _, where = min(found, key=lambda info: info[0] != socket.AF_INET)
    return _bind(address, family, where, shared)


def _bind(address: Address, family: int, where: object, shared: bool = False) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        _fail(address, error)
    try:
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(where)  # type: ignore[arg-type]
    except OSError as error:
        sock.close()
        _fail(address, error)
    return sock


def _bind_unix(address: UnixAddress, mode: int | None, owner: tuple[int, int] | None) -> tuple[socket.socket, OwnFile]:
    size = len(os.fsencode(address.path))
    if size > _MAX_UNIX_PATH:
        raise AddressError(f"the path of a UNIX socket has at most {_MAX_UNIX_PATH} bytes, not {size}: {address.path}")
    _remove_stale(address)
    sock = _bind(address, socket.AF_UNIX, address.path)
    file = OwnFile.of(address.path)
    try:  # before listen: nobody can have connected yet
        if mode is not None:
            os.chmod(address.path, mode)
        if owner is not None:
            os.chown(address.path, *owner)
    except OSError as error:
        file.remove()
        sock.close()
        _fail(address, error)
    return sock, file


def _remove_stale(address: UnixAddress) -> None:
    """Remove a socket file that nobody listens at; raise `BindError` when the path is not free."""
    try:
        status = os.lstat(address.path)
    except OSError:
        return  # nothing there, or bind tells better what is wrong
    if not stat.S_ISSOCK(status.st_mode):
        raise BindError(f"cannot listen at {address}: a file that is not a socket is there; remove it, or move")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.path)
        except ConnectionRefusedError:
            pass
        except BlockingIOError:
            _fail(address, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
        except OSError as error:
            _fail(address, error)
        else:
            _fail(address, OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)))
    try:
        os.unlink(address.path)
    except OSError as error:
        _fail(address, error)


def _adopt(address: FdAddress) -> socket.socket:
    try:
        is_socket = stat.S_ISSOCK(os.fstat(address.fd).st_mode)
    except OSError as error:
        _fail(address, error, "this process has no such file descriptor open")
    if not is_socket:
        raise BindError(f"cannot listen at {address}: the file descriptor is not a socket")
    sock = socket.socket(fileno=address.fd)
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.family not in _FAMILIES or sock.type != socket.SOCK_STREAM or not listens:
        sock.detach()
        raise BindError(f"cannot listen at {address}: expected a listening stream socket of TCP or UNIX")
    sock.set_inheritable(False)
    return sock


def _describe(sock: socket.socket, protocol: Protocol, scheme: str) -> tuple[str, str | None]:
    """The socket's name and URL."""
    where = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        name = os.fsdecode(where)
        return (f"@{name[1:]}" if name.startswith("\0") else name), None
    host, port = where[:2]
    url = f"{scheme}://{TcpAddress(_REACHABLE.get(host, host), port)}" if protocol == "http" else None
    return str(TcpAddress(host, port)), url


def _fail(address: Address, error: OSError, hint: str | None = None) -> NoReturn:
    if hint is None:
        hint = _hint(address, error)
    failure = BindError(f"cannot listen at {address}: {error.strerror or error}{'; ' if hint else ''}{hint}")
    failure.errno = error.errno
    raise failure from error


def _hint(address: Address, error: OSError) -> str:
    if error.errno not in (errno.EACCES, errno.EPERM):
        return _HINTS.get(error.errno or 0, "")
    if isinstance(address, TcpAddress):
        return "ports below 1024 need root or CAP_NET_BIND_SERVICE"
    return "this user may not write in its directory, or not to the socket that is there"
