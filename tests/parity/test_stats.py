"""The statistics have every key of real uWSGI's, with the same types, and say the same of the same requests."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.parity.harness import start_oracle, start_ours

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

OURS = {
    "": {"software", "state", "started", "reloads", "failed_reloads", "processes", "signals"},
    "signals": {"routed", "unrouted", "waiting", "queues", "signals", "sources"},
    "workers": {"ready", "busy", "connections", "waiting", "longest_wait", "loop_lag"},
    "workers.cores.req_info": {"running"},
}
"""Keys that real uWSGI has not, by where they stand."""

Statistics = dict[str, dict[str, Any]]


def connected(path: Path) -> socket.socket:
    """Real uWSGI serves requests, and may have been asked for some, before it opens its stats server."""
    give_up = time.monotonic() + 20
    while True:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        try:
            sock.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            sock.close()
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            return sock


def read(path: Path, request: bytes = b"") -> bytes:
    with connected(path) as sock:
        if request:
            sock.sendall(request)
        data = b""
        while part := sock.recv(65536):
            data += part
    return data


def look(path: Path) -> Any:
    return json.loads(read(path))


def look_until(path: Path, condition: Callable[[Any], bool]) -> Any:
    """Look until the server tells what it will: a request is counted a moment after its answer has gone."""
    deadline = time.monotonic() + 20
    while not condition(told := look(path)):
        assert time.monotonic() < deadline, told
    return told


def is_idle(told: Any) -> bool:
    (worker,) = told["workers"]
    return bool(worker["requests"] == 2 and worker["status"] == "idle")


def is_busy(told: Any) -> bool:
    (worker,) = told["workers"]
    return bool(worker["requests"] == 2 and any(core["in_request"] and core["vars"] for core in worker["cores"]))


@pytest.fixture(scope="module", params=[(), ("--stats-minified", "--stats-no-cores")], ids=["all", "no cores"])
def statistics(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Statistics:
    """What each server tells after two requests; if it tells of cores, while a third one waits for a second."""
    found = {}
    for name, start in (("ours", start_ours), ("oracle", start_oracle)):
        tmp = tmp_path_factory.mktemp(name)
        with start("surface.py", tmp, "--stats", str(tmp / "stats"), *request.param) as running:
            for _ in range(2):
                running.request("GET", "/headers")
            found[name] = look_until(tmp / "stats", is_idle)
            if "--stats-no-cores" not in request.param:
                client = threading.Thread(target=running.request, args=("GET", "/suspend_timeout?a=b"))
                client.start()
                found[name] = look_until(tmp / "stats", is_busy)
                client.join()
    return found


def types(value: Any, where: str = "") -> dict[str, set[str]]:
    """Return the types of values by the keys that lead to them; the items of a list stand at one place."""
    if isinstance(value, dict):
        found: dict[str, set[str]] = {}
        for key, item in value.items():
            for at, names in types(item, f"{where}.{key}" if where else key).items():
                found.setdefault(at, set()).update(names)
        return {where: {"object"}, **found}
    if isinstance(value, list):
        found = {where: {"list"}}
        for item in value:
            for at, names in types(item, where).items():
                found.setdefault(at, set()).update(names)
        return found
    return {where: {type(value).__name__}}


def without_locks(value: dict[str, Any]) -> dict[str, Any]:
    """uWSGI's locks have names for keys, and most of them are of its own insides."""
    assert isinstance(value["locks"], list)
    return {**value, "locks": []}


def test_every_key_is_there_with_the_same_type(statistics: Statistics) -> None:
    ours, oracle = (types(without_locks(statistics[name])) for name in ("ours", "oracle"))
    assert {at: ours.get(at) for at in oracle} == oracle


def test_nothing_is_there_that_is_not_written_down(statistics: Statistics) -> None:
    ours, oracle = (types(without_locks(statistics[name])) for name in ("ours", "oracle"))
    more = {at for at in ours if at not in oracle}
    allowed = {f"{where}.{key}" if where else key for where, keys in OURS.items() for key in keys}
    assert {at for at in more if at not in allowed and not at.startswith("processes.")} == set()


def test_the_keys_of_uwsgi_keep_their_order(statistics: Statistics) -> None:
    ours, oracle = statistics["ours"], statistics["oracle"]
    assert [key for key in ours if key in oracle] == list(oracle)
    assert [key for key in ours["workers"][0] if key in oracle["workers"][0]] == list(oracle["workers"][0])


SAME: dict[str, Callable[[dict[str, Any]], object]] = {
    "version": lambda told: told["version"],
    "uid": lambda told: told["uid"],
    "cwd": lambda told: told["cwd"],
    "requests": lambda told: told["workers"][0]["requests"],
    "delta_requests": lambda told: told["workers"][0]["delta_requests"],
    "accepting": lambda told: told["workers"][0]["accepting"],
    "protocols": lambda told: [each["proto"] for each in told["sockets"]],
    "app": lambda told: {key: told["workers"][0]["apps"][0][key] for key in ("id", "modifier1", "mountpoint", "chdir")},
    "cores": lambda told: [core["id"] for core in told["workers"][0].get("cores", [])],
    "status": lambda told: told["workers"][0]["status"],
    "busy cores": lambda told: sum(core["in_request"] for core in told["workers"][0].get("cores", [])),
}


@pytest.mark.parametrize("what", SAME)
def test_the_same_requests_are_told_as_the_same(statistics: Statistics, what: str) -> None:
    assert SAME[what](statistics["ours"]) == SAME[what](statistics["oracle"])


def test_the_vars_of_a_running_request_are_the_same(statistics: Statistics) -> None:
    shown = {}
    for name, told in statistics.items():
        for core in told["workers"][0].get("cores", []):
            if core["in_request"]:
                assert core["vars"][-1] == ""
                shown[name] = {each for each in core["vars"] if not each.startswith(("HTTP_HOST=", "SERVER_PORT="))}
    assert bool(shown) == ("cores" in statistics["oracle"]["workers"][0])
    assert shown.get("ours") == shown.get("oracle")


def test_the_http_head_says_json(tmp_path: Path) -> None:
    heads = {}
    for name, start in (("ours", start_ours), ("oracle", start_oracle)):
        path = tmp_path / name
        with start("surface.py", tmp_path, "--stats", str(path), "--stats-http") as _:
            answer = read(path, b"GET / HTTP/1.0\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert json.loads(body)["version"] == "2.0.31"
        heads[name] = head.split(b"\r\n")
    assert heads["oracle"][0] == heads["ours"][0] == b"HTTP/1.0 200 OK"
    # Ours also says the length and the date; that a connection closes is what HTTP/1.0 means by itself.
    assert set(heads["oracle"]) - {b"Connection: close"} <= set(heads["ours"])
