"""All caches of an instance, by their names: created from the options, attached in other processes, kept in order.

What lives here: `Caches`. What does not: one cache (`local`), the documented functions (`api.cache`).
"""

from __future__ import annotations

import dataclasses
import gzip
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import anyio
import anyio.to_thread
from anyio.lowlevel import checkpoint

from uwsgi_async.options.caching import CacheOptions, CacheSpec, check_room, from_plain, specs_of, to_plain
from uwsgi_async.state.cache.blocks import cells_for
from uwsgi_async.state.cache.copies import Receiver, resolved
from uwsgi_async.state.cache.local import CacheStatistics, LocalCache
from uwsgi_async.state.cache.memory import CacheMemory, MemoryFds, inherit, size_for
from uwsgi_async.state.cache.place import sweep_places
from uwsgi_async.state.cache.store import describe, open_store
from uwsgi_async.state.cache.sweep import sweep

logger = logging.getLogger("uwsgi_async")

Receivers = Sequence[tuple[LocalCache, Receiver]]

_PAUSE: Final = 1.0  # seconds between two times that sleepers are woken in any case


class Caches:
    """The caches of an instance in one process. ``by_name``: in the order of the options; the first is the default.

    ``receivers``: of the changes of other instances, in the process that maintains the caches.
    """

    def __init__(self, caches: Sequence[LocalCache], options: CacheOptions, receivers: Receivers = ()) -> None:
        self._receivers = receivers
        self.by_name: Mapping[str, LocalCache] = {cache.spec.name: cache for cache in caches}
        self._options = options

    def __repr__(self) -> str:
        return f"<Caches: {', '.join(map(repr, self.by_name.values()))}>"

    @classmethod
    def create(cls, options: CacheOptions) -> Caches | None:
        """Create the caches that the options name; None when they name none. Raises `OptionError`, `StoreError`."""
        specs = specs_of(options)
        check_room(specs)
        caches: list[LocalCache] = []
        try:
            for spec in specs:
                caches.append(_create(spec))  # noqa: PERF401 - those that were made are closed when the next one fails
            _fill(caches, options)
            receivers = _receivers(caches)
        except BaseException:
            for cache in caches:
                cache.close()
            raise
        return cls(caches, options, receivers) if caches else None

    @classmethod
    def attach(cls, described: Sequence[Mapping[str, Any]]) -> Caches:
        """Join the caches of another process, by what `described` says there."""
        caches = []
        for each in described:
            spec = from_plain(each["spec"])
            fds = MemoryFds(*each["fds"])
            inherit(each["fds"])
            caches.append(LocalCache(spec, CacheMemory(fds, each["size"]), _meta(spec)))
        return cls(caches, CacheOptions())

    @property
    def fds(self) -> list[int]:
        """What a child process must inherit, at the same numbers."""
        return [fd for cache in self.by_name.values() for fd in _fds(cache)]

    def described(self) -> list[dict[str, Any]]:
        """Return what `attach` needs."""
        return [
            {"spec": to_plain(cache.spec), "fds": _fds(cache), "size": cache.memory.size}
            for cache in self.by_name.values()
        ]

    async def maintain(self) -> None:
        """Let items expire, and write stores to the disk as often as they ask for it, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep_mending)
            for cache, receiver in self._receivers:
                tasks.start_soon(receiver.run, cache.take)
            swept = [cache for cache in self.by_name.values() if cache.spec.swept]
            if swept and not self._options.cache_no_expire:
                tasks.start_soon(self._sweep, swept)
            for cache in self.by_name.values():
                if cache.spec.store is not None and cache.spec.store_sync:
                    tasks.start_soon(_sync, cache)

    def publish(self) -> None:
        """Let other processes see the hits and misses of this one."""
        for cache in self.by_name.values():
            cache.publish()

    def mend(self) -> None:
        """Put in order what a death may have left behind: sleepers, and names. To be called after each one."""
        for cache in self.by_name.values():
            cache.memory.wake()
        sweep_places()

    def sections(self) -> Mapping[str, Any]:
        """Return what the caches tell in the statistics, in the form of uWSGI's JSON."""
        return {"caches": [_section(cache.statistics()) for cache in self.by_name.values()]}

    def close(self) -> None:
        """Give back what this process has of the caches."""
        sweep_places()
        for _, receiver in self._receivers:
            receiver.close()
        for cache in self.by_name.values():
            cache.close()

    async def _keep_mending(self) -> None:
        while True:
            await anyio.sleep(_PAUSE)
            self.mend()

    async def _sweep(self, caches: Sequence[LocalCache]) -> None:
        while True:
            for cache in caches:
                deleted = 0
                for part in sweep(cache, int(time.time())):
                    deleted += part
                    await checkpoint()
                cache.memory.recover()
                if deleted and self._options.cache_report_freed_items:
                    logger.info('freed %d items for cache "%s"', deleted, cache.spec.name)
            await anyio.sleep(self._options.cache_expire_freq)


def _receivers(caches: Sequence[LocalCache]) -> Receivers:
    found: list[tuple[LocalCache, Receiver]] = []
    try:
        for cache in caches:
            for address in cache.spec.udp_servers:
                found.append((cache, Receiver(cache.spec.name, address)))  # noqa: PERF401 - as above
    except BaseException:
        for _, receiver in found:
            receiver.close()
        raise
    return found


def _create(spec: CacheSpec) -> LocalCache:
    spec = dataclasses.replace(spec, nodes=tuple("{}:{}".format(*resolved(node)) for node in spec.nodes))
    size, cells = size_for(spec), cells_for(spec)
    memory = open_store(spec, size, cells) if spec.store else CacheMemory.create(spec.name, size, cells)
    logger.info('*** Cache "%s" initialized: %d items, %d bytes at most ***', spec.name, spec.limit, spec.size)
    return LocalCache(spec, memory, _meta(spec))


def _meta(spec: CacheSpec) -> bytes | None:
    return None if spec.store is None else describe(spec)


def _fds(cache: LocalCache) -> list[int]:
    fds = cache.memory.fds
    return [fds.data, fds.locks, fds.cells]


def _section(seen: CacheStatistics) -> dict[str, Any]:
    return {
        "name": seen.name,
        "hash": seen.hash,
        "hashsize": seen.hashsize,
        "keysize": seen.keysize,
        "max_items": seen.max_items,
        "blocks": seen.blocks,
        "blocksize": seen.blocksize,
        "items": seen.items,
        "hits": seen.hits,
        "miss": seen.misses,
        "full": seen.full,
        "last_modified_at": seen.last_modified,
    }


async def _sync(cache: LocalCache) -> None:
    while True:
        await anyio.sleep(cache.spec.store_sync)
        await anyio.to_thread.run_sync(cache.memory.environment().sync, True, abandon_on_cancel=True)


# --- what is in a cache from the start --------------------------------------------------------------------------------


def _fill(caches: Sequence[LocalCache], options: CacheOptions) -> None:
    """Store what add-cache-item and load-file-in-cache say; an item without a cache's name goes into each."""
    for text in options.load_file_in_cache:
        _store(caches, text, _load, "[cache]")
    for text in options.load_file_in_cache_gzip:
        _store(caches, text, lambda word: _load(word, gzip.compress), "[cache-gzip]")
    for text in options.add_cache_item:
        _store(caches, text, _pair, "[cache]")


def _store(
    caches: Sequence[LocalCache], text: str, read: Callable[[str], tuple[str, bytes] | None], label: str
) -> None:
    name, space, word = text.partition(" ")
    chosen = [cache for cache in caches if not space or cache.spec.name == name]
    item = read(word if space else text) if chosen else None
    for cache in chosen if item is not None else ():
        key, value = item  # type: ignore[misc]
        if cache.put(key, value, 0, False):
            logger.info('%s stored "%s" in "%s"', label, key, cache.spec.name)
        else:
            logger.warning('%s unable to store "%s" in "%s"', label, key, cache.spec.name)


def _pair(text: str) -> tuple[str, bytes] | None:
    key, equals, value = text.partition("=")
    if not equals:
        logger.warning("[cache] unable to store item %s: expected key=value", text)
        return None
    return key, value.encode()


def _load(path: str, change: Callable[[bytes], bytes] = bytes) -> tuple[str, bytes] | None:
    try:
        with open(path, "rb") as file:
            return path, change(file.read())
    except OSError as error:
        logger.warning('[cache-error] unable to read file "%s": %s', path, error.strerror)
        return None
