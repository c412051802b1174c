"""The shared state of an instance: created once, before the first fork, attached in every process.

What lives here: `SharedState`, and `KINDS`, the table of all kinds of state that there are. What does not: the kinds
themselves (`state`), the functions that use them (`api`).

The master, or the one process, creates; a fork server attaches by what `SharedState.described` says, and its
workers have what it has. State outlives a reload: a new generation attaches to what the first one was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import anyio

from uwsgi_async.api import cache, erlang, locks, metrics, mules, queue, sharedarea, snmp, spooler
from uwsgi_async.api.statistics import InstanceStatistics
from uwsgi_async.erlang.settings import NodeClaim
from uwsgi_async.instance.metrics import InstanceMetrics
from uwsgi_async.instance.roles import mule_programs
from uwsgi_async.instance.statistics.publish import Detail
from uwsgi_async.mules.queues import MuleQueues
from uwsgi_async.options.settings import Options
from uwsgi_async.snmp.values import SnmpValues
from uwsgi_async.spooler.table import Spoolers
from uwsgi_async.state.cache.caches import Caches
from uwsgi_async.state.locks import Locks
from uwsgi_async.state.metrics import Metrics
from uwsgi_async.state.metricspec import Shape
from uwsgi_async.state.queue import Queue
from uwsgi_async.state.sharedarea import SharedAreas


class Part(Protocol):
    """One kind of state, in one process."""

    @property
    def fds(self) -> Sequence[int]:
        """The file descriptors that a child process must inherit, at the same numbers."""

    def described(self) -> Any:
        """Return what another process needs to attach, fds included; made of what JSON knows."""

    async def maintain(self) -> None:
        """Do what must be done now and then; runs in one process of the instance until it is cancelled."""

    def publish(self) -> None:
        """Let the other processes see what this one has only counted so far; called a few times a second."""

    def sections(self) -> Mapping[str, Any]:
        """Return what it tells in the statistics, by the names and in the form of uWSGI's JSON."""

    def close(self) -> None:
        """Give back what this process holds. The state lives on while another process has it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of state comes to be.

    ``create``: makes it from the options; None when they configure none; raises `OptionError` for what cannot be.
    ``attach``: joins what ``described()`` of another process's part says. ``use``: lets the functions of `api` use it
    while the block runs. ``mend``: puts in order what the death of a process may have left; None: nothing is left.
    """

    name: str
    create: Callable[[Options], Part | None]
    attach: Callable[[Any], Part]
    use: Callable[[Any], AbstractContextManager[None]]
    mend: Callable[[Any], None] | None = None


def shape(options: Options) -> Shape:
    """Return what an instance with these options consists of."""
    sockets = len(options.sockets.http_socket) + len(options.sockets.socket)
    return Shape(workers=options.process.processes, cores=options.cores.cores, sockets=sockets)


KINDS: tuple[Kind, ...] = (
    Kind("cache", lambda options: Caches.create(options.cache), Caches.attach, cache.using, Caches.mend),
    Kind("locks", lambda options: Locks.create(options.locks), Locks.attach, locks.using),
    Kind("queue", lambda options: Queue.create(options.queue), Queue.attach, queue.using),
    Kind("areas", lambda options: SharedAreas.create(options.areas), SharedAreas.attach, sharedarea.using),
    Kind("metrics", lambda options: Metrics.create(options.metrics, shape(options)), Metrics.attach, metrics.using),
    Kind(
        "mules",
        lambda options: MuleQueues.create(options.mules, len(mule_programs(options))),
        MuleQueues.attach,
        mules.using,
    ),
    Kind("erlang", lambda options: NodeClaim.create(options.erlang), NodeClaim.attach, erlang.using),
    Kind("spoolers", lambda options: Spoolers.create(options.spooler), Spoolers.attach, spooler.using),
    Kind("snmp", lambda options: SnmpValues.create(options.snmp), SnmpValues.attach, snmp.using),
)


class SharedState:
    """All shared state of an instance, in one process. ``parts``: by the names of their kinds."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self.parts = parts

    def __repr__(self) -> str:
        return f"<SharedState: {', '.join(map(repr, self.parts.values())) or 'none'}>"

    @classmethod
    def create(cls, options: Options) -> SharedState:
        """Create what the options configure. Raises `OptionError`; then nothing is left open."""
        parts: dict[str, Part] = {}
        try:
            for kind in KINDS:
                part = kind.create(options)
                if part is not None:
                    parts[kind.name] = part
        except BaseException:
            cls(parts).close()
            raise
        return cls(parts)

    @classmethod
    def attach(cls, described: Mapping[str, Any]) -> SharedState:
        """Join the state that ``described()`` of another process says."""
        return cls({kind.name: kind.attach(described[kind.name]) for kind in KINDS if kind.name in described})

    @property
    def mule_queues(self) -> MuleQueues | None:
        """The queues of the mules; None without mules."""
        queues = self.parts.get("mules")
        return queues if isinstance(queues, MuleQueues) else None

    @property
    def fds(self) -> list[int]:
        """What a child process must inherit, at the same numbers."""
        return [fd for part in self.parts.values() for fd in part.fds]

    def described(self) -> dict[str, Any]:
        """Return what `attach` needs in another process."""
        return {name: part.described() for name, part in self.parts.items()}

    @contextmanager
    def used(self) -> Iterator[None]:
        """Let the functions of `api` use this state while the block runs."""
        with ExitStack() as stack:
            for kind in KINDS:
                if kind.name in self.parts:
                    stack.enter_context(kind.use(self.parts[kind.name]))
            yield

    async def maintain(self) -> None:
        """Keep the state in order until cancelled. For one process of the instance: the master, or the only one."""
        async with anyio.create_task_group() as tasks:
            for part in self.parts.values():
                tasks.start_soon(part.maintain)

    def publish(self) -> None:
        """Let the other processes see what this one has only counted so far."""
        for part in self.parts.values():
            part.publish()

    def mend(self) -> None:
        """Put in order what the death of a process may have left. To be called after each one that is noticed."""
        for kind in KINDS:
            if kind.mend is not None and kind.name in self.parts:
                kind.mend(self.parts[kind.name])

    def sections(self) -> dict[str, Any]:
        """Return what the state tells in the statistics; lists of the same name are one."""
        told: dict[str, Any] = {}
        for part in self.parts.values():
            for name, section in part.sections().items():
                told[name] = told[name] + section if name in told else section
        return told

    def observe(self, look: Callable[[Detail], InstanceStatistics | None]) -> None:
        """Let ``look`` give the numbers of the instance's own metrics, if metrics are kept."""
        metrics = self.parts.get("metrics")
        if isinstance(metrics, Metrics):
            metrics.observe(InstanceMetrics(partial(look, Detail.CORES if metrics.has_cores else Detail.WORKERS)))

    def close(self) -> None:
        """Give back what this process holds."""
        for part in self.parts.values():
            part.close()
