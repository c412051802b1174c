"""The handshake of two Erlang nodes, of version 6 (OTP 23 and later): who they are, what they can, one cookie.

What lives here: `Initiator` and `Acceptor`, which turn bytes into bytes; no I/O. What does not: what comes behind
(`messages`), who may connect when both want to (`node`). Source: Erlang's "Distribution Protocol" (erl_dist_protocol),
"Distribution Handshake"; OTP's dist_util.erl.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag
from typing import Final, Literal

from uwsgi_async.errors import ErlangError, NodeDownError

_LONGEST: Final = 1024 + 64  # bytes of a message: a name has 255 characters of up to 4 bytes
_LONGEST_NAME: Final = 255  # characters


class Flag(IntFlag):
    """What a node can do (DFLAG_...)."""

    EXTENDED_REFERENCES = 0x4
    DIST_MONITOR = 0x8
    FUN_TAGS = 0x10
    DIST_MONITOR_NAME = 0x20
    NEW_FUN_TAGS = 0x80
    EXTENDED_PIDS_PORTS = 0x100
    EXPORT_PTR_TAG = 0x200
    BIT_BINARIES = 0x400
    NEW_FLOATS = 0x800
    DIST_HDR_ATOM_CACHE = 0x2000
    SMALL_ATOM_TAGS = 0x4000
    UTF8_ATOMS = 0x10000
    MAP_TAG = 0x20000
    BIG_CREATION = 0x40000
    SEND_SENDER = 0x80000
    EXIT_PAYLOAD = 0x400000
    FRAGMENTS = 0x800000
    HANDSHAKE_23 = 0x1000000
    UNLINK_ID = 0x2000000
    SPAWN = 1 << 32
    NAME_ME = 1 << 33
    V4_NC = 1 << 34
    ALIAS = 1 << 35
    MANDATORY_25_DIGEST = 1 << 36


NEEDED: Final = (
    Flag.EXTENDED_REFERENCES
    | Flag.FUN_TAGS
    | Flag.NEW_FUN_TAGS
    | Flag.EXTENDED_PIDS_PORTS
    | Flag.EXPORT_PTR_TAG
    | Flag.BIT_BINARIES
    | Flag.NEW_FLOATS
    | Flag.UTF8_ATOMS
    | Flag.MAP_TAG
    | Flag.BIG_CREATION
    | Flag.HANDSHAKE_23
)
"""What another node must be able to do; each of OTP 25 and later asks for the same."""

OURS: Final = (
    NEEDED
    | Flag.DIST_MONITOR
    | Flag.DIST_MONITOR_NAME
    | Flag.SMALL_ATOM_TAGS
    | Flag.SEND_SENDER
    | Flag.EXIT_PAYLOAD
    | Flag.UNLINK_ID
    | Flag.SPAWN
    | Flag.V4_NC
    | Flag.ALIAS
    | Flag.MANDATORY_25_DIGEST
)
"""What this node can do. Not: FRAGMENTS and DIST_HDR_ATOM_CACHE, so that each message comes whole and by itself; and
not the flag that would make it a visible node, as no C node is one."""


@dataclass(frozen=True, slots=True)
class LocalNode:
    """This node. ``creation``: see `epmd.decode_alive`.

    ``name``: the full one; only the host when the other node is to give it a name.
    """

    name: str
    creation: int

    @property
    def is_nameless(self) -> bool:
        return "@" not in self.name


@dataclass(frozen=True, slots=True)
class Session:
    """What both have agreed on. ``local``: with the name that this node has on the connection. ``flags``: of both."""

    local: LocalNode
    peer: str
    flags: Flag


Status = Literal["ok", "ok_simultaneous", "nok", "not_allowed", "alive"]


class _Handshake:
    """The part of both sides. ``session``: None until the handshake is over."""

    def __init__(self, local: LocalNode, cookie: bytes, challenge: int | None) -> None:
        self.session: Session | None = None
        self._local = local
        self._cookie = cookie
        self._challenge = secrets.randbits(32) if challenge is None else challenge
        self._buffer = bytearray()
        self._flags = Flag(0)
        self._peer = ""
        self._expect: Callable[[bytes], bytes] | None = None

    def receive_data(self, data: bytes) -> bytes:
        """Take bytes of the other side; return those that it is to get. Raises `ErlangError` and `NodeDownError`."""
        self._buffer += data
        answers = b""
        while self._expect is not None and len(self._buffer) >= 2:
            size = int.from_bytes(self._buffer[:2], "big")
            if size > _LONGEST:
                raise ErlangError(f"a message of the handshake has {size} bytes, more than {_LONGEST}")
            if len(self._buffer) < 2 + size:
                break
            message = bytes(self._buffer[2 : 2 + size])
            del self._buffer[: 2 + size]
            try:
                answers += self._expect(message)
            except (struct.error, IndexError) as error:
                raise ErlangError("a message of the handshake is cut off") from error
        return answers

    def take_rest(self) -> bytes:
        """Return what has come behind the handshake."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def _over(self, local: LocalNode) -> None:
        self._expect = None
        self.session = Session(local, self._peer, OURS & self._flags)

    def _check_flags(self, flags: int) -> None:
        self._flags = Flag(flags & _KNOWN)
        missing = NEEDED & ~self._flags
        if missing:
            names = ", ".join(str(flag.name) for flag in missing)
            raise ErlangError(f"{self._peer} is older than Erlang/OTP 25, or no node: it lacks {names}")


class Initiator(_Handshake):
    """The side that connects. ``peer``: the name of the node that is meant."""

    def __init__(self, local: LocalNode, peer: str, cookie: bytes, challenge: int | None = None) -> None:
        super().__init__(local, cookie, challenge)
        self._peer = peer
        self._expect = self._status

    def begin(self) -> bytes:
        """Return the first message."""
        flags = OURS | Flag.NAME_ME if self._local.is_nameless else OURS
        name = self._local.name.encode()
        return _framed(struct.pack(">cQIH", b"N", flags, self._local.creation, len(name)) + name)

    def describe_end(self) -> str:
        """Return what it means that the other side has ended the connection now."""
        if self._expect == self._acknowledged:
            return (
                f"{self._peer} has a different cookie: give both nodes the same (option erlang-cookie, or "
                "~/.erlang.cookie), or has refused this node for another reason that its log tells"
            )
        return f"{self._peer} has ended the connection in the middle of the handshake"

    def _status(self, message: bytes) -> bytes:
        _expect_tag(message, b"s")
        word = message[1:]
        if word.startswith(b"named:") and self._local.is_nameless:
            size = struct.unpack_from(">H", message, 7)[0]
            name = _name_at(message, 9, size)
            self._local = LocalNode(name, struct.unpack_from(">I", message, 9 + size)[0])
        elif word == b"alive":  # what it still has is a connection of before
            self._expect = self._challenged
            return _framed(b"strue")
        elif word == b"nok":
            raise SimultaneousError(f"{self._peer} is connecting to this node itself")
        elif word not in (b"ok", b"ok_simultaneous") or self._local.is_nameless:
            raise NodeDownError(f"{self._peer} refuses the connection: {word[:40].decode('ascii', 'replace')}")
        self._expect = self._challenged
        return b""

    def _challenged(self, message: bytes) -> bytes:
        _expect_tag(message, b"N")
        flags, challenge, _creation, size = struct.unpack_from(">QIIH", message, 1)
        name = _name_at(message, 19, size)
        if name != self._peer:
            raise ErlangError(f"expected the node {self._peer} there, but it is {name}")
        self._check_flags(flags)
        self._expect = self._acknowledged
        return _framed(struct.pack(">cI", b"r", self._challenge) + digest(self._cookie, challenge))

    def _acknowledged(self, message: bytes) -> bytes:
        _expect_tag(message, b"a")
        if not hmac.compare_digest(message[1:], digest(self._cookie, self._challenge)):
            raise NodeDownError(f"{self._peer} has a different cookie: give both nodes the same (option erlang-cookie)")
        self._over(self._local)
        return b""


class SimultaneousError(NodeDownError):
    """Both nodes connect to each other at once, and the connection of the other one is to stay."""


class Acceptor(_Handshake):
    """The side that is connected to. ``judge``: whether a node of this name may connect, asked once."""

    def __init__(
        self, local: LocalNode, cookie: bytes, judge: Callable[[str], Status], challenge: int | None = None
    ) -> None:
        super().__init__(local, cookie, challenge)
        self._judge = judge
        self._expect = self._named

    def describe_end(self) -> str:
        """Return what it means that the other side has ended the connection now."""
        return f"{self._peer or 'a node'} has ended the connection in the middle of the handshake"

    def _named(self, message: bytes) -> bytes:
        if message[:1] == b"n":
            raise ErlangError("a node older than Erlang/OTP 25 that does not use epmd cannot connect")
        _expect_tag(message, b"N")
        flags, _creation, size = struct.unpack_from(">QIH", message, 1)
        if flags & Flag.NAME_ME:
            raise ErlangError("a node that wants to be given a name has come: connect with a name (-name, -sname)")
        self._peer = _name_at(message, 15, size)
        self._check_flags(flags)
        status = self._judge(self._peer)
        answer = _framed(b"s" + status.encode())
        if status in ("nok", "not_allowed"):
            self._expect = self._nothing
            return answer
        if status == "alive":
            self._expect = self._insisted
            return answer
        return answer + self._ask()

    def _insisted(self, message: bytes) -> bytes:
        """Hear whether the connection of before is dead."""
        if message != b"strue":
            raise NodeDownError(f"{self._peer} has connected twice, and keeps the first connection")
        return self._ask()

    def _nothing(self, message: bytes) -> bytes:
        raise ErlangError(f"{self._peer} goes on after it was refused")

    def _ask(self) -> bytes:
        self._expect = self._replied
        name = self._local.name.encode()
        head = struct.pack(">cQIIH", b"N", OURS, self._challenge, self._local.creation, len(name))
        return _framed(head + name)

    def _replied(self, message: bytes) -> bytes:
        _expect_tag(message, b"r")
        challenge = struct.unpack_from(">I", message, 1)[0]
        if not hmac.compare_digest(message[5:], digest(self._cookie, self._challenge)):
            raise NodeDownError(f"{self._peer} has a different cookie, and was refused")
        self._over(self._local)
        return _framed(b"a" + digest(self._cookie, challenge))


_KNOWN: Final = sum(Flag)


def digest(cookie: bytes, challenge: int) -> bytes:
    """Return the proof that a side has the cookie."""
    return hashlib.md5(cookie + str(challenge).encode(), usedforsecurity=False).digest()


def check_name(name: str) -> str:
    """Return the name of a node. Raises ValueError for what is none."""
    alive, at, host = name.partition("@")
    if not alive or not at or not host or "@" in host or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ValueError(f"a node is called name@host, with {_LONGEST_NAME} characters at most, not {name[:80]!r}")
    return name


def _name_at(message: bytes, at: int, size: int) -> str:
    data = message[at : at + size]
    if len(data) < size:
        raise ErlangError("a message of the handshake is cut off")
    try:
        return check_name(data.decode())
    except ValueError as error:  # an error of decoding is one, too
        raise ErlangError(f"{data[:80]!r} is no name of a node") from error


def _expect_tag(message: bytes, tag: bytes) -> None:
    if message[:1] != tag:
        raise ErlangError(f"expected the message {tag!r} of the handshake, but {message[:1]!r} came")


def _framed(message: bytes) -> bytes:
    return struct.pack(">H", len(message)) + message
