"""Real clients against our server: the sans-IO sides of `websockets` and of wsproto, over the same streams.

Both judge every byte that we send by their own rules, and offer compression with every set of parameters they have.
"""

from __future__ import annotations

from contextlib import asynccontextmanager

import anyio
import pytest
import wsproto.events
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri
from wsproto import ConnectionType, WSConnection
from wsproto.extensions import PerMessageDeflate

import uwsgi_async
from tests.client import connect

pytestmark = pytest.mark.anyio

MESSAGES = [
    "", "hello", "ä" * 300, "x" * 70_000, b"", b"\x00\xff", b"\x00" * 5000, bytes(range(256)) * 100, "z" * 511,
    "z" * 512,
]  # fmt: skip
PATIENCE = 20.0  # seconds


async def echo(environ, start_response):
    await uwsgi_async.websocket_handshake()
    async for message in uwsgi_async.websocket():
        await uwsgi_async.websocket().send(message)


class WebsocketsClient:
    """The client of `websockets`. ``parameters``: of its offer of compression, None offers none."""

    def __init__(self, stream, parameters, subprotocols=None):
        extensions = None if parameters is None else [ClientPerMessageDeflateFactory(**parameters)]
        self.protocol = ClientProtocol(parse_uri("ws://test/"), extensions=extensions, subprotocols=subprotocols)
        self.stream = stream
        self.frames: list[Frame] = []

    async def open(self):
        self.protocol.send_request(self.protocol.connect())
        await self._flush()
        while self.protocol.state.name == "CONNECTING":
            await self._fill()
            if self.protocol.handshake_exc is not None:
                raise self.protocol.handshake_exc
        self.frames = [event for event in self.frames if isinstance(event, Frame)]

    async def send(self, message):
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        await self._flush()

    async def receive(self):
        while not self.frames:
            await self._fill()
        frame = self.frames.pop(0)
        return bytes(frame.data).decode() if frame.opcode is Opcode.TEXT else bytes(frame.data)

    async def close(self):
        self.protocol.send_close(4000, "bye")
        await self._flush()
        while self.protocol.state.name != "CLOSED":
            await self._fill()
        return self.protocol.close_code, self.protocol.close_reason

    async def _flush(self):
        for data in self.protocol.data_to_send():
            if data:
                await self.stream.send(data)
            else:
                await self.stream.send_eof()

    async def _fill(self):
        try:
            self.protocol.receive_data(await self.stream.receive())
        except anyio.EndOfStream:
            self.protocol.receive_eof()
        self.frames += self.protocol.events_received()
        if self.protocol.parser_exc is not None:
            raise self.protocol.parser_exc
        await self._flush()


class WsprotoClient:
    """The client of wsproto. ``parameters``: of its offer of compression, None offers none."""

    def __init__(self, stream, parameters, subprotocols=None):
        self.ws = WSConnection(ConnectionType.CLIENT)
        self.stream = stream
        self.extensions = [] if parameters is None else [PerMessageDeflate(**parameters)]
        self.subprotocols = subprotocols or []
        self.events = []

    async def open(self):
        request = wsproto.events.Request(
            host="test", target="/", extensions=self.extensions, subprotocols=self.subprotocols
        )
        await self.stream.send(self.ws.send(request))
        event = await self._next()
        assert isinstance(event, wsproto.events.AcceptConnection), event
        self.accepted = event

    async def send(self, message):
        kind = wsproto.events.TextMessage if isinstance(message, str) else wsproto.events.BytesMessage
        await self.stream.send(self.ws.send(kind(data=message)))

    async def receive(self):
        data = None
        while True:
            event = await self._next()
            assert isinstance(event, wsproto.events.Message), event
            data = event.data if data is None else data + event.data
            if event.message_finished:
                return data if isinstance(data, str) else bytes(data)

    async def close(self):
        await self.stream.send(self.ws.send(wsproto.events.CloseConnection(code=4000, reason="bye")))
        event = await self._next()
        assert isinstance(event, wsproto.events.CloseConnection), event
        return event.code, event.reason

    async def _next(self):
        while not self.events:
            self.ws.receive_data(await self.stream.receive())
            self.events += self.ws.events()
        return self.events.pop(0)


OFFERS = {
    "websockets": [
        None,
        {},
        {"client_max_window_bits": True},
        {"client_max_window_bits": 9},
        {"server_max_window_bits": 9},
        {"server_max_window_bits": 12, "client_max_window_bits": 12},
        {"server_no_context_takeover": True, "client_no_context_takeover": True},
    ],
    "wsproto": [
        None,
        {},
        {"client_max_window_bits": 9, "server_max_window_bits": 9},
        {"client_no_context_takeover": True},
        {"server_no_context_takeover": True},
    ],
}
KINDS = {"websockets": WebsocketsClient, "wsproto": WsprotoClient}
CASES = [
    pytest.param(kind, offer, id=f"{kind} {'-'.join(offer) or 'defaults' if offer is not None else 'plain'} {number}")
    for kind, offers in OFFERS.items()
    for number, offer in enumerate(offers)
]


@asynccontextmanager
async def opened(server, kind, offer, subprotocols=None):
    with anyio.fail_after(PATIENCE):
        async with connect(server) as client:
            peer = KINDS[kind](client.stream, offer, subprotocols)
            await peer.open()
            yield peer


@pytest.mark.parametrize(("kind", "offer"), CASES)
async def test_messages_go_both_ways_and_the_end_is_in_order(kind, offer):
    async with uwsgi_async.run(echo, http="127.0.0.1:0") as server, opened(server, kind, offer) as peer:
        for message in MESSAGES:
            await peer.send(message)
            assert await peer.receive() == message
        assert await peer.close() == (4000, "bye")


@pytest.mark.parametrize("kind", KINDS)
async def test_compression_is_used_when_it_is_offered_and_not_switched_off(kind):
    for deflate, used in ((True, 1), (False, 0)):
        async with uwsgi_async.run(echo, http="127.0.0.1:0", websockets_deflate=deflate) as server:
            async with opened(server, kind, {}) as peer:
                agreed = peer.protocol.extensions if kind == "websockets" else peer.accepted.extensions
                assert len(agreed) == used
                await peer.send("same " * 1000)
                assert await peer.receive() == "same " * 1000


@pytest.mark.parametrize("kind", KINDS)
async def test_a_subprotocol_is_agreed_to(kind):
    async with uwsgi_async.run(echo, http="127.0.0.1:0") as server:
        async with opened(server, kind, None, ["chat", "superchat"]) as peer:
            agreed = peer.protocol.subprotocol if kind == "websockets" else peer.accepted.subprotocol
    assert agreed == "chat"


async def test_a_refusal_is_an_answer():
    async def app(environ, start_response):
        await uwsgi_async.websocket().refuse("403 Forbidden", [("Content-Type", "text/plain")], b"no")

    async with uwsgi_async.run(app, http="127.0.0.1:0") as server:
        with pytest.raises(InvalidStatus) as caught:
            async with opened(server, "websockets", None):
                pass
    assert (caught.value.response.status_code, caught.value.response.body) == (403, b"no")
