"""Every option there is: one frozen dataclass per subsystem, one declaration per option.

A subsystem is constructed with its own dataclass and never sees another's. `Options` only carries them from the
command line, or from `uwsgi_async.run`, to the place where an instance is put together.
Names are uWSGI's where uWSGI has the option. All times are seconds, all sizes bytes.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from uwsgi_async.options.alarms import AlarmOptions
from uwsgi_async.options.caching import CacheOptions
from uwsgi_async.options.cheaper import CheaperOptions
from uwsgi_async.options.declare import option
from uwsgi_async.options.erlang import ErlangOptions
from uwsgi_async.options.loading import AppOptions, LoadOptions, StaticOptions
from uwsgi_async.options.loggers import LoggerOptions, NameOptions
from uwsgi_async.options.mules import MuleOptions
from uwsgi_async.options.reloading import ReloadOptions
from uwsgi_async.options.resources import ResourceOptions
from uwsgi_async.options.rpc import RpcOptions
from uwsgi_async.options.signals import SignalOptions
from uwsgi_async.options.snmp import SnmpOptions
from uwsgi_async.options.spooling import SpoolerOptions
from uwsgi_async.options.stats import StatsOptions
from uwsgi_async.options.system import SystemOptions
from uwsgi_async.options.tls import TlsOptions
from uwsgi_async.options.websockets import WebSocketOptions

SECONDS = 1.0
KIB = 1024
MIB = 1024 * KIB

_LAST_MOMENTS = 5 * SECONDS  # of a worker that has cancelled its last request

Allowed = Literal["cache", "ping", "rpc", "signals", "spooler"]
Backend = Literal["asyncio", "trio"]
HttpParser = Literal["httptools", "h11"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """Where to listen. For `instance.listeners`."""

    http_socket: tuple[str, ...] = option(
        (), "http-socket", "http", "http11-socket", repeat=True, fixed=True, help="serve HTTP/1.1 at this address"
    )
    socket: tuple[str, ...] = option(
        (), "socket", "uwsgi-socket", "s", repeat=True, fixed=True, help="serve the uwsgi protocol at this address"
    )
    uwsgi_allow: tuple[Allowed, ...] = option(
        (),
        "uwsgi-allow",
        repeat=True,
        help="let everybody who reaches a TCP socket of the uwsgi protocol use cache, ping, rpc, signals, or spooler",
    )
    listen: int = option(
        100,
        "listen",
        "l",
        fixed=True,
        help="length of the kernel's queue of connections not yet accepted",
        minimum=1,
        maximum=65535,
    )
    reuse_port: bool = option(
        False,
        "reuse-port",
        fixed=True,
        help="open a TCP socket for each worker, between which the kernel divides the connections (SO_REUSEPORT)",
    )
    chmod_socket: str | None = option(
        None,
        "chmod-socket",
        "chmod",
        "C",
        bare="666",
        fixed=True,
        help="mode of UNIX sockets, in octal; 666 when none is given",
    )
    chown_socket: str | None = option(
        None, "chown-socket", fixed=True, help="owner of UNIX sockets: user or user:group, names or numbers; needs root"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """What the HTTP/1.1 reader accepts. For `wire.http`."""

    http_parser: HttpParser = option(  # noqa: RUF009 - it only describes a field
        "httptools", "http-parser", help="parser of request heads: httptools (fast) or h11 (reference)"
    )
    max_header_bytes: int = option(
        64 * KIB, "max-header-bytes", unit="bytes", help="largest request line and headers together", minimum=64
    )
    max_header_count: int = option(100, "max-header-count", help="most header fields in one request", minimum=1)
    max_chunk_overhead: int = option(
        16 * KIB,
        "max-chunk-overhead",
        unit="bytes",
        help="most bytes of chunk extensions and trailers in one request body",
        minimum=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketOptions:
    """What the uwsgi packet reader accepts. For `wire.uwsgi`."""

    buffer_size: int = option(
        4096,
        "buffer-size",
        "b",
        unit="bytes",
        help="largest uwsgi packet, 65535 at most",
        minimum=1,
        maximum=65535,
        clamp=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreOptions:
    """How many requests at once, and for how long. For `cores`."""

    cores: int = option(
        100, "async", "cores", "gevent", "asyncio", help="requests handled at once in a worker", minimum=1
    )
    max_connections: int = option(
        10_000,
        "max-connections",
        help="open connections in a worker; further ones wait in the kernel's queue",
        minimum=1,
    )
    limit_post: int = option(0, "limit-post", unit="bytes", help="largest request body; 0 = no limit", minimum=0)
    harakiri: float = option(
        0.0, "harakiri", "t", unit="seconds", help="cancel a request that runs longer; 0 = no limit", minimum=0
    )
    harakiri_graceful_timeout: float = option(
        1 * SECONDS,
        "harakiri-graceful-timeout",
        unit="seconds",
        help="time for a request that harakiri has cancelled to end; then the worker is replaced, or killed",
        minimum=0,
    )
    harakiri_verbose: bool = option(
        False, "harakiri-verbose", help="log the whole stack of a request that harakiri cancels, not only the line"
    )
    header_timeout: float = option(
        30 * SECONDS,
        "header-timeout",
        "http-headers-timeout",
        unit="seconds",
        help="time for a request's head to arrive",
        minimum=0.001,
    )
    keepalive_timeout: float = option(
        75 * SECONDS,
        "keepalive-timeout",
        "http-keepalive",
        unit="seconds",
        bare="75",
        help="life of an idle connection",
        minimum=0,
    )
    socket_timeout: float = option(
        30 * SECONDS,
        "socket-timeout",
        "http-timeout",
        "z",
        unit="seconds",
        help="longest wait for the next bytes of a request's body, or for a client to take bytes of a response",
        minimum=0.001,
    )
    offload_threads: int = option(
        0,
        "offload-threads",
        "offload-thread",
        help="send files when the app has returned, without its core, and read them by so many threads; 0 = not",
        minimum=0,
    )
    chunked_input_limit: int = option(
        1 * MIB, "chunked-input-limit", unit="bytes", help="largest chunk that chunked_read returns", minimum=1
    )
    chunked_input_timeout: float = option(
        0.0,
        "chunked-input-timeout",
        unit="seconds",
        help="longest wait of chunked_read for the next bytes; 0 = the same as socket-timeout",
        minimum=0,
    )
    grace: float = option(
        60 * SECONDS,
        "worker-reload-mercy",
        "grace",
        unit="seconds",
        help="time for running requests when a process ends; then they are cancelled",
        minimum=0,
    )
    blocking_limit: float = option(
        1 * SECONDS,
        "blocking-limit",
        unit="seconds",
        help="log the line of app code that holds the event loop longer; 0 = do not watch",
        minimum=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessOptions:
    """Which processes, how long each lives, how they end. For `instance.master`."""

    master: bool = option(
        False, "master", "M", fixed=True, help="run a master process that keeps the workers alive and reloads"
    )
    processes: int = option(
        1,
        "processes",
        "workers",
        "p",
        help="worker processes; more than one needs the master, and starts it",
        minimum=1,
    )
    lazy_apps: bool = option(False, "lazy-apps", "lazy", help="load the app in each worker, not once for all of them")
    max_requests: int = option(
        0, "max-requests", "R", help="replace a worker after so many requests; 0 = never", minimum=0
    )
    max_requests_delta: int = option(
        0, "max-requests-delta", help="add so many requests to max-requests for each worker before it", minimum=0
    )
    min_worker_lifetime: float = option(
        10 * SECONDS,
        "min-worker-lifetime",
        unit="seconds",
        help="do not replace a worker earlier because of max-requests, reload-on-rss and reload-on-as",
        minimum=0,
    )
    max_worker_lifetime: float = option(
        0.0, "max-worker-lifetime", unit="seconds", help="replace a worker after this time; 0 = never", minimum=0
    )
    max_worker_lifetime_delta: float = option(
        0.0,
        "max-worker-lifetime-delta",
        unit="seconds",
        help="add so much time to max-worker-lifetime for each worker before it",
        minimum=0,
    )
    reload_on_rss: int = option(
        0, "reload-on-rss", help="replace a worker that uses more memory (RSS, in MB); 0 = never", minimum=0
    )
    reload_on_as: int = option(
        0, "reload-on-as", help="replace a worker that has more address space (in MB); 0 = never", minimum=0
    )
    evil_reload_on_rss: int = option(
        0, "evil-reload-on-rss", help="kill a worker that uses more memory (RSS, in MB); 0 = never", minimum=0
    )
    evil_reload_on_as: int = option(
        0, "evil-reload-on-as", help="kill a worker that has more address space (in MB); 0 = never", minimum=0
    )
    forkbomb_delay: float = option(
        10 * SECONDS,
        "forkbomb-delay",
        unit="seconds",
        help="longest pause before a worker that dies at once is started again; 0 = no pause",
        minimum=0,
    )
    reload_mercy: float = option(
        0.0,
        "reload-mercy",
        unit="seconds",
        help="time for a worker to end; then it is killed; 0 = 5 seconds more than worker-reload-mercy",
        minimum=0,
    )
    die_on_term: bool = option(
        True,
        "die-on-term",
        help="SIGTERM stops gracefully; false: it reloads brutally, as uWSGI does",
    )
    no_die_on_term: bool = option(False, "no-die-on-term", help="the same as die-on-term = false")
    pidfile: str | None = option(
        None,
        "pidfile",
        "safe-pidfile",
        fixed=True,
        help="write the instance's pid to this file, before its user changes",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What is logged. For `instance.requestlog`."""

    disable_logging: bool = option(False, "disable-logging", "L", help="do not log requests")
    log_format: str | None = option(
        None, "log-format", "logformat", placeholders=True, help="the request's line: text with %(variables)"
    )
    log_json: bool = option(False, "log-json", help="log requests and messages as JSON, one object a line")
    log_micros: bool = option(False, "log-micros", help="log response times in microseconds, not milliseconds")
    log_x_forwarded_for: bool = option(
        False, "log-x-forwarded-for", help="log the client's address from X-Forwarded-For"
    )
    log_slow: int = option(
        0, "log-slow", help="log requests that took so many milliseconds, in any case; 0 = not", minimum=0
    )
    log_big: int = option(
        0, "log-big", unit="bytes", help="log responses of so many bytes in any case; 0 = not", minimum=0
    )
    log_zero: bool = option(False, "log-zero", help="log responses without a body in any case")
    log_4xx: bool = option(False, "log-4xx", help="log responses with a status from 400 to 499 in any case")
    log_5xx: bool = option(False, "log-5xx", help="log responses with a status from 500 to 599 in any case")
    log_sendfile: bool = option(False, "log-sendfile", help="log responses by sendfile in any case")
    log_ioerror: bool = option(
        False, "log-ioerror", help="log requests with an error in reading or writing in any case"
    )
    memory_report: bool = option(
        False, "memory-report", "m", help="begin the request's line with the memory of its process"
    )
    log_date: str | None = option(
        None,
        "log-date",
        "logdate",
        "log-prefix",
        bare="true",
        placeholders=True,
        help="put the time before each message; a value is a format for strftime",
    )
    log_format_strftime: bool = option(
        False, "log-format-strftime", "logformat-strftime", help="write %(ftime) in the format of log-date"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOptions:
    """How many locks all processes and cores share. For `state.locks`."""

    FIXED: ClassVar = True

    locks: int = option(
        0, "locks", help="locks that apps can use beside lock 0, which is always there", minimum=0, maximum=65535
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """The queue that all processes and cores share. For `state.queue`."""

    FIXED: ClassVar = True

    queue: int = option(0, "queue", help="slots of the shared queue; 0 = no queue", minimum=0)
    queue_blocksize: int = option(
        8 * KIB, "queue-blocksize", unit="bytes", help="size of a slot; its message is 16 bytes shorter", minimum=17
    )
    queue_store: str | None = option(None, "queue-store", help="keep the queue in this file")
    queue_store_sync: float = option(
        0.0,
        "queue-store-sync",
        unit="seconds",
        help="time between two syncs of the queue's file to the disk; 0 = only at the end",
        minimum=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedAreaOptions:
    """Raw memory that all processes and cores share. For `state.sharedarea`."""

    FIXED: ClassVar = True

    sharedarea: tuple[str, ...] = option(
        (),
        "sharedarea",
        "A",
        repeat=True,
        help="share so many pages of memory, or what pages=, size= (bytes), file=, fd=, offset= say",
    )
    py_sharedarea: tuple[str, ...] = option(
        (), "py-sharedarea", repeat=True, help="share so many bytes of memory; numbered behind those of sharedarea"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricOptions:
    """Numbers that apps and the instance count. For `state.metrics`."""

    FIXED: ClassVar = True

    enable_metrics: bool = option(False, "enable-metrics", help="keep metrics: the instance's own, and those of metric")
    metric: tuple[str, ...] = option(
        (),
        "metric",
        repeat=True,
        help="keep this metric, too: a name, or name=,type=,initial_value=,collector= and so on",
    )
    metric_threshold: tuple[str, ...] = option(
        (),
        "metric-threshold",
        "metric-alarm",
        "alarm-metric",
        repeat=True,
        help="when a metric reaches a value, raise an alarm or reset it: key=,value=,alarm=,rate=,reset=,msg=",
    )
    metrics_dir: str | None = option(
        None, "metrics-dir", "metric-dir", help="write each metric into a file of its name in this directory"
    )
    metrics_dir_restore: bool = option(
        False, "metrics-dir-restore", "metric-dir-restore", help="begin with the values of the files in metrics-dir"
    )
    metrics_no_cores: bool = option(False, "metrics-no-cores", help="keep no metrics of single cores")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """Which event loop. For the command line."""

    trio: bool = option(False, "trio", help="run on trio")
    uvloop: bool = option(False, "uvloop", help="run on asyncio with uvloop's event loop")
    sync_in_core: bool = option(
        False,
        "greenlet",
        "ugreen",
        help="sync apps run in the cores and give way to each other (the default; all these names mean the same)",
    )

    @property
    def name(self) -> Literal["asyncio", "trio", "uvloop"]:
        """The event loop of those that serve."""
        return "trio" if self.trio else "uvloop" if self.uvloop else "asyncio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What was read, as the `uwsgi` module tells it. For `instance.information`.

    These are no options of a person, so they have no flags: what sets them is the reading itself. ``read``: each name
    that was read with "=" and its value, or alone when it had none. ``magic``: each letter with "=" and its value.
    """

    read: tuple[str, ...] = option((), repeat=True, help="what was read, for uwsgi.opt")
    magic: tuple[str, ...] = option((), repeat=True, help="the magic variables, for uwsgi.magic_table")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One dataclass per subsystem: made by `commandline.parse` or `uwsgi_async.run`, taken apart in `instance`."""

    sockets: SocketOptions = field(default_factory=SocketOptions)
    tls: TlsOptions = field(default_factory=TlsOptions)
    http: HttpOptions = field(default_factory=HttpOptions)
    packet: PacketOptions = field(default_factory=PacketOptions)
    cores: CoreOptions = field(default_factory=CoreOptions)
    load: LoadOptions = field(default_factory=LoadOptions)
    app: AppOptions = field(default_factory=AppOptions)
    static: StaticOptions = field(default_factory=StaticOptions)
    process: ProcessOptions = field(default_factory=ProcessOptions)
    reload: ReloadOptions = field(default_factory=ReloadOptions)
    cache: CacheOptions = field(default_factory=CacheOptions)
    cheaper: CheaperOptions = field(default_factory=CheaperOptions)
    system: SystemOptions = field(default_factory=SystemOptions)
    resources: ResourceOptions = field(default_factory=ResourceOptions)
    stats: StatsOptions = field(default_factory=StatsOptions)
    log: LogOptions = field(default_factory=LogOptions)
    loggers: LoggerOptions = field(default_factory=LoggerOptions)
    names: NameOptions = field(default_factory=NameOptions)
    loop: LoopOptions = field(default_factory=LoopOptions)
    locks: LockOptions = field(default_factory=LockOptions)
    queue: QueueOptions = field(default_factory=QueueOptions)
    areas: SharedAreaOptions = field(default_factory=SharedAreaOptions)
    metrics: MetricOptions = field(default_factory=MetricOptions)
    signals: SignalOptions = field(default_factory=SignalOptions)
    rpc: RpcOptions = field(default_factory=RpcOptions)
    alarms: AlarmOptions = field(default_factory=AlarmOptions)
    mules: MuleOptions = field(default_factory=MuleOptions)
    spooler: SpoolerOptions = field(default_factory=SpoolerOptions)
    erlang: ErlangOptions = field(default_factory=ErlangOptions)
    websockets: WebSocketOptions = field(default_factory=WebSocketOptions)
    snmp: SnmpOptions = field(default_factory=SnmpOptions)
    configuration: Configuration = field(default_factory=Configuration)

    @property
    def mercy(self) -> float:
        """Seconds after which a worker that was told to end is killed."""
        return self.process.reload_mercy or self.cores.grace + _LAST_MOMENTS
