"""Websockets in an instance with a master: through a reload, and at its end."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.command import Process, server
from tests.websockets.client import CLOSE, Frame, close_payload
from tests.websockets.plain import PlainClient

APP = """
import os
import uwsgi

def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        start_response("200 OK", [])
        return [str(os.getpid()).encode()]
    uwsgi.websocket_handshake()
    while True:
        uwsgi.websocket_send("%d %s" % (os.getpid(), uwsgi.websocket_recv().decode()))
"""


@pytest.fixture
def app(tmp_path: Path) -> str:
    path = tmp_path / "app.py"
    path.write_text(APP)
    return str(path)


def said(ws: PlainClient, word: str) -> int:
    """Say a word, and return the process that has answered it."""
    ws.say(word)
    pid, answer = ws.text().split(" ")
    assert answer == word
    return int(pid)


def port(process: Process) -> int:
    return int(process.url.rpartition(":")[2])


@pytest.mark.parametrize("mode", [[], ["--threads", "4"]], ids=["cores", "threads"])
def test_a_websocket_lives_through_a_reload(app: str, mode: list[str]) -> None:
    with server(app, "--master", "--async", "10", *mode) as process, PlainClient(port(process)) as old:
        before = said(old, "before")
        process.popen.send_signal(signal.SIGHUP)
        while int(process.get()) == before:
            pass
        assert said(old, "meanwhile") == before
        with PlainClient(port(process)) as new:
            assert said(new, "after") != before
        assert old.leave() == Frame(0x80 | CLOSE, close_payload(1000))


@pytest.mark.parametrize("mode", [[], ["--threads", "4"]], ids=["cores", "threads"])
@pytest.mark.parametrize("end", [signal.SIGHUP, signal.SIGTERM], ids=["a reload", "the end"])
def test_without_mercy_left_it_is_closed_with_1012(app: str, end: signal.Signals, mode: list[str]) -> None:
    words = ["--master", "--async", "10", "--worker-reload-mercy", "0", *mode]
    with server(app, *words) as process, PlainClient(port(process)) as ws:
        said(ws, "hello")
        process.popen.send_signal(end)
        assert ws.end() == Frame(0x80 | CLOSE, close_payload(1012))
