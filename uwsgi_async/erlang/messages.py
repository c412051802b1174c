"""What connected nodes say to each other: control messages, each with what it carries, as bytes and as values.

What lives here: the messages, `encode_message`, `decode_message`, `FrameReader`; no I/O. What does not: the handshake
before (`handshake`), what is done because of a message (`connection`). Messages begin with 112 (pass-through), because
this side asks for no atom cache and no fragments. Source: Erlang's "Distribution Protocol" (erl_dist_protocol),
"Protocol between Connected Nodes".
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from uwsgi_async.erlang.handshake import Flag
from uwsgi_async.erlang.measure import measure
from uwsgi_async.erlang.terms import decode_measured, encode
from uwsgi_async.erlang.values import ErlangString, Pid, Reference, Term
from uwsgi_async.errors import ErlangError, TermError

_PASS_THROUGH: Final = 112
TICK: Final = b"\0\0\0\0"
"""What is sent when there is nothing to say, so that the other side knows that this one lives."""


@dataclass(frozen=True, slots=True)
class Send:
    """A message to a process: by its pid, its name, or an alias. ``sender``: None when it is not told."""

    sender: Pid | None
    to: Pid | str | Reference
    message: Term


@dataclass(frozen=True, slots=True)
class Link:
    """``sender`` wants to be told of the end of ``to``, and the other way round."""

    sender: Pid
    to: Pid


@dataclass(frozen=True, slots=True)
class Unlink:
    """The link is taken back; ``number`` is for the answer."""

    number: int
    sender: Pid
    to: Pid


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The answer to `Unlink`, from ``sender``, which was unlinked."""

    number: int
    sender: Pid
    to: Pid


@dataclass(frozen=True, slots=True)
class Exit:
    """A linked process has ended; or with ``asked`` somebody has called exit(Pid, Reason)."""

    sender: Pid
    to: Pid
    reason: Term
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Monitor:
    """``sender`` wants to be told of the end of ``to``."""

    sender: Pid
    to: Pid | str
    reference: Reference


@dataclass(frozen=True, slots=True)
class Demonitor:
    """``sender`` does not want to be told any more."""

    sender: Pid
    to: Pid | str
    reference: Reference


@dataclass(frozen=True, slots=True)
class Down:
    """The process ``ended``, which ``to`` monitors by ``reference``, has ended, or never was."""

    ended: Pid | str
    to: Pid
    reference: Reference
    reason: Term


@dataclass(frozen=True, slots=True)
class SpawnRequest:
    """Start a process that calls a function. ``arguments``: None when they cannot be Python's values."""

    reference: Reference
    sender: Pid
    module: str
    function: str
    arity: int
    options: tuple[Term, ...]
    arguments: list[Term] | None


@dataclass(frozen=True, slots=True)
class SpawnReply:
    """The answer to `SpawnRequest`: the pid, or an atom that says why there is none.

    ``flags``: 1 linked, 2 monitored, both 3.
    """

    reference: Reference
    to: Pid
    flags: int
    result: Pid | str


@dataclass(frozen=True, slots=True)
class Ignored:
    """What has no meaning for this node. ``operation``: its number."""

    operation: int


Message = Send | Link | Unlink | Unlinked | Exit | Monitor | Demonitor | Down | SpawnRequest | SpawnReply | Ignored


class FrameReader:
    """Bytes of a connection to the frames in them. ``largest``: bytes of a frame."""

    def __init__(self, largest: int, data: bytes = b"") -> None:
        self._largest = largest
        self._buffer = bytearray(data)

    def receive_data(self, data: bytes) -> None:
        """Take bytes of the other side."""
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """Return the next frame, b"" for a tick; None: more bytes are needed. Raises `ErlangError` for one too long."""
        if len(self._buffer) < 4:
            return None
        size = int.from_bytes(self._buffer[:4], "big")
        if size > self._largest:
            raise ErlangError(f"a message has {size} bytes, more than {self._largest} (option erlang-message-size)")
        if len(self._buffer) < 4 + size:
            return None
        frame = bytes(self._buffer[4 : 4 + size])
        del self._buffer[: 4 + size]
        return frame


# --- encoding ---------------------------------------------------------------------------------------------------------


def encode_message(message: Message, flags: Flag) -> bytes:
    """Return the frame of a message, for a connection whose sides both have ``flags``. Raises `TermError`."""
    return _ENCODERS[type(message)](message, flags)


def _frame(control: tuple[Any, ...], *carried: Term) -> bytes:
    data = encode(control) + b"".join(map(encode, carried))
    return struct.pack(">IB", len(data) + 1, _PASS_THROUGH) + data


def _encode_send(message: Send, flags: Flag) -> bytes:
    if isinstance(message.to, str):
        return _frame((6, message.sender, "", message.to), message.message)
    if isinstance(message.to, Reference):
        return _frame((33, message.sender, message.to), message.message)
    if flags & Flag.SEND_SENDER:
        return _frame((22, message.sender, message.to), message.message)
    return _frame((2, "", message.to), message.message)


def _encode_exit(message: Exit, flags: Flag) -> bytes:
    if flags & Flag.EXIT_PAYLOAD:
        return _frame((26 if message.asked else 24, message.sender, message.to), message.reason)
    return _frame((8 if message.asked else 3, message.sender, message.to, message.reason))


def _encode_down(message: Down, flags: Flag) -> bytes:
    if flags & Flag.EXIT_PAYLOAD:
        return _frame((28, message.ended, message.to, message.reference), message.reason)
    return _frame((21, message.ended, message.to, message.reference, message.reason))


def _encode_spawn_request(message: SpawnRequest, flags: Flag) -> bytes:
    called = (message.module, message.function, message.arity)
    control = (29, message.reference, message.sender, message.sender, called, list(message.options))
    return _frame(control, message.arguments)


_ENCODERS: Final[dict[type, Callable[[Any, Flag], bytes]]] = {
    Send: _encode_send,
    Link: lambda message, _flags: _frame((1, message.sender, message.to)),
    Unlink: lambda message, _flags: _frame((35, message.number, message.sender, message.to)),
    Unlinked: lambda message, _flags: _frame((36, message.number, message.sender, message.to)),
    Exit: _encode_exit,
    Monitor: lambda message, _flags: _frame((19, message.sender, message.to, message.reference)),
    Demonitor: lambda message, _flags: _frame((20, message.sender, message.to, message.reference)),
    Down: _encode_down,
    SpawnRequest: _encode_spawn_request,
    SpawnReply: lambda message, _flags: _frame((31, message.reference, message.to, message.flags, message.result)),
}


# --- decoding ---------------------------------------------------------------------------------------------------------


class UndeliverableError(TermError):
    """A message is whole, and what it carries has no form in Python. ``message``: it, with None in that place."""

    def __init__(self, message: Message, reason: str) -> None:
        super().__init__(reason)
        self.message = message


def decode_message(frame: bytes) -> Message:
    """Return the message of a frame that is no tick.

    Raises `ErlangError` for what is no message, and `UndeliverableError`.
    """
    if frame[0] != _PASS_THROUGH:
        raise ErlangError(f"expected a message that begins with {_PASS_THROUGH}, but {frame[0]} came")
    try:
        measured = measure(frame, 1)
        control = decode_measured(frame, 1, measured)
    except TermError as error:
        raise ErlangError(f"a control message is no such thing: {error}") from error
    if not isinstance(control, tuple) or not control or not isinstance(control[0], int):
        raise ErlangError("expected a control message, which is a tuple that begins with a number")
    carried, problem = None, ""
    if measured.end < len(frame):
        carried, problem = _carried(frame, measured.end)
    message = _message(control, carried)
    if problem:
        raise UndeliverableError(message, problem)
    return message


def _carried(frame: bytes, start: int) -> tuple[Term, str]:
    try:
        measured = measure(frame, start)
        end, problem, carried = measured.end, "", decode_measured(frame, start, measured)
    except TermError as error:
        end, problem, carried = error.end or len(frame), str(error), None
    if end != len(frame):
        raise ErlangError(f"a message has {len(frame) - end} bytes too many")
    return carried, problem


def _message(control: tuple[Any, ...], carried: Term) -> Message:
    operation, fields = control[0], control[1:]
    known = _DECODERS.get(operation)
    if known is None:
        return Ignored(operation)
    kinds, make = known
    if len(fields) != len(kinds) or not all(map(isinstance, fields, kinds)):
        raise ErlangError(f"a control message of the kind {operation} has other fields than it should")
    return make(fields, carried)


def _spawn_request(fields: tuple[Any, ...], carried: Term) -> Message:
    reference, sender, _leader, called, options = fields[:5]
    if (
        len(called) != 3
        or not all(map(isinstance, called, (str, str, int)))
        or not isinstance(carried, list | ErlangString | None)
    ):
        raise ErlangError("a request to start a process names no function")
    arguments = None if carried is None else list(carried)
    return SpawnRequest(reference, sender, called[0], called[1], called[2], tuple(options), arguments)


_Process = (Pid, str)
_Many = (list, ErlangString)

_DECODERS: Final[dict[int, tuple[tuple[Any, ...], Callable[[tuple[Any, ...], Term], Message]]]] = {
    1: ((Pid, Pid), lambda of, _carried: Link(*of)),
    2: ((object, Pid), lambda of, carried: Send(None, of[1], carried)),
    3: ((Pid, Pid, object), lambda of, _carried: Exit(*of)),
    6: ((Pid, object, str), lambda of, carried: Send(of[0], of[2], carried)),
    8: ((Pid, Pid, object), lambda of, _carried: Exit(of[0], of[1], of[2], asked=True)),
    12: ((object, Pid, object), lambda of, carried: Send(None, of[1], carried)),
    13: ((Pid, Pid, object, object), lambda of, _carried: Exit(of[0], of[1], of[3])),
    16: ((Pid, object, str, object), lambda of, carried: Send(of[0], of[2], carried)),
    18: ((Pid, Pid, object, object), lambda of, _carried: Exit(of[0], of[1], of[3], asked=True)),
    19: ((Pid, _Process, Reference), lambda of, _carried: Monitor(*of)),
    20: ((Pid, object, Reference), lambda of, _carried: Demonitor(*of)),
    21: ((_Process, Pid, Reference, object), lambda of, _carried: Down(*of)),
    22: ((Pid, Pid), lambda of, carried: Send(of[0], of[1], carried)),
    23: ((Pid, Pid, object), lambda of, carried: Send(of[0], of[1], carried)),
    24: ((Pid, Pid), lambda of, carried: Exit(of[0], of[1], carried)),
    25: ((Pid, Pid, object), lambda of, carried: Exit(of[0], of[1], carried)),
    26: ((Pid, Pid), lambda of, carried: Exit(of[0], of[1], carried, asked=True)),
    27: ((Pid, Pid, object), lambda of, carried: Exit(of[0], of[1], carried, asked=True)),
    28: ((_Process, Pid, Reference), lambda of, carried: Down(of[0], of[1], of[2], carried)),
    29: ((Reference, Pid, Pid, tuple, _Many), _spawn_request),
    30: ((Reference, Pid, Pid, tuple, _Many, object), _spawn_request),
    31: ((Reference, Pid, int, _Process), lambda of, _carried: SpawnReply(*of)),
    32: ((Reference, Pid, int, _Process, object), lambda of, _carried: SpawnReply(*of[:4])),
    33: ((Pid, Reference), lambda of, carried: Send(of[0], of[1], carried)),
    34: ((Pid, Reference, object), lambda of, carried: Send(of[0], of[1], carried)),
    35: ((int, Pid, Pid), lambda of, _carried: Unlink(*of)),
    36: ((int, Pid, Pid), lambda of, _carried: Unlinked(*of)),
}
"""Of each operation the kinds of its fields, and what makes the message of them and of the term that is carried."""
