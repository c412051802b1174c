"""What is measured: one declaration each, and the three ways of measuring.

What lives here: `SCENARIOS`, `GOALS`, and `measure`, which starts a server, checks its answer and measures it once.
What does not: the servers' command lines (`servers.py`), the order of the rounds (`__main__.py`), tables (`report.py`).
"""

from __future__ import annotations

import contextlib
import http.client
import resource
import select
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.instances import reload_time, worker_memory
from benchmarks.servers import (
    ALL_CPUS,
    SERVER_CPU,
    Flavour,
    Launch,
    NotUsableError,
    Protocol,
    Running,
    Server,
    free_port,
    nginx,
    running,
)
from benchmarks.wrk import wrk

KIB = 1024
POST_BYTES = 64 * KIB
WARM_UP_SECONDS = 1
CORES = 512
CLIENT_TIMEOUT = 20.0

MANY = 5000
# Open before the first look at the memory: they fill what the start left free in the heap.
FIRST_CONNECTIONS = 1000
# Longer than it takes any server to accept the connections: all of them sleep at the same time.
LONG_SLEEP = "120"
SETTLE_SECONDS = 1.5
# The descriptors for MANY connections, in the client and (inherited) in the server.
DESCRIPTORS = 2 * MANY

Kind = Literal["load", "cpu time", "idle memory", "sleeping memory", "start-up", "worker memory", "reload"]


@dataclass(frozen=True)
class Scenario:
    """One thing to measure.

    ``app``: file in apps/, without its flavour. ``flavour``: which of our handlers; the others have only one.
    ``front``: nginx stands before the server and hands over by this protocol where the server speaks it, else by HTTP.
    ``workers`` and ``preload``: see `Launch`; with workers the server has all CPUs. ``servers``: who takes part; () is
    all.
    """

    name: str
    title: str
    note: str
    app: str = "hello"
    flavour: Flavour = "sync"
    kind: Kind = "load"
    unit: str = "requests/s"
    connections: int = 64
    cores: int = CORES
    script: str | None = None
    front: Protocol | None = None
    workers: int = 0
    preload: bool = False
    servers: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def more_is_better(self) -> bool:
        return self.kind == "load"

    def protocol(self, server: Server) -> Protocol:
        return "uwsgi" if self.front == "uwsgi" and "uwsgi" in server.protocols else "http"


@dataclass(frozen=True)
class Goal:
    """What a server of ours must reach in a scenario: ``factor`` times another server, or at most ``at_most``."""

    scenario: str
    server: str
    other: str | None = None
    factor: float = 0.0
    at_most: float = 0.0


FOR_ASGI = ("asyncio", "uvloop", "trio", "granian-asgi", "uvicorn", "hypercorn", "hypercorn-trio")
WITH_MASTER = ("asyncio", "uvloop", "granian", "uwsgi", "gunicorn")
TEN_MS = {"BENCHMARK_SLEEP": "0.01"}
OWN_WAY = (
    "Each server waits in its own way: ours `uwsgi.async_sleep` in a core; uWSGI a timerfd with `uwsgi.wait_fd_read` "
    "and a `yield` in a core, since its `async_sleep` knows whole seconds only; granian `time.sleep` in one of "
    f"{CORES} threads; gunicorn gevent's `time.sleep`; uvicorn and hypercorn `asyncio.sleep` or `trio.sleep`."
)

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("hello-sync", "Hello, sync handler", "64 keep-alive connections; uWSGI closes each after a response."),
        Scenario("hello-async", "Hello, async handler", "The same with our `async def` handler.", flavour="async"),
        Scenario("hello-asgi", "Hello, ASGI app", "64 keep-alive connections.", flavour="asgi", servers=FOR_ASGI),
        Scenario(
            "cpu-asgi",
            "CPU time of a hello request, ASGI app",
            "What all processes of the server use, in user mode and in the kernel: what else the machine does matters "
            "less so. 64 keep-alive connections.",
            flavour="asgi",
            kind="cpu time",
            unit="us",
            servers=FOR_ASGI,
        ),
        Scenario(
            "sleep-asgi",
            "10 ms sleep, ASGI app",
            "256 connections; `asyncio.sleep`, or `trio.sleep` on trio.",
            app="sleep",
            flavour="asgi",
            connections=256,
            servers=FOR_ASGI,
            environment=TEN_MS,
        ),
        Scenario(
            "post-asgi",
            "64 KiB post, ASGI app",
            "The app reads the whole body.",
            app="post",
            flavour="asgi",
            script="post.lua",
            servers=FOR_ASGI,
        ),
        Scenario(
            "stream-asgi",
            "A response in 100 parts, ASGI app",
            "Parts of 1 KiB, without a Content-Length.",
            app="stream",
            flavour="asgi",
            servers=FOR_ASGI,
        ),
        Scenario(
            "sleep-sync",
            "10 ms sleep, sync handler",
            f"256 connections. {OWN_WAY}",
            app="sleep",
            connections=256,
            environment=TEN_MS,
        ),
        Scenario(
            "sleep-async",
            "10 ms sleep, async handler",
            "The same with our `async def` handler and `await async_sleep`.",
            app="sleep",
            flavour="async",
            connections=256,
            environment=TEN_MS,
        ),
        Scenario(
            "post", "64 KiB post", "The app reads the whole body; our handler is sync.", app="post", script="post.lua"
        ),
        Scenario("response", "1 MiB response", "One chunk of bytes; our handler is sync.", app="response"),
        Scenario(
            "nginx-uwsgi",
            "Behind nginx, by uwsgi",
            "`uwsgi_pass` for ours and uWSGI, `proxy_pass` for the others. nginx shares the client's core.",
            front="uwsgi",
        ),
        Scenario(
            "nginx-http",
            "Behind nginx, by HTTP",
            "`proxy_pass`, with kept connections, for all. nginx shares the client's core.",
            front="http",
        ),
        Scenario(
            "idle",
            "Memory of an idle connection",
            f"{MANY:,} keep-alive connections that each had one response. Growth of the processes' anonymous memory "
            f"for each, beyond {FIRST_CONNECTIONS:,} open before. uWSGI's `--http-socket` keeps none.",
            flavour="async",
            kind="idle memory",
            unit="bytes",
        ),
        Scenario(
            "sleeping",
            "Memory of a sleeping request",
            f"{MANY:,} requests that sleep at once, each server with as many cores (granian: threads). Growth of the "
            f"processes' anonymous memory for each, connection included, beyond {FIRST_CONNECTIONS:,} before.",
            app="sleep",
            flavour="async",
            kind="sleeping memory",
            unit="bytes",
            cores=FIRST_CONNECTIONS + MANY,
            environment={"BENCHMARK_SLEEP": LONG_SLEEP},
        ),
        Scenario(
            "start",
            "Start-up time",
            "From the start of the process to the first response.",
            flavour="async",
            kind="start-up",
            unit="ms",
        ),
        *(
            Scenario(
                f"workers-{count}",
                f"A page's work, {count} worker{'s' if count > 1 else ''} below a master",
                "A third of a millisecond of Python a request, 32 keep-alive connections. Servers and client share all "
                "CPUs.",
                app="work",
                connections=32,
                cores=64,
                workers=count,
                servers=WITH_MASTER,
            )
            for count in (1, 2)
        ),
        Scenario(
            "worker-memory",
            "Memory of a worker with Django",
            "4 workers that have each served some pages: the proportional set size (PSS) of all processes, master "
            "included, divided by 4. gunicorn with --preload.",
            app="django",
            kind="worker memory",
            unit="MB",
            cores=64,
            workers=4,
            preload=True,
            servers=WITH_MASTER,
        ),
        Scenario(
            "start-workers",
            "Start-up time, 2 workers below a master",
            "From the start of the process to the first response.",
            kind="start-up",
            unit="ms",
            cores=64,
            workers=2,
            servers=WITH_MASTER,
        ),
        Scenario(
            "reload",
            "Reload time, 2 workers below a master",
            "From SIGHUP to the first response of a new process; the requests that were refused or lost meanwhile are "
            "told as errors.",
            app="who",
            kind="reload",
            unit="ms",
            cores=64,
            workers=2,
            servers=WITH_MASTER,
        ),
    )
}

GOALS = (
    *(
        Goal(scenario, "asyncio", other, factor)
        for scenario in ("hello-sync", "hello-async")
        for other, factor in (("granian", 1.0), ("uvicorn", 2.0), ("uwsgi", 3.0))
    ),
    *(Goal(scenario, "trio", "asyncio", 0.8) for scenario in ("hello-sync", "hello-async")),
    *(
        Goal(scenario, server, "uwsgi", 1.5)
        for scenario in ("sleep-sync", "sleep-async")
        for server in ("asyncio", "trio")
    ),
    Goal("hello-asgi", "uvloop", "uvicorn", 1.3),
    Goal("hello-asgi", "uvloop", "granian-asgi", 1.0),
    Goal("hello-asgi", "trio", "hypercorn-trio", 10.0),
    *(Goal("idle", server, at_most=2500) for server in ("asyncio", "trio")),
)


@dataclass(frozen=True)
class Measurement:
    """One measured value, in the scenario's unit, and what went wrong meanwhile ("" = nothing)."""

    value: float
    p99: float = 0.0
    errors: str = ""


def measure(scenario: Scenario, server: Server, seconds: int) -> Measurement:
    """Start a server, check its answer, warm it up, measure it once, and stop it.

    Raises `NotUsableError` when the server cannot take part or its answer is wrong.
    """
    if (scenario.servers and server.name not in scenario.servers) or server.flavour not in (None, scenario.flavour):
        raise NotUsableError("It does not take part.")
    if scenario.kind == "idle memory" and not server.keep_alive:
        raise NotUsableError("It keeps no connections open.")
    if scenario.kind in ("idle memory", "sleeping memory"):
        allow_descriptors()
    port = free_port()
    protocol = scenario.protocol(server)
    launch = Launch(scenario.app, port, scenario.cores, scenario.flavour, protocol, scenario.workers, scenario.preload)
    cpus = ALL_CPUS if scenario.workers else SERVER_CPU
    environment = {**scenario.environment, **server.environment}
    with contextlib.ExitStack() as stack:
        process = stack.enter_context(running(server.command(launch), cpus, environment))
        process.wait_for_port(port)
        try:
            if scenario.kind == "start-up":
                check_answer(scenario, port)
                return Measurement((time.perf_counter() - process.started) * 1000)
            if scenario.front:
                port = stack.enter_context(nginx(port, protocol))
            return METHODS[scenario.kind](scenario, port, process, seconds)
        except (OSError, http.client.HTTPException) as error:
            raise NotUsableError(f"{type(error).__name__}: {error}. {process.log()}") from error


def check_answer(scenario: Scenario, port: int) -> None:
    """Ask once, and raise `NotUsableError` unless the answer is what the app is to give."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CLIENT_TIMEOUT)
    try:
        if scenario.app == "post":
            connection.request("POST", "/", body=b"x" * POST_BYTES)
        else:
            connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if scenario.app in ("work", "django", "who"):
        if response.status != 200 or not body:
            raise NotUsableError(f"Its answer is wrong: {response.status}, {body[:100]!r}")
        return
    expected = {
        "hello": b"hello\n",
        "sleep": b"slept\n",
        "post": b"%d\n" % POST_BYTES,
        "response": b"x" * KIB * KIB,
        "stream": b"x" * 100 * KIB,
    }[scenario.app]
    if response.status != 200 or body != expected:
        raise NotUsableError(f"Its answer is wrong: {response.status}, {body[:100]!r}")


def measure_load(scenario: Scenario, port: int, process: Running, seconds: int) -> Measurement:
    check_answer(scenario, port)
    script = Path(__file__).with_name(scenario.script) if scenario.script else None
    wrk(port, scenario.connections, WARM_UP_SECONDS, script)
    load = wrk(port, scenario.connections, seconds, script)
    return Measurement(load.requests_per_second, load.p99, load.errors)


def measure_cpu(scenario: Scenario, port: int, process: Running, seconds: int) -> Measurement:
    check_answer(scenario, port)
    wrk(port, scenario.connections, WARM_UP_SECONDS)
    before = process.cpu_seconds()
    load = wrk(port, scenario.connections, seconds)
    if not load.requests_per_second:
        return Measurement(0.0, errors=load.errors)
    used = process.cpu_seconds() - before
    return Measurement(used / (load.requests_per_second * seconds) * 1e6, load.p99, load.errors)


def measure_idle(scenario: Scenario, port: int, process: Running, seconds: int) -> Measurement:
    check_answer(scenario, port)
    with open_connections(port, FIRST_CONNECTIONS) as first:
        read_responses(first)
        time.sleep(SETTLE_SECONDS)
        before = process.memory()
        with open_connections(port, MANY) as connections:
            read_responses(connections)
            time.sleep(SETTLE_SECONDS)
            value = (process.memory() - before) / MANY
            closed = readable(first) + readable(connections)
    return Measurement(value, errors=f"{closed} connections were closed" if closed else "")


def measure_sleeping(scenario: Scenario, port: int, process: Running, seconds: int) -> Measurement:
    # No answer to check: it would take LONG_SLEEP. `sleep-sync` and `sleep-async` have checked the app.
    with open_connections(port, FIRST_CONNECTIONS) as first:
        before = settled_memory(process)
        with open_connections(port, MANY) as connections:
            value = (settled_memory(process) - before) / MANY
            answered = readable(first) + readable(connections)
    return Measurement(value, errors=f"{answered} requests did not sleep" if answered else "")


def measure_worker_memory(scenario: Scenario, port: int, process: Running, seconds: int) -> Measurement:
    check_answer(scenario, port)
    return Measurement(worker_memory(process, port, scenario.workers))


def measure_reload(scenario: Scenario, port: int, process: Running, seconds: int) -> Measurement:
    check_answer(scenario, port)
    value, lost = reload_time(process, port, scenario.workers)
    return Measurement(value, errors=f"{lost} requests were lost" if lost else "")


def settled_memory(process: Running) -> int:
    """Wait until the server has taken all connections, that is until its memory grows no more; return that."""
    previous = -1
    while (now := process.memory()) != previous:
        previous = now
        time.sleep(SETTLE_SECONDS)
    return now


METHODS: dict[Kind, Callable[[Scenario, int, Running, int], Measurement]] = {
    "load": measure_load,
    "cpu time": measure_cpu,
    "idle memory": measure_idle,
    "sleeping memory": measure_sleeping,
    "worker memory": measure_worker_memory,
    "reload": measure_reload,
}


def allow_descriptors() -> None:
    """Raise the limit of open files for this process and the servers that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if wanted < MANY + FIRST_CONNECTIONS:
        raise NotUsableError(f"Only {hard} files may be open at once (ulimit -Hn).")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextlib.contextmanager
def open_connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Open many connections, each with one request sent."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = stack.enter_context(
                contextlib.closing(socket.create_connection(("127.0.0.1", port), CLIENT_TIMEOUT))
            )
            connection.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            connections.append(connection)
        yield connections


def read_responses(connections: list[socket.socket]) -> None:
    """Read the hello response of each connection."""
    for connection in connections:
        answer = b""
        while not answer.endswith(b"hello\n"):
            data = connection.recv(4096)
            if not data:
                raise NotUsableError(f"It closed a connection after {answer!r}")
            answer += data


def readable(connections: list[socket.socket]) -> int:
    """Return the number of connections on which there are bytes or an end."""
    poller = select.poll()
    for connection in connections:
        poller.register(connection, select.POLLIN)
    return len(poller.poll(0))
