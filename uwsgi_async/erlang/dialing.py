"""From the name of a node to a connection: ask its epmd, connect, shake hands; the last is also for who connects.

What lives here: `find_node`, `dial`, `shake_hands`. What does not: the bytes (`epmd`, `handshake`), which connection
stays when both nodes connect (`node`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import anyio
from anyio.abc import ByteStream, SocketStream

from uwsgi_async.erlang import epmd
from uwsgi_async.erlang.handshake import Acceptor, Initiator, LocalNode, Session
from uwsgi_async.erlang.settings import epmd_port
from uwsgi_async.errors import NodeDownError

SETUP_TIME: Final = 7.0  # seconds, Erlang's net_setuptime

S = TypeVar("S", bound=ByteStream)


async def find_node(name: str) -> epmd.NodeAddress:
    """Ask the epmd of a node's host where the node listens. Raises `NodeDownError`, `ErlangError`."""
    alive, _, host = name.partition("@")
    port = epmd_port()
    with _told(f"{name}: no epmd answers at {host}:{port}"):
        stream = await anyio.connect_tcp(host, port)
        async with stream:
            await stream.send(epmd.encode_port_please(alive))
            received = b""
            while (address := epmd.decode_port(received)) is None:
                received += await stream.receive()
                if len(received) > epmd.LONGEST_ANSWER:
                    raise NodeDownError(f"{name}: what answers at {host}:{port} is no epmd")
    if not address.lowest <= epmd.VERSION <= address.highest:
        raise NodeDownError(
            f"{name} speaks version {address.lowest} to {address.highest} of the distribution protocol, but "
            f"{epmd.VERSION}, of Erlang/OTP 23 and later, is needed"
        )
    return address


async def dial(name: str, local: LocalNode, cookie: bytes) -> tuple[SocketStream, Session, bytes]:
    """Connect to a node; return the stream, what was agreed on, and the bytes that came behind the handshake.

    Raises `NodeDownError` when it is down, refuses, or takes more than seven seconds; `ErlangError`.
    """
    try:
        with anyio.fail_after(SETUP_TIME):
            try:
                address = await find_node(name)
            except NodeDownError as error:
                raise NodeDownError(str(error) if name in str(error) else f"{name}: {error}") from error
            host = name.partition("@")[2]
            with _told(f"{name} does not answer at {host}:{address.port}"):
                stream = await anyio.connect_tcp(host, address.port)
            return await shake_hands(stream, Initiator(local, name, cookie))
    except TimeoutError as error:
        raise NodeDownError(f"{name} does not answer: there was no connection within {SETUP_TIME:g} s") from error


async def shake_hands(stream: S, side: Initiator | Acceptor) -> tuple[S, Session, bytes]:
    """Go through the handshake; the stream is closed when that fails. Raises `NodeDownError`, `ErlangError`."""
    try:
        if isinstance(side, Initiator):
            await stream.send(side.begin())
        while side.session is None:
            try:
                answer = side.receive_data(await stream.receive())
                if answer:
                    await stream.send(answer)
            except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
                raise NodeDownError(side.describe_end()) from error
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(stream)
        raise
    return stream, side.session, side.take_rest()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn the system's errors into one sentence."""
    try:
        yield
    except (anyio.EndOfStream, anyio.BrokenResourceError) as error:
        raise NodeDownError(f"{what}: the connection was closed") from error
    except NodeDownError:
        raise
    except OSError as error:
        raise NodeDownError(f"{what}: {error.strerror or error}") from error
