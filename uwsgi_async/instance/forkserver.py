"""The fork server of a generation: a process that imports the apps once and forks workers from it.

What lives here: `main`, which runs in a fork of the zygote. What does not: where that comes from (`zygote`), what a
worker does (`worker`), when one is wanted (`keeper`), what is left to do when the master has died (`guardian`). There
is no event loop and no thread of ours in this process, so a fork copies a quiet one. Workers are forked twice: the one
in the middle ends at once, so that the master, which the kernel has named the reaper of its descendants, is the parent
of every worker, also when this process dies.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import NoReturn

from uwsgi_async.api import alarms, rpc, signals
from uwsgi_async.api.dynamic import switched
from uwsgi_async.api.process import controlled
from uwsgi_async.compat.uwsgi_module import UwsgiModule, installed, make_module
from uwsgi_async.cores.handover import Handover
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.certificates import Tls, load_certificates
from uwsgi_async.instance.channel import Channel, End, Failed, Files, Fork, Hello, Loaded, Reopen, Start
from uwsgi_async.instance.control import HelperProcess, ImportingProcess, WorkerProcess
from uwsgi_async.instance.dynamic import DynamicOptions
from uwsgi_async.instance.guardian import guard
from uwsgi_async.instance.listeners import Listener, listeners_of
from uwsgi_async.instance.living import Assignment
from uwsgi_async.instance.loader import load_apps, prepare
from uwsgi_async.instance.logs.process import ProcessLogs
from uwsgi_async.instance.muleprocess import run_mule
from uwsgi_async.instance.names import name_process
from uwsgi_async.instance.packets import rpc_of
from uwsgi_async.instance.requestlog import configure_logging
from uwsgi_async.instance.roles import Role, role_at
from uwsgi_async.instance.scoreboard import Scoreboard
from uwsgi_async.instance.server import information
from uwsgi_async.instance.signalling import ImportSignals
from uwsgi_async.instance.sources import make_reporter
from uwsgi_async.instance.spoolerprocess import run_spooler
from uwsgi_async.instance.state import SharedState
from uwsgi_async.instance.worker import work
from uwsgi_async.options.build import build
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")


def main(fd: int, board: int) -> int:
    """Serve the master at the other end of ``fd`` until it closes; return the exit status.

    ``board``: the fd of the scoreboard.
    """
    channel = Channel(_take(fd))
    channel.send(Hello(os.getpid()))
    start, fds = channel.receive_blocking()
    if not isinstance(start, Start):
        return 1
    if channel.is_called_off():
        return 0
    dynamic_fd, *log = fds
    options = build(**start.options)
    name_process(options.names, "uWSGI fork server")
    os.set_inheritable(dynamic_fd, False)
    dynamic = DynamicOptions(dynamic_fd, options)
    try:
        logs = _open_log(options, *log)
    except UwsgiAsyncError as error:
        channel.send(Failed(str(error)))
        return 1
    try:
        certificates = load_certificates(options.tls)
    except UwsgiAsyncError as error:
        channel.send(Failed(str(error)))
        return 1
    listeners = [_listener(certificates, *listener) for listener in start.listeners]
    state = SharedState.attach(start.state)
    for inherited in state.fds:
        os.set_inheritable(inherited, False)
    with ExitStack() as stack:
        stack.enter_context(state.used())
        stack.enter_context(switched(dynamic))
        registered = ImportSignals(options)
        stack.enter_context(signals.using(registered.end))
        stack.enter_context(rpc.using(rpc_of(options)))
        stack.enter_context(alarms.using(alarms.Alarms(options.alarms)))
        module = stack.enter_context(installed(make_module(information(options, listeners, reloads=start.reloads))))
        reporter = make_reporter(options.reload)
        try:
            with controlled(ImportingProcess(start.master, Scoreboard.attach(board), listeners, state)):
                load = _loader(options, module)
        except UwsgiAsyncError as error:
            if error.__cause__ is not None:
                logger.error("the cause:", exc_info=error.__cause__)
            if reporter is not None:
                channel.send_all((*reporter.report(), *reporter.report_failure(error)))
            channel.send(Failed(str(error)))
            return 1
        if reporter is not None:
            channel.send_all(reporter.report())
        registered.tell(channel)
        channel.send(Loaded())
        gc.freeze()  # a collection in a worker would touch, and so copy, every page
        handover = Handover(*(_take(end) for end in start.handover))
        assignment = Assignment(
            options, listeners, handover, load, module, state, logs, dynamic, reporter, registered.end
        )
        return _serve(channel, start, board, assignment)


def leave_signals_to_the_master() -> None:
    """Take no notice of what a whole group of processes gets: the end of the channel is the word to end.

    Not by SIG_IGN: programs that the app starts while it is imported would inherit that.
    """
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, lambda _number, _frame: None)


def _open_log(options: Options, console: int, *pipe: int) -> ProcessLogs:
    """Let this process log as the options say. ``pipe``: the ends of the one to print through, if there is one."""
    os.set_inheritable(console, False)
    logs = ProcessLogs(options.loggers, inherited=console)
    if logs.console != console:
        os.close(console)  # it would keep a file open that is moved away and removed
    logs.take_streams()
    if pipe:
        logs.print_to_master(*pipe)
    configure_logging(options.log, logs)
    return logs


def _loader(options: Options, module: UwsgiModule) -> Callable[[], Apps]:
    """Return what gives the apps in a worker: loaded here and now, or with lazy-apps loaded there and then."""
    prepare(options.load)
    if options.process.lazy_apps:
        return partial(load_apps, options, module)
    apps = load_apps(options, module)
    return lambda: apps


def _serve(channel: Channel, start: Start, board: int, assignment: Assignment) -> int:
    while True:
        message, fds = channel.receive_blocking()
        if message is None:
            guard(start, board, assignment.listeners, assignment.options.mercy)
            return 0
        if isinstance(message, End):
            return 0
        if isinstance(message, Files):
            start = replace(start, files=message.files)
        if isinstance(message, Reopen):
            assignment.logs.reopen()
        if isinstance(message, Fork) and fds and fork_orphan():
            channel.close()
            _work(role_at(assignment.options, message.seat), start, board, assignment, fds)
        for fd in fds:
            os.close(fd)


def _share_of(role: Role, assignment: Assignment) -> Assignment:
    """Return what one process is to do; it closes the sockets that others serve."""
    own: Sequence[Listener] = ()
    if role.kind == "worker":
        own = listeners_of(role.number, assignment.options.process.processes, assignment.listeners)
    for listener in assignment.listeners:
        if listener not in own:
            listener.sock.close()
    return replace(assignment, listeners=own)


def _work(role: Role, start: Start, board: int, assignment: Assignment, fds: list[int]) -> NoReturn:
    """Be a worker, or what else the role says. ``fds``: as they come with `Fork`."""
    channel, console, *pipe = fds
    os.close(console)  # it is the one of the fork server
    if pipe:
        assignment.logs.print_to_master(*pipe)
    own = _share_of(role, assignment)
    master, scoreboard = Channel(socket.socket(fileno=channel)), Scoreboard.attach(board)
    own.signals.connect(master.send, str(role))
    parts = role, start.master, scoreboard, master, own.listeners, own.state
    if role.kind == "worker":
        status = work(WorkerProcess(*parts), own)
    else:
        status = (run_mule if role.kind == "mule" else run_spooler)(HelperProcess(*parts), own)
    assignment.logs.close()
    os._exit(status)  # not through the frames of the fork server


def fork_orphan() -> bool:
    """Fork a process that is the master's child, not this one's; True in it.

    False also when the system refuses: the closed channel tells the master.
    """
    sys.stdout.flush()
    try:
        child = os.fork()
    except OSError as error:
        logger.error("a process cannot be forked: %s", error.strerror)
        return False
    if child:
        os.waitpid(child, 0)
        return False
    try:
        grandchild = os.fork()
    except OSError as error:
        logger.error("a process cannot be forked: %s", error.strerror)
        os._exit(1)
    if grandchild:
        os._exit(0)
    return True


def _listener(
    certificates: Sequence[Tls], fd: int, protocol: str, name: str, url: str | None, share: int, tls: int | None
) -> Listener:
    return Listener(
        _take(fd),
        "http" if protocol == "http" else "uwsgi",
        name,
        url,
        share=share,
        tls=None if tls is None else certificates[tls],
    )


def _take(fd: int) -> socket.socket:
    """Return the socket that was inherited as ``fd``; programs that the app starts do not inherit it."""
    os.set_inheritable(fd, False)
    return socket.socket(fileno=fd)
