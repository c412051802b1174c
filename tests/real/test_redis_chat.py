"""A chat between processes through a real Redis, in the shape of uWSGI's own example for its async API.

The app makes the calls that `tests/websockets_chat_async.py` of uWSGI makes: it watches the descriptors of the
websocket and of a subscription at once, gives way, asks which one is ready, and receives without waiting.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.command import Process, server
from tests.real.parts import require
from tests.websockets.plain import PlainClient

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

PATIENCE = 20.0  # seconds

APP = """
import redis
import uwsgi

def application(environ, start_response):
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    store = redis.StrictRedis(host="127.0.0.1", port={port}, db=0)
    channel = store.pubsub()
    channel.subscribe("room")
    client, subscription = uwsgi.connection_fd(), channel.connection._sock.fileno()
    try:
        while True:
            uwsgi.wait_fd_read(client, 3)
            uwsgi.wait_fd_read(subscription)
            uwsgi.suspend()
            ready = uwsgi.ready_fd()
            if ready == subscription:
                said = channel.parse_response()
                if said[0] == b"message":
                    uwsgi.websocket_send("%s: %s" % (uwsgi.worker_id(), said[2].decode()))
                elif said[0] == b"subscribe":
                    uwsgi.websocket_send("here")
            else:  # the client, or the time is over: then pings are looked after
                text = uwsgi.websocket_recv_nb()
                if text:
                    store.publish("room", text)
    finally:
        channel.close()
        store.close()
"""


@pytest.fixture(scope="module")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    program = require("redis-server", "redis-server")
    place: Path = tmp_path_factory.mktemp("redis")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(place)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(params=["one process", "two workers"])
def chat(request: pytest.FixtureRequest, redis_port: int, tmp_path: Path) -> Iterator[Process]:
    (tmp_path / "app.py").write_text(APP.format(port=redis_port))
    workers = ["--master", "--processes", "2"] if request.param == "two workers" else []
    with server(str(tmp_path / "app.py"), "--async", "20", "--greenlet", *workers) as process:
        yield process


def test_what_one_says_everybody_sees(chat: Process) -> None:
    port = int(chat.url.rpartition(":")[2])
    with ExitStack() as stack:
        people = [stack.enter_context(PlainClient(port)) for _ in range(6)]
        for person in people:
            assert person.text() == "here"
        for number, person in enumerate(people):
            person.say(f"number {number}")
            for other in people:
                assert other.text().partition(": ")[2] == f"number {number}"
