"""What a client may offer, and what is agreed to."""

from __future__ import annotations

import pytest

from uwsgi_async.errors import WebSocketHandshakeError
from uwsgi_async.wire.websocket import (
    accept_token,
    check_handshake,
    negotiate_deflate,
    offers_websocket,
    subprotocols,
)

BOTH = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def test_the_token_is_that_of_the_rfc():
    assert accept_token("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("upgrade", "method", "offered"),
    [
        ("websocket", "GET", True),
        ("WebSocket", "GET", True),
        ("h2c , websocket", "GET", True),
        ("websocket2", "GET", False),
        ("", "GET", False),
        ("websocket", "POST", False),
    ],
)
def test_only_a_get_that_names_websocket_offers_one(upgrade, method, offered):
    assert offers_websocket({"REQUEST_METHOD": method, "HTTP_UPGRADE": upgrade}) is offered


def test_a_good_handshake_passes():
    check_handshake({"HTTP_SEC_WEBSOCKET_VERSION": "13", "HTTP_SEC_WEBSOCKET_KEY": "dGhlIHNhbXBsZSBub25jZQ=="})


@pytest.mark.parametrize(
    ("version", "key", "status"),
    [("", "dGhlIHNhbXBsZSBub25jZQ==", 426), ("14", "dGhlIHNhbXBsZSBub25jZQ==", 426), ("13", "", 400), ("13", "ä", 400)],
)
def test_a_bad_one_is_refused_with_its_status(version, key, status):
    with pytest.raises(WebSocketHandshakeError) as caught:
        check_handshake({"HTTP_SEC_WEBSOCKET_VERSION": version, "HTTP_SEC_WEBSOCKET_KEY": key})
    assert caught.value.status == status


def test_subprotocols_are_in_the_clients_order():
    assert subprotocols({"HTTP_SEC_WEBSOCKET_PROTOCOL": " chat ,, superchat"}) == ["chat", "superchat"]
    assert subprotocols({}) == []


@pytest.mark.parametrize(
    ("offers", "field"),
    [
        ("permessage-deflate", BOTH),
        ("permessage-deflate; client_max_window_bits", BOTH),
        ("permessage-deflate; client_max_window_bits=8", BOTH),
        ("Permessage-Deflate ; client_no_context_takeover;server_no_context_takeover", BOTH),
        ("permessage-deflate; server_max_window_bits=10", f"{BOTH}; server_max_window_bits=10"),
        ('permessage-deflate; server_max_window_bits="12"', f"{BOTH}; server_max_window_bits=12"),
        ("x-webkit-deflate-frame, permessage-deflate", BOTH),
        ('foo; bar="a, b", permessage-deflate', BOTH),
        # What cannot be done, or is not in order: the next offer counts.
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", BOTH),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=010", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; unknown", None),
        ("permessage-deflate; unknown=1", None),
        ("permessage-deflate; =1", None),
        ("permessage-deflate client_no_context_takeover", None),
        ("x-webkit-deflate-frame", None),
        ("", None),
        (";,;,=", None),
    ],
)
def test_compression_is_agreed_to_as_it_was_offered(offers, field):
    agreed = negotiate_deflate(offers)
    assert (agreed and agreed.field) == field
