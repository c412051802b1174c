"""python -m benchmarks.websockets: ten thousand open websockets in one process, and what a message costs.

Each server has one process on one CPU and an app that sends every message back; the client has another CPU. Memory: the
growth of the process's anonymous memory for each websocket that is open, has had one message, and is silent, beyond
1,000 open before. Messages: 64 clients that each send 100 bytes and wait for them; told is the CPU time that the server
takes for one to come and go, which does not depend on who else uses the machine. Rounds are interleaved; a value is the
median of its rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import os
import resource
import select
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scenarios import readable
from benchmarks.servers import BACKLOG, CLIENT_CPU, SERVER_CPU, Running, free_port, running

FIRST = 1000  # websockets; see `FIRST_CONNECTIONS` of `scenarios`
TALKING = 64
AT_ONCE = 50  # handshakes
PINGS = "300"  # seconds between two: none comes while memory is measured
SETTLE_SECONDS = 1.5
PATIENCE = 30.0  # seconds
HEAD = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://localhost\r\n%b\r\n"
)
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
MESSAGE = b"\x81\xe4" + bytes(4) + b"x" * 100  # masked with zeros
ANSWER_SIZE = 102  # bytes of the answer as it is


@dataclass(frozen=True)
class Server:
    """``command``: from a port to a command line. ``distribution``: whose version is told."""

    title: str
    distribution: str
    command: Callable[[int], list[str]]


def ours(app: str, *loop: str) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        return [
            *(sys.executable, "-m", "uwsgi_async", "--http-socket", f"127.0.0.1:{port}", "--async", "20000"),
            *("--max-connections", "20000", "--listen", BACKLOG, "--disable-logging", *loop),
            *("--websockets-ping-freq", PINGS),
            *("--wsgi-file", f"websocket_{app}.py"),
        ]

    return command


def uvicorn(websockets: str) -> Callable[[int], list[str]]:
    def command(port: int) -> list[str]:
        return [
            *(sys.executable, "-W", "ignore", "-m", "uvicorn", "--port", str(port), "--backlog", BACKLOG),
            *("--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--ws", websockets),
            *("--ws-ping-interval", PINGS, "--ws-ping-timeout", PINGS),
            *("--no-access-log", "--log-level", "error", "websocket_asgi:application"),
        ]

    return command


SERVERS = (
    Server("uwsgi-async, async app, asyncio", "uwsgi-async", ours("async")),
    Server("uwsgi-async, async app, uvloop", "uwsgi-async", ours("async", "--uvloop")),
    Server("uwsgi-async, async app, trio", "uwsgi-async", ours("async", "--trio")),
    Server("uwsgi-async, ASGI app, uvloop", "uwsgi-async", ours("asgi", "--uvloop")),
    Server("uwsgi-async, sync app, uvloop", "uwsgi-async", ours("wsgi", "--uvloop")),
    Server("uvicorn, websockets-sansio", "websockets", uvicorn("websockets-sansio")),
    Server("uvicorn, websockets", "websockets", uvicorn("websockets")),
    Server("uvicorn, wsproto", "wsproto", uvicorn("wsproto")),
)


@dataclass
class Found:
    """Bytes for a websocket without and with an offer of compression; microseconds for a message."""

    plain: float
    offers: float
    message: float


@contextlib.contextmanager
def websockets(port: int, count: int, offer: bytes = b"") -> Iterator[list[socket.socket]]:
    """Open so many, and let each have one message."""
    with contextlib.ExitStack() as stack:
        opened: list[socket.socket] = []
        greeted = 0
        while greeted < count:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(HEAD % offer)
            opened.append(sock)
            if len(opened) == min(greeted + AT_ONCE, count):
                for each in opened[greeted:]:
                    greet(each)
                greeted = len(opened)
        yield opened


def greet(sock: socket.socket) -> None:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += receive(sock)
    if b" 101 " not in answer.partition(b"\r\n")[0]:
        raise ConnectionError(f"no handshake: {answer[:100]!r}")
    sock.sendall(MESSAGE)
    receive(sock)


def receive(sock: socket.socket) -> bytes:
    data = sock.recv(4096)
    if not data:
        raise ConnectionError("the server has closed a websocket")
    return data


def memory(server: Server, count: int, offer: bytes) -> float:
    """Return the bytes of memory for each websocket."""
    port = free_port()
    with running(server.command(port), SERVER_CPU, {}) as process:
        process.wait_for_port(port)
        with websockets(port, FIRST, offer):
            time.sleep(SETTLE_SECONDS)
            before = process.memory()
            with websockets(port, count, offer) as opened:
                time.sleep(SETTLE_SECONDS)
                grown = process.memory() - before
                spoken = readable(opened)
    if spoken:
        raise ConnectionError(f"{server.title} has closed websockets, or asks something of them")
    return grown / count


def message_time(server: Server, seconds: float) -> float:
    """Return the microseconds of CPU that the server takes for a message and its answer."""
    port = free_port()
    with running(server.command(port), SERVER_CPU, {}) as process:
        process.wait_for_port(port)
        with websockets(port, TALKING) as opened:
            talk(opened, seconds / 4)
            before = cpu_seconds(process)
            count = talk(opened, seconds)
            return (cpu_seconds(process) - before) / count * 1e6


def cpu_seconds(process: Running) -> float:
    ticks = 0
    for pid in process.processes():
        ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def talk(opened: list[socket.socket], seconds: float) -> int:
    """Let each websocket send and wait in turn; return how many messages have come back."""
    poller = select.epoll()
    socks = {sock.fileno(): sock for sock in opened}
    for fd in socks:
        poller.register(fd, select.EPOLLIN)
    for sock in opened:
        sock.sendall(MESSAGE)
    count, end = len(opened), time.perf_counter() + seconds
    while time.perf_counter() < end:
        for fd, _ in poller.poll(PATIENCE):
            if len(receive(socks[fd])) != ANSWER_SIZE:
                raise ConnectionError("the answer is not what was sent")
            socks[fd].sendall(MESSAGE)
            count += 1
    for sock in opened:
        receive(sock)
    poller.close()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.websockets")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=10_000, help="open websockets")
    parser.add_argument("--seconds", type=float, default=3.0, help="of messages, in each round")
    chosen = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {int(CLIENT_CPU)})
    found: dict[str, list[Found]] = {server.title: [] for server in SERVERS}
    for _ in range(chosen.rounds):
        for server in SERVERS:
            found[server.title].append(
                Found(
                    memory(server, chosen.count, b""),
                    memory(server, chosen.count, OFFER),
                    message_time(server, chosen.seconds),
                )
            )
            print(f"{server.title}: {found[server.title][-1]}", file=sys.stderr, flush=True)
    print(f"{chosen.rounds} rounds of {chosen.count:,} websockets, Python {sys.version.split()[0]}; ", end="")
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("uvicorn", "websockets", "wsproto")))
    print("\n| | bytes each | the client offers compression | CPU of a message, us |\n| --- | --- | --- | --- |")
    for title, rounds in found.items():
        values = [statistics.median(getattr(each, name) for each in rounds) for name in ("plain", "offers", "message")]
        print(f"| {title} | " + " | ".join(f"{value:,.0f}" for value in values) + " |", flush=True)


if __name__ == "__main__":
    main()
