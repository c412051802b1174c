"""What a node is made of: its name, the cookie, its limits; and the claim on the name, which one process has at a time.

What lives here: `NodeSettings` (from the options), `NodeClaim`. What does not: the options themselves
(`options.erlang`), what is done with the name (`naming`).
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from uwsgi_async.erlang.epmd import PORT
from uwsgi_async.erlang.handshake import check_name
from uwsgi_async.erlang.terms import library
from uwsgi_async.errors import NotConfiguredError, OptionError
from uwsgi_async.options.erlang import ErlangOptions
from uwsgi_async.state.claims import ByteClaim

COOKIE_FILE: Final = ".erlang.cookie"
_LONGEST_COOKIE: Final = 255  # characters of an atom
_NAME_BYTE: Final = 0  # of the claim's file


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What a node needs. ``ticktime``: seconds. ``largest``: bytes of a message.

    ``name``: "" for a node without one, which others cannot connect to.
    """

    name: str
    cookie: str
    ticktime: float
    largest: int

    @classmethod
    def of(cls, options: ErlangOptions) -> NodeSettings:
        """Return what the options say. Raises `OptionError`, also when erlang_py is not installed."""
        try:
            library()
        except NotConfiguredError as error:
            raise OptionError(f"erlang: {error}") from error
        name = ""
        if options.erlang is not None:
            name = options.erlang if "@" in options.erlang else f"{options.erlang}@{short_hostname()}"
            try:
                check_name(name)
            except ValueError as error:
                raise OptionError(f"erlang: {error}") from error
        cookie = find_cookie() if options.erlang_cookie is None else check_cookie(options.erlang_cookie)
        return cls(name, cookie, options.erlang_ticktime, options.erlang_message_size)

    @property
    def host(self) -> str:
        """The host in the name; without a name that of this machine."""
        return self.name.partition("@")[2] or short_hostname()


def short_hostname() -> str:
    """Return the name of this machine without its domain, as erl takes it for -sname."""
    return socket.gethostname().partition(".")[0] or "localhost"


def check_cookie(cookie: str) -> str:
    """Return a cookie. Raises `OptionError` for what is none."""
    if not 0 < len(cookie) <= _LONGEST_COOKIE or not cookie.isascii() or not cookie.isprintable():
        raise OptionError(f"erlang-cookie: expected 1 to {_LONGEST_COOKIE} printable ASCII characters")
    return cookie


def find_cookie() -> str:
    """Return the cookie of the user's file, ~/.erlang.cookie. Raises `OptionError`.

    As erl does, refuse a file that others may read or write.
    """
    path = Path.home() / COOKIE_FILE
    try:
        text = path.read_text("ascii", "replace")
        mode = path.stat().st_mode
    except OSError as error:
        raise OptionError(
            f"erlang: there is no cookie: give the other nodes' by erlang-cookie, or in {path} ({error.strerror})"
        ) from error
    if stat.S_IMODE(mode) & 0o077:
        raise OptionError(f"erlang: the cookie file {path} must be accessible by its owner only: chmod 600 {path}")
    return check_cookie(text.strip())


def epmd_port() -> int:
    """Return the port of every epmd: ERL_EPMD_PORT, as for Erlang's own programs. Raises `OptionError`."""
    text = os.environ.get("ERL_EPMD_PORT", str(PORT))
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) < 65536:
        raise OptionError(f"expected a port in the environment variable ERL_EPMD_PORT, but it is {text[:40]!r}")
    return int(text)


class NodeClaim:
    """The settings of an instance's node, and who has its name: one process, until it gives it back or ends.

    A part of the shared state: see `instance.state`.
    """

    def __init__(self, settings: NodeSettings, fd: int) -> None:
        self.settings = settings
        self._fd = fd

    def __repr__(self) -> str:
        return f"<NodeClaim of {self.settings.name or 'a node without a name'}>"

    @classmethod
    def create(cls, options: ErlangOptions) -> NodeClaim | None:
        """Return the claim; None when no option of Erlang's is given. Raises `OptionError`."""
        if options == ErlangOptions():
            return None
        return cls(NodeSettings.of(options), os.memfd_create("erlang-node"))

    @classmethod
    def attach(cls, described: Any) -> NodeClaim:
        fd, settings = described
        return cls(NodeSettings(**settings), fd)

    def take(self) -> bool:
        """Take the name for this process; False when another one has it, or there is none."""
        return bool(self.settings.name) and ByteClaim(self._fd, _NAME_BYTE).lock()

    def give_back(self) -> None:
        """Let another process take the name."""
        ByteClaim(self._fd, _NAME_BYTE).unlock()

    # --- a part of an instance --------------------------------------------------------------------------------

    @property
    def fds(self) -> Sequence[int]:
        return [self._fd]

    def described(self) -> Any:
        return [self._fd, asdict(self.settings)]

    async def maintain(self) -> None:
        await anyio.sleep_forever()

    def publish(self) -> None:
        """Nothing is counted here."""

    def sections(self) -> Mapping[str, Any]:
        """Return nothing: statistics are not told."""
        return {}

    def close(self) -> None:
        os.close(self._fd)
