"""A fixed value of the statistics, for the tests of what is made of it, and a client of the stats server."""

from __future__ import annotations

import json
import socket
from typing import Any

from uwsgi_async import (
    AppStatistics,
    CoreStatistics,
    InstanceStatistics,
    ProcessStatistics,
    SocketStatistics,
    WorkerStatistics,
)

VARS = {"REQUEST_METHOD": "GET", "REQUEST_URI": "/slow?a=b", "HTTP_HOST": "example.org", "REMOTE_ADDR": "192.0.2.7"}


def core(number: int, **changes: Any) -> CoreStatistics:
    values = {"state": "idle", "requests": 0, "harakiri": 0, "exceptions": 0, "running": 0.0, "uri": ""}
    return CoreStatistics(id=number, **{**values, **changes})


def worker(number: int, **changes: Any) -> WorkerStatistics:
    values = {
        "pid": 100 + number, "requests": 0, "delta_requests": 0, "signals": 0, "exceptions": 0, "harakiri_count": 0,
        "status": b"idle", "rss": 0, "vsz": 0, "running_time": 0, "last_spawn": 1_700_000_001, "respawn_count": 0,
        "tx": 0, "avg_rt": 0, "accepting": True, "ready": True, "cores": (core(0), core(1)),
    }  # fmt: skip
    return WorkerStatistics(id=number, **{**values, **changes})


def instance(**changes: Any) -> InstanceStatistics:
    """Two workers; the first has served three requests and handles a fourth, the second has done nothing."""
    busy = core(
        1, state="busy", requests=3, running=2.5, uri="/slow?a=b", write_errors=1, read_errors=2,
        request_start=1_700_000_100.0, vars=VARS,
    )  # fmt: skip
    first = worker(
        1, requests=3, delta_requests=3, exceptions=1, harakiri_count=1, status=b"busy", rss=30 << 20, vsz=90 << 20,
        running_time=1_500_000, tx=2048, avg_rt=500_000, busy=1, connections=4, waiting=2, longest_wait=7000,
        loop_lag=1200, apps=(AppStatistics(id=0, startup_time=2, requests=3, exceptions=1),), cores=(core(0), busy),
    )  # fmt: skip
    values = {
        "version": "2.0.31", "software": "uwsgi_async 1.0", "pid": 100, "uid": 1000, "gid": 1000, "cwd": "/srv/app",
        "started": 1_700_000_000.0, "state": "serving", "reloads": 1, "failed_reloads": 2, "listen_queue": 5,
        "sockets": (SocketStatistics(name="127.0.0.1:8000", proto="http", queue=5, max_queue=100),),
        "workers": (first, worker(2)),
        "processes": (
            ProcessStatistics(role="master", pid=100, state="serving", rss=20 << 20, started=1_700_000_000.0),
            ProcessStatistics(role="fork server", pid=150, state="waiting", rss=25 << 20, started=1_700_000_000.5),
            ProcessStatistics(role="worker 1", pid=101, state="busy", rss=30 << 20, started=1_700_000_001.0),
            ProcessStatistics(role="worker 2", pid=102, state="idle", rss=0, started=1_700_000_001.0),
        ),
        "sections": {
            "locks": [{"user 0": 0}],
            "caches": [
                {
                    "name": "default", "hash": "djb33x", "hashsize": 65536, "keysize": 2048, "max_items": 100,
                    "blocks": 100, "blocksize": 65536, "items": 4, "hits": 7, "miss": 3, "full": 0,
                    "last_modified_at": 1_700_000_050,
                }
            ],
            "metrics": {"orders": {"type": 0, "oid": "", "value": 42}},
        },
    }  # fmt: skip
    return InstanceStatistics(**{**values, **changes})


def read(address: str, request: bytes = b"") -> bytes:
    """Connect to a TCP address or the path of a socket, send ``request`` and read until the server closes."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET if host else socket.AF_UNIX
    with socket.socket(family) as sock:
        sock.settimeout(20)
        sock.connect((host, int(port)) if host else address.replace("@", "\0"))
        if request:
            sock.sendall(request)
        data = b""
        while part := sock.recv(65536):
            data += part
    return data


def look(address: str) -> Any:
    """Return the JSON that is told at ``address``."""
    return json.loads(read(address))
