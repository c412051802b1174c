"""The agent: a datagram in, the datagram that answers it out, or None. Sans-IO.

What lives here: `Agent`, who is answered, and with what. What does not: bytes (`message`), values (`tree`), the socket
(`server`). Sources: RFC 1157, section 4.1, for v1; RFC 3416, section 4.2, for v2c; RFC 3584, section 4, for v1 and
counters of 64 bits; RFC 3412, section 7.2, for versions that are not spoken. Nothing is ever written.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Final

from uwsgi_async.errors import BadMessageError
from uwsgi_async.snmp.message import (
    Answer,
    Envelope,
    ErrorStatus,
    Operation,
    Request,
    Version,
    encode_answer,
    fitting,
    open_envelope,
    read_request,
)
from uwsgi_async.snmp.objects import Absence, Binding
from uwsgi_async.snmp.tree import Tree, View
from uwsgi_async.snmp.values import Count, SnmpValues

logger = logging.getLogger("uwsgi_async")

_V3: Final = 3


class Agent:
    """Answers for one instance, in one process of it."""

    def __init__(self, values: SnmpValues, tree: Tree) -> None:
        self._values = values
        self._tree = tree
        self._has_refused_v3 = False

    def __repr__(self) -> str:
        return f"<Agent: {self._values.sections()['snmp']}>"

    def answer(self, datagram: bytes) -> bytes | None:
        """Return what is to be sent back; None: nothing, because it is malformed, or not for us, which is counted."""
        count = self._values.count
        count(Count.IN_PKTS)
        try:
            envelope = open_envelope(datagram)
            if self._refuses(envelope):
                return None
            request = read_request(envelope)
        except BadMessageError:
            count(Count.IN_ASN_PARSE_ERRS)
            return None
        view = self._tree.look(counter64=request.version is not Version.V1)
        encoded = encode_answer(envelope, request, respond(request, envelope, view))
        count(Count.OUT_PKTS)
        return encoded

    def _refuses(self, envelope: Envelope) -> bool:
        """Whether somebody gets no answer; the reason is counted."""
        if envelope.version not in (Version.V1, Version.V2C):
            self._values.count(Count.IN_BAD_VERSIONS)
            if envelope.version == _V3 and not self._has_refused_v3:
                self._has_refused_v3 = True
                logger.warning(
                    "somebody asks by SNMP v3, which is not spoken here: such datagrams are dropped and counted; "
                    "let snmpd speak v3 and ask here by v2c (docs/snmp.md says how)"
                )
            return True
        community = self._values.community
        if not community or not hmac.compare_digest(community, envelope.community):
            self._values.count(Count.IN_BAD_COMMUNITY_NAMES)
            return True
        return False


def respond(request: Request, envelope: Envelope, view: View) -> Answer:
    """Return the answer to a request. It fits into one packet, or repeats the request with what is wrong with it."""
    return _RESPONSES[request.operation](request, envelope, view)


def _get(request: Request, envelope: Envelope, view: View) -> Answer:
    return _told(request, envelope, [(name, view.get(name)) for name in request.names])


def _get_next(request: Request, envelope: Envelope, view: View) -> Answer:
    return _told(request, envelope, [view.after(name) for name in request.names])


def _get_bulk(request: Request, envelope: Envelope, view: View) -> Answer:
    return Answer(list(fitting(_rows(request, view), envelope)))


def _set(request: Request, _envelope: Envelope, _view: View) -> Answer:
    """Nothing can be written: RFC 3416, section 4.2.5, (2), and RFC 1157, section 4.1.5, (1)."""
    if not request.names:
        return Answer(None)
    status = ErrorStatus.NO_SUCH_NAME if request.version is Version.V1 else ErrorStatus.NOT_WRITABLE
    return Answer(None, status, 1)


_RESPONSES: Final[dict[Operation, Callable[[Request, Envelope, View], Answer]]] = {
    Operation.GET: _get,
    Operation.GET_NEXT: _get_next,
    Operation.GET_BULK: _get_bulk,
    Operation.SET: _set,
}


def _told(request: Request, envelope: Envelope, bindings: list[Binding]) -> Answer:
    """In v1 an object that is not there is an error, and the first one says where; later versions tell one by one."""
    if len(list(fitting(bindings, envelope))) < len(bindings):
        return Answer(None if request.version is Version.V1 else [], ErrorStatus.TOO_BIG)
    if request.version is Version.V1:
        for index, (_, value) in enumerate(bindings, 1):
            if isinstance(value, Absence):
                return Answer(None, ErrorStatus.NO_SUCH_NAME, index)
    return Answer(bindings)


def _rows(request: Request, view: View) -> Iterator[Binding]:
    """Yield what GET_BULK asks for, until there is nothing behind: RFC 3416, section 4.2.3.

    It may go on for long: who takes it stops when there is enough.
    """
    names = list(request.names)
    for name in names[: request.non_repeaters]:
        yield view.after(name)
    del names[: request.non_repeaters]
    for _ in repeat(None, request.max_repetitions):
        row = [view.after(name) for name in names]
        yield from row
        if all(value is Absence.END_OF_MIB_VIEW for _, value in row):
            return
        names = [name for name, _ in row]
