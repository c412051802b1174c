"""The server: a UDP socket whose datagrams the agent answers, in the master or the one process of an instance.

What lives here: `open_socket`, `SnmpServer`. What does not: what is answered (`agent`), where it runs
(`instance.snmp`). A socket may be opened where pyasn1 shall not be loaded, so no module that needs it is imported here.
"""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio

from uwsgi_async.errors import BindError
from uwsgi_async.snmp.objects import MOST_REQUEST
from uwsgi_async.wire.address import TcpAddress

if TYPE_CHECKING:
    from uwsgi_async.snmp.agent import Agent

logger = logging.getLogger("uwsgi_async")

_PAUSE: Final = 0.1  # seconds, when the machine cannot give what has arrived
_IP_PKTINFO: Final = 8  # <linux/in.h>
_ANCILLARY: Final = socket.CMSG_SPACE(20)  # bytes: struct in6_pktinfo, the longer one


class _Datagram(NamedTuple):
    """What came, from whom, and to which address of this machine, in the form in which an answer is sent from there."""

    data: bytes
    peer: Any
    local: list[tuple[int, int, bytes]]


def open_socket(address: TcpAddress) -> socket.socket:
    """Return a UDP socket bound to ``address``; host "" is every IPv4 address. Raises `BindError`."""
    try:
        found = socket.getaddrinfo(
            address.host or "0.0.0.0", address.port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise BindError(f"snmp: the host {address.host!r} is not known ({error})") from error
    # As for all addresses here, a name of both families means the one of IPv4.
    family, _, _, _, where = min(found, key=lambda info: info[0] != socket.AF_INET)
    try:
        return _bind(family, where)
    except OSError as error:
        hint = "; ports below 1024 need root or CAP_NET_BIND_SERVICE" if isinstance(error, PermissionError) else ""
        raise BindError(f"snmp: cannot receive at {address}: {error.strerror}{hint}") from error


def _bind(family: int, where: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.bind(where)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


class SnmpServer:
    """Answers at a bound socket while `run` runs. ``address``: where, such as "127.0.0.1:161"."""

    def __init__(self, sock: socket.socket, agent: Agent) -> None:
        self._sock = sock
        self._agent = agent
        host, port = sock.getsockname()[:2]
        self.address = str(TcpAddress(host, port))

    def __repr__(self) -> str:
        return f"<SnmpServer on {self.address}: {self._agent!r}>"

    async def run(self) -> None:
        """Serve until cancelled."""
        while True:
            await anyio.wait_readable(self._sock)  # also between two that are there: other tasks have their turn
            try:
                self._answer(self._receive())
            except BlockingIOError:
                pass
            except OSError as error:
                logger.error("snmp: %s", error.strerror)
                await anyio.sleep(_PAUSE)

    def _receive(self) -> _Datagram:
        # One byte more than is read tells that there was more.
        data, ancillary, _, peer = self._sock.recvmsg(MOST_REQUEST + 1, _ANCILLARY)
        return _Datagram(data, peer, ancillary)

    def _answer(self, datagram: _Datagram) -> None:
        """Answer from the address that was asked: the client takes no answer from another one."""
        try:
            answer = self._agent.answer(datagram.data)
        except Exception:
            logger.exception("snmp: a datagram could not be answered")
            return
        if answer is not None:
            try:
                self._sock.sendmsg([answer], datagram.local, 0, datagram.peer)
            except OSError as error:  # the client is out of reach, or nothing more fits: it will ask again
                logger.debug("snmp: an answer was not sent: %s", error.strerror)
