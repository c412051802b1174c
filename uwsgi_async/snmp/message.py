"""Messages of SNMP v1 and v2c: bytes to a request, and an answer to bytes. Sans-IO; it needs pyasn1.

What lives here: `Envelope`, `Request`, `Answer`, how they are read and written, and how long they may be. What does
not: what is answered (`agent`). Sources: RFC 1157 and RFC 1901 (messages), RFC 3416 (PDUs; those of v1 are the same
bytes), RFC 3417, section 8 (which of BER's forms are allowed, and they are DER's but for the lengths).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from pyasn1.codec.ber import encoder
from pyasn1.codec.der import decoder
from pyasn1.type import tag, univ
from pyasn1_modules import rfc1157, rfc1902, rfc1905

from uwsgi_async.errors import BadMessageError
from uwsgi_async.snmp.objects import MOST_REQUEST, Absence, Binding, Kind, Oid, Value

MOST_ANSWER: Final = 1472
"""Bytes of the longest answer: one packet of Ethernet's, what RFC 3417, section 3.2, recommends at least.

So an agent that many may reach can hardly be used to multiply traffic towards somebody else.
"""

_MOST_SUBID: Final = 2**32 - 1  # RFC 2578, section 3.5
_MOST_SUBIDS: Final = 128
_MARGIN: Final = 32  # bytes of a message beside its community and bindings, at most


class Version(IntEnum):
    """Which SNMP a message is of, by its own number."""

    V1 = 0
    V2C = 1


class Operation(IntEnum):
    """What a request asks for, by the tags of RFC 3416."""

    GET = 0
    GET_NEXT = 1
    SET = 3
    GET_BULK = 5


class ErrorStatus(IntEnum):
    """What is wrong with a request (RFC 3416, section 3). Only the first three are known in v1."""

    NO_ERROR = 0
    TOO_BIG = 1
    NO_SUCH_NAME = 2
    NOT_WRITABLE = 17


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message whose content is not read yet. ``version``: any number; without a known one the rest is b""."""

    version: int
    community: bytes = b""
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. ``names``: of which objects. ``echo``: the bytes of all bindings, for an answer that repeats them.

    ``non_repeaters``, ``max_repetitions``: of GET_BULK; 0 for the others.
    """

    version: Version
    operation: Operation
    request_id: int
    names: tuple[Oid, ...]
    echo: bytes
    non_repeaters: int = 0
    max_repetitions: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered. ``bindings``: None repeats the request's. ``index``: of the wrong one, from 1; else 0."""

    bindings: Sequence[Binding] | None
    status: ErrorStatus = ErrorStatus.NO_ERROR
    index: int = 0


# --- reading ----------------------------------------------------------------------------------------------------


def open_envelope(datagram: bytes) -> Envelope:
    """Return what stands before the content of a message. Raises `BadMessageError`."""
    if len(datagram) > MOST_REQUEST:
        raise BadMessageError(f"expected a message of {MOST_REQUEST} bytes at most, but {len(datagram)} came")
    parts = [bytes(part) for part in _decode(datagram, _PARTS)]
    if not parts:
        raise BadMessageError("expected a version, but the message is empty")
    version = int(_decode(parts[0], _INTEGER))
    if version not in (Version.V1, Version.V2C):
        return Envelope(version)
    if len(parts) != 3:
        raise BadMessageError(f"expected version, community and content, but {len(parts)} parts came")
    return Envelope(version, bytes(_decode(parts[1], _STRING)), parts[2])


def read_request(envelope: Envelope) -> Request:
    """Return the request in an envelope. Raises `BadMessageError`, also for what an agent is not asked."""
    version, content = Version(envelope.version), envelope.content
    operation = _OPERATIONS.get(content[:1])
    if operation is None or (operation is Operation.GET_BULK and version is Version.V1):
        raise BadMessageError(f"expected a request of SNMP {version.name}, but {content[:40]!r} came")
    parts = [bytes(part) for part in _decode(content, _PDUS[operation])]
    if len(parts) != 4:
        raise BadMessageError(f"expected three numbers and the bindings in a request, but {len(parts)} parts came")
    request_id, first, second = (int(_decode(part, _INTEGER)) for part in parts[:3])
    bulk = operation is Operation.GET_BULK
    return Request(
        version=version,
        operation=operation,
        request_id=request_id,
        names=tuple(_name(binding[0]) for binding in _decode(parts[3], _BINDINGS[version])),
        echo=parts[3],
        non_repeaters=max(first, 0) if bulk else 0,
        max_repetitions=max(second, 0) if bulk else 0,
    )


def _decode(data: bytes, spec: Any) -> Any:
    try:
        value, rest = decoder.decode(data, asn1Spec=spec)
    except Exception as error:  # of PyAsn1Error, as it says, and of others, as it happens; its text may be very long
        raise BadMessageError(f"expected BER as RFC 3417 has it, but {data[:40]!r} came") from error
    if rest:
        raise BadMessageError(f"expected nothing behind a message or its parts, but {len(rest)} bytes came")
    return value


def _name(oid: Any) -> Oid:
    name: Oid = oid.asTuple()
    if len(name) > _MOST_SUBIDS or max(name) > _MOST_SUBID:
        raise BadMessageError(f"expected {_MOST_SUBIDS} numbers of 32 bits at most in a name, but {name} came")
    return name


# --- writing ----------------------------------------------------------------------------------------------------


def encode_answer(envelope: Envelope, request: Request, answer: Answer) -> bytes:
    """Return the bytes of an answer, however many they are."""
    numbers = (_INTEGER.clone(number) for number in (request.request_id, answer.status, answer.index))
    bindings = request.echo if answer.bindings is None else _join(_PARTS, map(_encode_binding, answer.bindings))
    response = _join(_RESPONSE, [*map(encoder.encode, numbers), bindings])
    head = _INTEGER.clone(envelope.version), _STRING.clone(envelope.community)
    return _join(_PARTS, [*map(encoder.encode, head), response])


def fitting(bindings: Iterable[Binding], envelope: Envelope) -> Iterator[Binding]:
    """Yield as many of ``bindings`` as an answer has room for. They are asked for one by one, and may be endless."""
    room = MOST_ANSWER - _MARGIN - len(envelope.community)
    for binding in bindings:
        room -= size_of(binding)
        if room < 0:
            return
        yield binding


def size_of(binding: Binding) -> int:
    """Return how many bytes a binding is when it is written."""
    name, value = binding
    subids = 40 * name[0] + name[1], *name[2:]  # X.690, 8.19.4: the first two are written as one
    content = sum(max(1, (subid.bit_length() + 6) // 7) for subid in subids)
    number = value.number.bit_length() // 8 + 1 if isinstance(value, Value) else 0
    inner = _with_header(content) + _with_header(number)
    return _with_header(inner)


def _with_header(content: int) -> int:
    return content + (2 if content < 0x80 else 3 if content < 0x100 else 4)


def _encode_binding(binding: Binding) -> bytes:
    name, value = binding
    told = _ABSENCES[value] if isinstance(value, Absence) else encoder.encode(_KINDS[value.kind].clone(value.number))
    return _join(_PARTS, (encoder.encode(_NAME.clone(name)), told))


def _join(sequence: Any, parts: Iterable[bytes]) -> bytes:
    """Return the bytes of a sequence whose parts are written already."""
    whole = sequence.clone()
    whole.clear()  # a sequence of nothing is one, too
    whole.extend(parts)
    encoded: bytes = encoder.encode(whole)
    return encoded


def _tagged(spec: Any, number: int, form: int) -> Any:
    return spec.subtype(implicitTag=tag.Tag(tag.tagClassContext, form, number))


_PARTS: Final = univ.SequenceOf(componentType=univ.Any())
"""A sequence whose parts are bytes: they are read and written one by one.

As one description of all, pyasn1 takes 30 ms for 50 bindings, and does not give back the bytes of a part.
"""
_INTEGER: Final = rfc1902.Integer32()
_STRING: Final = univ.OctetString()
_NAME: Final = univ.ObjectIdentifier()
_BINDINGS: Final = {Version.V1: rfc1157.VarBindList(), Version.V2C: rfc1905.VarBindList()}
_RESPONSE: Final = _tagged(_PARTS, 2, tag.tagFormatConstructed)
_PDUS: Final = {operation: _tagged(_PARTS, operation, tag.tagFormatConstructed) for operation in Operation}
_OPERATIONS: Final = {bytes([0xA0 + operation]): operation for operation in Operation}
_KINDS: Final = {
    Kind.COUNTER32: rfc1902.Counter32(),
    Kind.GAUGE: rfc1902.Gauge32(),
    Kind.COUNTER64: rfc1902.Counter64(),
}
_ABSENCES: Final = {
    absence: encoder.encode(_tagged(univ.Null(""), absence - 0x80, tag.tagFormatSimple)) for absence in Absence
}
