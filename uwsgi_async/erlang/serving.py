"""What Erlang's own functions ask of a node: rpc, erpc, net_adm:ping, whereis; decided here, without I/O.

What lives here: how requests and their answers are written, and `apply`, which calls a function. What does not: the
messages that carry them (`messages`), tasks (`node`), who has registered functions (`api`). A node of Erlang's asks by
erpc, which wants a process started here that ends with the result; others, such as C nodes, ask the server ``rex``.
Source: OTP's erpc.erl, rpc.erl, gen.erl, net_kernel.erl.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from uwsgi_async.erlang.calling import Caller
from uwsgi_async.erlang.messages import Send, SpawnRequest
from uwsgi_async.erlang.terms import encode
from uwsgi_async.erlang.values import ErlangString, ImproperList, Pid, Reference, Term

logger = logging.getLogger("uwsgi_async")

REX: Final = "rex"
NET_KERNEL: Final = "net_kernel"
SERVERS: Final = frozenset({REX, NET_KERNEL})
"""The processes that every node has."""

FindFunction = Callable[[str], Callable[..., Any] | None]
"""Gives the function that is registered for RPC by a name; None when there is none."""

_LONGEST_REASON: Final = 500  # characters of an error that are told


@dataclass(frozen=True, slots=True)
class Call:
    """A function to be called, with its arguments."""

    module: str
    function: str
    arguments: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call went: with ``error`` false ``value`` is what it has returned, else the reason of the error."""

    value: Term
    error: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What a server of a node was asked. ``call``: None for the question whether this node is there.

    ``sender`` and ``tag``: for the answer; None when none is wanted.
    """

    call: Call | None
    sender: Pid | None
    tag: Term


def request_of(server: str, message: Term) -> Request | None:
    """Return what a message to one of `SERVERS` asks; None for what cannot be understood, which is ignored."""
    match message:
        case ("$gen_call", (Pid() as sender, tag), ("is_auth", _)) if server == NET_KERNEL:
            return Request(None, sender, tag)
        case ("$gen_call", (Pid() as sender, tag), ("call" | "block_call", str(), str(), arguments, _)):
            return _request(message[2], arguments, sender, tag)
        case ("$gen_cast", ("cast", str(), str(), arguments, _)):
            return _request(message[1], arguments, None, None)
        case (Pid() as sender, ("call", str(), str(), arguments, _)):  # ei_rpc of a C node
            return _request(message[1], arguments, sender, REX)
    return None


def _request(called: tuple[Any, ...], arguments: Term, sender: Pid | None, tag: Term) -> Request | None:
    if not isinstance(arguments, list | ErlangString):
        return None
    return Request(Call(called[1], called[2], tuple(arguments)), sender, tag)


def answer_to(request: Request, outcome: Outcome, own: Pid) -> Send | None:
    """Return the answer to a request; None when none is wanted."""
    if request.sender is None:
        return None
    value = outcome.value
    if outcome.error:
        value = ("badrpc", ("EXIT", (value, [])))
    match request.tag:
        case ImproperList(("alias",), Reference() as alias):
            return Send(own, alias, (request.tag, value))
    return Send(own, request.sender, (request.tag, value))


def spawned_call(request: SpawnRequest) -> tuple[Call, Reference | None] | str:
    """Return what a process that is to be started calls, and the reference for its result; None: nobody wants it.

    An atom, as the reason, for what is no call of erpc's.
    """
    arguments = request.arguments
    if arguments is None:
        return "badarg"
    match request.module, request.function, arguments:
        case "erpc", "execute_call", [Reference() as reference, str(module), str(function), (list() | bytes()) as of]:
            return Call(module, function, tuple(of)), reference
        case "erpc", "execute_cast", [str(module), str(function), (list() | bytes()) as of]:
            return Call(module, function, tuple(of)), None
    return "notsup"


def exit_reason(call: Call, reference: Reference | None, outcome: Outcome) -> Term:
    """Return the reason with which a started process ends: its result, for who monitors it."""
    if reference is None:
        return "normal" if not outcome.error else (outcome.value, [])
    if outcome.error:
        return reference, "error", outcome.value, [(call.module, call.function, len(call.arguments), [])]
    return reference, "return", outcome.value


async def apply(call: Call, find: FindFunction, whereis: Callable[[str], Pid | None], caller: Caller) -> Outcome:
    """Call a function that is registered for RPC. The module is of no concern.

    ``whereis``: answers erlang:whereis/1, unless there is a function of that name. Raises nothing of the function's.
    """
    function = find(call.function)
    if function is None:
        match call:
            case Call("erlang", "whereis", (str(name),)):
                return Outcome(whereis(name) or "undefined")
        return Outcome("undef", error=True)
    try:
        result = await caller.call(function, *call.arguments)
        encode(result)
    except (Exception, SystemExit) as error:
        logger.exception("the RPC function %r raised an error", call.function)
        return Outcome((type(error).__name__, str(error)[:_LONGEST_REASON].encode("utf-8", "replace")), error=True)
    return Outcome(result)
