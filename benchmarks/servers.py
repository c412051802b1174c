"""The servers that are compared: one declaration each, and how one is started, watched and stopped.

What lives here: `SERVERS`, and `Running`, a server's processes. What does not: what is measured (`scenarios.py`).
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
APPS = HERE / "apps"

SERVER_CPU = "0"
CLIENT_CPU = "1"
ALL_CPUS = "0,1"
START_SECONDS = 15.0
STOP_SECONDS = 5.0
# More than the connections of any scenario, so that no server refuses or queues one.
BACKLOG = "4096"
IDLE_SECONDS = "300"

Protocol = Literal["http", "uwsgi"]
Flavour = Literal["sync", "async", "asgi"]


class NotUsableError(Exception):
    """A server cannot take part; the message is a sentence that tells why."""


@dataclass(frozen=True)
class Launch:
    """What a server is told: the app's name without its flavour, where to listen, and how many requests at once.

    ``workers``: how many processes serve, below a master; 0 is one process alone where the server can do that.
    ``preload``: the app is to be loaded once for all of them, where that has to be asked for.
    """

    app: str
    port: int
    cores: int
    flavour: Flavour
    protocol: Protocol
    workers: int = 0
    preload: bool = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Server:
    """One server in one configuration.

    ``command``: the command line. ``distribution``: where its version is read from.
    ``ours``: it serves sync and async apps, and the uwsgi protocol. ``keep_alive``: it keeps HTTP connections open.
    ``flavour``: the only one that it takes part with; None is any.
    """

    name: str
    title: str
    distribution: str
    command: Callable[[Launch], list[str]]
    protocols: tuple[Protocol, ...] = ("http",)
    keep_alive: bool = True
    ours: bool = False
    flavour: Flavour | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `NotUsableError` when this server cannot be run here."""
        if self.distribution == "uWSGI":
            uwsgi_binary()
        elif self.ours and importlib.util.find_spec("uwsgi_async.__main__") is None:
            raise NotUsableError(f"{self.name} is left out: uwsgi_async has no command line yet.")
        elif not self.version():
            raise NotUsableError(f"{self.name} is left out: {self.distribution} is not installed.")

    def version(self) -> str:
        """Return the installed version, or "" when there is none."""
        if self.distribution == "uWSGI":
            return subprocess.run([uwsgi_binary(), "--version"], capture_output=True, text=True).stdout.strip()
        try:
            return importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return ""


def uwsgi_binary() -> str:
    """Return the path of real uWSGI: from the environment variable UWSGI_ORACLE, else the one that the tests build."""
    path = os.environ.get("UWSGI_ORACLE") or str(ROOT / ".oracle" / sysconfig.get_python_version() / "bin" / "uwsgi")
    if not os.access(path, os.X_OK):
        raise NotUsableError(f"uWSGI is left out: {path} is not there (CONTRIBUTING.md says how to build it).")
    return path


def ours(*loop: str) -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        kind = "wsgi" if launch.flavour == "sync" else launch.flavour
        listen = "--http-socket" if launch.protocol == "http" else "--socket"
        return [
            *(sys.executable, "-m", "uwsgi_async", listen, launch.address, "--async", str(launch.cores)),
            *("--listen", BACKLOG, "--keepalive-timeout", IDLE_SECONDS, "--disable-logging"),
            *("--wsgi-file", str(APPS / f"{launch.app}_{kind}.py"), *loop),
            *(("--master", "--processes", str(launch.workers)) if launch.workers else ()),
        ]

    return command


def uwsgi(launch: Launch) -> list[str]:
    listen = "--http-socket" if launch.protocol == "http" else "--socket"
    app = "sleep_uwsgi" if launch.app == "sleep" else f"{launch.app}_wsgi"
    workers = launch.workers
    return [
        *(uwsgi_binary(), listen, launch.address, "--async", str(launch.cores), "--ugreen"),
        *("--listen", BACKLOG, "--disable-logging", "--die-on-term", "--wsgi-file", str(APPS / f"{app}.py")),
        # It has no virtual environment of its own to find Django in.
        *(("--master", "--processes", str(workers), "--pythonpath", site_packages()) if workers else ()),
    ]


def site_packages() -> str:
    return sysconfig.get_paths()["purelib"]


def granian(launch: Launch) -> list[str]:
    # A WSGI app that sleeps holds a thread; one that does not is fastest with one thread.
    threads = launch.cores if launch.app == "sleep" else 1
    return [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(launch.port)),
        *("--workers", str(launch.workers or 1), "--blocking-threads", str(threads), "--backlog", BACKLOG),
        *("--backpressure", "10000"),
        *("--http", "1", "--no-ws", "--no-access-log", "--log-level", "error", f"{launch.app}_wsgi:application"),
    ]


def granian_asgi(launch: Launch) -> list[str]:
    return [
        *(sys.executable, "-m", "granian", "--interface", "asginl", "--host", "127.0.0.1", "--port", str(launch.port)),
        *("--workers", str(launch.workers or 1), "--backlog", BACKLOG, "--backpressure", "10000", "--loop", "uvloop"),
        *("--http", "1", "--no-ws", "--no-access-log", "--log-level", "error", f"{launch.app}_asgi:application"),
    ]


def uvicorn(launch: Launch) -> list[str]:
    return [
        *(sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(launch.port), "--loop", "uvloop"),
        *("--http", "httptools", "--lifespan", "off", "--backlog", BACKLOG, "--timeout-keep-alive", IDLE_SECONDS),
        *("--no-access-log", "--log-level", "error", f"{launch.app}_asgi:application"),
    ]


def gunicorn(launch: Launch) -> list[str]:
    return [
        *(sys.executable, "-m", "gunicorn", "--bind", launch.address, "--worker-class", "gevent"),
        *("--workers", str(launch.workers or 1), *(("--preload",) if launch.preload else ())),
        *("--worker-connections", "10000", "--backlog", BACKLOG, "--keep-alive", IDLE_SECONDS),
        *("--log-level", "error", "--no-control-socket", f"{launch.app}_wsgi:application"),
    ]


def hypercorn(loop: str) -> Callable[[Launch], list[str]]:
    def command(launch: Launch) -> list[str]:
        return [
            *(sys.executable, "-m", "hypercorn", "--bind", launch.address, "--worker-class", loop, "--workers", "1"),
            *("--backlog", BACKLOG, "--keep-alive", IDLE_SECONDS, "--log-level", "error"),
            f"{launch.app}_asgi:application",
        ]

    return command


OURS = "uwsgi-async"
BOTH: tuple[Protocol, ...] = ("http", "uwsgi")

SERVERS = {
    server.name: server
    for server in (
        Server("asyncio", f"{OURS}, asyncio", OURS, ours(), BOTH, ours=True),
        Server("uvloop", f"{OURS}, uvloop", OURS, ours("--uvloop"), BOTH, ours=True),
        Server(
            "trio",
            f"{OURS}, trio",
            OURS,
            ours("--trio"),
            BOTH,
            ours=True,
            environment={"BENCHMARK_LOOP": "trio"},
        ),
        Server("granian", "granian, wsgi", "granian", granian),
        Server("granian-asgi", "granian, asgi, uvloop", "granian", granian_asgi, flavour="asgi"),
        Server("uvicorn", "uvicorn, httptools, uvloop", "uvicorn", uvicorn),
        Server("uwsgi", "uWSGI, ugreen", "uWSGI", uwsgi, BOTH, keep_alive=False),
        Server("gunicorn", "gunicorn, gevent", "gunicorn", gunicorn),
        Server("hypercorn", "hypercorn, asyncio", "hypercorn", hypercorn("asyncio")),
        Server(
            "hypercorn-trio",
            "hypercorn, trio",
            "hypercorn",
            hypercorn("trio"),
            environment={"BENCHMARK_LOOP": "trio"},
        ),
    )
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Running:
    """A server that runs, or nginx."""

    process: subprocess.Popen[bytes]
    output: Path
    started: float

    def log(self) -> str:
        """Return the last lines of what the server printed."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-10:])

    def wait_for_port(self, port: int) -> None:
        """Wait until the port accepts connections."""
        while time.perf_counter() - self.started < START_SECONDS:
            if self.process.poll() is not None:
                raise NotUsableError(f"It ended at its start with status {self.process.returncode}: {self.log()}")
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                time.sleep(0.001)
            else:
                return
        raise NotUsableError(f"It does not listen after {START_SECONDS:.0f} s: {self.log()}")

    def memory(self) -> int:
        """Return the bytes of anonymous memory that the server's processes hold."""
        return sum(map(anonymous_memory, self.processes()))

    def cpu_seconds(self) -> float:
        """Return the CPU time that the server's processes have used, in user mode and in the kernel."""
        return sum(map(cpu_seconds, self.processes()))

    def processes(self) -> list[int]:
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        return found


def anonymous_memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # see proc(5); the first is the third
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running(command: list[str], cpu: str, environment: dict[str, str]) -> Iterator[Running]:
    """Run a command on one CPU, in a process group of its own that is ended afterwards."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as directory:
        output = Path(directory, "output")
        with output.open("wb") as stream:
            process = subprocess.Popen(
                [shutil.which("taskset") or "taskset", "--cpu-list", cpu, *command],
                cwd=APPS,
                env={**os.environ, "PYTHONPATH": f"{APPS}{os.pathsep}{ROOT}", **environment},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield Running(process, output, time.perf_counter())
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            # The group lives on with its children even when its leader has ended.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


NGINX = """
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log error;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000;
    upstream app {{ server 127.0.0.1:{upstream}; {keepalive} }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            {handover}
        }}
    }}
}}
"""
# What nginx' file uwsgi_params has, so that this does not depend on where it is installed.
UWSGI_PARAMS = "".join(
    f"uwsgi_param {name} ${variable}; "
    for name, variable in {
        "QUERY_STRING": "query_string",
        "REQUEST_METHOD": "request_method",
        "CONTENT_TYPE": "content_type",
        "CONTENT_LENGTH": "content_length",
        "REQUEST_URI": "request_uri",
        "PATH_INFO": "document_uri",
        "DOCUMENT_ROOT": "document_root",
        "SERVER_PROTOCOL": "server_protocol",
        "REMOTE_ADDR": "remote_addr",
        "REMOTE_PORT": "remote_port",
        "SERVER_PORT": "server_port",
        "SERVER_NAME": "server_name",
    }.items()
)
HANDOVER = {
    "http": 'proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";',
    "uwsgi": f"uwsgi_pass app; {UWSGI_PARAMS}",
}


@contextlib.contextmanager
def nginx(upstream: int, protocol: Protocol) -> Iterator[int]:
    """Run nginx, on the client's CPU, in front of a server. Yields nginx' port."""
    binary = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise NotUsableError("nginx is not installed.")
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="benchmark-nginx-") as directory:
        config = Path(directory, "nginx.conf")
        config.write_text(
            NGINX.format(
                directory=directory,
                user="user root;" if os.geteuid() == 0 else "",
                upstream=upstream,
                port=port,
                # The uwsgi protocol has one request a connection.
                keepalive="keepalive 64; keepalive_requests 1000000;" if protocol == "http" else "",
                handover=HANDOVER[protocol],
            )
        )
        with running([binary, "-p", directory, "-c", str(config)], CLIENT_CPU, {}) as proxy:
            proxy.wait_for_port(port)
            yield port
