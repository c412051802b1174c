"""Times the operations of a cache, in the process where it is: the same code for each cache that is compared.

Under real uWSGI and uwsgi-async this file is the app, and measures while it is imported; for the others it is a
program: ``python cache_probe.py diskcache DIRECTORY`` or ``redis PORT``. One line for each result: BENCH, the name, and
nanoseconds for an operation, or operations a second of two processes at once.
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
BATCHES = 30
BATCH_SECONDS = 0.02
SECONDS = float(os.environ.get("BENCH_SECONDS", "1"))


class Uwsgi:
    """The functions of the uwsgi module: real uWSGI's, or ours."""

    def __init__(self) -> None:
        import uwsgi

        self.get, self.exists, self.delete = uwsgi.cache_get, uwsgi.cache_exists, uwsgi.cache_del
        self.add, self.set, self.count = uwsgi.cache_set, uwsgi.cache_update, uwsgi.cache_inc
        self.set_expiring = lambda key, value: uwsgi.cache_update(key, value, FOREVER)


class Diskcache:
    def __init__(self, directory: str) -> None:
        import diskcache

        cache = diskcache.Cache(directory)
        self.get, self.exists, self.delete = cache.get, cache.__contains__, cache.delete
        self.add, self.set, self.count = cache.add, cache.set, cache.incr
        self.set_expiring = lambda key, value: cache.set(key, value, FOREVER)


class Redis:
    def __init__(self, port: str) -> None:
        import redis

        cache = redis.Redis(port=int(port))
        self.get, self.exists, self.delete, self.set, self.count = (
            cache.get, cache.exists, cache.delete, cache.set, cache.incr,
        )  # fmt: skip
        self.add = lambda key, value: cache.set(key, value, nx=True)
        self.set_expiring = lambda key, value: cache.set(key, value, ex=FOREVER)


def nanoseconds(operation: Callable[[int], Any], first: int = 0) -> float:
    """Return what one call takes: the best of some batches, each with numbers of its own."""
    count, spent, number = 1, 0.0, first
    best = float("inf")
    batches = 0
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


def single(cache: Any) -> None:
    """What each operation takes in one process."""
    keys = [f"key{number}" for number in range(KEYS)]
    for key in keys:
        cache.set(key, VALUE)
    cache.set("large", LARGE)
    hot = keys[5]
    tell("get, one key", nanoseconds(lambda _number: cache.get(hot)))
    tell("get, 1000 keys in turn", nanoseconds(lambda number: cache.get(keys[number % KEYS])))
    tell("get, 60 kB", nanoseconds(lambda _number: cache.get("large")))
    tell("get, no such key", nanoseconds(lambda _number: cache.get("none")))
    tell("exists", nanoseconds(lambda _number: cache.exists(hot)))
    tell("update, one key", nanoseconds(lambda _number: cache.set(hot, VALUE)))
    tell("update, 1000 keys in turn", nanoseconds(lambda number: cache.set(keys[number % KEYS], VALUE)))
    tell("update with expiry", nanoseconds(lambda _number: cache.set_expiring(hot, VALUE)))
    tell("update, 60 kB", nanoseconds(lambda _number: cache.set("large", LARGE)))
    tell("set, key is there", nanoseconds(lambda _number: cache.add(hot, VALUE)))
    tell("inc", nanoseconds(lambda _number: cache.count("number")))

    def set_and_delete(number: int) -> None:
        cache.add("new", VALUE)
        cache.delete("new")

    tell("set a new key and delete it", nanoseconds(set_and_delete))


def double(make: Callable[[], Any]) -> None:
    """What two processes do at once, each for itself, together."""
    keys = [f"key{number}" for number in range(100)]
    mixes: dict[str, Callable[[Any, int], Any]] = {
        "two processes read": lambda cache, number: cache.get(keys[number % 100]),
        "two processes, 9 reads and 1 update": lambda cache, number: (
            cache.get(keys[number % 100]) if number % 10 else cache.set(keys[number % 100], VALUE)
        ),
        "two processes update": lambda cache, number: cache.set(keys[number % 100], VALUE),
        "two processes count in one key": lambda cache, number: cache.count("number"),
    }
    for name, operation in mixes.items():
        start = time.time() + 0.2
        reading, writing = os.pipe()
        pid = os.fork()
        done = 0
        try:
            cache = make()
            time.sleep(max(start - time.time(), 0))
            end = start + SECONDS
            while time.time() < end:
                for number in range(done, done + 100):
                    operation(cache, number)
                done += 100
            if pid == 0:
                os.write(writing, b"%d" % done)
        finally:
            if pid == 0:
                os._exit(0)
        os.waitpid(pid, 0)
        tell(name, (done + int(os.read(reading, 100))) / SECONDS)
        os.close(reading)
        os.close(writing)


def tell(name: str, value: float) -> None:
    print(f"BENCH\t{name}\t{value:.1f}", flush=True)


def probe(make: Callable[[], Any]) -> None:
    single(make())
    double(make)


def application(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b""]


if __name__ == "__main__":
    kind, where = sys.argv[1:]
    probe(lambda: Diskcache(where) if kind == "diskcache" else Redis(where))
else:
    probe(Uwsgi)
    os._exit(0)
