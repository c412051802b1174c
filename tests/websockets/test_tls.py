"""wss: the same over TLS, also for an app that watches the descriptor."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from anyio.streams.tls import TLSStream

import uwsgi_async
from tests.certificates import Authority
from tests.client import Client
from tests.websockets.client import CLOSE, PATIENCE, TEXT, WebSocketClient, close_payload, frame

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    place: Path = tmp_path_factory.mktemp("tls")
    return Authority(place)


async def echo(environ, start_response):
    await uwsgi_async.websocket_handshake()
    async for message in uwsgi_async.websocket():
        await uwsgi_async.websocket_send(message)


async def watching(environ, start_response):
    await uwsgi_async.websocket_handshake()
    while True:
        assert await uwsgi_async.wait_fd_read(uwsgi_async.connection_fd(), 10)
        message = uwsgi_async.websocket_recv_nb()
        if message:
            await uwsgi_async.websocket_send(message)


@pytest.mark.parametrize("app", [echo, watching])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_messages_go_both_ways_over_tls(authority, app, version):
    pair = authority.issue("localhost")
    async with uwsgi_async.run(app, https=f"127.0.0.1:0,{pair}") as server:
        url = urlsplit(server.addresses[0])
        with anyio.fail_after(PATIENCE):
            tcp = await anyio.connect_tcp(url.hostname, url.port)
            context = authority.context(newest=version)
            stream = await TLSStream.wrap(tcp, hostname="localhost", ssl_context=context, standard_compatible=False)
            async with stream:
                ws = WebSocketClient(Client(stream))
                await ws.open()
                await ws.send(*[frame(TEXT, b"%d" % number) for number in range(20)])
                assert [await ws.message() for _ in range(20)] == [str(number) for number in range(20)]
                await ws.send(frame(TEXT, b"x" * 300_000))
                assert await ws.message() == "x" * 300_000
                await ws.send(frame(CLOSE, close_payload(1000)))
                assert (await ws.next()).payload == close_payload(1000)
