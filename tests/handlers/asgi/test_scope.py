"""What an ASGI app is told of a request, over HTTP and over the uwsgi protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.client import connect, get
from tests.handlers.asgi.apps import answer, http_only, serving
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

pytestmark = pytest.mark.anyio


class Noting:
    """An app that keeps the scopes it was called with."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await answer(send, b"noted")


async def scope_of(target: str = "/", **request: Any) -> dict[str, Any]:
    app = Noting()
    async with serving(app) as server:
        assert (await get(server, target, **request)).status == 200
    return app.scopes[0]


async def test_a_scope_has_what_the_specification_says() -> None:
    scope = await scope_of("/caf%C3%A9?a=1&b=%20", headers="X-One: 1\r\n", method="POST", body=b"x")
    assert scope["type"] == "http"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert scope["http_version"] == "1.1"
    assert scope["method"] == "POST"
    assert scope["scheme"] == "http"
    assert scope["path"] == "/café"
    assert scope["raw_path"] == b"/caf%C3%A9"
    assert scope["query_string"] == b"a=1&b=%20"
    assert scope["root_path"] == ""
    assert scope["headers"] == [(b"host", b"test"), (b"x-one", b"1"), (b"content-length", b"1")]


async def test_addresses_are_those_of_the_connection() -> None:
    app = Noting()
    async with serving(app) as server, connect(server) as client:
        local = client.stream.extra(anyio.abc.SocketAttribute.local_address)
        remote = client.stream.extra(anyio.abc.SocketAttribute.remote_address)
        await client.get()
        await client.get()
    assert [scope["client"] for scope in app.scopes] == [local, local]
    assert [scope["server"] for scope in app.scopes] == [remote, remote]


async def test_headers_keep_their_order_and_come_as_often_as_they_were_sent() -> None:
    scope = await scope_of(headers="X-B: 1\r\nX-A:  2 \r\nX-B: 3\r\nCookie: a=1\r\nCookie: b=\xe9\r\n")
    assert scope["headers"][1:] == [
        (b"x-b", b"1"),
        (b"x-a", b"2"),
        (b"x-b", b"3"),
        (b"cookie", b"a=1"),
        (b"cookie", "b=\xe9".encode()),
    ]


async def test_a_header_that_could_forge_another_is_left_out() -> None:
    scope = await scope_of(headers="X_Forwarded_For: evil\r\n")
    assert scope["headers"] == [(b"host", b"test")]


async def test_bytes_of_a_path_that_are_no_utf_8_do_no_harm() -> None:
    scope = await scope_of("/a%FFb")
    assert scope["path"] == "/a\N{REPLACEMENT CHARACTER}b"
    assert scope["raw_path"] == b"/a%FFb"


async def test_an_absolute_target_has_its_path_alone() -> None:
    scope = await scope_of("http://test/x/y?q")
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/x/y", b"/x/y", b"q")


async def test_a_scope_is_the_apps_own() -> None:
    before = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        before.append((len(scope["headers"]), set(scope), set(scope["extensions"]), scope["state"]))
        scope["headers"].append((b"x-mine", b"1"))
        scope["extensions"]["mine"] = {}
        scope["state"]["mine"] = scope["mine"] = 1
        await answer(send, b"")

    async with serving(app) as server, connect(server) as client:
        for _ in range(3):
            await client.get()
    assert before[0][0] == 1
    assert before[0][3] == {"mine": 1}  # its own, changed afterwards
    assert [each[:3] for each in before] == [before[0][:3]] * 3


async def test_a_mountpoint_is_the_root_path_and_the_path_begins_with_it() -> None:
    main, api = Noting(), Noting()
    apps = {"": http_only(main), "/api": http_only(api)}
    async with uwsgi_async.run(apps, http="127.0.0.1:0", manage_script_name=True) as server:
        await get(server, "/api/x%20y", headers="X-A: 1\r\nX-A: 2\r\n")
        await get(server, "/other")
    assert [(scope["root_path"], scope["path"], scope["raw_path"]) for scope in api.scopes + main.scopes] == [
        ("/api", "/api/x y", b"/api/x%20y"),
        ("", "/other", b"/other"),
    ]
    assert api.scopes[0]["headers"][1:] == [(b"x-a", b"1"), (b"x-a", b"2")]


async def test_over_a_unix_socket_there_is_no_client_and_the_server_is_a_path(tmp_path: Path) -> None:
    path = str(tmp_path / "http.sock")
    app = Noting()
    async with uwsgi_async.run(http_only(app), http=path), await anyio.connect_unix(path) as stream:
        await stream.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await stream.receive()).startswith(b"HTTP/1.0 200 OK\r\n")
    assert (app.scopes[0]["client"], app.scopes[0]["server"]) == (None, (path, None))
    assert app.scopes[0]["http_version"] == "1.0"


async def test_over_the_uwsgi_protocol_it_is_what_the_front_end_says(tmp_path: Path) -> None:
    path = str(tmp_path / "uwsgi.sock")
    app = Noting()
    variables = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": "/caf%C3%A9?q=1",
        "PATH_INFO": "/caf\xc3\xa9",
        "QUERY_STRING": "q=1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "example.org",
        "SERVER_PORT": "443",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "4711",
        "HTTPS": "on",
        "HTTP_HOST": "example.org",
        "HTTP_X_ONE": "1",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "",
    }
    async with uwsgi_async.run(http_only(app), socket=path), await anyio.connect_unix(path) as stream:
        await stream.send(encode_packet(0, 0, encode_vars(variables)))
        assert (await stream.receive()).endswith(b"noted")
    scope = app.scopes[0]
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/café", b"/caf%C3%A9", b"q=1")
    assert (scope["client"], scope["server"]) == (("192.0.2.1", 4711), ("example.org", 443))
    assert scope["scheme"] == "https"
    assert scope["headers"] == [(b"host", b"example.org"), (b"x-one", b"1"), (b"content-type", b"text/plain")]
