"""Websockets behind a real nginx: `uwsgi_pass` over TCP and a UNIX socket, and `proxy_pass` with Upgrade."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.parts import require
from tests.real.test_nginx import CONFIG, free_port, started, wait_for_port
from tests.websockets.client import BINARY, CLOSE, PING, PONG, TEXT, TOKEN, Frame, close_payload, frame
from tests.websockets.plain import PlainClient

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

APP = """
import uwsgi

def application(environ, start_response):
    if environ["PATH_INFO"] == "/plain":
        start_response("200 OK", [("Content-Length", "5")])
        return [b"plain"]
    uwsgi.websocket_handshake()
    while True:
        message = uwsgi.websocket_recv()
        if message == b"end":
            return []
        uwsgi.websocket_send(message)
"""

# What a site needs for websockets: nothing with uwsgi_pass, three lines with proxy_pass.
SERVER = "server {{ listen 127.0.0.1:{port}; location / {{ {target}; }} }}\n"
UPGRADE = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade"'


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The port of nginx for each way to our server."""
    nginx = require("nginx", "nginx-light")
    tmp: Path = tmp_path_factory.mktemp("nginx")
    (tmp / "app.py").write_text(APP)
    tcp, plain = free_port(), free_port()
    targets = {
        "uwsgi-tcp": f"uwsgi_pass 127.0.0.1:{tcp}",
        "uwsgi-unix": f"uwsgi_pass unix:{tmp}/app.sock",
        "http": f"proxy_pass http://127.0.0.1:{plain}; {UPGRADE}",
    }
    ports = {name: free_port() for name in targets}
    servers = "".join(SERVER.format(port=ports[name], target=target) for name, target in targets.items())
    (tmp / "nginx.conf").write_text(CONFIG.format(tmp=tmp, servers=servers))
    ours = [sys.executable, "-m", "uwsgi_async", "--socket", f"127.0.0.1:{tcp}", "--socket", f"{tmp}/app.sock"]
    ours += ["--http-socket", f"127.0.0.1:{plain}", "--async", "20", "--wsgi-file", str(tmp / "app.py")]
    ours += ["--chmod-socket", "666"]
    front = [nginx, "-c", str(tmp / "nginx.conf"), "-e", str(tmp / "error.log"), "-p", str(tmp)]
    with started(ours, tmp / "ours.log"), started(front, tmp / "nginx.log"):
        wait_for_port(plain, tmp / "ours.log")
        for port in ports.values():
            wait_for_port(port, tmp / "nginx.log")
        yield ports


@pytest.fixture(params=["uwsgi-tcp", "uwsgi-unix", "http"])
def port(request: pytest.FixtureRequest, fronts: dict[str, int]) -> int:
    return fronts[request.param]


def test_messages_of_every_size_come_back(port: int) -> None:
    with PlainClient(port) as ws:
        assert ws.head[0].startswith("HTTP/1.1 101 ")
        assert ws.header("Sec-WebSocket-Accept") == TOKEN
        for size in (0, 5, 126, 65536, 1_000_000):
            ws.send(frame(BINARY, b"x" * size))
            assert ws.next() == Frame(0x80 | TEXT, b"x" * size)


def test_pings_and_the_close_handshake_go_through(port: int) -> None:
    with PlainClient(port) as ws:
        ws.send(frame(PING, b"alive"))
        assert ws.next() == Frame(0x80 | PONG, b"alive")
        assert ws.leave(4001) == Frame(0x80 | CLOSE, close_payload(4001))
        assert ws.next() is None


def test_an_app_that_returns_closes_with_1000(port: int) -> None:
    with PlainClient(port) as ws:
        ws.say("end")
        assert ws.end() == Frame(0x80 | CLOSE, close_payload(1000))


def test_ordinary_requests_are_served_beside_them(port: int) -> None:
    with PlainClient(port), PlainClient(port, request=b"GET /plain HTTP/1.1\r\nHost: a\r\n\r\n") as client:
        assert client.head[0] == "HTTP/1.1 200 OK"
