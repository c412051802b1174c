"""The opening handshake: what a client asks for, and what the answer says (RFC 6455, 4.2; RFC 7692, 5 and 7.1).

What lives here: the judgement of a request's variables. What does not: sending the answer (`cores.websocket`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import NamedTuple

from uwsgi_async.errors import WebSocketHandshakeError

VERSION = "13"
"""The one version of the protocol that there is (RFC 6455, 4.2.2)."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_SIZE = 16  # bytes
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf'\s*;\s*({_TOKEN})(?:\s*=\s*(?:({_TOKEN})|"({_TOKEN})"))?')
_OFFER = re.compile(rf"\s*permessage-deflate((?:{_PARAMETER.pattern})*)\s*", re.IGNORECASE)
# Parameters without a value; with 8 bits zlib cannot compress what stands in no zlib header.
_FLAGS = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_CLIENT_BITS = frozenset({str(bits) for bits in range(8, 16)})
_SERVER_BITS = _CLIENT_BITS - {"8"}
_DEFAULT_BITS = 15


class Deflate(NamedTuple):
    """What was agreed about compression. ``field``: the value of Sec-WebSocket-Extensions in the answer.

    ``window_bits``: the logarithm of the largest window that the client has for what it gets, 9 to 15.
    """

    field: str
    window_bits: int


def offers_websocket(vars: Mapping[str, str]) -> bool:
    """Return whether a request offers to go on as a websocket (RFC 6455, 4.2.1)."""
    if vars.get("REQUEST_METHOD") != "GET":
        return False
    protocols = vars.get("HTTP_UPGRADE", "").lower().split(",")
    return any(protocol.strip() == "websocket" for protocol in protocols)


def check_handshake(vars: Mapping[str, str]) -> None:
    """Raise `WebSocketHandshakeError` for a handshake that cannot be answered: 426 for the version, 400 for the key."""
    version = vars.get("HTTP_SEC_WEBSOCKET_VERSION", "")
    if version != VERSION:
        raise WebSocketHandshakeError(426, f"expected version {VERSION} of websockets, the client has {version[:40]!r}")
    key = vars.get("HTTP_SEC_WEBSOCKET_KEY", "")
    try:
        size = len(base64.b64decode(key.encode("latin-1"), validate=True))
    except binascii.Error:
        size = 0
    if size != _KEY_SIZE:
        raise WebSocketHandshakeError(
            400, f"expected {_KEY_SIZE} bytes in base64 in Sec-WebSocket-Key, got {key[:80]!r}"
        )


def accept_token(key: str) -> str:
    """Return the Sec-WebSocket-Accept that belongs to a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + _GUID).digest()).decode()


def subprotocols(vars: Mapping[str, str]) -> list[str]:
    """Return the subprotocols that the client speaks, the one it likes best first."""
    names = (name.strip() for name in vars.get("HTTP_SEC_WEBSOCKET_PROTOCOL", "").split(","))
    return [name for name in names if name]


def negotiate_deflate(offers: str) -> Deflate | None:
    """Return what to agree to of a Sec-WebSocket-Extensions; None when it offers no compression that we can do.

    The first offer that is in order counts (RFC 7692, 5.1). Each message is compressed by itself, in both directions:
    a memory of earlier ones would cost a connection up to 300 KB.
    """
    for offer in offers.split(","):  # an extension with a comma in quotes falls apart, and is none of ours
        match = _OFFER.fullmatch(offer)
        if match is None:
            continue
        parameters = _parameters(match[1])
        if parameters is not None:
            bits = parameters.get("server_max_window_bits")
            field = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            if bits is None:
                return Deflate(field, _DEFAULT_BITS)
            return Deflate(f"{field}; server_max_window_bits={bits}", int(bits))
    return None


def _parameters(text: str) -> dict[str, str | None] | None:
    """Return the parameters of an offer; None when one is unknown, is there twice, or has no proper value."""
    parameters: dict[str, str | None] = {}
    for name, plain, quoted in _PARAMETER.findall(text):
        value = plain or quoted or None
        good = (
            value is None if name in _FLAGS
            else value in _SERVER_BITS if name == "server_max_window_bits"
            else name == "client_max_window_bits" and (value is None or value in _CLIENT_BITS)
        )  # fmt: skip
        if not good or name in parameters:
            return None
        parameters[name] = value
    return parameters
