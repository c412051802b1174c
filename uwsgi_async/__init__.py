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
from uwsgi_async.api.cache import (
    cache_clear,
    cache_dec,
    cache_del,
    cache_div,
    cache_exists,
    cache_get,
    cache_inc,
    cache_keys,
    cache_mul,
    cache_num,
    cache_set,
    cache_update,
)
from uwsgi_async.api.cacheobject import Cache, RemoteCache, cache, remote_cache
from uwsgi_async.api.information import log, mem, micros, parsefile
from uwsgi_async.api.process import (
    WorkerStatistics,
    accepting,
    masterpid,
    ready,
    reload,
    set_user_harakiri,
    stop,
    total_requests,
    worker_id,
    workers,
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
from uwsgi_async.errors import UwsgiAsyncError
from uwsgi_async.instance.server import Server, run
from uwsgi_async.options.settings import Options
from uwsgi_async.state.cache.local import CacheStatistics

__version__ = "0.1.0.dev0"

__all__ = [
    "Cache",
    "CacheStatistics",
    "Options",
    "RemoteCache",
    "Server",
    "UwsgiAsyncError",
    "WorkerStatistics",
    "__version__",
    "accepting",
    "add_var",
    "async_connect",
    "async_sleep",
    "cache",
    "cache_clear",
    "cache_dec",
    "cache_del",
    "cache_div",
    "cache_exists",
    "cache_get",
    "cache_inc",
    "cache_keys",
    "cache_mul",
    "cache_num",
    "cache_set",
    "cache_update",
    "cl",
    "connection_fd",
    "core_id",
    "disconnect",
    "get_logvar",
    "green_schedule",
    "is_connected",
    "log",
    "log_this_request",
    "masterpid",
    "mem",
    "micros",
    "parsefile",
    "ready",
    "ready_fd",
    "reload",
    "remote_cache",
    "request_id",
    "run",
    "sendfile",
    "set_logvar",
    "set_user_harakiri",
    "stop",
    "suspend",
    "total_requests",
    "wait_fd_read",
    "wait_fd_write",
    "worker_id",
    "workers",
]
