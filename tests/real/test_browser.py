"""Websockets in a real browser: the chat of the examples, and what JavaScript sees of every end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import ROOT, Process, server
from tests.real.browser import Browser, browser

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

APP = """
import uwsgi

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"<title>page</title>"]
    if path == "/refused":
        start_response("403 Forbidden", [])
        return [b""]
    uwsgi.websocket_handshake()
    if path == "/broken":
        raise RuntimeError("the app's")
    if path == "/returns":
        return []
    while True:
        message = uwsgi.websocket_recv()
        if path == "/binary":
            uwsgi.websocket_send_binary(message)
        else:
            uwsgi.websocket_send(message)
"""

# Resolves with [messages as text, code, wasClean] when the socket has closed.
TALK = """
new Promise(done => {{
  const seen = [], socket = new WebSocket({url!r}, {protocols});
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {{ {sends} }};
  socket.onmessage = event => {{
    const data = event.data;
    seen.push(typeof data == "string" ? data : "bytes " + data.byteLength);
    if (seen.length == {count}) socket.close(4001, "enough");
  }};
  socket.onclose = event => done([seen, event.code, event.wasClean, socket.protocol, socket.extensions]);
}})
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("chromium")) as found:
        yield found


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    path: Path = tmp_path_factory.mktemp("app") / "app.py"
    path.write_text(APP)
    with server(str(path), "--async", "20") as process:
        yield process


def talk(chromium: Browser, app: Process, path: str, sends: str = "", count: int = 0, protocols: str = "[]") -> list:
    page = chromium.open(app.url)
    try:
        url = app.url.replace("http", "ws") + path
        return page.run(TALK.format(url=url, sends=sends, count=count, protocols=protocols))
    finally:
        page.close()


def test_two_people_chat(chromium: Browser) -> None:
    with server(str(ROOT / "examples/chat.py"), "--async", "20") as chat:
        pages = [chromium.open(chat.url) for _ in range(2)]
        for page in pages:
            page.until("document.getElementById('state').textContent == 'open'")
        for number, page in enumerate(pages):
            page.run(f"document.getElementById('text').value = 'grüße {number}', form.requestSubmit(), 1")
            for seen in pages:
                seen.until(f"said.children.length == {number + 1}")
        for page in pages:
            assert page.run("[...said.children].map(item => item.textContent)") == ["grüße 0", "grüße 1"]
        pages[0].close()
        pages[1].run("document.getElementById('text').value = 'alone', form.requestSubmit(), 1")
        pages[1].until("said.children.length == 3")
        pages[1].close()
        assert "Traceback" not in chat.output


@pytest.mark.parametrize("size", [0, 5, 600, 70_000])
def test_text_comes_back_and_the_end_is_clean(chromium: Browser, app: Process, size: int) -> None:
    sends = f"socket.send('ä'.repeat({size}))"
    assert talk(chromium, app, "/", sends, 1)[:3] == [["ä" * size], 4001, True]


def test_binary_comes_back(chromium: Browser, app: Process) -> None:
    sends = "socket.send(new Uint8Array(3)); socket.send(new Uint8Array(100000))"
    assert talk(chromium, app, "/binary", sends, 2)[:3] == [["bytes 3", "bytes 100000"], 4001, True]


def test_compression_is_agreed_to(chromium: Browser, app: Process) -> None:
    *_, extensions = talk(chromium, app, "/", "socket.send('x')", 1)
    assert extensions.startswith("permessage-deflate")


def test_of_several_subprotocols_one_is_spoken(chromium: Browser, app: Process) -> None:
    """With the whole list, as real uWSGI sends it back, a browser gives up."""
    seen, code, clean, protocol, _ = talk(chromium, app, "/", "socket.send('x')", 1, "['one', 'two']")
    assert (seen, code, clean, protocol) == (["x"], 4001, True, "one")


@pytest.mark.parametrize(("path", "code", "clean"), [("/returns", 1000, True), ("/broken", 1011, True)])
def test_the_servers_end_is_clean_and_tells_why(
    chromium: Browser, app: Process, path: str, code: int, clean: bool
) -> None:
    assert talk(chromium, app, path)[1:3] == [code, clean]


def test_a_refusal_is_no_websocket(chromium: Browser, app: Process) -> None:
    assert talk(chromium, app, "/refused")[:3] == [[], 1006, False]
