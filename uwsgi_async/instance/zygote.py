"""The zygote: an interpreter that has imported everything but the user's code, and forks fork servers from itself.

What lives here: `main`. What does not: who starts it (`spawning`), what a fork server does (`forkserver`). Starting an
interpreter and importing this package takes ten times as long as the rest of a reload of a small app; it is done once,
by the master, whose fork the zygote is, and the memory is shared by all generations. It runs no user code, no event
loop and no threads. When a library that it has imported changes on disk, it begins anew, as a program, before the next
fork.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import os
import socket
import sys
from collections.abc import Mapping, Sequence

import anyio
from anyio.lowlevel import checkpoint

from uwsgi_async.instance import forkserver
from uwsgi_async.instance.channel import Begin, Channel, Hold, Reopen
from uwsgi_async.instance.logs.loggers import STREAMS
from uwsgi_async.instance.spawning import zygote_command


def main(fd: int, loop: str) -> int:
    """Fork for the master at the other end of ``fd`` until it closes; return the exit status."""
    forkserver.leave_signals_to_the_master()
    channel = Channel(socket.socket(fileno=fd))
    preload(loop)
    libraries = _stamps(_library_files())
    gc.collect()
    gc.freeze()  # a collection in a worker would touch, and so copy, every page
    while True:
        channel.wait_blocking()
        if _stamps(libraries) != libraries:
            os.set_inheritable(channel.fileno(), True)
            os.execve(sys.executable, zygote_command(channel.fileno(), loop), os.environ)  # the message is still unread
        message, fds = channel.receive_blocking()
        if message is None:
            return 0
        if isinstance(message, Begin) and forkserver.fork_orphan():
            channel.close()
            status = forkserver.main(*fds)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # not through the frames of this process
        if isinstance(message, Hold):
            channel, fds = hold(message, fds, channel), []
        if isinstance(message, Reopen):  # a file that was moved away shall not stay open here
            for stream in STREAMS:
                os.dup2(fds[0], stream, inheritable=True)
        for each in fds:
            os.close(each)


def hold(message: Hold, fds: Sequence[int], channel: Channel) -> Channel:
    """Have these descriptors under the numbers of the message; return the channel, out of their way."""
    moved = [_move_above(fd, message.above) for fd in fds]
    if channel.fileno() < message.above:
        moved_channel = Channel(socket.socket(fileno=_move_above(os.dup(channel.fileno()), message.above)))
        channel.close()
        channel = moved_channel
    for fd, number in zip(moved, message.numbers, strict=True):
        os.dup2(fd, number, inheritable=True)  # also by the program that this process may become
        os.close(fd)
    return channel


def _move_above(fd: int, lowest: int) -> int:
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(fd)
    return moved


def preload(loop: str) -> None:
    """Import what a worker needs when its event loop begins: each would import it again."""
    importlib.import_module(loop)
    # Only a run imports all of it. Not uvloop's own: its loop leaves a pipe open that all forks would share.
    anyio.run(checkpoint, backend="trio" if loop == "trio" else "asyncio")


def _library_files() -> list[str]:
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return [file for file in files if file is not None]


def _stamps(files: Sequence[str] | Mapping[str, int]) -> dict[str, int]:
    """Return when each file was changed; 0 for one that is gone."""
    stamps = {}
    for file in files:
        try:
            stamps[file] = os.stat(file).st_mtime_ns
        except OSError:
            stamps[file] = 0
    return stamps
