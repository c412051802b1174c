"""The chapter of the current request: who it is, its log variables, its connection.

Each function raises `NoRequestError` (a SystemError, as in uWSGI) outside a request.
Source: plugins/python/uwsgi_pymodule.c.
"""

from __future__ import annotations

from uwsgi_async.cores.core import current_request
from uwsgi_async.cores.request import Request
from uwsgi_async.errors import NoRequestError
from uwsgi_async.wire.vars import Vars

__all__ = [
    "add_var",
    "cl",
    "connection_fd",
    "core_id",
    "disconnect",
    "get_logvar",
    "log_this_request",
    "request_id",
    "set_logvar",
]

_LOGVAR_LIMIT = 255  # bytes


def the_request() -> Request:
    """Return the request that the caller belongs to."""
    request = current_request.get()
    if request is None or request.core.request is not request:
        raise NoRequestError("you can call uwsgi api function only from the main callable: there is no request here")
    return request


def request_id() -> int:
    """Return how many requests this core has finished. Not unique, as in uWSGI."""
    return the_request().core.requests


def core_id() -> int:
    """Return the number of the current core, from 0."""
    return the_request().core.id


def cl() -> int:
    """Return the request's CONTENT_LENGTH in bytes; 0 when it has none."""
    value = the_request().vars.get("CONTENT_LENGTH", "")
    return int(value) if value.isdigit() else 0


def connection_fd() -> int:
    """Return the fd of the client's connection. It belongs to the server: watch it, do not close it."""
    return the_request().connection.fd


def disconnect() -> None:
    """Close the client's connection now; the app goes on, and what it still sends is lost.

    When an ASGI app has completed its response, the connection is no longer its own, and nothing happens.
    """
    request = the_request()
    if request.released:
        return
    request.response.abandon()
    request.connection.close()


def add_var(key: str | bytes, value: str | bytes) -> bool:
    """Add a request variable for the server's side (logging). The environ of the app does not change."""
    request = the_request()
    request.vars = Vars(request.vars)
    request.vars[_bytes(key).decode("latin-1")] = _bytes(value).decode("latin-1")
    return True


def set_logvar(key: str | bytes, value: str | bytes) -> None:
    """Note a variable for the log, until the end of the request. Raises ValueError beyond 255 bytes."""
    request = the_request()
    name, text = _bytes(key), _bytes(value)
    if len(name) > _LOGVAR_LIMIT or len(text) > _LOGVAR_LIMIT:
        raise ValueError(f"a logvar's key and value may have {_LOGVAR_LIMIT} bytes, not {len(name)} and {len(text)}")
    if request.logvars is None:
        request.logvars = {}
    request.logvars[name] = text


def get_logvar(key: str | bytes) -> bytes | None:
    """Return what `set_logvar` noted in this request; None when nothing."""
    return (the_request().logvars or {}).get(_bytes(key))


def log_this_request() -> None:
    """Log this request even when request logging is off."""
    the_request().log_this = True


def _bytes(value: str | bytes) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise TypeError(f"a bytes-like object is required, not '{type(value).__name__}'")
