"""The functions of this instance for other ones: what comes in uwsgi packets of modifier1 173, and what goes back.

What lives here: `RpcService`. What does not: who may ask (`instance.packets`), the bytes (`wire.uwsgi.rpc`,
`wire.xmlrpc`), the functions (`peers.functions`). As in uWSGI's plugins/rpc/rpc_plugin.c no answer at all means that
there is no such function, or that it gave nothing; a web server that asks over HTTP gets 404 then, and 500 for what is
no call.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from math import inf
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from uwsgi_async.cores.trailing import receive_trailing
from uwsgi_async.errors import AppError, BadRequestError
from uwsgi_async.peers.functions import Functions
from uwsgi_async.wire.http import response_head
from uwsgi_async.wire.uwsgi import Packet, decode_vars
from uwsgi_async.wire.uwsgi.rpc import (
    LARGEST_CALL,
    RPC_HTTP,
    RPC_LONG,
    RPC_PACKET,
    RPC_XML,
    RpcCall,
    decode_call,
    decode_length,
    decode_path,
    encode_result,
)
from uwsgi_async.wire.vars import Vars
from uwsgi_async.wire.xmlrpc import decode_xml_call, encode_xml_result

if TYPE_CHECKING:
    from uwsgi_async.cores.connection import Connection

logger = logging.getLogger("uwsgi_async")

_BINARY: Final = "application/binary"  # uWSGI's word
_ANY: Final = ("", "*", "*/*")
_ERRORS: Final = {404: "Not Found", 500: "Internal Server Error"}


in_call: ContextVar[bool] = ContextVar("uwsgi_async.in_call", default=False)
"""Whether the running code is a function that another instance has called: there is no request then."""


class RpcService:
    """Answers the packets of modifier1 173.

    ``largest``: bytes of a call that is longer than a packet. ``harakiri``: seconds that a function has, 0 = no limit.
    ``threads``: plain functions run in threads, as the instance's apps do; else in the core, where they may wait.
    """

    def __init__(self, functions: Functions, *, largest: int, harakiri: float, threads: bool) -> None:
        self._functions = functions
        self._largest = largest
        self._harakiri = harakiri or inf
        self._threads = threads

    def __repr__(self) -> str:
        return f"<RpcService of {self._functions!r}>"

    async def serve(self, connection: Connection, packet: Packet, rest: bytes) -> None:
        """Answer one packet. Raises `BadRequestError`, and what receiving and sending raise."""
        if not packet.payload:
            raise BadRequestError(400, "Empty RPC request. skip.")
        if packet.modifier2 == RPC_HTTP:
            await connection.send(await self._answer_http(decode_vars(packet.payload)))
        elif packet.modifier2 == RPC_XML:
            await connection.send(await self._answer_xml(connection, packet, rest))
        else:
            array = packet.payload
            if packet.modifier2 == RPC_LONG:
                array = await self._receive_long(connection, packet, rest)
            result = await self._call(decode_call(array))
            if result is not None:
                await connection.send(encode_result(result) if packet.modifier2 in (RPC_PACKET, RPC_LONG) else result)

    async def _call(self, call: RpcCall) -> bytes | None:
        """Return what a function gives; None also when its time was over."""
        token = in_call.set(True)
        try:
            with anyio.move_on_after(self._harakiri) as scope:
                return await self._begin(call)
        finally:
            in_call.reset(token)
        if scope.cancelled_caught:
            logger.error(
                "the RPC function %r took more than %g s and was cancelled (harakiri)", call.name, self._harakiri
            )
        return None

    async def _begin(self, call: RpcCall) -> bytes | None:
        registered = self._functions.find(call.name)
        if self._threads and registered is not None and not registered.is_async:
            begin = self._functions.begin
            begun = await anyio.to_thread.run_sync(begin, call.name, call.arguments, abandon_on_cancel=True)
            return begun if begun is None or isinstance(begun, bytes) else await begun
        return await self._functions.call(call.name, call.arguments)

    async def _receive_long(self, connection: Connection, packet: Packet, rest: bytes) -> bytes:
        size = decode_length(packet.payload)
        most = min(self._largest, LARGEST_CALL)
        if size > most:
            raise BadRequestError(413, f"a call of {size} bytes is longer than {most} (option rpc-max-size)")
        return await receive_trailing(connection, rest, size)

    async def _answer_http(self, vars: Vars) -> bytes:
        """Answer a request whose path is the call."""
        call = decode_path(vars.get("PATH_INFO", ""))
        if call is None:
            return _error(vars, 500)
        result = await self._call(call)
        if result is None:
            return _error(vars, 404)
        accept = vars.get("HTTP_ACCEPT", "")
        return _response(vars, _BINARY if accept in _ANY else accept, result)

    async def _answer_xml(self, connection: Connection, packet: Packet, rest: bytes) -> bytes:
        """Answer a request whose body is a call in XML-RPC."""
        vars = decode_vars(packet.payload)
        try:
            size = decode_length(packet.payload)
            if not 0 < size <= self._largest:
                raise BadRequestError(413, f"an XML-RPC call has 1 to {self._largest} bytes, not {size}")
            call = decode_xml_call(await receive_trailing(connection, rest, size))
        except BadRequestError as error:
            logger.warning("%s: an XML-RPC call was refused: %s", connection.peer or "-", error)
            return _error(vars, 500)
        result = await self._call(call)
        return _error(vars, 500) if result is None else _response(vars, "application/xml", encode_xml_result(result))


def _response(vars: Vars, content_type: str, body: bytes) -> bytes:
    try:
        head = response_head("200 OK", [("Content-Length", str(len(body))), ("Content-Type", content_type)])
    except AppError:  # what the client accepts is no header
        return _response(vars, _BINARY, body)
    return head.encode(_framing(vars)) + body


def _error(vars: Vars, status: int) -> bytes:
    reason = _ERRORS[status]
    head = response_head(f"{status} {reason}", [("Connection", "close"), ("Content-Type", "text/plain")])
    return head.encode(_framing(vars)) + reason.encode()


def _framing(vars: Vars) -> tuple[bool, bool, bool, None, bool]:
    """Say nothing of the connection, as uWSGI: it is closed behind the answer."""
    http_1_1 = vars.get("SERVER_PROTOCOL", "HTTP/1.0") == "HTTP/1.1"
    return http_1_1, http_1_1, False, None, False
