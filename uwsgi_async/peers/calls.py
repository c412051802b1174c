"""Calling a function of another instance: one connection for each call, as uWSGI does it.

What lives here: `call_remote`. What does not: the bytes (`wire.uwsgi.rpc`), this instance's own functions
(`functions`).
"""

from __future__ import annotations

from uwsgi_async.errors import NodeGoneError
from uwsgi_async.peers.sockets import PeerSocket, answers_of
from uwsgi_async.wire.uwsgi.rpc import AnswerReader, RpcCall, encode_call


async def call_remote(node: str, call: RpcCall, *, timeout: float | None, largest: int) -> bytes | None:
    """Return what a function of the instance at ``node`` gives; None when it gives nothing, or is not there.

    ``timeout``: seconds that the other side may send, or take, nothing. ``largest``: bytes of a result that is taken.
    Raises ValueError for what cannot be sent, `AddressError`, `NodeGoneError` also for an answer that is cut,
    `NodeTimeoutError`, and `BadAnswerError` for what is no answer, or one that is too large.
    """
    data = encode_call(call)
    reader = AnswerReader(largest)
    with await PeerSocket.open(node, timeout) as peer:
        try:
            await peer.send(data)
        except NodeGoneError:
            pass  # it may have answered, or closed instead, before it had read all
        while received := await _receive(peer, reader):
            with answers_of(node):
                result = reader.receive_data(received)
            if result is not None:
                return result or None
    if reader.has_begun:
        raise NodeGoneError(f"{node} closed the connection in the middle of an answer")
    return None


async def _receive(peer: PeerSocket, reader: AnswerReader) -> bytes:
    """Return the next bytes; b"" at the end, and for a reset in the place of an answer, as of a server that refuses."""
    try:
        return await peer.receive()
    except NodeGoneError:
        if reader.has_begun:
            raise
        return b""
