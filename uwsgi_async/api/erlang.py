"""The chapter of Erlang: messages and calls to nodes of Erlang's, and processes of this one (options ``erlang``).

What lives here: the functions. What does not: the node (`erlang.node`), which term is which value (`erlang.terms`).
Source: uWSGI's page "Integrating uWSGI with Erlang"; plugins/pyerl/pyerl.c of uWSGI 1.9, the last one that had it.

A node is meant by its name, or by the number that `erlang_connect` has given. Connections are made when they are
needed, are shared by all of a process, and made again when the node was down. Outside of an instance, and while an app
is imported, each call has a connection of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any, Final

from uwsgi_async.erlang.handshake import check_name
from uwsgi_async.erlang.node import ErlangNode
from uwsgi_async.erlang.settings import NodeClaim, NodeSettings
from uwsgi_async.erlang.terms import library
from uwsgi_async.erlang.values import Pid, Term
from uwsgi_async.errors import ErlangError
from uwsgi_async.options.erlang import ErlangOptions

__all__ = [
    "erlang_close",
    "erlang_connect",
    "erlang_node",
    "erlang_recv",
    "erlang_recv_message",
    "erlang_register_process",
    "erlang_rpc",
    "erlang_send",
    "erlang_send_message",
    "erlang_sr",
]

Function = Callable[[Any], Any]
Process = str | bytes | tuple[int, int, int]

_LONGEST_NAME: Final = 254  # of a process, as in uWSGI

_claim: NodeClaim | None = None
_node: ErlangNode | None = None
_functions: dict[str, Function] = {}
_handles: dict[int, str] = {}  # the nodes' names
_of_senders: dict[str, int] = {}  # the handle of each node that something was sent to by its name
_numbers = count(1)


@contextmanager
def using(claim: NodeClaim) -> Iterator[None]:
    """Let the functions of this chapter be those of the instance with this claim while the block runs."""
    global _claim, _functions
    before, _claim, _functions = (_claim, _functions), claim, dict(_functions)
    try:
        yield
    finally:
        _claim, _functions = before


@contextmanager
def being(node: ErlangNode) -> Iterator[None]:
    """Let the functions of this chapter use the node of this process while the block runs."""
    global _node
    before, _node = _node, node
    try:
        yield
    finally:
        _node = before


def settings() -> NodeSettings:
    """Return what nodes of this process are made of. Raises `OptionError` when there is no cookie."""
    return NodeSettings.of(ErlangOptions()) if _claim is None else _claim.settings


def current_claim() -> NodeClaim | None:
    """Return the claim of the instance that runs; None when it has no option of Erlang's."""
    return _claim


def registered() -> dict[str, Function]:
    """Return the functions of all registered processes, by name; it grows."""
    return _functions


async def erlang_connect(node: str | bytes) -> int:
    """Connect to ``node``, such as "shop@host", and return a number that stands for it in the other functions.

    uWSGI returned a file descriptor. The number is good until `erlang_close`, also when the node goes down and comes up
    again; in each process of an instance if it was given while the app was imported, when no connection is made yet.
    Raises `NodeDownError` (a ValueError, as in uWSGI) when the node is down or refuses.
    """
    library()
    name = _name(node)
    if _node is not None:
        _node.peer(name).is_listened_to = True
        await _node.connect(name)
    return _new_handle(name)


async def erlang_close(node: int) -> None:
    """Close what `erlang_connect` has given. With the last number of a node its connection ends, when all is sent.

    A number that is closed already does no harm.
    """
    name = _handles.pop(node, None)
    if name is not None and name not in _handles.values() and _node is not None:
        await _node.disconnect(name)


async def erlang_rpc(node: str | bytes | int, module: str | bytes, function: str | bytes, args: list[Term]) -> Term:
    """Call a function of Erlang's on ``node`` and return what it gives, as rpc:call does.

    ``args``: the list of its arguments. What goes wrong in the function comes as Erlang gives it: the tuple
    ``("badrpc", reason)``. Raises `NodeDownError` when the node is down, or goes down before it has answered;
    `TermError` for what cannot be an Erlang term (both are ValueErrors).
    """
    if not isinstance(args, list | tuple):
        raise TypeError(f"expected the arguments as a list, not {type(args).__name__}")
    name = _name(node)
    async with _a_node() as ours:
        return await ours.rpc(name, _text(module, "a module"), _text(function, "a function"), list(args))


async def erlang_send_message(node: str | bytes | int, process: Process, message: Term) -> int:
    """Send ``message`` to a process of ``node``, and return the number of the node.

    ``process``: the name that it is registered by, or its pid: a `Pid`, or a tuple of its three numbers. As in Erlang
    nobody tells whether there is such a process. Messages to one process come in the order in which they were sent.
    Raises `NodeDownError`, `TermError`.
    """
    name = _name(node)
    to = _process(name, process)
    async with _a_node() as ours:
        await ours.send(name, to, message)
    return node if isinstance(node, int) else _handle_of_senders(name)


async def erlang_recv_message(node: str | bytes | int) -> Term:
    """Wait for a message from ``node`` and return it; None when the connection ends before one has come.

    Messages to registered processes go to those; all others come here, whatever name or pid they were sent to: from the
    moment when the node was first connected to, or received from. Raises `NodeDownError` when the node is down.
    """
    name = _name(node)
    async with _a_node() as ours:
        return await ours.receive(name)


async def erlang_sr(node: str | bytes | int, process: Process, message: Term) -> Term:
    """Send a message, and return the next one that comes from ``node``: see the two functions for that."""
    name = _name(node)
    to = _process(name, process)
    async with _a_node() as ours:
        ours.peer(name).is_listened_to = True
        await ours.send(name, to, message)
        return await ours.receive(name)


erlang_send = erlang_send_message
erlang_recv = erlang_recv_message


def erlang_register_process(name: str | bytes, function: Function) -> None:
    """Let ``function`` be called with each message that is sent to ``name`` on the node of this instance.

    It may be ``async def``. Messages are handled one after the other, in the process that has the node's name: register
    while the app is imported, so that each worker can be that one. The same name again takes the place of the first.
    Raises ValueError for a name of more than 254 characters.
    """
    text = _text(name, "the name of a process")
    if not 0 < len(text) <= _LONGEST_NAME:
        raise ValueError(f"Invalid erlang process name: expected 1 to {_LONGEST_NAME} characters, not {len(text)}")
    if not callable(function):
        raise TypeError(f"expected a function that is called with each message, not {type(function).__name__}")
    library()
    _functions[text] = function


def erlang_node() -> bytes | None:
    """Return the name of this instance's node; None when it has none (option ``erlang``)."""
    return _claim.settings.name.encode() if _claim is not None and _claim.settings.name else None


@asynccontextmanager
async def _a_node() -> AsyncIterator[ErlangNode]:
    """Give the node of this process, or one for this call alone."""
    if _node is not None:
        yield _node
        return
    library()
    node, error = ErlangNode(settings()), None
    async with node.running():
        try:
            yield node
        except Exception as raised:  # noqa: BLE001 - raised again below, outside the group that would wrap it
            error = raised
    if error is not None:
        raise error


def _name(node: str | bytes | int) -> str:
    """Return the name of the node that is meant. Raises `ErlangError`."""
    if isinstance(node, int):
        if node not in _handles:
            raise ErlangError(
                f"invalid erlang node/descriptor: {node} was closed, or erlang_connect has never given it"
            )
        return _handles[node]
    try:
        return check_name(_text(node, "the name of a node"))
    except ValueError as error:
        raise ErlangError(f"invalid erlang node/descriptor: {error}") from error


def _new_handle(name: str) -> int:
    number = next(_numbers)
    _handles[number] = name
    return number


def _handle_of_senders(name: str) -> int:
    """Return one number for all who send to a node by its name; uWSGI left a connection open for each message."""
    number = _of_senders.get(name, 0)
    if number not in _handles:
        number = _of_senders[name] = _new_handle(name)
    return number


def _process(node: str, process: Process) -> Pid | str:
    if isinstance(process, Pid):
        return process
    if isinstance(process, tuple) and len(process) == 3 and all(isinstance(each, int) for each in process):
        return Pid(node, *process)
    if isinstance(process, str | bytes):
        return _text(process, "the name of a process")
    raise ErlangError(f"Invalid Erlang process: expected a name, or a pid as a tuple of three numbers, not {process!r}")


def _text(value: str | bytes, what: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    raise TypeError(f"expected {what} as str or bytes, not {type(value).__name__}")
