"""What an instance tells about itself: frozen values, the same for `statistics`, the stats server and Prometheus.

What lives here: the dataclasses. What does not: where the numbers come from and how they are written
(`instance.statistics`), the functions `workers` and `statistics` (`api.process`). The names are those of uWSGI's stats
server; what uWSGI does not have is told so. Source: core/master_utils.c, uwsgi_master_generate_stats; StatsServer.rst.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from uwsgi_async.cores.core import CoreStatistics

InstanceState = Literal["starting", "serving", "draining"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppStatistics:
    """One app of a worker. ``startup_time``: seconds that it took to load.

    ``interpreter`` and ``callable``: addresses, the same in all workers that the app was loaded for at once; 0 where
    they are not known.
    """

    id: int
    modifier1: int = 0
    mountpoint: bytes = b""
    startup_time: int = 0
    interpreter: int = 0
    callable: int = 0
    requests: int = 0
    exceptions: int = 0
    chdir: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatistics:
    """One worker. Times are microseconds, ``last_spawn`` is unix seconds, ``rss``, ``vsz`` and ``tx`` are bytes.

    ``delta_requests`` counts since the last respawn; ``status`` is b"idle", b"busy" or b"cheap";
    ``respawn_count`` is 0 for the first process.

    Not in uWSGI: ``ready``: it serves; ``busy``: requests that run now; ``connections``: open ones; ``waiting``: those
    that no core was free for, and ``longest_wait`` of one for a core since the worker began; ``loop_lag``: by how much
    its event loop was late at most in the last minute.
    """

    id: int
    pid: int
    requests: int
    delta_requests: int
    signals: int
    exceptions: int
    harakiri_count: int
    status: bytes
    rss: int
    vsz: int
    running_time: int
    last_spawn: int
    respawn_count: int
    tx: int
    avg_rt: int
    accepting: bool
    apps: tuple[AppStatistics, ...] = ()
    ready: bool = False
    busy: int = 0
    connections: int = 0
    waiting: int = 0
    longest_wait: int = 0
    loop_lag: int = 0
    cores: tuple[CoreStatistics, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketStatistics:
    """One socket that is served. ``queue``: connections that the kernel holds and nobody has accepted yet.

    ``max_queue``: the most that it holds; 0 where the kernel does not tell, as for UNIX sockets.
    """

    name: str
    proto: str
    queue: int
    max_queue: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatistics:
    """One process of the instance. Not in uWSGI.

    ``role``: "master", "zygote", "fork server", "worker 1", "spooler 1", or "instance" for one process alone.
    ``state``: a word.
    ``rss``: bytes; ``started``: unix seconds; 0 and 0.0 when the process has just ended.
    """

    role: str
    pid: int
    state: str
    rss: int
    started: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceStatistics:
    """The whole instance. ``pid``: of the master, or of the one process; ``cwd``, ``uid``, ``gid``: of who tells it.

    ``listen_queue``: the longest of the sockets' queues. ``sections``: what the shared state tells of itself, by
    uWSGI's names and in the form of its JSON: "locks", "caches", "metrics".

    Not in uWSGI: ``software``; ``started``: unix seconds; ``state``; ``reloads``: how many there were;
    ``failed_reloads``: how many have left the old workers; ``processes``.
    """

    version: str
    software: str
    pid: int
    uid: int
    gid: int
    cwd: str
    started: float
    state: InstanceState
    reloads: int
    failed_reloads: int
    listen_queue: int
    sockets: tuple[SocketStatistics, ...]
    workers: tuple[WorkerStatistics, ...]
    processes: tuple[ProcessStatistics, ...]
    sections: Mapping[str, Any] = field(default_factory=dict)
