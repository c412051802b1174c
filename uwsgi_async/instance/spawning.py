"""The fork server of a generation, seen from the master: started, asked for workers, replaced when it dies.

What lives here: `ForkServer`, and `Zygote`, which it is forked from. What does not: what happens inside them
(`forkserver`, `zygote`), how the first zygote is made (`prefork`), the workers (`keeper`).
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, fields
from typing import Any

import anyio

from uwsgi_async.cores.handover import Handover
from uwsgi_async.errors import AppLoadError, BrokenError, UwsgiAsyncError
from uwsgi_async.instance.backoff import Backoff
from uwsgi_async.instance.channel import (
    MOST_FDS,
    Begin,
    Channel,
    End,
    Failed,
    Files,
    Fork,
    Hello,
    Hold,
    Loaded,
    Reopen,
    Sources,
    Start,
    pair,
)
from uwsgi_async.instance.dynamic import DynamicOptions
from uwsgi_async.instance.listeners import Listener
from uwsgi_async.instance.logs.collector import Collector
from uwsgi_async.instance.ownfile import OwnFile
from uwsgi_async.instance.reaper import Child, Exit, Reaper
from uwsgi_async.instance.roles import Role
from uwsgi_async.instance.scoreboard import Header, Scoreboard
from uwsgi_async.instance.state import SharedState
from uwsgi_async.options.settings import Options
from uwsgi_async.signals.messages import FROM_PROCESS, FromProcess
from uwsgi_async.signals.router import Generation as SignalGeneration
from uwsgi_async.signals.router import SignalRouter

logger = logging.getLogger("uwsgi_async")

_LAST_MOMENTS = 1.0  # seconds for the end of a process that has nothing left to do
_ZYGOTES = 2  # that are tried in a row: one may be dying at this moment
_RETRY = 0.5  # seconds; until the machine has what was missing for a fork


class Zygote:
    """The process that fork servers are forked from (`zygote`).

    The first one is a fork of this process (`prefork`): it need not import anything anew. If it has died, or if
    environment or directory are others, another one is started, as a program.

    ``first``: the fork; None to begin with a program. ``held``: file descriptors that all fork servers shall have,
    under the same numbers. ``loop``: "asyncio", "trio" or "uvloop": what the workers are going to need.
    """

    def __init__(self, first: ForkedZygote | None, held: Sequence[int], loop: str) -> None:
        self._first = first
        self._held = held
        self._loop = loop
        self._channel: Channel | None = None
        self._child: Child | None = None
        self._surroundings = surroundings()

    def __repr__(self) -> str:
        return f"<Zygote {'not started' if self._channel is None else self._channel!r}>"

    @property
    def pid(self) -> int:
        """0 when there is none."""
        return 0 if self._child is None or self._child.exit is not None else self._child.pid

    def begin(self, channel: socket.socket, board: Scoreboard, reaper: Reaper) -> None:
        """Fork a fork server with this end of its channel. Raises `BrokenError` when no process can be started.

        It has the environment and the directory that this process has now. ``reaper``: of this process's children.
        """
        now = surroundings()
        if self._first is not None:
            first, self._first = self._first, None
            self._take(first.channel, first.pid, reaper)
        current = self._channel is not None and now == self._surroundings
        if current and self._channel is not None and self._channel.send(Begin(), channel.fileno(), board.fd):
            return
        self.close()
        self._surroundings = now
        try:
            ours, theirs = pair()
            with theirs:
                self._take(Channel(ours), self._spawn(theirs.fileno()), reaper)
        except OSError as error:
            self.close()
            raise BrokenError(f"a fork server cannot be started: {error.strerror}") from error
        assert self._channel is not None
        if not self._channel.send(Begin(), channel.fileno(), board.fd):
            raise BrokenError("a fork server cannot be started: the zygote has died at its start")

    def _take(self, channel: Channel, pid: int, reaper: Reaper) -> None:
        self._channel, self._child = channel, reaper.adopt(pid)
        logger.info("spawned the zygote (pid: %d)", pid)
        for at in range(0, len(self._held), MOST_FDS):
            numbers = self._held[at : at + MOST_FDS]
            channel.send(Hold(list(numbers), above=max(self._held) + 1), *numbers)

    def reopen_log(self, console: int) -> None:
        """Let the process print to the log that is behind ``console`` now."""
        if self._channel is not None:
            self._channel.send(Reopen(), console)

    def close(self) -> None:
        """Let the process end. The fork servers do not need it."""
        if self._first is not None:
            self._first.channel.close()
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def kill(self) -> None:
        """End the process at once."""
        self.close()
        if self._child is not None:
            self._child.kill(signal.SIGKILL)

    async def end(self) -> None:
        """Let the process end, and wait until it has; one that hangs is killed."""
        self.close()
        if self._child is not None:
            await _bury(self._child)

    def _spawn(self, channel: int) -> int:
        os.set_inheritable(channel, True)
        return os.posix_spawn(sys.executable, zygote_command(channel, self._loop), os.environ)


@dataclass(frozen=True, slots=True)
class ForkedZygote:
    """A zygote that is a fork of this process, and the master's end of its channel."""

    pid: int
    channel: Channel


class _NeverBegunError(Exception):
    """The zygote has died before it has forked."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the master holds for every generation.

    ``files``: what it has made, and removes in the end. ``output``: its log, for the others. ``turns``: see
    `keeper.Circumstances`.
    """

    listeners: Sequence[Listener]
    handover: Handover
    files: list[OwnFile]
    state: SharedState
    output: Collector
    zygote: Zygote
    router: SignalRouter
    turns: dict[str, anyio.Lock] = field(default_factory=dict)


class ForkServer:
    """A process that has loaded the app and forks workers.

    First `start`, then `keep` in a task of its own: it starts another one when this one dies, because it is needed
    for the next worker, and looks after the workers when the master dies. ``on_sources``: called with each message
    about the files that it has imported.
    """

    def __init__(
        self,
        dynamic: DynamicOptions,
        holdings: Holdings,
        board: Scoreboard,
        reaper: Reaper,
        reloads: int,
        on_sources: Callable[[Sources], None],
        signals: SignalGeneration,
    ) -> None:
        self._signals = signals
        self._options = dynamic.options
        self._dynamic = dynamic
        self._holdings = holdings
        self._board = board
        self._reaper = reaper
        self._reloads = reloads
        self._on_sources = on_sources
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
        for _ in range(_ZYGOTES):
            try:
                ours, theirs = pair()
            except OSError as error:
                raise BrokenError(f"the fork server cannot be started: {error.strerror}") from error
            channel = Channel(ours)
            try:
                self._child = None
                with theirs:
                    self._holdings.zygote.begin(theirs, self._board, self._reaper)
                with self._holdings.output.for_a_process() as log:
                    channel.send(self._start_message(), self._dynamic.fd, *log)
                await self._wait_until_loaded(channel)
            except _NeverBegunError:
                channel.close()
                self._holdings.zygote.close()
            except BaseException:
                channel.send(End())  # it may not even have begun
                channel.close()
                if self._child is not None:
                    self._child.kill(signal.SIGKILL)
                else:
                    self._holdings.zygote.kill()  # it may hang
                raise
            else:
                self._channel = channel
                return
        raise BrokenError("the fork server cannot be started: the zygote that it is forked from dies at once")

    async def _wait_until_loaded(self, channel: Channel) -> None:
        reason = None
        registered: list[FromProcess] = []
        while not isinstance(message := await channel.receive(), Loaded):
            if isinstance(message, Hello):
                self._child = self._reaper.adopt(message.pid)
                self._board.header[Header.FORK_SERVER] = message.pid
                self._board.header[Header.ZYGOTE] = self._holdings.zygote.pid
                logger.info("spawned the fork server (pid: %d)", message.pid)
            elif isinstance(message, Sources):
                self._on_sources(message)
            elif isinstance(message, Failed):
                reason = message.reason
            elif message is None:
                if self._child is None:
                    raise _NeverBegunError
                ended = await self._child.wait()
                if reason is not None:
                    raise AppLoadError(reason)
                raise BrokenError(f"the fork server {ended} while it loaded the app")
            elif isinstance(message, FROM_PROCESS):
                registered.append(message)
        self._signals.load(registered)

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

    async def fork(self, role: Role) -> Channel:
        """Ask for a new process of a role; return the master's end of its channel. Waits as long as it must."""
        while True:
            try:
                ours, theirs = pair()
            except OSError as error:
                logger.error("%s cannot be started: %s; trying again", role, error.strerror)
                await anyio.sleep(_RETRY)
                continue
            with theirs:
                if self._send_fork(role, theirs.fileno()):
                    return Channel(ours)
            ours.close()
            with anyio.move_on_after(_RETRY):
                await self._restarted.wait()

    def reopen_log(self) -> None:
        """Let the process open its log files again."""
        if self._channel is not None:
            self._channel.send(Reopen())

    def tell_files(self) -> None:
        """Tell the process which files it has to remove when this one dies."""
        if self._channel is not None:
            self._channel.send(Files(self._files()))

    def close(self) -> None:
        """Let the process end. The workers do not need it."""
        if self._channel is not None:
            self._channel.send(End())
            self._channel.close()
            self._channel = None

    async def end(self) -> None:
        """Let the process end, and wait until it has; one that hangs is killed."""
        self.close()
        if self._child is not None:
            await _bury(self._child)

    def _send_fork(self, role: Role, channel: int) -> bool:
        if self._channel is None:
            return False
        try:
            with self._holdings.output.for_a_process() as log:
                return self._channel.send(Fork(role.seat), channel, *log)
        except OSError as error:
            logger.error("%s cannot be started: %s; trying again", role, error.strerror)
            return False

    def _files(self) -> list[list[Any]]:
        return [list(astuple(file)) for file in self._holdings.files]

    def _start_message(self) -> Start:
        return Start(
            options=_values(self._options),
            listeners=[
                [each.sock.fileno(), each.protocol, each.name, each.url, each.share, each.tls and each.tls.number]
                for each in self._holdings.listeners
            ],
            handover=self._holdings.handover.filenos(),
            files=self._files(),
            state=self._holdings.state.described(),
            master=os.getpid(),
            reloads=self._reloads,
        )


async def _bury(child: Child) -> None:
    with anyio.CancelScope(shield=True), anyio.move_on_after(_LAST_MOMENTS):
        await child.wait()
    child.kill(signal.SIGKILL)


def _values(options: Options) -> dict[str, Any]:
    """Return all options by the names of their fields, as `options.build.build` takes them."""
    values: dict[str, Any] = {}
    for part in fields(options):
        subsystem = getattr(options, part.name)
        values.update((field.name, getattr(subsystem, field.name)) for field in fields(subsystem))
    return values


def surroundings() -> tuple[object, ...]:
    """What a process inherits from this one: the environment and the directory, whatever its name is."""
    here = os.stat(os.curdir)
    return dict(os.environ), here.st_dev, here.st_ino


def zygote_command(channel: int, loop: str) -> list[str]:
    """Return the command line of a zygote; it gets the import path and the flags of this process."""
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; "
        f"from uwsgi_async.instance.zygote import main; sys.exit(main({channel}, {loop!r}))"
    )
    # What multiprocessing asks for the same purpose: -O, -X dev, -W and so on.
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *flags, "-c", code]
