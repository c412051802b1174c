"""Times what is done with shared state, in the process where it is: the same code for all that are compared.

Under real uWSGI and uwsgi-async this file is the app, and measures while it is imported; for the others it is a
program: ``python state_probe.py diskcache DIRECTORY`` or ``redis PORT``. One line for each result: BENCH, the name, and
nanoseconds for an operation, or operations a second of two processes at once.

A peer has the operations that it has an equivalent of; the names are those of `OPERATIONS`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

KEYS = 1000
VALUE = b"v" * 100
LARGE = b"l" * 60_000
FOREVER = 10**6  # seconds
SLOTS = 1024
BATCHES = 30
BATCH_SECONDS = 0.02
SECONDS = float(os.environ.get("BENCH_SECONDS", "1"))

READ, WRITE = "read", "write"
OPERATIONS = {
    "cache: get, one key": READ,
    "cache: get, 1000 keys in turn": READ,
    "cache: get, 60 kB": READ,
    "cache: get, no such key": READ,
    "cache: exists": READ,
    "cache: update, one key": WRITE,
    "cache: update, 1000 keys in turn": WRITE,
    "cache: update with expiry": WRITE,
    "cache: update, 60 kB": WRITE,
    "cache: set, key is there": WRITE,
    "cache: inc": WRITE,
    "cache: set a new key and delete it": WRITE,
    "queue: get": READ,
    "queue: last 3": READ,
    "queue: set": WRITE,
    "queue: push, over the oldest": WRITE,
    "queue: push and pull": WRITE,
    "area: read 100 bytes": READ,
    "area: read 64 bits": READ,
    "area: write 100 bytes": WRITE,
    "area: write 64 bits": WRITE,
    "area: inc 64 bits": WRITE,
    "metrics: get": READ,
    "metrics: inc": WRITE,
    "locks: is it locked": READ,
    "locks: lock and unlock": WRITE,
}

Operation = Callable[[int], Any]


def both(first: Callable[..., Any], second: Callable[..., Any], *args: Any) -> Operation:
    def call(_number: int) -> None:
        first(*args)
        second()

    return call


def of_cache(
    get: Any, exists: Any, update: Any, expiring: Any, add: Any, delete: Any, count: Any
) -> dict[str, Operation]:
    """Return the operations of a cache, whosever it is, and fill it."""
    keys = [f"key{number}" for number in range(KEYS)]
    for key in keys:
        update(key, VALUE)
    update("large", LARGE)
    hot = keys[5]

    def set_and_delete(_number: int) -> None:
        add("new", VALUE)
        delete("new")

    return {
        "cache: get, one key": lambda _number: get(hot),
        "cache: get, 1000 keys in turn": lambda number: get(keys[number % KEYS]),
        "cache: get, 60 kB": lambda _number: get("large"),
        "cache: get, no such key": lambda _number: get("none"),
        "cache: exists": lambda _number: exists(hot),
        "cache: update, one key": lambda _number: update(hot, VALUE),
        "cache: update, 1000 keys in turn": lambda number: update(keys[number % KEYS], VALUE),
        "cache: update with expiry": lambda _number: expiring(hot, VALUE, FOREVER),
        "cache: update, 60 kB": lambda _number: update("large", LARGE),
        "cache: set, key is there": lambda _number: add(hot, VALUE),
        "cache: inc": lambda _number: count("number"),
        "cache: set a new key and delete it": set_and_delete,
    }


def of_uwsgi() -> dict[str, Operation]:
    """The functions of the uwsgi module: real uWSGI's, or ours."""
    import uwsgi

    for _ in range(SLOTS):
        uwsgi.queue_push(VALUE)

    def lock_and_unlock(_number: int) -> None:
        uwsgi.lock(1)
        uwsgi.unlock(1)

    def push_and_pull(_number: int) -> None:
        uwsgi.queue_push(VALUE)
        uwsgi.queue_pull()

    return {
        **of_cache(
            uwsgi.cache_get,
            uwsgi.cache_exists,
            uwsgi.cache_update,
            uwsgi.cache_update,
            uwsgi.cache_set,
            uwsgi.cache_del,
            uwsgi.cache_inc,
        ),
        "queue: get": lambda _number: uwsgi.queue_get(5),
        "queue: last 3": lambda _number: uwsgi.queue_last(3),
        "queue: set": lambda _number: uwsgi.queue_set(5, VALUE),
        "queue: push, over the oldest": lambda _number: uwsgi.queue_push(VALUE),
        "queue: push and pull": push_and_pull,
        "area: read 100 bytes": lambda _number: uwsgi.sharedarea_read(0, 0, 100),
        "area: read 64 bits": lambda _number: uwsgi.sharedarea_read64(0, 128),
        "area: write 100 bytes": lambda _number: uwsgi.sharedarea_write(0, 0, VALUE),
        "area: write 64 bits": lambda _number: uwsgi.sharedarea_write64(0, 128, 5),
        "area: inc 64 bits": lambda _number: uwsgi.sharedarea_inc64(0, 128),
        "metrics: get": lambda _number: uwsgi.metric_get("hits"),
        "metrics: inc": lambda _number: uwsgi.metric_inc("hits"),
        "locks: is it locked": lambda _number: uwsgi.is_locked(1),
        "locks: lock and unlock": lock_and_unlock,
    }


def of_diskcache(directory: str) -> dict[str, Operation]:
    """What diskcache has: a cache, Deque, Lock; a number in a cache for a metric or one in an area."""
    import diskcache

    cache = diskcache.Cache(f"{directory}/cache")
    items = diskcache.Deque([VALUE] * SLOTS, f"{directory}/deque", maxlen=SLOTS)
    lock = diskcache.Lock(cache, "lock")
    others = of_cache(cache.get, cache.__contains__, cache.set, cache.set, cache.add, cache.delete, cache.incr)
    return {
        **others,
        "queue: get": lambda _number: items[5],
        "queue: set": lambda _number: items.__setitem__(5, VALUE),
        "queue: push, over the oldest": lambda _number: items.append(VALUE),
        "queue: push and pull": both(items.append, items.popleft, VALUE),
        "area: inc 64 bits": lambda _number: cache.incr("word"),
        "metrics: get": lambda _number: cache.get("word"),
        "metrics: inc": lambda _number: cache.incr("word"),
        "locks: lock and unlock": both(lock.acquire, lock.release),
    }


def of_redis(port: str) -> dict[str, Operation]:
    """What redis has; its strings for areas, its numbers for metrics, redis-py's Lock for locks."""
    import redis

    server = redis.Redis(port=int(port))
    server.delete("queue")
    server.lpush("queue", *[VALUE] * SLOTS)
    server.set("area", VALUE * 2)
    lock = server.lock("lock", sleep=0.0001)

    def push_over(_number: int) -> None:
        with server.pipeline() as both_at_once:
            both_at_once.lpush("queue", VALUE)
            both_at_once.ltrim("queue", 0, SLOTS - 1)
            both_at_once.execute()

    return {
        **of_cache(
            server.get,
            server.exists,
            server.set,
            server.set,
            lambda key, value: server.set(key, value, nx=True),
            server.delete,
            server.incr,
        ),
        "queue: get": lambda _number: server.lindex("queue", 5),
        "queue: last 3": lambda _number: server.lrange("queue", 0, 2),
        "queue: set": lambda _number: server.lset("queue", 5, VALUE),
        "queue: push, over the oldest": push_over,
        "queue: push and pull": lambda _number: (server.lpush("queue", VALUE), server.rpop("queue")),
        "area: read 100 bytes": lambda _number: server.getrange("area", 0, 99),
        "area: write 100 bytes": lambda _number: server.setrange("area", 0, VALUE),
        "area: inc 64 bits": lambda _number: server.incr("word"),
        "metrics: get": lambda _number: server.get("word"),
        "metrics: inc": lambda _number: server.incr("word"),
        "locks: is it locked": lambda _number: lock.locked(),
        "locks: lock and unlock": lambda _number: (lock.acquire(), lock.release()),
    }


def mixes(operations: dict[str, Operation]) -> dict[str, Operation]:
    """Return what two processes do at once."""
    read, update = operations["cache: get, 1000 keys in turn"], operations["cache: update, 1000 keys in turn"]
    found = {
        "cache: read": lambda number: read(number % 100),
        "cache: 9 reads and 1 update": lambda number: (read if number % 10 else update)(number % 100),
        "cache: update": lambda number: update(number % 100),
        "cache: count in one key": operations["cache: inc"],
    }
    shared = ("queue: push and pull", "area: inc 64 bits", "metrics: inc", "locks: lock and unlock")
    return found | {name: operations[name] for name in shared if name in operations}


def nanoseconds(operation: Operation) -> float:
    """Return what one call takes: the best of some batches, each with numbers of its own."""
    count, number, best, batches = 1, 0, float("inf"), 0
    while batches < BATCHES:
        numbers = range(number, number + count)
        begin = time.perf_counter()
        for each in numbers:
            operation(each)
        spent = time.perf_counter() - begin
        number += count
        if spent < BATCH_SECONDS / 2 and count < 1 << 20:
            count *= 2
        else:
            best = min(best, spent / count * 1e9)
            batches += 1
    return best


def two(name: str, make: Callable[[], dict[str, Operation]]) -> float:
    """Return how often a second two processes do something, together."""
    start = time.time() + 0.2
    reading, writing = os.pipe()
    pid = os.fork()
    done = 0
    try:
        operation = mixes(make())[name]
        time.sleep(max(start - time.time(), 0))
        end = start + SECONDS
        while time.time() < end:
            for number in range(done, done + 20):
                operation(number)
            done += 20
        if pid == 0:
            os.write(writing, b"%d" % done)
    finally:
        if pid == 0:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        return (done + int(file.read())) / SECONDS


def tell(name: str, value: float) -> None:
    print(f"BENCH\t{name}\t{value:.1f}", flush=True)


def probe(make: Callable[[], dict[str, Operation]]) -> None:
    operations = make()
    for name in OPERATIONS:
        if name in operations:
            tell(name, nanoseconds(operations[name]))
    for name in mixes(operations):
        tell(f"two processes, {name}", two(name, make))


def application(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


if __name__ == "__main__":
    kind, where = sys.argv[1:]
    probe(lambda: of_diskcache(where) if kind == "diskcache" else of_redis(where))
elif "uwsgi" in sys.modules:  # else somebody wants to know `OPERATIONS`
    probe(of_uwsgi)
    os._exit(0)
