"""One process that serves: `run`, and what it puts together and takes apart.

What lives here: `run`, `serve` and `Server`. What does not: requests (`cores`), apps (`handlers`), processes.

The order of the end: accept no more, close what is idle or hand it over to other workers, let requests finish within
the grace time, cancel the rest, then close sockets, poller and threads.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import anyio

from uwsgi_async import decorators
from uwsgi_async.api import alarms, spooler
from uwsgi_async.api.dropped import serving
from uwsgi_async.api.dynamic import switched
from uwsgi_async.api.information import InstanceInformation
from uwsgi_async.api.process import controlled, listening, worker_id
from uwsgi_async.api.rpc import using as using_rpc
from uwsgi_async.api.signals import using as using_signals
from uwsgi_async.compat.uwsgi_module import UwsgiModule, installed, make_module
from uwsgi_async.cores.connection import ConnectionProtocol
from uwsgi_async.cores.handover import Handover, Taker
from uwsgi_async.cores.listener import Acceptor, SocketAcceptor
from uwsgi_async.cores.pool import Pool, PoolStatistics
from uwsgi_async.cores.portal import close_to_threads, open_to_threads, without_loop
from uwsgi_async.cores.request import Request
from uwsgi_async.cores.serving import Handler, Service
from uwsgi_async.cores.tls import TlsAcceptor
from uwsgi_async.cores.websocket import WebSockets
from uwsgi_async.errors import OptionError
from uwsgi_async.fdwait.poller import open_poller
from uwsgi_async.handlers.asgi import Lifespan
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.calling import App, Calling, make_handler
from uwsgi_async.instance.certificates import Tls, load_certificates, watch_certificates
from uwsgi_async.instance.control import SingleProcess
from uwsgi_async.instance.dynamic import DynamicOptions
from uwsgi_async.instance.erlang import NodeTask
from uwsgi_async.instance.hooks import await_hook, call_hook, with_hook
from uwsgi_async.instance.importing import import_any
from uwsgi_async.instance.information import magic_table, opt_of
from uwsgi_async.instance.limits import wears_out
from uwsgi_async.instance.listeners import Listener, Protocol, open_listener, systemd_fds
from uwsgi_async.instance.mulethreads import MuleThreads
from uwsgi_async.instance.packets import rpc_of, served_modifiers
from uwsgi_async.instance.protocols import Place, make_protocols, make_response, place
from uwsgi_async.instance.requestlog import RequestLog
from uwsgi_async.instance.resources import bind_to_cpus
from uwsgi_async.instance.signalling import SingleSignals
from uwsgi_async.instance.snmp import make_server, open_snmp
from uwsgi_async.instance.spooling import SpoolerTasks
from uwsgi_async.instance.standing import find_owner, take_place
from uwsgi_async.instance.state import SharedState
from uwsgi_async.instance.statistics.server import StatsServer, open_local_stats, open_stats
from uwsgi_async.instance.watchdog import Watchdog
from uwsgi_async.options.build import build
from uwsgi_async.options.declare import declarations
from uwsgi_async.options.settings import Options
from uwsgi_async.wire.address import Address, FdAddress, TcpAddress, parse_address

logger = logging.getLogger("uwsgi_async")

NOT_FOR_FUNCTIONS: Mapping[str, str] = {
    "load": "run() is given the app itself, so it loads none: leave this out",
    "loggers": "run() leaves logging to your program: configure the loggers uwsgi_async and uwsgi_async.request",
    "names": "run() leaves your process its name: call uwsgi_async.setprocname",
}
"""Options that only the command has a use for, by their subsystem, and what to do instead."""


class Server:
    """A running server, as `run` gives it.

    ``url``: of the first HTTP socket, such as "http://127.0.0.1:43211"; "" when there is none. ``addresses``: all
    sockets as they are bound, such as "uwsgi:///run/app.sock". ``stats``: where the statistics are told, in the order
    of the options ``stats`` and ``prometheus``, such as "127.0.0.1:1717". ``snmp``: where SNMP is answered, such as
    "127.0.0.1:161"; "" when it is not. ``lifespans``: of the ASGI apps.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        pool: Pool,
        acceptors: Sequence[Acceptor],
        service: Service,
        lifespans: Sequence[Lifespan] = (),
        *,
        stats: Sequence[str] = (),
        snmp: str = "",
    ) -> None:
        self.stats = tuple(stats)
        self.snmp = snmp
        self._pool = pool
        self._service = service
        self.lifespans = lifespans
        self._acceptors = acceptors
        self._listeners = listeners
        self._hands_over = False
        self.addresses = tuple(listener.url or f"{listener.protocol}://{listener.name}" for listener in listeners)
        self.url = next((listener.url for listener in listeners if listener.url), "")

    def __repr__(self) -> str:
        return f"<Server on {', '.join(self.addresses)}: {self._pool!r}>"

    @property
    def pool(self) -> Pool:
        """The cores and connections."""
        return self._pool

    @property
    def service(self) -> Service:
        """What all requests share. For `foreign`."""
        return self._service

    @property
    def hands_over(self) -> bool:
        """Whether other workers get the idle connections when this server ends."""
        return self._hands_over

    def hand_over(self) -> None:
        """Give the idle connections to other workers at the end instead of closing them.

        A client may have sent a request on an idle connection that has not arrived: it is answered there.
        """
        self._hands_over = True

    def suspend(self, on: bool) -> None:
        """Accept no connections until told otherwise; with ``on`` False, go on. Open connections are served."""
        for acceptor in self._acceptors:
            acceptor.hold() if on else acceptor.release()

    def let_go(self) -> None:
        """Accept what waits already, and close the listening sockets in this process.

        For a worker whose master is gone: its address is to be free for the next instance, and nobody is to wait there
        in vain.
        """
        for acceptor in self._acceptors:
            acceptor.accept(self._pool.options.max_connections)
            acceptor.close()
        for listener in self._listeners:
            listener.sock.close()

    def adopt(self, options: Options) -> None:
        """Go on with other limits for requests and other rules for their log; the rest of the options stays."""
        if options.cores is not self._pool.options:
            self._pool.options = options.cores
        log = self._service.log
        if isinstance(log, RequestLog) and options.log is not log.options:
            self._service.log = fresh = log.with_options(options.log)
            self._service.log_all = fresh.always

    def statistics(self) -> PoolStatistics:
        """Return what the cores and connections do now, and have done."""
        return self._pool.statistics()


@asynccontextmanager
async def run(
    app: App | Mapping[str, App], *, http: str | Sequence[str] = (), socket: str | Sequence[str] = (), **options: Any
) -> AsyncIterator[Server]:
    """Serve ``app`` while the ``async with`` block runs.

    ``app``: one app, or several by their mountpoints, such as ``{"": site, "/api": api}``. ``http`` and ``socket``:
    one address or several to serve HTTP and the uwsgi protocol at; port 0 takes a free one. Further keywords are
    options by their names in docs/options.md, such as ``cores=100``, ``harakiri=5.0`` (seconds), or
    ``https="127.0.0.1:0", certificate="server.pem", certificate_key="server.key"``, but not those that say what to
    load, where the log goes, or how processes are called. Leaving the block stops accepting, lets requests finish for
    ``grace`` seconds and cancels the rest. Raises `OptionError`, `AddressError`, `BindError`.
    """
    if http:
        options["http_socket"] = http
    if socket:
        options["socket"] = socket
    apps = app if isinstance(app, Mapping) else {"": app}
    async with serve(lambda _module: apps, build_for(options, NOT_FOR_FUNCTIONS)) as server:
        yield server


def build_for(keywords: Mapping[str, Any], refused: Mapping[str, str]) -> Options:
    """Return the options that somebody gives to a function. ``refused``: subsystems that may not be set, and why.

    Raises `OptionError`.
    """
    options = build(**keywords)
    for part, reason in refused.items():
        subsystem = getattr(options, part)
        for declared in declarations(type(subsystem)):
            if declared.field != "mode" and getattr(subsystem, declared.field) != declared.default:
                raise OptionError(f"{declared.field}: {reason}")
    return options


@asynccontextmanager
async def serve(
    load: Callable[[UwsgiModule], Apps], options: Options, *, local_stats: bool = False, sockets: bool = True
) -> AsyncIterator[Server]:
    """Open the sockets, load the apps, serve them while the block runs. For `run` and the command line.

    ``load`` is called once, with the ``uwsgi`` module that ``import uwsgi`` gives from then on. ``local_stats``: let
    ``uwsgi-async ps`` and its like find this process. ``sockets``: False, where requests come by another server.
    """
    with ExitStack() as stack:
        listeners = open_listeners(options, stack) if sockets else []
        faces = open_stats(options, stack)
        snmp_socket = open_snmp(options.snmp, stack)
        take_place(options, stack)
        if local_stats:
            faces += open_local_stats(stack)
        state = SharedState.create(options)
        stack.callback(state.close)
        stack.enter_context(state.used())
        bind_to_cpus(options.resources, 1)
        module = stack.enter_context(installed(make_module(information(options, listeners))))
        process = SingleProcess(listeners, options.cores.cores, state)
        state.observe(process.glance)
        stack.callback(process.close)
        stack.enter_context(controlled(process))
        dynamic = DynamicOptions.create(options)
        stack.callback(dynamic.close)
        stack.enter_context(switched(dynamic))
        signals = SingleSignals(options)
        stack.enter_context(using_signals(signals.end))
        stack.enter_context(using_rpc(rpc_of(options)))
        stack.enter_context(alarms.using(alarms.Alarms(options.alarms)))
        stats = StatsServer(options.stats, faces, process)
        snmp = make_server(snmp_socket, state, process.glance)
        apps = await _load(load, module, options)
        process.accounts.loaded(apps, options)
        tasks = SpoolerTasks(module, spooler.current())
        mules = MuleThreads(options, module, signals)
        stack.callback(mules.close)
        node = NodeTask(options, serves=True)
        process.sections = lambda: {**state.sections(), **mules.sections(), **signals.sections()}
        beside = (
            state.maintain,
            signals.run,
            tasks.run,
            mules.run,
            node.run,
            *((stats.run, process.keep_accounts) if faces else ()),
            *(() if snmp is None else (snmp.run,)),
        )
        async with serve_apps(
            apps,
            options,
            listeners,
            process.accounts.count_app,
            beside=beside,
            before_end=partial(_finish, options.cores.grace, signals.drain, tasks.finish, mules.finish, node.release),
            stats=stats.addresses,
            snmp="" if snmp is None else snmp.address,
        ) as server:
            process.begin(server.pool)
            dynamic.changed = lambda: server.adopt(dynamic.applied())
            try:
                yield server
            finally:
                process.drain()
        call_hook(module, "atexit")
        await await_hook(module, "atexit")


async def _load(load: Callable[[UwsgiModule], Apps], module: UwsgiModule, options: Options) -> Apps:
    """Import what this one process runs, and call the hook that follows a fork elsewhere."""
    with without_loop():
        decorators.begin(module)
        apps = load(module)
        for name in options.spooler.spooler_import:
            import_any(name)
        call_hook(module, "post_fork_hook")
    await await_hook(module, "post_fork_hook")
    return apps


async def _finish(seconds: float, *endings: Callable[[float], Coroutine[Any, Any, None]]) -> None:
    """Await all of these at once, each with the seconds that it has."""
    async with anyio.create_task_group() as tasks:
        for ending in endings:
            tasks.start_soon(ending, seconds)


@asynccontextmanager
async def serve_apps(
    apps: Apps,
    options: Options,
    listeners: Sequence[Listener],
    on_end: Callable[[Request], None] | None = None,
    beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    before_end: Callable[[], Coroutine[Any, Any, None]] | None = None,
    stats: Sequence[str] = (),
    snmp: str = "",
    handover: Handover | None = None,
    leads: Callable[[int], bool] | None = None,
) -> AsyncIterator[Server]:
    """Serve loaded apps on open listeners while the block runs. The listeners stay open. For `serve` and workers.

    ``on_end``: called with each request that has ended. ``beside``: run in tasks, and cancelled when all is over.
    ``before_end``: awaited first, while no more is accepted and the last requests end. ``stats``: where the statistics
    are told, and ``snmp``: where SNMP is answered, for the `Server`. ``handover``: to other workers at the same
    addresses. ``leads``: see `Acceptor`; for sockets that these workers share.
    """
    with ExitStack() as stack:
        poller = open_poller()
        stack.callback(poller.release)
        stack.callback(close_to_threads, open_to_threads())
        stack.enter_context(serving(served_modifiers(options, listeners)))
        stack.enter_context(listening([listener.sock for listener in listeners]))
        error: Exception | None = None
        async with anyio.create_task_group() as tasks:
            pool = Pool(options.cores, poller, tasks)
            stack.callback(_close_connections, pool)
            calling = _calling(apps, options)
            service = _service(options, calling.handler, on_end)
            protocols = make_protocols(options, listeners, service)
            acceptors: list[Acceptor] = []
            if options.cores.blocking_limit > 0:
                watchdog = Watchdog(poller, options.cores.blocking_limit)
                stack.callback(watchdog.stop)
            for each in beside:
                tasks.start_soon(each)
            certificates = [listener.tls for listener in listeners if listener.tls is not None]
            if certificates:
                tasks.start_soon(watch_certificates, certificates)
            server = Server(listeners, pool, acceptors, service, calling.lifespans, stats=stats, snmp=snmp)
            try:
                for lifespan in calling.lifespans:
                    await lifespan.start(tasks)
                acceptors += _accept(listeners, protocols, pool, handover, leads)
                yield server
            except Exception as raised:  # noqa: BLE001 - raised again below, outside the group that would wrap it
                error = raised
            finally:
                with anyio.CancelScope(shield=True):
                    for acceptor in acceptors:
                        acceptor.close()
                    async with anyio.create_task_group() as ending:
                        if before_end is not None:
                            ending.start_soon(before_end)
                        await _drain(pool, list(protocols.values()), handover if server.hands_over else None)
                    for lifespan in reversed(calling.lifespans):
                        await lifespan.stop(options.cores.grace)
                tasks.cancel_scope.cancel()
    if error is not None:
        raise error


def open_listeners(options: Options, stack: ExitStack) -> list[Listener]:
    """Open every socket that the options name; ``stack`` closes them. Raises `OptionError` when there is none."""
    listeners: list[Listener] = []

    def add(address: Address, protocol: Protocol, share: int = 0, tls: Tls | None = None) -> Listener:
        sockets = options.sockets
        listener = open_listener(
            address,
            protocol=protocol,
            backlog=sockets.listen,
            chmod=sockets.chmod_socket,
            chown=owner,
            share=share,
            tls=tls,
        )
        stack.callback(listener.close)
        listeners.append(listener)
        return listener

    chown = options.sockets.chown_socket
    owner = None if chown is None else find_owner("chown-socket", chown)
    for text in options.sockets.http_socket:
        _add_shared(add, parse_address(text), "http", options)
    for text in options.sockets.socket:
        _add_shared(add, parse_address(text), "uwsgi", options)
    for tls in load_certificates(options.tls):
        _add_shared(partial(add, tls=tls), parse_address(tls.socket.address), tls.socket.protocol, options)
    for fd in systemd_fds():
        if not any(listener.sock.fileno() == fd for listener in listeners):
            add(FdAddress(fd), "http")
    if not listeners:
        raise OptionError(
            "there is no socket to serve: give one with http-socket, https or socket, such as 127.0.0.1:8000"
        )
    return listeners


def _add_shared(
    add: Callable[[Address, Protocol, int], Listener], address: Address, protocol: Protocol, options: Options
) -> None:
    """Open one socket of an address; with reuse-port one for each worker."""
    if not options.sockets.reuse_port or not isinstance(address, TcpAddress):
        add(address, protocol, 0)
        return
    first = parse_address(add(address, protocol, 1).name)  # with the port that it has got
    for share in range(2, options.process.processes + 1):
        add(first, protocol, share)


def information(options: Options, listeners: Sequence[Listener], *, reloads: int = 0) -> InstanceInformation:
    """Return the globals of the ``uwsgi`` module for an instance with these options."""
    hostname = socket.gethostname()
    return InstanceInformation(
        cores=options.cores.cores,
        buffer_size=options.packet.buffer_size,
        sockets=[listener.sock.fileno() for listener in listeners],
        loop=b"trio" if options.loop.trio else b"uvloop" if options.loop.uvloop else b"asyncio",
        hostname=hostname.encode(),
        has_threads=1,
        opt=opt_of(options),
        magic_table=magic_table(options.configuration, hostname),
        numproc=options.process.processes,
        is_a_reload=reloads > 0,
        mode=_encoded(options.names.mode),
        pidfile=_encoded(options.process.pidfile),
        spoolers=spooler.directories(),
    )


def _encoded(text: str | None) -> bytes | None:
    return None if text is None else os.fsencode(text)


def _calling(apps: Apps, options: Options) -> Calling:
    module = sys.modules["uwsgi"]
    assert isinstance(module, UwsgiModule)
    module.note_apps(apps)
    calling = make_handler(apps, options)
    return replace(calling, handler=with_hook(calling.handler, module, in_thread=options.app.threads > 0))


def _service(options: Options, handler: Handler, on_end: Callable[[Request], None] | None) -> Service:
    log = RequestLog(options.log, os.getpid(), worker_id())
    limit, wears = options.cores.limit_post, wears_out(options.reload)
    websockets = WebSockets(options.websockets)
    return Service(handler, limit, log, log.always, websockets, on_end, wears, make_response(options.static))


def _accept(
    listeners: Sequence[Listener],
    protocols: Mapping[Place, ConnectionProtocol],
    pool: Pool,
    handover: Handover | None,
    leads: Callable[[int], bool] | None,
) -> list[Acceptor]:
    acceptors: list[Acceptor] = [
        (SocketAcceptor if listener.tls is None else TlsAcceptor)(
            listener.sock, protocols[place(listener)], pool, None if listener.share else leads
        )
        for listener in listeners
    ]
    if handover is not None:
        acceptors.append(Taker(handover, list(protocols.values()), pool, leads))

    def resume() -> None:
        for acceptor in acceptors:
            acceptor.resume()

    pool.on_connection_closed = resume
    return acceptors


async def _drain(pool: Pool, protocols: Sequence[ConnectionProtocol], handover: Handover | None) -> None:
    """Let everything that has begun to arrive be answered, and get rid of what is idle: now, and what becomes so."""
    pool.begin_closing()
    with anyio.move_on_after(pool.options.grace) as grace:
        if handover is not None:
            await handover.give(pool, protocols)
        else:
            _close_idle(pool)
        await pool.drained()
        if handover is not None:
            await handover.give(pool, protocols)
    if grace.cancelled_caught:
        logger.warning(
            "%d requests did not end within %g s (option worker-reload-mercy) and are cancelled",
            pool.busy, pool.options.grace,
        )  # fmt: skip


def _close_idle(pool: Pool) -> None:
    for connection in list(pool.connections):
        if connection.idle:
            connection.close()


def _close_connections(pool: Pool) -> None:
    pool.close()
    for connection in list(pool.connections):
        connection.close()
