"""The chapter of the cache: uWSGI's cache_* functions.

They are plain functions, in async code too: a local cache does not wait. A cache of another instance, ``name@address``,
does: there a function waits where it can (in a core, in a thread, in a process without an event loop), and elsewhere
raises an error that names the awaitable, `uwsgi_async.remote_cache`.

What lives here: the functions, and `using`, which an instance puts in place. What does not: the object form
(`cacheobject`), the caches (`state.cache`). Source: plugins/python/uwsgi_pymodule.c; uWSGI 2.0.31 as measured.

Keys and values are bytes, or str in UTF-8; values come out as bytes. ``expires`` is in seconds, 0 is never. ``cache``:
"" is the first cache; a name that is none is a miss, and so is an instance that does not answer.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import anyio

from uwsgi_async.cores.portal import wait_for
from uwsgi_async.errors import AddressError, NoLoopError, PeerError
from uwsgi_async.state.cache.caches import Caches
from uwsgi_async.state.cache.counting import quotient
from uwsgi_async.state.cache.local import LocalCache
from uwsgi_async.state.cache.remote import RemoteCache, split_name

__all__ = [
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
]

T = TypeVar("T")
Key = bytes | str
Done = Literal[True] | None

_caches: dict[str, LocalCache] = {}
_gets: dict[str, Callable[[Key], bytes | None]] = {}  # of the same caches: the way of each read


@contextmanager
def using(caches: Caches) -> Iterator[None]:
    """Let the functions of this chapter use ``caches`` while the block runs."""
    before = dict(_caches)
    _use(dict(caches.by_name))
    try:
        yield
    finally:
        _use(before)


def local_caches() -> dict[str, LocalCache]:
    """Return the caches of this instance by name; "" is the first one."""
    return _caches


def cache_get(key: Key, cache: str = "") -> bytes | None:
    """Return the value of ``key``; None when there is none."""
    get = _gets.get(cache)
    if get is not None:
        return get(key)
    return _elsewhere(cache, "get", None, RemoteCache.get, key)


def cache_set(key: Key, value: Key, expires: int = 0, cache: str = "") -> Done:
    """Store a value under a key that is not there. True; None when it is, and as `cache_update`."""
    local = _caches.get(cache)
    if local is not None:
        return local.put(key, value, expires, False)
    return _elsewhere(cache, "set", None, RemoteCache.put, key, value, expires, False)


def cache_update(key: Key, value: Key, expires: int = 0, cache: str = "") -> Done:
    """Store a value, whether the key is there or not. True; None when the cache is full or the value too large."""
    local = _caches.get(cache)
    if local is not None:
        return local.put(key, value, expires, True)
    return _elsewhere(cache, "update", None, RemoteCache.put, key, value, expires, True)


def cache_del(key: Key, cache: str = "") -> Done:
    """Delete a key. True; None when it is not there."""
    local = _caches.get(cache)
    if local is not None:
        return local.delete(key)
    return _elsewhere(cache, "delete", None, RemoteCache.delete, key)


def cache_exists(key: Key, cache: str = "") -> Done:
    """Return True when ``key`` is there, else None. It does not count as a use of it."""
    local = _caches.get(cache)
    if local is not None:
        return local.exists(key)
    return _elsewhere(cache, "exists", None, RemoteCache.exists, key)


def cache_clear(cache: str = "") -> Done:
    """Delete all keys. True; None when there is no such cache."""
    local = _caches.get(cache)
    if local is not None:
        return local.clear()
    return _elsewhere(cache, "clear", None, RemoteCache.clear)


def cache_inc(key: Key, n: int = 1, expires: int = 0, cache: str = "") -> Done:
    """Add ``n`` to the number under ``key``, signed, of 64 bits; it wraps around.

    A key that is not there begins with the option math_initial of the cache, 0 by default, and ``expires`` is for it
    alone. True; None when the cache is full.
    """
    local = _caches.get(cache)
    if local is not None:
        return local.calculate(key, operator.add, n, expires)
    return _elsewhere(cache, "inc", None, RemoteCache.calculate, key, "inc", n, expires)


def cache_dec(key: Key, n: int = 1, expires: int = 0, cache: str = "") -> Done:
    """Subtract ``n`` from the number under ``key``; see `cache_inc`."""
    local = _caches.get(cache)
    if local is not None:
        return local.calculate(key, operator.sub, n, expires)
    return _elsewhere(cache, "dec", None, RemoteCache.calculate, key, "dec", n, expires)


def cache_mul(key: Key, n: int = 2, expires: int = 0, cache: str = "") -> Done:
    """Multiply the number under ``key`` by ``n``; see `cache_inc`."""
    local = _caches.get(cache)
    if local is not None:
        return local.calculate(key, operator.mul, n, expires)
    return _elsewhere(cache, "mul", None, RemoteCache.calculate, key, "mul", n, expires)


def cache_div(key: Key, n: int = 2, expires: int = 0, cache: str = "") -> Done:
    """Divide the number under ``key`` by ``n``, toward zero; by 0 gives 0. See `cache_inc`."""
    local = _caches.get(cache)
    if local is not None:
        return local.calculate(key, quotient, n, expires)
    return _elsewhere(cache, "div", None, RemoteCache.calculate, key, "div", n, expires)


def cache_num(key: Key, cache: str = "") -> int:
    """Return the number under ``key``; 0 when it is not there, or no number."""
    local = _caches.get(cache)
    if local is not None:
        return local.num(key)
    return _elsewhere(cache, "num", 0, RemoteCache.num, key)


def cache_keys(cache: str = "") -> list[bytes]:
    """Return all keys of a local cache, in no particular order. Raises ValueError when there is no such cache."""
    local = _caches.get(cache)
    if local is None:
        _check_name(cache)
        raise ValueError("no local uWSGI cache available")
    return local.keys()


def _use(caches: dict[str, LocalCache]) -> None:
    _caches.clear()
    _gets.clear()
    if caches:
        caches.setdefault("", next(iter(caches.values())))
    _caches.update(caches)
    _gets.update((name, cache.get) for name, cache in caches.items())


def _elsewhere(cache: str, name: str, missing: T, call: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Ask another instance; a cache that is not there, here or elsewhere, answers ``missing``."""
    _check_name(cache)
    if "@" not in cache:
        return missing
    try:
        remote = split_name(cache)
        try:
            return wait_for(call, remote, *args, name=f"remote_cache({cache!r}).{name}")
        except NoLoopError:  # the app is being imported: nothing else runs in this process
            return anyio.run(call, remote, *args)
    except (PeerError, AddressError):
        return missing


def _check_name(cache: object) -> None:
    if not isinstance(cache, str):
        raise TypeError(f"the name of a cache must be str, not {type(cache).__name__}")
    if "\0" in cache:
        raise ValueError("embedded null character")
