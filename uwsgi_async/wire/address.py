"""Addresses: text to one of four kinds, and back.

===================  ============================================================
``127.0.0.1:80``     TCP; also ``localhost:80``, ``[::1]:80`` and ``:80`` (every IPv4 address)
``/run/app.sock``    UNIX socket in the file system; also ``unix:/run/app.sock``
``@name``            UNIX socket in Linux's abstract namespace; also ``\\0name`` (spelled out, or a real NUL)
``fd://3``           a socket that is open already
===================  ============================================================

What lives here: `parse_address` and the four kinds. What does not: name lookups and sockets (`instance.listeners`).
"""

from dataclasses import dataclass
from typing import Final

from uwsgi_async.errors import AddressError

MAX_PORT: Final = 65535

_PATHS = ("/", "./", "../")  # no doubt that a path begins
_SPELLINGS = "expected host:port, :port, [ipv6]:port, /path/to.sock, @abstract or fd://N"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """``host`` is a name or a number without brackets, "" for every IPv4 address; ``port`` 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """``path`` of a UNIX socket in the file system."""

    path: str

    def __str__(self) -> str:
        taken = self.path.startswith(("@", "\\0")) or ":" in self.path or self.path.isdecimal()
        return f"unix:{self.path}" if taken and not self.path.startswith(_PATHS) else self.path


@dataclass(frozen=True, slots=True)
class AbstractAddress:
    """``name`` of a UNIX socket in Linux's abstract namespace, without the NUL in front."""

    name: str

    def __str__(self) -> str:
        return f"@{self.name}"


@dataclass(frozen=True, slots=True)
class FdAddress:
    """``fd``: number of a file descriptor that this process has already."""

    fd: int

    def __str__(self) -> str:
        return f"fd://{self.fd}"


Address = TcpAddress | UnixAddress | AbstractAddress | FdAddress


def parse_address(text: str) -> Address:
    """Return the address that ``text`` spells. Raises `AddressError` when it is none of the spellings above."""
    if not text:
        raise AddressError(f"an address is empty; {_SPELLINGS}")
    if text.startswith("fd://"):
        return FdAddress(_number(text, text.removeprefix("fd://"), "file descriptor", 2**31 - 1))
    if text.startswith("unix:"):
        return _unix(text, text.removeprefix("unix:"))
    for prefix in ("@", "\0", "\\0"):
        if text.startswith(prefix):
            return _abstract(text, text.removeprefix(prefix))
    if text.startswith(_PATHS):
        return _unix(text, text)
    if "://" in text:
        raise AddressError(f"the address {text!r} is a URL; {_SPELLINGS}")
    if ":" in text:
        return _tcp(text)
    if text.isdecimal():
        raise AddressError(
            f"the address {text!r} is only a number; write ':{text}' for a port, 'fd://{text}' for an fd"
        )
    return _unix(text, text)


def _tcp(text: str) -> TcpAddress:
    host, _, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    elif ":" in host or text.startswith("["):
        raise AddressError(f"the address {text!r} is ambiguous; put an IPv6 address in brackets, e.g. [::1]:80")
    if any(c.isspace() or c in "\0[]/" for c in host):
        raise AddressError(f"the address {text!r} has no valid host; {_SPELLINGS}")
    return TcpAddress(host, _number(text, port, "port", MAX_PORT))


def _unix(text: str, path: str) -> UnixAddress:
    if not path or "\0" in path:
        raise AddressError(f"the address {text!r} has no valid path; {_SPELLINGS}")
    return UnixAddress(path)


def _abstract(text: str, name: str) -> AbstractAddress:
    if not name:
        raise AddressError(f"the address {text!r} has no name; expected e.g. @myapp")
    return AbstractAddress(name)


def _number(text: str, digits: str, what: str, maximum: int) -> int:
    if not (digits.isascii() and digits.isdecimal()) or len(digits) > 10 or int(digits) > maximum:
        raise AddressError(f"the {what} of the address {text!r} is {digits!r}; expected a number of 0 to {maximum}")
    return int(digits)
