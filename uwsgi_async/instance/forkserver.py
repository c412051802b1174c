"""The fork server of a generation: a fresh interpreter that imports the apps once and forks workers from it.

What lives here: `main`, which the master starts with one end of a channel. What does not: what a worker does
(`worker`), when one is wanted (`master`). There is no event loop and no thread of ours in this process, so a fork
copies a quiet one. Workers are forked twice: the one in the middle ends at once, so that the master, which the
kernel has named the reaper of its descendants, is the parent of every worker, also when this process dies.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from uwsgi_async.compat.uwsgi_module import UwsgiModule, installed, make_module
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.handlers.mounts import Apps
from uwsgi_async.instance.channel import Channel, Failed, Fork, Loaded, Start
from uwsgi_async.instance.control import WorkerProcess
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.loader import load_apps, prepare
from uwsgi_async.instance.requestlog import configure_logging
from uwsgi_async.instance.scoreboard import Scoreboard
from uwsgi_async.instance.server import information
from uwsgi_async.instance.state import SharedState
from uwsgi_async.instance.worker import Assignment, work
from uwsgi_async.options.build import build
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")


def main(fd: int) -> int:
    """Serve the master at the other end of ``fd`` until it closes; return the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the whole foreground group: the master decides
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=fd))
    start, _ = channel.receive_blocking()
    if not isinstance(start, Start):
        return 1
    options = build(**start.options)
    configure_logging(options.log)
    listeners = [_listener(*listener) for listener in start.listeners]
    state = SharedState.attach(start.state)
    with ExitStack() as stack:
        stack.enter_context(state.used())
        module = stack.enter_context(installed(make_module(information(options, listeners, reloads=start.reloads))))
        try:
            load = _loader(options, module)
        except UwsgiAsyncError as error:
            if error.__cause__ is not None:
                logger.error("the cause:", exc_info=error.__cause__)
            channel.send(Failed(str(error)))
            return 1
        channel.send(Loaded())
        return _serve(channel, start, Assignment(options, listeners, load, module, state))


def _loader(options: Options, module: UwsgiModule) -> Callable[[], Apps]:
    """Return what gives the apps in a worker: loaded here and now, or with lazy-apps loaded there and then."""
    prepare(options.load)
    if options.process.lazy_apps:
        return partial(load_apps, options, module)
    apps = load_apps(options, module)
    return lambda: apps


def _serve(channel: Channel, start: Start, assignment: Assignment) -> int:
    while True:
        message, fds = channel.receive_blocking()
        if message is None:
            return 0
        if isinstance(message, Fork) and fds and _fork():
            channel.close()
            board = Scoreboard.attach(start.board)
            process = WorkerProcess(message.worker, start.master, board, Channel(socket.socket(fileno=fds[0])))
            status = work(process, assignment)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # not through the frames of the fork server
        for fd in fds:
            os.close(fd)


def _fork() -> bool:
    """Fork a grandchild; True in it."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return False
    if os.fork():
        os._exit(0)
    return True


def _listener(fd: int, protocol: str, name: str, url: str | None) -> Listener:
    return Listener(socket.socket(fileno=fd), "http" if protocol == "http" else "uwsgi", name, url)
