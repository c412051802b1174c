"""The chapter of messages: uwsgi packets with any modifiers to other servers, and requests to FastCGI applications.

What lives here: the functions, and their forms for sync code. What does not: what goes over the sockets (`peers`),
calls of functions (`rpc`), handing on a whole request (`routing`). uWSGI had them until 1.4; source: its
plugins/python/uwsgi_pymodule.c, 1.4.10.

``timeout`` is in seconds that the other side may be silent. In the `uwsgi` module a failure is None, or the end of the
answer, as in uWSGI, and a line in the log.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from operator import index
from typing import Any, Final, Protocol

import anyio

from uwsgi_async.api.rpc import silence
from uwsgi_async.cores.core import current_request
from uwsgi_async.cores.portal import wait_for
from uwsgi_async.errors import AddressError, PeerError
from uwsgi_async.peers import messages
from uwsgi_async.peers.fastcgi import FastCgiAnswer, ask_application
from uwsgi_async.peers.messages import MessageAnswer, encode_message
from uwsgi_async.peers.sockets import CHUNK, PeerSocket, receive_some, send_all
from uwsgi_async.wire.address import TcpAddress

__all__ = [
    "async_send_message",
    "fcgi",
    "send_message",
    "send_multi_message",
    "send_multi_uwsgi_message",
    "send_uwsgi_message",
]

logger = logging.getLogger("uwsgi_async")

_PASS: Final = -1  # in the place of a body's length: pass the fd itself


class Answer(Protocol):
    """What comes back, chunk by chunk."""

    async def __anext__(self) -> bytes: ...

    def close(self) -> None: ...


async def send_message(
    destination: int | str | bytes,
    modifier1: int,
    modifier2: int,
    message: Any,
    timeout: float | None = None,
    fd: int = -1,
    cl: int = 0,
) -> MessageAnswer | None:
    """Send a packet, and return its answer: ``async for chunk in answer``.

    ``destination``: an address, or the fd of a connection, which stays open. ``message``: a mapping becomes uwsgi vars,
    what is no text in it is left out; bytes and str go as they are, all else by `marshal`. ``fd``, ``cl``: send so many
    bytes from this fd behind it, such as the body of the current request; ``cl`` -1 passes the fd itself, over a UNIX
    socket, and returns None. ``timeout``: None is the option socket-timeout. Raises ValueError for what no packet can
    carry, `AddressError`, `NodeGoneError`, `NodeTimeoutError`.
    """
    data = encode_message(index(modifier1), index(modifier2), message)
    seconds = silence() if timeout is None or timeout <= 0 else timeout
    peer = await _peer(destination, seconds)
    try:
        if fd >= 0 and cl == _PASS:
            messages.pass_fd(peer.fileno(), data, fd)
            peer.close()
            return None
        return await messages.send_message(peer, data, body_of(fd, cl) if fd >= 0 and cl > 0 else None)
    except BaseException:
        peer.close()
        raise


send_uwsgi_message = send_message


async def async_send_message(fd: int, modifier1: int, modifier2: int, message: Any) -> None:
    """Send a packet over the connection ``fd``, and nothing else: see `send_message`. Raises ValueError, OSError."""
    await send_all(index(fd), encode_message(index(modifier1), index(modifier2), message), silence())


async def send_multi_message(
    nodes: Sequence[tuple[str | bytes, int, Any]], modifier1: int, modifier2: int, timeout: float | None = None
) -> tuple[bytes, ...]:
    """Send a message to several servers at once, and return their answers in the same order.

    ``nodes``: a host, a port and a message of each. An answer is what is in its packet, b"" when there was none; it is
    not unmarshalled, because that could hand over the process. Raises what `send_message` raises, for the first node
    that fails; then the other ones are not waited for.
    """
    seconds = silence() if timeout is None or timeout <= 0 else timeout
    sends = [
        (str(TcpAddress(_text(host), index(port))), encode_message(index(modifier1), index(modifier2), message))
        for host, port, message in nodes
    ]
    answers = [b""] * len(sends)
    failed: list[PeerError] = []

    async def ask(number: int, address: str, data: bytes) -> None:
        try:
            answers[number] = await messages.ask(address, data, seconds)
        except PeerError as error:
            failed.append(error)
            tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for number, (address, data) in enumerate(sends):
            tasks.start_soon(ask, number, address, data)
    if failed:
        raise failed[0]
    return tuple(answers)


send_multi_uwsgi_message = send_multi_message


async def fcgi(
    address: str,
    params: Mapping[str | bytes, Any],
    stdin_fd: int = -1,
    stdin_size: int = 0,
    timeout: float | None = None,
) -> FastCgiAnswer:
    """Send a request to a FastCGI application, and return its output: ``async for chunk in answer``.

    The output begins with a CGI head. ``params``: what is no text is left out. ``stdin_fd``, ``stdin_size``: the body,
    so many bytes from this fd. Raises `AddressError`, `NodeGoneError`, `NodeTimeoutError`.
    """
    body = body_of(stdin_fd, stdin_size) if stdin_fd >= 0 and stdin_size > 0 else None
    seconds = silence() if timeout is None or timeout <= 0 else timeout
    return await ask_application(address, _pairs(params), body, seconds)


async def body_of(fd: int, size: int) -> AsyncIterator[bytes]:
    """Yield ``size`` bytes from ``fd``; of the current request's client those of its body, in whatever form they come.

    Raises OSError when it ends before, and what reading the body raises.
    """
    request = current_request.get()
    is_client = request is not None and request.core.request is request and request.connection.fd == fd
    left = size
    while left > 0:
        most = min(left, CHUNK)
        data = (
            await request.body.read(most)
            if is_client and request is not None
            else await receive_some(fd, most, silence())
        )
        if not data:
            raise OSError(f"the body ended {left} bytes too soon")
        left -= len(data)
        yield data


class BlockingAnswer:
    """An answer for sync code: waits for each chunk, as sync code does. Its end is also that of one that is cut."""

    def __init__(self, answer: Answer, name: str) -> None:
        self._answer = answer
        self._name = name

    def __repr__(self) -> str:
        return f"<BlockingAnswer of {self._answer!r}>"

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = wait_for(_next, self._answer, name=self._name)
        except (PeerError, OSError) as error:
            self.close()
            logger.warning("%s: the answer is not complete: %s", self._name, error)
            chunk = None
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Want no more of it. A server calls this when an app has returned the answer (PEP 3333)."""
        self._answer.close()


async def _next(answer: Answer) -> bytes | None:
    try:
        return await answer.__anext__()
    except StopAsyncIteration:
        return None


def _send_message_blocking(*words: Any) -> BlockingAnswer | None:
    answer = _quietly("send_message", send_message, *words)
    return None if answer is None else BlockingAnswer(answer, "send_message")


def _fcgi_blocking(*words: Any) -> BlockingAnswer | None:
    answer = _quietly("fcgi", fcgi, *words)
    return None if answer is None else BlockingAnswer(answer, "fcgi")


def _send_multi_blocking(*words: Any) -> tuple[bytes, ...] | None:
    answers: tuple[bytes, ...] | None = _quietly("send_multi_message", send_multi_message, *words)
    return answers


def _async_send_blocking(fd: int, modifier1: int, modifier2: int, message: Any, /) -> None:
    _quietly("async_send_message", async_send_message, fd, modifier1, modifier2, message)


def _quietly(name: str, function: Callable[..., Any], *words: Any) -> Any:
    """Call an awaitable from sync code; None when the other side, or the way to it, has failed."""
    try:
        return wait_for(function, *words, name=name)
    except (PeerError, AddressError, OSError) as error:
        logger.warning("%s: %s", name, error)
        return None


BLOCKING: Final[dict[str, Callable[..., Any]]] = {
    "async_send_message": _async_send_blocking,
    "fcgi": _fcgi_blocking,
    "send_message": _send_message_blocking,
    "send_multi_message": _send_multi_blocking,
    "send_multi_uwsgi_message": _send_multi_blocking,
    "send_uwsgi_message": _send_message_blocking,
}
"""The functions that sync code calls in another form, by their names."""


async def _peer(destination: int | str | bytes, timeout: float | None) -> PeerSocket:
    """Return a connection to an address; that of an fd is a duplicate, so that the fd stays open."""
    if isinstance(destination, str | bytes):
        return await PeerSocket.open(_text(destination), timeout)
    return PeerSocket.borrow(index(destination), timeout)


def _pairs(params: Mapping[str | bytes, Any]) -> list[tuple[bytes, bytes]]:
    return [
        (_param(name), _param(value))
        for name, value in params.items()
        if isinstance(name, str | bytes) and isinstance(value, str | bytes)
    ]


def _param(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    return text.encode("latin-1" if text.isascii() or max(text) <= "\xff" else "utf-8")


def _text(address: str | bytes) -> str:
    if not isinstance(address, str | bytes):
        raise TypeError(f"expected an address, not {type(address).__name__}")
    return address if isinstance(address, str) else address.decode("latin-1")
