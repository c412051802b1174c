"""The fork server of a generation, seen from the master: started, asked for workers, replaced when it dies.

What lives here: `ForkServer`. What does not: what happens inside it (`forkserver`), the workers (`keeper`).
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import anyio

from uwsgi_async.errors import AppLoadError, BrokenError, UwsgiAsyncError
from uwsgi_async.instance.backoff import Backoff
from uwsgi_async.instance.channel import Channel, End, Failed, Fork, Loaded, Reopen, Start, pair
from uwsgi_async.instance.dynamic import DynamicOptions
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.logs.collector import Collector
from uwsgi_async.instance.ownfile import OwnFile
from uwsgi_async.instance.reaper import Child, Exit, Reaper
from uwsgi_async.instance.scoreboard import Header, Scoreboard
from uwsgi_async.instance.state import SharedState
from uwsgi_async.options.settings import Options

logger = logging.getLogger("uwsgi_async")

_LAST_MOMENTS = 1.0  # seconds for the end of a process that has nothing left to do
_RETRY = 0.5  # seconds; until the machine has what was missing for a fork


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the master holds for every generation.

    ``files``: what it has made, and removes in the end. ``output``: its log, for the others.
    """

    listeners: Sequence[Listener]
    files: Sequence[OwnFile]
    state: SharedState
    output: Collector


class ForkServer:
    """A process that has loaded the app and forks workers.

    First `start`, then `keep` in a task of its own: it starts another one when this one dies, because it is needed
    for the next worker, and looks after the workers when the master dies.
    """

    def __init__(
        self, dynamic: DynamicOptions, holdings: Holdings, board: Scoreboard, reaper: Reaper, reloads: int
    ) -> None:
        self._options = dynamic.options
        self._dynamic = dynamic
        self._holdings = holdings
        self._board = board
        self._reaper = reaper
        self._reloads = reloads
        self._channel: Channel | None = None
        self._child: Child | None = None
        self._restarted = anyio.Event()

    def __repr__(self) -> str:
        return f"<ForkServer {self._child!r}>"

    async def start(self) -> None:
        """Start the process and wait until it has loaded the app.

        Raises `AppLoadError` when it cannot be loaded, `BrokenError` when the process cannot be started or dies.
        Cancelled, it leaves no process.
        """
        try:
            ours, theirs = pair()
        except OSError as error:
            raise BrokenError(f"the fork server cannot be started: {error.strerror}") from error
        channel = Channel(ours)
        try:
            with theirs:
                self._child = child = self._reaper.adopt(self._spawn(theirs.fileno()))
                self._board.header[Header.FORK_SERVER] = child.pid
            try:
                with self._holdings.output.for_a_process() as log:
                    channel.send(self._start_message(), self._dynamic.fd, *log)
                answer = await channel.receive()
            except BaseException:
                child.kill(signal.SIGKILL)
                raise
            if not isinstance(answer, Loaded):
                channel.close()  # its word to end, if it still lives
                ended = await child.wait()
                if isinstance(answer, Failed):
                    raise AppLoadError(answer.reason)
                raise BrokenError(f"the fork server {ended} while it loaded the app")
        except BaseException:
            channel.close()
            raise
        self._channel = channel

    async def keep(self) -> None:
        """Start another one whenever it has died."""
        backoff = Backoff(self._options.process.forkbomb_delay)
        while True:
            assert self._child is not None
            born = time.monotonic()
            ended = await self._child.wait()
            self.close()
            while self._channel is None:
                pause = backoff.next(time.monotonic() - born)
                logger.error("the fork server %s: starting another%s", ended, f" in {pause:g} s" if pause else "")
                await anyio.sleep(pause)
                born = time.monotonic()
                try:
                    await self.start()
                except UwsgiAsyncError as error:
                    ended = Exit(1, f"cannot be replaced: {error}")
            self._restarted.set()
            self._restarted = anyio.Event()

    async def fork(self, worker: int) -> Channel:
        """Ask for a new process of a worker; return the master's end of its channel. Waits as long as it must."""
        while True:
            try:
                ours, theirs = pair()
            except OSError as error:
                logger.error("worker %d cannot be started: %s; trying again", worker, error.strerror)
                await anyio.sleep(_RETRY)
                continue
            with theirs:
                if self._send_fork(worker, theirs.fileno()):
                    return Channel(ours)
            ours.close()
            with anyio.move_on_after(_RETRY):
                await self._restarted.wait()

    def reopen_log(self) -> None:
        """Let the process open its log files again."""
        if self._channel is not None:
            self._channel.send(Reopen())

    def close(self) -> None:
        """Let the process end. The workers do not need it."""
        if self._channel is not None:
            self._channel.send(End())
            self._channel.close()
            self._channel = None

    async def end(self) -> None:
        """Let the process end, and wait until it has; one that hangs is killed."""
        self.close()
        if self._child is None:
            return
        with anyio.CancelScope(shield=True), anyio.move_on_after(_LAST_MOMENTS):
            await self._child.wait()
        self._child.kill(signal.SIGKILL)

    def _send_fork(self, worker: int, channel: int) -> bool:
        if self._channel is None:
            return False
        try:
            with self._holdings.output.for_a_process() as log:
                return self._channel.send(Fork(worker), channel, *log)
        except OSError as error:
            logger.error("worker %d cannot be started: %s; trying again", worker, error.strerror)
            return False

    def _start_message(self) -> Start:
        return Start(
            options=_values(self._options),
            listeners=[
                [each.sock.fileno(), each.protocol, each.name, each.url, each.share]
                for each in self._holdings.listeners
            ],
            files=[list(astuple(file)) for file in self._holdings.files],
            board=self._board.fd,
            state=self._holdings.state.described(),
            master=os.getpid(),
            reloads=self._reloads,
        )

    def _spawn(self, channel: int) -> int:
        """Start a fresh interpreter with the master's flags and import path; return its process id."""
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            f"from uwsgi_async.instance.forkserver import main; sys.exit(main({channel}))"
        )
        # What multiprocessing asks for the same purpose: -O, -X dev, -W and so on.
        flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        listeners = [listener.sock.fileno() for listener in self._holdings.listeners]
        inherited = [channel, self._board.fd, *listeners, *self._holdings.state.fds]
        for fd in inherited:
            os.set_inheritable(fd, True)
        try:
            return os.posix_spawn(sys.executable, [sys.executable, *flags, "-c", code], os.environ)
        except OSError as error:
            raise BrokenError(f"the fork server cannot be started: {error.strerror}") from error
        finally:
            for fd in inherited:
                os.set_inheritable(fd, False)


def _values(options: Options) -> dict[str, Any]:
    """Return all options by the names of their fields, as `options.build.build` takes them."""
    values: dict[str, Any] = {}
    for part in fields(options):
        subsystem = getattr(options, part.name)
        values.update((field.name, getattr(subsystem, field.name)) for field in fields(subsystem))
    return values
