"""SNMP in an instance: the socket, opened before the user changes, and the server, in the process that looks after all.

What lives here: `open_snmp`, `make_server`. What does not: SNMP itself (`snmp`), the app's numbers as a kind of shared
state (`state`). What needs pyasn1 is imported by `make_server`: behind the fork of the zygote, so that an app which has
a pyasn1 of its own gets that one.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack

from uwsgi_async.api.statistics import InstanceStatistics
from uwsgi_async.errors import AddressError
from uwsgi_async.instance.state import SharedState
from uwsgi_async.instance.statistics.publish import Detail
from uwsgi_async.options.snmp import SnmpOptions
from uwsgi_async.snmp.server import SnmpServer, open_socket
from uwsgi_async.snmp.tree import Tree
from uwsgi_async.snmp.values import SnmpValues, require_library
from uwsgi_async.state.metrics import Metrics
from uwsgi_async.wire.address import TcpAddress, parse_address

logger = logging.getLogger("uwsgi_async")


def snmp_address(options: SnmpOptions) -> TcpAddress | None:
    """Return where to answer; None: nowhere. Raises `AddressError` for what is no host and port."""
    if not options.snmp:
        return None
    address = parse_address(options.snmp)
    if not isinstance(address, TcpAddress):
        raise AddressError(f"snmp: expected host:port, because SNMP goes over UDP, but {options.snmp!r} came")
    return address


def open_snmp(options: SnmpOptions, stack: ExitStack) -> socket.socket | None:
    """Open the socket of ``options``; ``stack`` closes it. None when there is to be none.

    Raises `AddressError`, `BindError`, and `OptionError` when pyasn1 is not installed.
    """
    address = snmp_address(options)
    if address is None:
        return None
    require_library()
    return stack.enter_context(open_socket(address))


def make_server(
    sock: socket.socket | None, state: SharedState, look: Callable[[Detail], InstanceStatistics | None]
) -> SnmpServer | None:
    """Return what answers at the socket; None without one. ``look``: gives the statistics of this moment."""
    values, metrics = state.parts.get("snmp"), state.parts.get("metrics")
    if sock is None or not isinstance(values, SnmpValues):
        return None
    from uwsgi_async.snmp.agent import Agent

    def requests() -> list[int]:
        found = look(Detail.WORKERS)
        return [] if found is None else [worker.requests for worker in found.workers]

    tree = Tree(values, requests, metrics if isinstance(metrics, Metrics) else None)
    server = SnmpServer(sock, Agent(values, tree))
    logger.info("SNMP server enabled on %s", server.address)
    if not values.community:
        logger.warning("snmp: there is no community, so nobody is answered (option snmp-community)")
    return server
