"""What is spoken at each listener: from its protocol, its certificates and the options to what serves its connections.

What lives here: `make_protocols`, `make_response`. What does not: the protocols (`cores`), the sockets (`listeners`),
certificates (`certificates`).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from uwsgi_async.cores.connection import Connection, ConnectionProtocol
from uwsgi_async.cores.http import HttpProtocol
from uwsgi_async.cores.response import Response
from uwsgi_async.cores.serving import Service
from uwsgi_async.cores.tls import ClientProtocols, TlsProtocol
from uwsgi_async.cores.uwsgi import UwsgiProtocol
from uwsgi_async.handlers.static.named import NamedFiles, NamingResponse
from uwsgi_async.instance.certificates import Tls
from uwsgi_async.instance.listeners import Listener, Protocol
from uwsgi_async.instance.packets import packet_handlers
from uwsgi_async.instance.subjects import Subject, client_vars
from uwsgi_async.options.loading import StaticOptions
from uwsgi_async.options.settings import Options
from uwsgi_async.options.tls import TlsOptions
from uwsgi_async.wire.http import Endpoint

Place = tuple[Protocol, str]
"""A protocol and the address that it is spoken at."""


def place(listener: Listener) -> Place:
    return listener.protocol, listener.name


def make_protocols(
    options: Options, listeners: Sequence[Listener], service: Service
) -> dict[Place, ConnectionProtocol]:
    """Return what serves the connections of each address.

    In the same order in every worker of an instance, though each may have other shares of an address than the rest.
    """
    protocols: dict[Place, ConnectionProtocol] = {}
    for listener in listeners:
        if place(listener) in protocols:
            continue  # another share of this address
        make = partial(_protocol, options, listener, service)
        if listener.tls is None:
            protocols[place(listener)] = make({})
        else:
            protocols[place(listener)] = _tls_protocol(options.tls, listener.tls, make)
    return protocols


def make_response(options: StaticOptions) -> Callable[[Connection, bool, bool, bool, bool], Response]:
    """Return what makes a response: one whose app can name a file, where that is allowed."""
    if not options.xsendfile_path:
        return Response
    return partial(NamingResponse, NamedFiles(options.xsendfile_path))


def _protocol(
    options: Options, listener: Listener, service: Service, extra: Mapping[str, str]
) -> HttpProtocol | UwsgiProtocol:
    """Return what is spoken at a listener, inside TLS or without. ``extra``: variables of all requests over HTTP."""
    if listener.protocol == "http":
        address = listener.sock.getsockname()
        port = str(address[1]) if isinstance(address, tuple) else ""
        return HttpProtocol(Endpoint(options.http, socket.gethostname(), port, extra=extra), service)
    handlers = packet_handlers(options, listener)
    return UwsgiProtocol(options.packet, service, handlers, options.http.max_chunk_overhead)


def _tls_protocol(
    options: TlsOptions, tls: Tls, make: Callable[[Mapping[str, str]], ConnectionProtocol]
) -> TlsProtocol:
    def inside(certificate: bytes, subject: Subject) -> ConnectionProtocol:
        return make({"HTTPS": "on", **client_vars(certificate, subject, export=options.https_export_cert)})

    return TlsProtocol(tls, ClientProtocols(inside), options.ssl_handshake_timeout, options.ssl_verbose)
