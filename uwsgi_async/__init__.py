"""uWSGI's Python API on asyncio and trio: the everyday door.

`run` serves an app; the awaitables work in its cores and in any other task. For uWSGI apps there is the command
``uwsgi-async`` and the ``uwsgi`` module inside.
"""

from uwsgi_async.api.asynchronous import (
    async_connect,
    async_sleep,
    green_schedule,
    is_connected,
    ready_fd,
    suspend,
    wait_fd_read,
    wait_fd_write,
)
from uwsgi_async.api.information import log, mem, micros, parsefile
from uwsgi_async.api.locks import is_locked, lock, unlock
from uwsgi_async.api.process import (
    accepting,
    masterpid,
    ready,
    reload,
    set_user_harakiri,
    statistics,
    stop,
    total_requests,
    worker_id,
    workers,
)
from uwsgi_async.api.queue import (
    queue_get,
    queue_last,
    queue_pop,
    queue_pull,
    queue_pull_slot,
    queue_pull_wait,
    queue_push,
    queue_set,
    queue_size,
    queue_slot,
)
from uwsgi_async.api.request import (
    add_var,
    cl,
    connection_fd,
    core_id,
    disconnect,
    get_logvar,
    log_this_request,
    request_id,
    sendfile,
    set_logvar,
)
from uwsgi_async.api.statistics import (
    AppStatistics,
    InstanceStatistics,
    ProcessStatistics,
    SocketStatistics,
    WorkerStatistics,
)
from uwsgi_async.cores.core import CoreStatistics
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.instance.server import Server, run
from uwsgi_async.options.settings import Options

__version__ = "0.1.0.dev0"

__all__ = [
    "AppStatistics",
    "CoreStatistics",
    "InstanceStatistics",
    "Options",
    "ProcessStatistics",
    "Server",
    "SocketStatistics",
    "UwsgiAsyncError",
    "WorkerStatistics",
    "__version__",
    "accepting",
    "add_var",
    "async_connect",
    "async_sleep",
    "cl",
    "connection_fd",
    "core_id",
    "disconnect",
    "get_logvar",
    "green_schedule",
    "is_connected",
    "is_locked",
    "lock",
    "log",
    "log_this_request",
    "masterpid",
    "mem",
    "micros",
    "parsefile",
    "queue_get",
    "queue_last",
    "queue_pop",
    "queue_pull",
    "queue_pull_slot",
    "queue_pull_wait",
    "queue_push",
    "queue_set",
    "queue_size",
    "queue_slot",
    "ready",
    "ready_fd",
    "reload",
    "request_id",
    "run",
    "sendfile",
    "set_logvar",
    "set_user_harakiri",
    "statistics",
    "stop",
    "suspend",
    "total_requests",
    "unlock",
    "wait_fd_read",
    "wait_fd_write",
    "worker_id",
    "workers",
]
