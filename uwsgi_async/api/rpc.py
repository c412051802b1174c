"""The chapter of RPC: functions that other instances call by name, and calling theirs.

What lives here: the functions, and `using`, which an instance puts in place. What does not: the table
(`peers.functions`), the call over a socket (`peers.calls`), serving calls (`cores.rpc`). Source:
plugins/python/uwsgi_pymodule.c; uWSGI's page "uWSGI RPC Stack"; 2.0.31 as measured.

Arguments and results are bytes, because that is all that the protocol has. What gives nothing, or b"", gives None.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import index
from typing import Any, Final

from uwsgi_async.cores.portal import wait_for
from uwsgi_async.errors import AddressError, NoInstanceError, PeerError
from uwsgi_async.peers.calls import call_remote
from uwsgi_async.peers.functions import MOST_ARGUMENTS, Functions, RpcFunction
from uwsgi_async.wire.uwsgi.rpc import RpcCall

__all__ = ["call", "register_rpc", "rpc", "rpc_list"]

logger = logging.getLogger("uwsgi_async")

_REFUSED: Final = "unable to call rpc function"


@dataclass(frozen=True, slots=True)
class Rpc:
    """What a process has of RPC.

    ``timeout``: seconds that another instance may be silent. ``largest``: bytes of a result that is taken.
    """

    functions: Functions
    timeout: float
    largest: int


_OUTSIDE: Final = Rpc(Functions(0), 30.0, 64 << 20)
"""For programs that only call other instances."""

_rpc: Rpc | None = None


@contextmanager
def using(here: Rpc) -> Iterator[None]:
    """Let the functions of this chapter use ``here`` while the block runs."""
    global _rpc
    before, _rpc = _rpc, here
    try:
        yield
    finally:
        _rpc = before


def functions() -> Functions:
    """Return the functions of this process, by name. Raises `NoInstanceError` where no instance runs."""
    if _rpc is None:
        raise NoInstanceError(
            "no uwsgi_async instance runs in this process, so it has no RPC functions; those of another instance are "
            "called by rpc(node, name)"
        )
    return _rpc.functions


def silence() -> float:
    """Return the seconds that another server may be silent: the option socket-timeout."""
    return (_rpc or _OUTSIDE).timeout


def has_instance() -> bool:
    """Whether functions can be registered now."""
    return _rpc is not None


def register_rpc(name: str, function: RpcFunction, argument_count: int = 0) -> bool:
    """Let others call ``function`` by ``name``; True, as in uWSGI.

    It gets bytes and returns bytes, and may be ``async def``. Register while the app is imported, so that all workers
    have it; a worker that registers later is the only one that has it. The same name again takes the place of the
    first. ``argument_count`` is noted and not enforced, as in uWSGI. Raises ValueError for a name of more than 255
    bytes or none, for more functions than the option rpc-max, and in a mule or spooler, which serve nobody.
    """
    if not isinstance(name, str):
        raise TypeError(f"register_rpc() argument 1 must be str, not {type(name).__name__}")
    if "\0" in name:
        raise ValueError("embedded null character")
    if not callable(function):
        raise TypeError(f"expected a function to call, not {type(function).__name__}")
    functions().register(name.encode(), function, index(argument_count) & 255)
    return True


async def rpc(
    node: str | bytes | None, name: str | bytes, *arguments: str | bytes, timeout: float | None = None
) -> bytes | None:
    """Call a function of the instance at ``node``; return what it gives, None when it gives nothing or is not there.

    ``node``: such as "10.0.0.1:3031" or the path of a UNIX socket; None or "" is this instance, as `call`. Text goes as
    UTF-8. ``timeout``: seconds that the other side may be silent; None is the option socket-timeout. A call has 254
    arguments of 65535 bytes each at most; real uWSGI takes 65535 bytes of all of them, and of both servers the option
    buffer-size says how much. Raises ValueError for more, `AddressError`, `NodeGoneError` (a ConnectionError) when
    nobody is there, `NodeTimeoutError` (a TimeoutError), and `BadAnswerError` for an answer that is none.
    """
    made = _made(name, arguments)
    if not node:
        return await functions().call(made.name, made.arguments)
    here = _rpc or _OUTSIDE
    return await call_remote(
        node if isinstance(node, str) else node.decode("latin-1"),
        made,
        timeout=here.timeout if timeout is None else timeout,
        largest=here.largest,
    )


async def call(name: str | bytes, *arguments: str | bytes) -> bytes | None:
    """Call a function of this instance by its name, in this process; None when it gives nothing, or is not there.

    Raises ValueError for more than 255 arguments.
    """
    made = _made(name, arguments)
    return await functions().call(made.name, made.arguments)


def rpc_list() -> tuple[bytes, ...]:
    """Return the names of the functions that this process has, in the order in which they were registered."""
    return functions().names


def _rpc_blocking(*words: Any) -> bytes | None:
    """Call a function from sync code. As in uWSGI None means that there is no result, for whatever reason."""
    node, made = words[:1], _strictly(words[1:])
    if not node or not isinstance(node[0], str | bytes) or not node[0]:
        return _call_here(made)
    try:
        return wait_for(rpc, node[0], made.name, *made.arguments, name="rpc")
    except (PeerError, AddressError) as error:
        logger.warning("rpc: %r: %s", made.name, error)
        return None


def _call_blocking(*words: Any) -> bytes | None:
    """Call a function of this instance from sync code; one that is no ``async def`` runs here and now."""
    return _call_here(_strictly(words))


BLOCKING: Final[dict[str, Callable[..., Any]]] = {"rpc": _rpc_blocking, "call": _call_blocking}
"""The functions that sync code calls in another form, by their names."""


def _call_here(made: RpcCall) -> bytes | None:
    table = functions()
    registered = table.find(made.name)
    if registered is not None and registered.is_async:
        return wait_for(table.call, made.name, made.arguments, name="call")
    result = table.begin(made.name, made.arguments)
    return result if result is None or isinstance(result, bytes) else wait_for(_same, result, name="call")


async def _same(awaitable: Awaitable[bytes | None]) -> bytes | None:
    return await awaitable


def _made(name: str | bytes, arguments: Sequence[str | bytes]) -> RpcCall:
    return _limited(RpcCall(_bytes(name, "a name"), tuple(_bytes(each, "an argument") for each in arguments)))


def _strictly(words: Sequence[Any]) -> RpcCall:
    """Return the call of words that must be bytes, as in uWSGI."""
    if not words or not all(isinstance(word, bytes) for word in words):
        raise ValueError(f"{_REFUSED}: expected the name of a function and its arguments, all of them bytes")
    return _limited(RpcCall(words[0], tuple(words[1:])))


def _limited(made: RpcCall) -> RpcCall:
    if len(made.arguments) > MOST_ARGUMENTS:
        raise ValueError(f"{_REFUSED}: it has at most {MOST_ARGUMENTS} arguments, not {len(made.arguments)}")
    return made


def _bytes(value: str | bytes, what: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    raise TypeError(f"expected {what} as bytes or str, not {type(value).__name__}")
