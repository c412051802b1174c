"""The chapter of handing on the current request: `route`.

What lives here: `route`, in both of its forms, and the routers that it knows. What does not: a request's packet
(`wire.uwsgi`), the answer of another server (`peers.messages`). Internal routing by rules in the configuration is not
built. Source: uWSGI 2.0.31, core/routing.c and plugins/router_uwsgi; 1.4.10 for the form with an address alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Final, overload

from uwsgi_async.api.messages import BlockingAnswer
from uwsgi_async.api.request import add_var, set_logvar, the_request
from uwsgi_async.api.rpc import rpc, silence
from uwsgi_async.cores.portal import wait_for
from uwsgi_async.cores.request import Request
from uwsgi_async.errors import NodeGoneError, PeerError
from uwsgi_async.peers.messages import MessageAnswer, send_message
from uwsgi_async.peers.sockets import CHUNK, PeerSocket, answers_of
from uwsgi_async.wire.cgihead import HeadSplitter
from uwsgi_async.wire.uwsgi import encode_packet, encode_vars

__all__ = ["route"]

logger = logging.getLogger("uwsgi_async")

UNKNOWN: Final = -1
NEXT: Final = 0
CONTINUE: Final = 1
BREAK: Final = 2

_VARIABLE: Final = re.compile(r"\$\{([A-Za-z0-9_]+)\}")


class RoutedAnswer:
    """The body of another server's response; its status and headers are those of our own response already."""

    def __init__(self, answer: MessageAnswer, rest: bytes) -> None:
        self._answer = answer
        self._rest = rest

    def __repr__(self) -> str:
        return f"<RoutedAnswer of {self._answer!r}>"

    def __aiter__(self) -> RoutedAnswer:
        return self

    async def __anext__(self) -> bytes:
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        return await self._answer.__anext__()

    def close(self) -> None:
        """Want no more of it. Calling it twice is allowed."""
        self._answer.close()

    async def aclose(self) -> None:
        """The same, for servers that close what an async app returns."""
        self.close()


@overload
async def route(router: str) -> RoutedAnswer: ...
@overload
async def route(router: str, args: str) -> int: ...
async def route(router: str, args: str | None = None) -> RoutedAnswer | int:
    """Hand the current request on.

    ``route("10.0.0.1:3031")``, uWSGI's form until 1.4, sends it to a server of the uwsgi protocol, takes over status
    and headers of the response, and returns its body, for the app to return. ``route(router, args)`` runs a router and
    returns -1 for one that is not known, or cannot do what it is told, 1 for "go on", 2 when the request is answered.
    Routers: "uwsgi" and "proxyuwsgi" (address,modifier1,modifier2), "rpc" and "call" (function[@node] arguments),
    "log" (text), "addvar" and "logvar" (name=value); ``${NAME}`` in them is a request variable. Raises
    `NoRequestError`, and in the first form `NodeGoneError`, `NodeTimeoutError` and `BadAnswerError`.
    """
    return await (_hand_on_now(router) if args is None else _run_router(router, args))


def _route_blocking(router: str, args: str | None = None, /) -> BlockingAnswer | int:
    if args is None:
        return BlockingAnswer(wait_for(_hand_on_now, router, name="route"), "route")
    return wait_for(_run_router, router, args, name="route")


BLOCKING: Final[dict[str, Callable[..., Any]]] = {"route": _route_blocking}
"""The functions that sync code calls in another form, by their names."""


async def _hand_on_now(address: str) -> RoutedAnswer:
    return await _hand_on(the_request(), address, 0, 0)


async def _run_router(router: str, args: str) -> int:
    request = the_request()
    found = _ROUTERS.get(router)
    if found is None:
        return UNKNOWN
    return await found(request, _VARIABLE.sub(lambda match: request.vars.get(match[1], ""), args))


async def _hand_on(request: Request, address: str, modifier1: int, modifier2: int, appid: str = "") -> RoutedAnswer:
    """Send a request to another server, and take over the head of its response."""
    body = request.body
    vars = dict(request.vars)
    if appid:
        vars["UWSGI_APPID"] = appid
    whole = b""
    if body.length is None:  # it came in chunks, for which the uwsgi protocol has no form
        whole = await body.read()
        vars["CONTENT_LENGTH"] = str(len(whole))
    peer = await PeerSocket.open(address, silence())
    try:
        data = encode_packet(modifier1, modifier2, encode_vars(vars))
        answer = await send_message(peer, data + whole, _rest_of(request))
        splitter = HeadSplitter()
        head = None
        while head is None:
            chunk = await _chunk(answer, address)
            with answers_of(address):
                head = splitter.receive_data(chunk)
    except BaseException:
        peer.close()
        raise
    request.response.start(head.status, head.headers)
    return RoutedAnswer(answer, splitter.rest)


async def _rest_of(request: Request) -> AsyncIterator[bytes]:
    while data := await request.body.read(CHUNK):
        yield data


async def _chunk(answer: MessageAnswer, address: str) -> bytes:
    try:
        return await answer.__anext__()
    except StopAsyncIteration:
        raise NodeGoneError(f"{address} closed the connection before the head of its response was complete") from None


async def _to_uwsgi(request: Request, args: str) -> int:
    address, _, rest = args.partition(",")
    modifiers = rest.split(",")
    if not address or len(modifiers) < 2 or not all(text.isdecimal() and int(text) < 256 for text in modifiers[:2]):
        logger.warning("invalid route syntax: %s; expected address,modifier1,modifier2", args)
        return UNKNOWN
    try:
        answer = await _hand_on(request, address, int(modifiers[0]), int(modifiers[1]), "".join(modifiers[2:3]))
    except (PeerError, ValueError) as error:
        logger.error("error routing request to uwsgi server %s: %s", address, error)
        request.response.refuse(502)
        return BREAK
    try:
        async for chunk in answer:
            await request.response.send(chunk)
    finally:
        answer.close()
    await request.response.finish()
    return BREAK


async def _to_rpc(request: Request, args: str) -> int:
    name, *arguments = args.split() or [""]
    function, _, node = name.partition("@")
    try:
        result = await rpc(node, function, *arguments) if function else None
    except (PeerError, ValueError) as error:
        logger.error("error routing request to the RPC function %s: %s", name, error)
        result = None
    if result is None:
        return UNKNOWN
    request.response.start("200 OK", [("Content-Length", str(len(result)))])
    await request.response.send_all(result)
    return BREAK


async def _log(_request: Request, args: str) -> int:
    logger.info("%s", args)
    return NEXT


async def _set(how: Callable[[str, str], object], args: str) -> int:
    name, equals, value = args.partition("=")
    if not name or not equals:
        return UNKNOWN
    how(name, value)
    return NEXT


async def _add_var(_request: Request, args: str) -> int:
    return await _set(add_var, args)


async def _add_logvar(_request: Request, args: str) -> int:
    return await _set(set_logvar, args)


_ROUTERS: Final[Mapping[str, Callable[[Request, str], Coroutine[Any, Any, int]]]] = {
    "uwsgi": _to_uwsgi,
    "proxyuwsgi": _to_uwsgi,
    "rpc": _to_rpc,
    "call": _to_rpc,
    "log": _log,
    "addvar": _add_var,
    "logvar": _add_logvar,
}
