"""The cache as an object, for new code: ``pages = uwsgi_async.cache("pages", str)``.

What lives here: `cache`, `remote_cache`, the objects that they give, and how values become bytes. What does not:
uWSGI's own functions (`api.cache`), the caches (`state.cache`).

An object may be made at any time, at import too: it looks for its cache when it is used.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, Protocol, TypeVar, overload

import anyio

from uwsgi_async.api.cache import local_caches
from uwsgi_async.errors import NotConfiguredError, UsageError
from uwsgi_async.state.cache.counting import quotient
from uwsgi_async.state.cache.local import CacheStatistics, LocalCache
from uwsgi_async.state.cache.remote import TIMEOUT, split_name
from uwsgi_async.state.cache.remote import RemoteCache as Connection

T = TypeVar("T")
D = TypeVar("D")
Key = bytes | str

_FIRST_PAUSE: Final = 0.001  # seconds between two looks at whether another process has computed a value
_LONGEST_PAUSE: Final = 0.05


class Serializer(Protocol):
    """What `json`, `pickle`, `marshal` and others have: values to bytes or text, and back."""

    def dumps(self, value: Any, /) -> bytes | str: ...

    def loads(self, data: Any, /) -> Any: ...


class _Codec(Generic[T]):
    """Values to bytes, and back. ``kind``: bytes, str, int, or a `Serializer`."""

    __slots__ = ("decode", "encode", "name")

    def __init__(self, kind: Any) -> None:
        encode, decode = _KINDS.get(kind, (None, None)) if isinstance(kind, type) else (_dumps(kind), _loads(kind))
        if encode is None or decode is None:
            raise UsageError(f"expected bytes, str, int, or what has dumps and loads, such as json; {kind!r} came")
        self.encode: Callable[[T], bytes] = encode
        self.decode: Callable[[bytes], T] = decode
        self.name: str = getattr(kind, "__name__", type(kind).__name__)


class Cache(Generic[T]):
    """A cache of this instance whose values are of one type.

    Its methods do not wait, but for `get_or_set`. ``expires``: seconds, 0 = never. Each raises `NotConfiguredError`
    where no instance has such a cache.
    """

    __slots__ = ("_codec", "name")

    def __init__(self, name: str, codec: _Codec[T]) -> None:
        self.name = name
        self._codec = codec

    def __repr__(self) -> str:
        try:
            now = self.statistics()
        except NotConfiguredError:
            return f"<Cache {self.name!r} of {self._codec.name}, not there>"
        return (
            f"<Cache {now.name!r} of {self._codec.name}: {now.items} of {now.max_items - 1} items, "
            f"{now.hits} hits, {now.misses} misses>"
        )

    def __contains__(self, key: Key) -> bool:
        return self.exists(key)

    def __len__(self) -> int:
        return self._local.count()

    @overload
    def get(self, key: Key) -> T | None: ...

    @overload
    def get(self, key: Key, default: D) -> T | D: ...

    def get(self, key: Key, default: D | None = None) -> T | D | None:
        """Return the value of ``key``, or ``default`` when there is none."""
        value = self._local.get(key)
        return default if value is None else self._codec.decode(value)

    def set(self, key: Key, value: T, expires: int = 0) -> bool:
        """Store a value under a key that is not there; return whether it was stored."""
        return self._local.put(key, self._codec.encode(value), expires, False) is True

    def update(self, key: Key, value: T, expires: int = 0) -> bool:
        """Store a value, whether the key is there or not; False when the cache is full or the value is too large."""
        return self._local.put(key, self._codec.encode(value), expires, True) is True

    def delete(self, key: Key) -> bool:
        """Delete a key; return whether it was there."""
        return self._local.delete(key) is True

    def exists(self, key: Key) -> bool:
        """Return whether the key is there, which is no use of it."""
        return self._local.exists(key) is True

    def clear(self) -> None:
        """Delete all keys."""
        self._local.clear()

    def keys(self) -> list[bytes]:
        """Return all keys, in no particular order."""
        return self._local.keys()

    def inc(self, key: Key, n: int = 1, expires: int = 0) -> bool:
        """Add to the number under ``key``; see `uwsgi_async.cache_inc`. A cache of int reads it with `get`."""
        return self._local.calculate(key, int.__add__, n, expires) is True

    def dec(self, key: Key, n: int = 1, expires: int = 0) -> bool:
        """Subtract from the number under ``key``."""
        return self._local.calculate(key, int.__sub__, n, expires) is True

    def mul(self, key: Key, n: int = 2, expires: int = 0) -> bool:
        """Multiply the number under ``key``."""
        return self._local.calculate(key, int.__mul__, n, expires) is True

    def div(self, key: Key, n: int = 2, expires: int = 0) -> bool:
        """Divide the number under ``key`` toward zero; by 0 gives 0."""
        return self._local.calculate(key, quotient, n, expires) is True

    async def get_or_set(self, key: Key, compute: Callable[[], T | Awaitable[T]], expires: int = 0) -> T:
        """Return the value of ``key``; when there is none, compute and store it.

        Of all cores of all processes that want the key, one computes, and the others wait for it. When ``compute``,
        a function or a coroutine function, raises or its process dies, the next one computes.
        """
        value = self.get(key)
        if value is None:
            async with _turn(self._local, key) as found:
                value = None if found is None else self._codec.decode(found)
                if value is None:
                    computed = compute()
                    value = await computed if inspect.isawaitable(computed) else computed
                    self.update(key, value, expires)
        return value

    def statistics(self) -> CacheStatistics:
        """Return what the cache holds and has done, in all processes."""
        return self._local.statistics()

    @property
    def _local(self) -> LocalCache:
        caches = local_caches()
        local = caches.get(self.name)
        if local is None:
            if not caches:
                raise NotConfiguredError(
                    f"there is no cache {self.name!r} here: no instance with caches runs in this process; "
                    "the option cache2 makes one: name=N,items=M"
                )
            names = ", ".join(name for name in caches if name)
            raise NotConfiguredError(f"there is no cache {self.name!r}, only {names}: the option cache2 makes one")
        return local


class RemoteCache(Generic[T]):
    """A cache of another instance whose values are of one type: the methods of `Cache` as coroutines.

    Each raises `DisconnectedError` (a ConnectionError) when nobody is there, and `PeerTimeoutError` (a TimeoutError)
    when the answer is late.
    """

    __slots__ = ("_codec", "_connection")

    def __init__(self, connection: Connection, codec: _Codec[T]) -> None:
        self._connection = connection
        self._codec = codec

    def __repr__(self) -> str:
        return f"<RemoteCache {self._connection.name}@{self._connection.address} of {self._codec.name}>"

    @overload
    async def get(self, key: Key) -> T | None: ...

    @overload
    async def get(self, key: Key, default: D) -> T | D: ...

    async def get(self, key: Key, default: D | None = None) -> T | D | None:
        """Return the value of ``key``, or ``default`` when there is none."""
        value = await self._connection.get(key)
        return default if value is None else self._codec.decode(value)

    async def set(self, key: Key, value: T, expires: int = 0) -> bool:
        """Store a value under a key that is not there; return whether it was stored."""
        return await self._connection.put(key, self._codec.encode(value), expires, False) is True

    async def update(self, key: Key, value: T, expires: int = 0) -> bool:
        """Store a value, whether the key is there or not; return whether it was stored."""
        return await self._connection.put(key, self._codec.encode(value), expires, True) is True

    async def delete(self, key: Key) -> bool:
        """Delete a key; return whether it was there."""
        return await self._connection.delete(key) is True

    async def exists(self, key: Key) -> bool:
        """Return whether the key is there."""
        return await self._connection.exists(key) is True

    async def clear(self) -> bool:
        """Delete all keys; False when there is no such cache."""
        return await self._connection.clear() is True

    async def inc(self, key: Key, n: int = 1, expires: int = 0) -> bool:
        """Add to the number under ``key``; False at an instance of real uWSGI, which cannot do that for others."""
        return await self._connection.calculate(key, "inc", n, expires) is True

    async def dec(self, key: Key, n: int = 1, expires: int = 0) -> bool:
        """Subtract from the number under ``key``; see `inc`."""
        return await self._connection.calculate(key, "dec", n, expires) is True

    async def mul(self, key: Key, n: int = 2, expires: int = 0) -> bool:
        """Multiply the number under ``key``; see `inc`."""
        return await self._connection.calculate(key, "mul", n, expires) is True

    async def div(self, key: Key, n: int = 2, expires: int = 0) -> bool:
        """Divide the number under ``key`` toward zero; by 0 gives 0. See `inc`."""
        return await self._connection.calculate(key, "div", n, expires) is True


@overload
def cache(name: str = "") -> Cache[bytes]: ...


@overload
def cache(name: str, kind: type[T]) -> Cache[T]: ...


@overload
def cache(name: str, kind: Serializer) -> Cache[Any]: ...


def cache(name: str = "", kind: Any = bytes) -> Cache[Any]:
    """Return a cache of this instance; "" is the first one.

    ``kind``: what its values are: bytes, str, int (as `cache_inc` counts), or a module such as `json` or `pickle`, by
    whose dumps and loads they become bytes. For a cache of another instance there is `remote_cache`.
    """
    if "@" in name:
        raise UsageError(f"{name!r} is a cache of another instance, which must be awaited: use remote_cache({name!r})")
    return Cache(name, _Codec(kind))


@overload
def remote_cache(name: str, *, timeout: float = TIMEOUT) -> RemoteCache[bytes]: ...


@overload
def remote_cache(name: str, kind: type[T], *, timeout: float = TIMEOUT) -> RemoteCache[T]: ...


@overload
def remote_cache(name: str, kind: Serializer, *, timeout: float = TIMEOUT) -> RemoteCache[Any]: ...


def remote_cache(name: str, kind: Any = bytes, *, timeout: float = TIMEOUT) -> RemoteCache[Any]:
    """Return a cache of another instance by its name, such as "pages@10.0.0.1:4040"; "@10.0.0.1:4040" is the first one.

    ``kind``: as for `cache`. ``timeout``: seconds for each call. Raises `AddressError`.
    """
    return RemoteCache(split_name(name, timeout), _Codec(kind))


# --- one computes, the others wait --------------------------------------------------------------------------------

_turns: dict[tuple[int, str, Key], tuple[anyio.Lock, int]] = {}  # with the number of those who hold or want it


@asynccontextmanager
async def _turn(local: LocalCache, key: Key) -> AsyncIterator[bytes | None]:
    """Wait for the key, or for one's turn to compute it: gives the value when somebody else has.

    Cores of a process wait for a lock; processes for a byte of the cache's memory, which the kernel frees when the one
    that holds it dies.
    """
    name = threading.get_ident(), local.spec.name, key
    lock, users = _turns.get(name, (None, 0))
    lock = lock or anyio.Lock()
    _turns[name] = lock, users + 1
    try:
        async with lock:
            found = local.get(key)
            if found is not None:
                yield found
                return
            place = int.from_bytes(
                hashlib.blake2b(key if isinstance(key, bytes) else key.encode(), digest_size=6).digest()
            )
            pause = _FIRST_PAUSE
            while not _take(local.memory.fds.cells, place):
                await anyio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
                found = local.get(key)
                if found is not None:
                    yield found
                    return
            try:
                yield local.get(key)
            finally:
                fcntl.lockf(local.memory.fds.cells, fcntl.LOCK_UN, 1, place)
    finally:
        lock, users = _turns.pop(name)
        if users > 1:
            _turns[name] = lock, users - 1


def _take(fd: int, place: int) -> bool:
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
    except OSError:
        return False
    return True


# --- values -------------------------------------------------------------------------------------------------------


def _same(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"this cache holds bytes, not {type(value).__name__}")
    return value


def _from_text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"this cache holds str, not {type(value).__name__}")
    return value.encode()


def _from_number(value: Any) -> bytes:
    if not isinstance(value, int):
        raise TypeError(f"this cache holds int, not {type(value).__name__}")
    return value.to_bytes(8, "little", signed=True)


def _dumps(serializer: Any) -> Callable[[Any], bytes] | None:
    dumps = getattr(serializer, "dumps", None)
    if dumps is None:
        return None

    def encode(value: Any) -> bytes:
        data = dumps(value)
        return data.encode() if isinstance(data, str) else data

    return encode


def _loads(serializer: Any) -> Callable[[bytes], Any] | None:
    return getattr(serializer, "loads", None)


_KINDS: Final[dict[Any, tuple[Callable[[Any], bytes], Callable[[bytes], Any]]]] = {
    bytes: (_same, bytes),
    str: (_from_text, bytes.decode),
    int: (_from_number, lambda data: int.from_bytes(data, "little", signed=True)),
}
