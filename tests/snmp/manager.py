"""The other side of SNMP, for tests: asks and reads answers by pyasn1's own descriptions of v1 and v2c.

What lives here: `ask`, `read`, `query`, `free_port`. An answer that breaks these descriptions, such as a Counter64 in
v1, raises.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyasn1.codec.ber import decoder, encoder
from pyasn1.type import univ
from pyasn1_modules import rfc1157, rfc1901, rfc1905

from uwsgi_async.snmp.objects import UWSGI, Oid
from uwsgi_async.wire.address import TcpAddress, parse_address

V1, V2C = 0, 1
PATIENCE = 20.0  # seconds

REQUESTS = {
    "get": rfc1905.GetRequestPDU,
    "next": rfc1905.GetNextRequestPDU,
    "set": rfc1905.SetRequestPDU,
    "bulk": rfc1905.GetBulkRequestPDU,
    "inform": rfc1905.InformRequestPDU,
    "trap": rfc1905.SNMPv2TrapPDU,
    "response": rfc1905.ResponsePDU,
}
KINDS = {
    "counter-value": "Counter32",
    "counter": "Counter32",
    "gauge32-value": "Gauge32",
    "gauge": "Gauge32",
    "big-counter-value": "Counter64",
}


@dataclass(frozen=True)
class Told:
    """An answer. ``bindings``: the names below `UWSGI` as text, such as "2.40", each with its value.

    A value is ("Gauge32", 7), or (reason,) such as ("noSuchObject",), or ("empty",) for NULL.
    """

    request_id: int
    status: int
    index: int
    bindings: tuple[tuple[str, tuple[Any, ...]], ...]

    @property
    def values(self) -> list[tuple[Any, ...]]:
        return [value for _, value in self.bindings]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.bindings]


def oid(text: str) -> Oid:
    """Return the name of what stands at ``text`` below `UWSGI`; a text that begins with "." is the whole name."""
    if text.startswith("."):
        return tuple(int(part) for part in text[1:].split("."))
    return (*UWSGI, *(int(part) for part in text.split(".") if part))


def short(name: Oid) -> str:
    below = name[: len(UWSGI)] == UWSGI
    return ("" if below else ".") + ".".join(map(str, name[len(UWSGI) :] if below else name))


def ask(
    what: str,
    names: Sequence[str],
    *,
    version: int = V2C,
    community: bytes = b"public",
    request_id: int = 1,
    numbers: tuple[int, int] = (0, 0),
) -> bytes:
    """Return the bytes of a request. ``numbers``: non-repeaters and max-repetitions of "bulk"."""
    pdu = REQUESTS[what]()
    pdu[0], pdu[1], pdu[2] = request_id, *numbers
    for position, name in enumerate(names):
        pdu[3][position][0] = oid(name)
        pdu[3][position][1]["unSpecified"] = ""
    pdu[3].extend([])  # a list without anything in it is a list, too
    return message(version, community, encoder.encode(pdu))


def message(version: int, community: bytes, content: bytes) -> bytes:
    parts = univ.SequenceOf(componentType=univ.Any())
    parts.extend([encoder.encode(univ.Integer(version)), encoder.encode(univ.OctetString(community)), content])
    encoded: bytes = encoder.encode(parts)
    return encoded


def read(data: bytes) -> Told:
    """Return what an answer says."""
    if data[2:5] == b"\x02\x01\x00" or data[3:6] == b"\x02\x01\x00" or data[4:7] == b"\x02\x01\x00":
        return _read_v1(data)
    outer, rest = decoder.decode(data, asn1Spec=rfc1901.Message())
    assert rest == b""
    pdus, rest = decoder.decode(bytes(outer["data"]), asn1Spec=rfc1905.PDUs())
    assert rest == b""
    assert pdus.getName() == "response"
    return _told(pdus.getComponent(), lambda binding: _value(binding[1]))


def _read_v1(data: bytes) -> Told:
    outer, rest = decoder.decode(data, asn1Spec=rfc1157.Message())
    assert rest == b""
    assert outer["data"].getName() == "get-response"
    return _told(outer["data"].getComponent(), lambda binding: _value(binding[1]))


def _told(pdu: Any, value: Any) -> Told:
    bindings = tuple((short(binding[0].asTuple()), value(binding)) for binding in pdu[3])
    return Told(int(pdu[0]), int(pdu[1]), int(pdu[2]), bindings)


def _value(choice: Any) -> tuple[Any, ...]:
    while isinstance(choice.getComponent(), univ.Choice):
        choice = choice.getComponent()
    name, found = choice.getName(), choice.getComponent()
    if name in ("unSpecified", "empty"):
        return ("empty",)
    return (KINDS[name], int(found)) if name in KINDS else (name,)


def query(address: str, request: bytes) -> Told:
    """Send a request to ``address``, such as "127.0.0.1:161", and return what is answered from there."""
    where = parse_address(address)
    assert isinstance(where, TcpAddress)
    with socket.socket(socket.AF_INET6 if ":" in where.host else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect((where.host, where.port))
        sock.send(request)
        return read(sock.recv(65536))


def free_port() -> int:
    """Return a port for a program that cannot be told to take any: free for TCP and UDP, and not given to clients."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as sock:
                    sock.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port
