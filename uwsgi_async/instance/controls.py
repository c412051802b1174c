"""The handles of an operator: what signals, letters in the master FIFO and changed files make the master do.

What lives here: `watch_signals`, `Controls`, `fifo_commands`, `touch_triggers`, `watch_sources`. What does not: the
doing (`master`), the pipe itself (`fifo`), looking at files (`touches`, `sources`).
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import TaskGroup

from uwsgi_async.instance.fifo import MasterFifo
from uwsgi_async.instance.notify import log_notifications, open_notify_socket
from uwsgi_async.instance.ownfile import OwnFile
from uwsgi_async.instance.touches import Trigger, watch_touches

if TYPE_CHECKING:
    from uwsgi_async.instance.master import Master
    from uwsgi_async.options.settings import Options


SIGNALS: Final = (
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTSTP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

_SETTLED = 0.1  # seconds without a further change: then whoever changes several modules is through
_MOST_WAITS = 50  # of these
_OFF = 1.0  # seconds between two looks whether py-autoreload is on now


async def watch_signals(master: Master, signals: AsyncIterator[signal.Signals]) -> None:
    """Do what each signal says. Source: uWSGI's page "Signals for controlling uWSGI", but SIGTERM stops."""
    async for number in signals:
        reason = f"{signal.Signals(number).name} received"
        if number == signal.SIGCHLD:
            master.collect_ends()
        elif number == signal.SIGHUP:
            master.reload(reason)
        elif number == signal.SIGTERM and not _dies_on_term(master.options):
            master.reload(reason, brutal=True)
        elif number == signal.SIGTSTP:
            master.suspend_or_resume()
        elif number == signal.SIGUSR1:
            master.log_statistics()
        elif number == signal.SIGUSR2:
            master.reopen_logs()
        else:
            master.stop(reason)


def _dies_on_term(options: Options) -> bool:
    return options.process.die_on_term and not options.process.no_die_on_term


class Controls:
    """The pipe and the socket that an operator speaks to, made when constructed; ``stack`` removes them.

    Raises `UsageError`, `BrokenError` or `BindError` when one cannot be made.
    """

    def __init__(self, options: Options, master: Master, stack: ExitStack) -> None:
        self.files: list[OwnFile] = []
        self._master = master
        self._fifo = self._socket = None
        if options.reload.master_fifo:
            self._fifo = MasterFifo(options.reload.master_fifo, fifo_commands(master), master.exchange_file)
            self.files.append(self._fifo.open())
            stack.callback(self._fifo.close)
        if options.reload.notify_socket is not None:
            self._socket = open_notify_socket(options.reload.notify_socket)
            stack.callback(self._socket.close)
            self.files.append(OwnFile.of(options.reload.notify_socket))
            stack.callback(self.files[-1].remove)

    def __repr__(self) -> str:
        return f"<Controls of {self._master!r}>"

    async def start(self, tasks: TaskGroup) -> None:
        """Begin to listen and to look; the first look is over when this returns."""
        if self._fifo is not None:
            tasks.start_soon(self._fifo.run)
        if self._socket is not None:
            tasks.start_soon(log_notifications, self._socket)
        await tasks.start(watch_touches, touch_triggers(self._master))
        tasks.start_soon(watch_sources, self._master)


def fifo_commands(master: Master) -> Mapping[str, Callable[[], None]]:
    """Return what each letter in the master FIFO does. Source: uWSGI's page "The Master FIFO"."""
    return {
        "+": partial(master.adjust_workers, "+ in the master FIFO", 1),
        "-": partial(master.adjust_workers, "- in the master FIFO", -1),
        "C": partial(master.go_cheap, "C in the master FIFO"),
        "L": master.rotate_log,
        "c": partial(master.replace_workers, "c in the master FIFO", chain=True),
        "l": master.reopen_logs,
        "p": master.suspend_or_resume,
        "P": master.write_pidfiles,
        "q": partial(master.stop, "q in the master FIFO"),
        "Q": partial(master.stop, "Q in the master FIFO", brutal=True),
        "r": partial(master.reload, "r in the master FIFO"),
        "R": partial(master.reload, "R in the master FIFO", brutal=True),
        "s": master.log_statistics,
        "w": partial(master.replace_workers, "w in the master FIFO"),
        "W": partial(master.replace_workers, "W in the master FIFO", brutal=True),
    }


def touch_triggers(master: Master) -> list[Trigger]:
    """Return which files are looked at, and what each change does. A reload may have changed the lists."""

    def touched(act: Callable[[str], None], words: str) -> Callable[[str], None]:
        return lambda paths: act(f"{paths} {words}")

    brutally = partial(master.reload, brutal=True)
    in_a_chain = partial(master.replace_workers, chain=True)
    spoolers = partial(master.replace_others, kind="spooler")
    mules = partial(master.replace_others, kind="mule")
    return [
        Trigger(lambda: master.options.reload.touch_reload, touched(master.reload, "has been touched")),
        Trigger(
            lambda: master.options.reload.touch_workers_reload, touched(master.replace_workers, "has been touched")
        ),
        Trigger(lambda: master.options.reload.touch_chain_reload, touched(in_a_chain, "has been touched")),
        Trigger(lambda: master.options.reload.touch_spoolers_reload, touched(spoolers, "has been touched")),
        Trigger(lambda: master.options.mules.touch_mules_reload, touched(mules, "has been touched")),
        Trigger(lambda: master.options.reload.fs_reload, touched(master.reload, "has changed"), tree=True),
        Trigger(lambda: master.options.reload.fs_brutal_reload, touched(brutally, "has changed"), tree=True),
    ]


async def watch_sources(master: Master) -> None:
    """Reload when a module of the app has changed, until cancelled."""
    while True:
        interval = master.options.reload.py_autoreload
        await anyio.sleep(interval or _OFF)
        sources = master.sources
        if not interval or sources is None:
            continue
        changed = more = sources.look()
        for _ in range(_MOST_WAITS):
            if not more:
                break
            await anyio.sleep(_SETTLED)
            more = sources.look()
            changed = [*changed, *more]
        if changed:
            master.reload(f"changed: {', '.join(dict.fromkeys(changed))}")
