"""The connection scope: what an ASGI app is told of a request.

What lives here: `Scopes`, which makes scopes of a request's vars and remembers them, as environs are. What does not:
events (`http`). Headers are given as they came, but without those that have "_" in their names: they would be taken
for the ones with "-", and so could forge what a proxy in front removes or sets; no handler here gets them.
Source: the ASGI specification, "HTTP Connection Scope" and "Websocket Connection Scope".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from uwsgi_async.cores.connection import Connection
from uwsgi_async.cores.request import Request
from uwsgi_async.handlers.asgi.events import Scope
from uwsgi_async.handlers.environ import scheme_of
from uwsgi_async.wire.vars import Vars

VERSION = "3.0"
SPEC_VERSION = "2.5"

Headers = list[tuple[bytes, bytes]]

_EXTENSIONS: dict[str, dict[str, Any]] = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}
_WEBSOCKET_EXTENSIONS: dict[str, dict[str, Any]] = {"websocket.http.response": {}}
_WEBSOCKET_SCHEMES = {"http": "ws", "https": "wss"}


class Scopes:
    """Makes the scopes of one app.

    ``state``: what the app has put into the state of its lifespan; each request gets a copy.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    def http(self, request: Request) -> Scope:
        """Return a fresh scope: the app may keep it and change it."""
        vars = request.vars
        base = vars.scope
        if base is None:
            base = _make(vars, request.connection)
            if vars.shared:
                vars.scope = base
        scope = base.copy()
        scope["headers"] = base["headers"].copy()
        scope["extensions"] = _EXTENSIONS.copy()
        scope["client"] = _client(vars, request.connection)
        scope["state"] = self._state.copy()
        return scope

    def websocket(self, request: Request) -> Scope:
        """Return the scope of a websocket. It is not remembered: each has a key of its own in its head."""
        vars = request.vars
        scope = _make(vars, request.connection)
        del scope["method"]
        scope["type"] = "websocket"
        scope["scheme"] = _WEBSOCKET_SCHEMES.get(scope["scheme"], scope["scheme"])
        scope["subprotocols"] = subprotocols_of(vars.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""))
        scope["extensions"] = _WEBSOCKET_EXTENSIONS.copy()
        scope["client"] = _client(vars, request.connection)
        scope["state"] = self._state.copy()
        return scope


def subprotocols_of(offered: str) -> list[str]:
    """Return the subprotocols in a client's Sec-WebSocket-Protocol (RFC 6455, 11.3.4)."""
    return [name for name in (part.strip() for part in offered.split(",")) if name]


def headers_of(vars: Vars) -> Headers:
    """Return the header fields of a request, names in lower case, in the order they came."""
    if not vars.head:
        return _headers_of_variables(vars)
    headers = []
    for line in vars.head.split(b"\r\n")[1:-2]:
        name, _, value = line.partition(b":")
        if b"_" not in name:
            headers.append((name.lower(), value.strip(b" \t")))
    return headers


def _make(vars: Vars, connection: Connection) -> Scope:
    """Return what is the same for all requests with these variables, and the keys of the rest."""
    root = vars.get("SCRIPT_NAME", "")
    return {
        "type": "http",
        "asgi": {"version": VERSION, "spec_version": SPEC_VERSION},
        "http_version": vars.get("SERVER_PROTOCOL", "HTTP/1.1").removeprefix("HTTP/"),
        "method": vars.get("REQUEST_METHOD", "GET").upper(),
        "scheme": scheme_of(vars),
        "path": _decoded(root + vars.get("PATH_INFO", "")),
        "raw_path": _raw_path(vars.get("REQUEST_URI", "")),
        "query_string": vars.get("QUERY_STRING", "").encode("latin-1"),
        "root_path": _decoded(root),
        "headers": headers_of(vars),
        "client": None,
        "server": _server(vars, connection),
        "extensions": None,
        "state": None,
    }


def _decoded(path: str) -> str:
    """Return a path of PEP 3333, whose characters are bytes, as the text that these bytes are in UTF-8."""
    return path if path.isascii() else path.encode("latin-1").decode("utf-8", "replace")


def _raw_path(uri: str) -> bytes:
    """Return the path of a request target as it was sent."""
    path = uri.partition("?")[0]
    if "://" in path and not path.startswith("/"):  # the absolute form (RFC 9112, 3.2.2)
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path.encode("latin-1")


def _server(vars: Vars, connection: Connection) -> tuple[str, int | None] | None:
    """Return the address that the client has asked; of a UNIX socket its path and None.

    Of the uwsgi protocol it is what the front end says: the socket is not the client's.
    """
    if not vars.head:
        name, port = vars.get("SERVER_NAME", ""), vars.get("SERVER_PORT", "")
        return (name, int(port)) if name and port.isdecimal() else None
    address = connection.sock.getsockname()
    if isinstance(address, tuple):
        return address[0], address[1]
    return (address if isinstance(address, str) else address.decode("utf-8", "replace")), None


def _client(vars: Vars, connection: Connection) -> tuple[str, int] | None:
    if vars.head:
        return (connection.peer, connection.port) if connection.peer else None
    host, port = vars.get("REMOTE_ADDR", ""), vars.get("REMOTE_PORT", "")
    return (host, int(port) if port.isdecimal() else 0) if host else None


def _headers_of_variables(vars: Mapping[str, str]) -> Headers:
    """Return header fields made of CGI-like variables (RFC 3875, 4.1.18), where there is nothing else."""
    headers = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in vars.items()
        if name.startswith("HTTP_")
    ]
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        value = vars.get(name, "")
        if value:
            headers.append((name.replace("_", "-").lower().encode("latin-1"), value.encode("latin-1")))
    return headers
