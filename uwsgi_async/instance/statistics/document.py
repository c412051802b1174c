"""The statistics as uWSGI's stats server tells them: the keys of its JSON in its order, and ours behind them.

What lives here: `encode` and `document`, and `decode`, which reads the JSON of our server and of uWSGI's. What does
not: the values (`api.statistics`), who is told (`server`), who asks (`commands`). Every number is a whole one, as
uWSGI's readers expect. Source: core/master_utils.c, uwsgi_master_generate_stats.
"""

from __future__ import annotations

import json
from typing import Any

from uwsgi_async.api.statistics import (
    AppStatistics,
    InstanceStatistics,
    ProcessStatistics,
    SocketStatistics,
    WorkerStatistics,
)
from uwsgi_async.cores.core import CoreStatistics
from uwsgi_async.errors import PeerError
from uwsgi_async.options.stats import StatsOptions

MICROS = 1_000_000
_STATE = ("caches", "metrics", "signals")  # sections that are there when there is something to tell


_BEHIND = (
    "mules",
    "farms",
    "mule_queue",
    "spoolers",
    "snmp",
)  # the same, where uWSGI tells them behind the workers


def encode(statistics: InstanceStatistics, options: StatsOptions) -> bytes:
    """Return the JSON text that ``options`` ask for."""
    content = document(statistics, cores=not options.stats_no_cores)
    if options.stats_no_metrics:
        content.pop("metrics", None)
    indent = None if options.stats_minified else "\t"
    return json.dumps(content, indent=indent, separators=(",", ":"), ensure_ascii=False).encode()


def decode(text: bytes) -> InstanceStatistics:
    """Return what a stats server has told; keys of ours that uWSGI has not are then 0 or empty.

    Raises `PeerError` when it is something else.
    """
    try:
        return _read_instance(json.loads(text))
    except (ValueError, KeyError, TypeError, AttributeError):
        # The sentence says all there is to say about bytes from outside.
        raise PeerError(f"expected the statistics of uwsgi-async or uWSGI, but {text[:80]!r} came") from None


# --- writing ----------------------------------------------------------------------------------------------------


def document(statistics: InstanceStatistics, *, cores: bool = True) -> dict[str, Any]:
    """Return what the JSON says. ``cores``: of the cores too. Times are microseconds, but those that say otherwise."""
    s = statistics
    signals = s.sections.get("signals", {})
    queues = signals.get("queues", {})
    return {
        "version": s.version,
        "listen_queue": s.listen_queue,
        "listen_queue_errors": 0,  # as in uWSGI, which never counts them
        "signal_queue": signals.get("waiting", 0),
        "load": s.listen_queue,  # as in uWSGI
        "pid": s.pid,
        "uid": s.uid,
        "gid": s.gid,
        "cwd": s.cwd,
        "locks": s.sections.get("locks", []),
        **{name: s.sections[name] for name in _STATE if name in s.sections},
        "sockets": [_socket(each) for each in s.sockets],
        "workers": [_worker(each, cores, queues.get(f"worker{each.id}", 0)) for each in s.workers],
        **{name: s.sections[name] for name in _BEHIND if name in s.sections},
        "software": s.software,
        "state": s.state,
        "started": int(s.started * MICROS),
        "reloads": s.reloads,
        "failed_reloads": s.failed_reloads,
        "processes": [_process(each) for each in s.processes],
    }


def _socket(socket: SocketStatistics) -> dict[str, Any]:
    return {
        "name": socket.name,
        "proto": socket.proto,
        "queue": socket.queue,
        "max_queue": socket.max_queue,
        "shared": 0,
        "can_offload": 0,
    }


def _worker(worker: WorkerStatistics, cores: bool, signal_queue: int) -> dict[str, Any]:
    w = worker
    told: dict[str, Any] = {
        "id": w.id,
        "pid": w.pid,
        "accepting": int(w.accepting),
        "requests": w.requests,
        "delta_requests": w.delta_requests,
        "exceptions": w.exceptions,
        "harakiri_count": w.harakiri_count,
        "signals": w.signals,
        "signal_queue": signal_queue,
        "status": w.status.decode(),
        "rss": w.rss,
        "vsz": w.vsz,
        "running_time": w.running_time,
        "last_spawn": w.last_spawn,
        "respawn_count": w.respawn_count + 1,  # uWSGI counts the first spawn here, and not in `workers`
        "tx": w.tx,
        "avg_rt": w.avg_rt,
        "apps": [_app(each) for each in w.apps],
        "cores": [_core(each) for each in w.cores],
        "ready": int(w.ready),
        "busy": w.busy,
        "connections": w.connections,
        "waiting": w.waiting,
        "longest_wait": w.longest_wait,
        "loop_lag": w.loop_lag,
    }
    if not cores:
        del told["cores"]
    return told


def _app(app: AppStatistics) -> dict[str, Any]:
    return {
        "id": app.id,
        "modifier1": app.modifier1,
        "mountpoint": app.mountpoint.decode("utf-8", "replace"),
        "startup_time": app.startup_time,
        "requests": app.requests,
        "exceptions": app.exceptions,
        "chdir": app.chdir.decode("utf-8", "replace"),
    }


def _core(core: CoreStatistics) -> dict[str, Any]:
    return {
        "id": core.id,
        "requests": core.requests,
        "static_requests": core.static_requests,
        "routed_requests": core.routed_requests,
        "offloaded_requests": core.offloaded_requests,
        "write_errors": core.write_errors,
        "read_errors": core.read_errors,
        "in_request": int(core.state == "busy"),
        # As in uWSGI, an empty text ends the list of vars.
        "vars": [*(f"{name}={value}" for name, value in core.vars.items()), ""] if core.vars else [],
        "req_info": _request(core) if core.state == "busy" else {},
    }


def _request(core: CoreStatistics) -> dict[str, int]:
    return {"request_start": int(core.request_start), "running": int(core.running * MICROS)}


def _process(process: ProcessStatistics) -> dict[str, Any]:
    return {
        "role": process.role,
        "pid": process.pid,
        "state": process.state,
        "rss": process.rss,
        "started": int(process.started * MICROS),
    }


# --- reading ----------------------------------------------------------------------------------------------------


_WORKER_NUMBERS = (
    "id", "pid", "requests", "delta_requests", "signals", "exceptions", "harakiri_count", "rss", "vsz", "running_time",
    "last_spawn", "tx", "avg_rt",
)  # fmt: skip


def _read_instance(told: dict[str, Any]) -> InstanceStatistics:
    state = told.get("state")
    return InstanceStatistics(
        version=str(told["version"]),
        software=str(told.get("software", f"uWSGI {told['version']}")),
        pid=int(told["pid"]),
        uid=int(told["uid"]),
        gid=int(told["gid"]),
        cwd=str(told["cwd"]),
        started=int(told.get("started", 0)) / MICROS,
        state="starting" if state == "starting" else "draining" if state == "draining" else "serving",
        reloads=int(told.get("reloads", 0)),
        failed_reloads=int(told.get("failed_reloads", 0)),
        listen_queue=int(told["listen_queue"]),
        sockets=tuple(_read_socket(each) for each in told["sockets"]),
        workers=tuple(_read_worker(each) for each in told["workers"]),
        processes=tuple(_read_process(each) for each in told.get("processes", ())),
        sections={name: told[name] for name in ("locks", *_STATE, *_BEHIND) if told.get(name)},
    )


def _read_socket(told: dict[str, Any]) -> SocketStatistics:
    return SocketStatistics(
        name=str(told["name"]), proto=str(told["proto"]), queue=int(told["queue"]), max_queue=int(told["max_queue"])
    )


def _read_worker(told: dict[str, Any]) -> WorkerStatistics:
    cores = tuple(_read_core(each) for each in told.get("cores", ()))
    return WorkerStatistics(
        **{name: int(told[name]) for name in _WORKER_NUMBERS},
        **{name: int(told.get(name, 0)) for name in ("connections", "waiting", "longest_wait", "loop_lag")},
        status=str(told["status"]).encode(),
        respawn_count=int(told["respawn_count"]) - 1,
        accepting=bool(told["accepting"]),
        apps=tuple(_read_app(each) for each in told["apps"]),
        ready=bool(told.get("ready", told["status"] != "cheap")),
        busy=int(told.get("busy", sum(core.state == "busy" for core in cores))),
        cores=cores,
    )


def _read_app(told: dict[str, Any]) -> AppStatistics:
    numbers = ("id", "modifier1", "startup_time", "requests", "exceptions")
    return AppStatistics(
        **{name: int(told[name]) for name in numbers},
        mountpoint=str(told["mountpoint"]).encode(),
        chdir=str(told["chdir"]).encode(),
    )


def _read_core(told: dict[str, Any]) -> CoreStatistics:
    request = told["req_info"]
    vars = dict(str(each).partition("=")[::2] for each in told["vars"] if each)
    numbers = ("id", "requests", "static_requests", "routed_requests", "offloaded_requests")
    return CoreStatistics(
        **{name: int(told[name]) for name in (*numbers, "write_errors", "read_errors")},
        state="busy" if told["in_request"] else "idle",
        harakiri=0,
        exceptions=0,
        running=int(request.get("running", 0)) / MICROS,
        uri=vars.get("REQUEST_URI", ""),
        request_start=float(request.get("request_start", 0)),
        vars=vars,
    )


def _read_process(told: dict[str, Any]) -> ProcessStatistics:
    return ProcessStatistics(
        role=str(told["role"]),
        pid=int(told["pid"]),
        state=str(told["state"]),
        rss=int(told["rss"]),
        started=int(told["started"]) / MICROS,
    )
