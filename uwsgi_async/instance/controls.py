"""The handles of an operator: what letters in the master FIFO and touched files make the master do.

What lives here: `Controls`, `fifo_commands`, `touch_triggers`. What does not: the doing (`master`), the pipe
itself (`fifo`), looking at files (`touches`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from anyio.abc import TaskGroup

from uwsgi_async.instance.fifo import MasterFifo
from uwsgi_async.instance.notify import log_notifications, open_notify_socket
from uwsgi_async.instance.ownfile import OwnFile
from uwsgi_async.instance.touches import Trigger, watch_touches

if TYPE_CHECKING:
    from uwsgi_async.instance.master import Master
    from uwsgi_async.options.settings import Options


class Controls:
    """The pipe and the socket that an operator speaks to, made when constructed; ``stack`` removes them.

    Raises `UsageError`, `BrokenError` or `BindError` when one cannot be made.
    """

    def __init__(self, options: Options, master: Master, stack: ExitStack) -> None:
        self.files: list[OwnFile] = []
        self._master = master
        self._fifo = self._socket = None
        if options.reload.master_fifo:
            self._fifo = MasterFifo(options.reload.master_fifo, fifo_commands(master))
            self._fifo.open()
            stack.callback(self._fifo.close)
            self.files.append(OwnFile.of(self._fifo.path, written=True))
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


def fifo_commands(master: Master) -> Mapping[str, Callable[[], None]]:
    """Return what each letter in the master FIFO does. Source: uWSGI's page "The Master FIFO"."""
    return {
        "l": master.reopen_logs,
        "q": partial(master.stop, "q in the master FIFO"),
        "Q": partial(master.stop, "Q in the master FIFO", brutal=True),
        "r": partial(master.reload, "r in the master FIFO"),
        "R": partial(master.reload, "R in the master FIFO", brutal=True),
    }


def touch_triggers(master: Master) -> list[Trigger]:
    """Return which files are looked at, and what each change does. A reload may have changed the lists."""

    def reload(words: str, *, brutal: bool = False) -> Callable[[str], None]:
        return lambda paths: master.reload(f"{paths} {words}", brutal=brutal)

    return [
        Trigger(lambda: master.options.reload.touch_reload, reload("has been touched")),
        Trigger(lambda: master.options.reload.fs_reload, reload("has changed"), tree=True),
        Trigger(lambda: master.options.reload.fs_brutal_reload, reload("has changed", brutal=True), tree=True),
    ]
