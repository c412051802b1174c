"""Websockets in real uWSGI and here: the same app, the same client; and where we differ on purpose, both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.parity.harness import Running, start_oracle, start_ours
from tests.parity.oracle import require
from tests.websockets.client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    TOKEN,
    Frame,
    close_payload,
    frame,
    handshake,
)
from tests.websockets.plain import PlainClient, uwsgi_handshake

pytestmark = [pytest.mark.parity, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    require()
    place = tmp_path_factory.mktemp("websockets")
    options = ("--websockets-max-size", "2")
    with ExitStack() as stack:
        yield {
            "oracle": stack.enter_context(start_oracle("websockets.py", place, *options)),
            "ours": stack.enter_context(start_ours("websockets.py", place, *options)),
        }


@pytest.fixture(params=["oracle", "ours"])
def server(request: pytest.FixtureRequest, both: dict[str, Running]) -> Running:
    return both[request.param]


def opened(server: Running, path: str, way: str = "http", more: str = "") -> PlainClient:
    if way == "uwsgi":
        return PlainClient(server.uwsgi, request=uwsgi_handshake(path))
    return PlainClient(server.http, path, more)


@pytest.mark.parametrize("way", ["http", "uwsgi"])
@pytest.mark.parametrize(("path", "opcode"), [("/echo", TEXT), ("/bare", BINARY)])
def test_messages_come_back(server: Running, path: str, opcode: int, way: str) -> None:
    with opened(server, path, way) as ws:
        assert " 101 " in ws.head[0]
        assert ws.header("Sec-WebSocket-Accept") == TOKEN
        for payload in (b"ciao", b"x" * 125, b"x" * 126, b"x" * 2048, "grüße".encode()):
            ws.send(frame(TEXT, payload))
            assert ws.next() == Frame(0x80 | opcode, payload)


@pytest.mark.parametrize(
    ("path", "more", "field", "value"),
    [
        ("/echo", "", "Sec-WebSocket-Origin", "*"),
        ("/echo", "Origin: http://here\r\n", "Sec-WebSocket-Origin", "http://here"),
        ("/chosen", "Origin: http://here\r\n", "Sec-WebSocket-Origin", "http://chosen"),
        ("/echo", "Sec-WebSocket-Protocol: one\r\n", "Sec-WebSocket-Protocol", "one"),
        ("/chosen", "Sec-WebSocket-Protocol: one, mine\r\n", "Sec-WebSocket-Protocol", "mine"),
    ],
)
def test_the_answer_says(server: Running, path: str, more: str, field: str, value: str) -> None:
    with opened(server, path, more=more) as ws:
        assert ws.header(field) == value


def test_several_messages_at_once_are_several_messages(server: Running) -> None:
    with opened(server, "/echo") as ws:
        ws.send(*[frame(TEXT, b"%d" % number) for number in range(10)])
        assert [ws.text() for _ in range(10)] == [str(number) for number in range(10)]


def test_an_app_that_watches_the_descriptor(server: Running) -> None:
    with opened(server, "/polling") as ws:
        assert ws.text() == "b''"
        for word in ("one", "two", "three"):
            ws.say(word)
            assert ws.text() == f"polled {word}"


def test_every_call_behind_the_end_is_an_oserror(server: Running) -> None:
    with opened(server, "/after") as ws:
        ws.leave()
    found = server.log_until(lambda log: "after OSError OSError OSError OSError" in log or None)
    assert found


def test_a_message_over_the_limit_is_the_end(server: Running) -> None:
    with opened(server, "/echo") as ws:
        ws.send(frame(TEXT, b"x" * 2049))
        while (found := ws.next()) is not None:
            assert found.opcode == CLOSE


def test_a_ping_has_a_pong_and_the_app_sees_nothing(server: Running) -> None:
    with opened(server, "/echo") as ws:
        ws.send(frame(PING, b"payload"), frame(TEXT, b"next"))
        pong = ws.next()
        assert pong is not None
        assert pong.opcode == PONG
        assert ws.text() == "next"


def test_an_ordinary_request_is_answered_as_ever(server: Running) -> None:
    assert server.request("GET", "/plain").body == b"plain"


def test_no_handshake_on_a_request_for_none(server: Running) -> None:
    server.raw(server.http, b"GET /bare HTTP/1.0\r\nHost: a\r\n\r\n")
    assert server.log_until(lambda log: "unable to complete websocket handshake" in log or None)


# --- differences, each on both sides --------------------------------------------------------------------------------


def test_a_pong_has_the_pings_payload(both: dict[str, Running]) -> None:
    found = {}
    for name, server in both.items():
        with opened(server, "/echo") as ws:
            ws.send(frame(PING, b"payload"))
            found[name] = ws.next()
    assert found == {"oracle": Frame(0x80 | PONG, b""), "ours": Frame(0x80 | PONG, b"payload")}


def test_a_close_is_answered_with_its_code(both: dict[str, Running]) -> None:
    found = {}
    for name, server in both.items():
        with opened(server, "/echo") as ws:
            found[name] = ws.leave(4000)
    assert found == {"oracle": Frame(0x80 | CLOSE, b""), "ours": Frame(0x80 | CLOSE, close_payload(4000))}


def test_a_message_in_fragments_is_one_message(both: dict[str, Running]) -> None:
    found = {}
    for name, server in both.items():
        with opened(server, "/echo") as ws:
            ws.send(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b"))
            found[name] = ws.next()
    assert found == {"oracle": Frame(0x80 | TEXT, b"\0"), "ours": Frame(0x80 | TEXT, b"ab")}


def test_frames_without_a_mask_end_it(both: dict[str, Running]) -> None:
    found = {}
    for name, server in both.items():
        with opened(server, "/echo") as ws:
            ws.send(frame(TEXT, b"bare", mask=None))
            first = ws.next()
            found[name] = first and (first.opcode, first.payload[:2])
    assert found == {"oracle": (TEXT, b"ba"), "ours": (CLOSE, close_payload(1002))}


def test_text_must_be_utf_8(both: dict[str, Running]) -> None:
    found = {}
    for name, server in both.items():
        with opened(server, "/echo") as ws:
            ws.send(frame(TEXT, b"\xff"))
            first = ws.next()
            found[name] = first and (first.opcode, first.payload[:2])
    assert found == {"oracle": (TEXT, b"\xff"), "ours": (CLOSE, close_payload(1007))}


def test_of_several_subprotocols_one_is_taken(both: dict[str, Running]) -> None:
    found = {}
    for name, server in both.items():
        with opened(server, "/echo", more="Sec-WebSocket-Protocol: one, two\r\n") as ws:
            found[name] = ws.header("Sec-WebSocket-Protocol")
    assert found == {"oracle": "one, two", "ours": "one"}


def test_a_message_over_the_limit_is_told_with_1009(both: dict[str, Running]) -> None:
    found = {}
    for name, server in both.items():
        with opened(server, "/echo") as ws:
            ws.send(frame(TEXT, b"x" * 2049))
            found[name] = ws.end()
    assert found == {"oracle": None, "ours": Frame(0x80 | CLOSE, close_payload(1009, b"message too big"))}


def test_messages_that_come_together_do_not_wait_for_the_next_one(both: dict[str, Running]) -> None:
    """unbit/uwsgi#1716: what uWSGI has read ahead waits for the timeout of the app's next look, 3 seconds here."""
    with opened(both["ours"], "/polling") as ws:
        ws.text()
        ws.send(*[frame(TEXT, b"%d" % number) for number in range(5)])
        assert [ws.text() for _ in range(5)] == [f"polled {number}" for number in range(5)]
    with opened(both["oracle"], "/polling") as ws:
        ws.text()
        ws.send(*[frame(TEXT, b"%d" % number) for number in range(5)])
        assert ws.text() == "polled 0"
        ws.sock.settimeout(1.0)
        with pytest.raises(TimeoutError):
            ws.next()


def test_compression_is_agreed_to(both: dict[str, Running]) -> None:
    found = {}
    for name, server in both.items():
        with opened(server, "/echo", more="Sec-WebSocket-Extensions: permessage-deflate\r\n") as ws:
            found[name] = (ws.header("Sec-WebSocket-Extensions") or "").partition(";")[0]
    assert found == {"oracle": "", "ours": "permessage-deflate"}


def test_a_wrong_version_is_refused(both: dict[str, Running]) -> None:
    found = {}
    for name, server in both.items():
        with PlainClient(server.http, request=handshake("/bare", version="8")) as ws:
            found[name] = ws.head[0].split(" ")[1]
    assert found == {"oracle": "101", "ours": "426"}
