"""The signals of an instance: the router put in place, for one process and for many.

What lives here: `make_router`, `begin_generation`, `ImportSignals` and `SingleSignals`. What does not: the router
itself and what processes do with signals (`signals`), the functions of apps (`api.signals`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import anyio

from uwsgi_async.instance.channel import Channel
from uwsgi_async.instance.roles import mule_programs, spooler_paths
from uwsgi_async.options.mules import farms
from uwsgi_async.options.settings import Options
from uwsgi_async.options.signals import split_file, split_timer
from uwsgi_async.signals.declare import Declaration, FileMonitor, Timer
from uwsgi_async.signals.end import SignalEnd, collect, packed
from uwsgi_async.signals.messages import FromProcess, ToProcess
from uwsgi_async.signals.router import Generation, Port, SignalRouter
from uwsgi_async.signals.targets import Roster
from uwsgi_async.signals.values import document


def roster(options: Options, *, alone: bool = False) -> Roster:
    """Return which processes an instance with these options has. ``alone``: as tasks of one process."""
    return Roster(
        workers=options.process.processes,
        mules=len(mule_programs(options)),
        farms=farms(options.mules),
        spoolers=tuple(spooler_paths(options)),
        alone=alone,
    )


def make_router(options: Options) -> SignalRouter:
    return SignalRouter(options.signals.signal_bufsize)


def begin_generation(router: SignalRouter, options: Options, *, alone: bool = False) -> Generation:
    """Return a new generation, in which the timers and so on of the options are registered."""
    generation = router.begin(roster(options, alone=alone))
    generation.configure(configured(options))
    return generation


def configured(options: Options) -> Sequence[Declaration]:
    """Return what the options say."""
    declared: list[Declaration] = [Timer(*split_timer(text)) for text in options.signals.timer]
    declared += [Timer(*split_timer(text), kind="rb_timer") for text in options.signals.rbtimer]
    for text in options.signals.fs_signal:
        path, signal = split_file(text)
        declared.append(FileMonitor(signal, os.path.abspath(path)))
    return declared


class ImportSignals:
    """What an app has registered and raised while it was imported, in the fork server."""

    def __init__(self, options: Options) -> None:
        self._messages: list[FromProcess] = []
        self.end = SignalEnd(
            collect(self._messages),
            roster(options),
            "the fork server",
            harakiri=options.cores.harakiri,
            importing=True,
        )

    def tell(self, channel: Channel) -> None:
        """Tell the master, a part at a time; blocks while the channel is full."""
        channel.send_all(packed(self._messages))
        self._messages.clear()


class SingleSignals:
    """The signals of an instance that is one process: the router and the only one whom it knows."""

    def __init__(self, options: Options) -> None:
        self.router = make_router(options)
        self._generation = begin_generation(self.router, options, alone=True)
        self._port = self._generation.connect("worker", 1, self._deliver)
        harakiri = options.cores.harakiri
        self.end = SignalEnd(self._take, self._generation.table.roster, "worker 1", harakiri=harakiri)

    def connect_mule(self, number: int) -> tuple[SignalEnd, Port]:
        """Connect a mule that is a thread of this process; it has the handlers of all."""

        def deliver(message: ToProcess) -> bool:
            end.receive(message)
            return True

        def take(message: FromProcess) -> bool:
            port.take(message)
            return True

        port = self._generation.connect("mule", number, deliver)
        end = SignalEnd(take, self._generation.table.roster, f"mule {number}")
        end.handlers = self.end.handlers
        return end, port

    async def run(self) -> None:
        """Route and handle signals until cancelled."""
        self.router.adopt(self._generation)
        self._port.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.end.run)
            tasks.start_soon(self.router.run)

    async def drain(self, seconds: float) -> None:
        """Take no more, and wait until what was delivered is handled, ``seconds`` at most."""
        self._port.retire()
        await self.end.finish(seconds)

    def sections(self) -> dict[str, Any]:
        """Return what is told in the statistics."""
        return {"signals": document(self.router.statistics())}

    def _deliver(self, message: ToProcess) -> bool:
        self.end.receive(message)
        return True

    def _take(self, message: FromProcess) -> bool:
        self._port.take(message)
        return True
