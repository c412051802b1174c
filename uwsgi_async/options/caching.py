"""The options of caches, what the words of ``--cache2`` mean, and whether the machine has the room.

What lives here: `CacheOptions`, `CacheSpec`, `specs_of`, `check_room`. What does not: caches (`state.cache`).
Names, aliases and defaults are those of uWSGI's core/cache.c. Source: uWSGI, "The uWSGI caching framework".
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from uwsgi_async.errors import OptionError
from uwsgi_async.options.declare import option

SECONDS: Final = 1.0
KIB: Final = 1024
OLD_NAME: Final = "default"  # of the cache that the option ``cache`` makes
DEFAULT_BLOCKSIZE: Final = 64 * KIB
LARGEST_KEY: Final = 65535 - 1  # bytes: a key must fit an item of a uwsgi packet
STAMP: Final = 8  # bytes
ITEM_OVERHEAD: Final = 128  # bytes of bookkeeping for each item, about

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """Which caches. For `state.cache`."""

    FIXED: ClassVar = True

    cache2: tuple[str, ...] = option(
        (),
        "cache2",
        repeat=True,
        help="make a cache: name=N,items=M and, if wanted, blocksize, keysize, purge_lru, store=FILE and others",
    )
    cache: int = option(0, "cache", help="make a cache named default for so many items", minimum=0)
    cache_blocksize: int = option(
        0, "cache-blocksize", unit="bytes", help="largest value in the cache named default; 0 = 65536", minimum=0
    )
    cache_store: str | None = option(None, "cache-store", help="keep the cache named default in this file")
    cache_store_sync: int = option(
        0,
        "cache-store-sync",
        unit="seconds",
        help="write the stores of caches to the disk so often; 0 = when the kernel does",
        minimum=0,
    )
    cache_no_expire: bool = option(False, "cache-no-expire", help="do not look for items that have expired")
    cache_expire_freq: float = option(
        3 * SECONDS, "cache-expire-freq", unit="seconds", help="look for expired items so often", minimum=0.01
    )
    cache_report_freed_items: bool = option(False, "cache-report-freed-items", help="log how many items have expired")
    cache_use_last_modified: bool = option(
        False, "cache-use-last-modified", help="note when the cache named default was last changed"
    )
    cache_udp_node: tuple[str, ...] = option(
        (),
        "cache-udp-node",
        repeat=True,
        help="send what changes in the cache named default to this host:port, by UDP",
    )
    cache_udp_server: tuple[str, ...] = option(
        (),
        "cache-udp-server",
        repeat=True,
        help="take changes for the cache named default at this host:port, by UDP, from whoever sends them",
    )
    add_cache_item: tuple[str, ...] = option(
        (), "add-cache-item", repeat=True, help="store [CACHE ]KEY=VALUE at the start"
    )
    load_file_in_cache: tuple[str, ...] = option(
        (), "load-file-in-cache", repeat=True, help="store a file at the start, [CACHE ]PATH, under its path"
    )
    load_file_in_cache_gzip: tuple[str, ...] = option(
        (), "load-file-in-cache-gzip", repeat=True, help="store a file at the start, compressed with gzip"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSpec:
    """One cache. Sizes are bytes, times seconds.

    ``items``: of which the cache stores one less, as uWSGI's does. ``blocks``: as many as ``items``, but with
    ``bitmap``, where a value may take several. ``keysize``: the largest key. ``purge_lru``: a full cache drops the
    item that was used least recently; nothing expires. ``lazy_expire``: an item expires when it is asked for, there
    is no sweep. ``sweep_on_full``: a full cache drops what has expired, at most once in so many seconds; 0 = never.
    ``clear_on_full``: a full cache drops everything. ``ignore_full``: nothing is logged about it. ``math_initial``:
    what a key begins with that is counted first. ``no_expire``: what has expired is not swept. ``expires``: the
    expiry of items that are stored without one; 0 = never. ``lastmod``: note the time of the last change. ``store``:
    the file that keeps the cache; None = in memory. ``store_sync``: how often it is written to the disk; 0 = as the
    kernel likes. ``store_delete``: a file that does not fit is removed. ``nodes``: where changes are sent by UDP.
    ``udp_servers``: where changes of others are taken, by UDP; host:port.
    """

    name: str
    items: int
    blocks: int
    blocksize: int = DEFAULT_BLOCKSIZE
    keysize: int = 2048
    bitmap: bool = False
    purge_lru: bool = False
    lazy_expire: bool = False
    sweep_on_full: int = 0
    clear_on_full: bool = False
    ignore_full: bool = False
    math_initial: int = 0
    no_expire: bool = False
    expires: int = 0
    lastmod: bool = False
    store: str | None = None
    store_sync: int = 0
    store_delete: bool = False
    hash: str = "djb33x"
    hashsize: int = 65536
    nodes: tuple[str, ...] = ()
    udp_servers: tuple[str, ...] = ()

    @property
    def limit(self) -> int:
        """The most items that are stored."""
        return self.items - 1

    @property
    def largest_value(self) -> int:
        """The largest value, in bytes."""
        return self.blocksize * self.blocks if self.bitmap else self.blocksize

    @property
    def size(self) -> int:
        """What a full cache takes, in bytes."""
        each_block = self.blocksize + (self.bitmap or self.purge_lru) + STAMP * self.purge_lru
        return self.items * (self.keysize + ITEM_OVERHEAD) + self.blocks * each_block

    @property
    def swept(self) -> bool:
        """Whether what has expired is to be looked for."""
        return not (self.no_expire or self.purge_lru or self.lazy_expire)


_ALIASES: Final = {
    "max_items": "items",
    "maxitems": "items",
    "max-items": "items",
    "hash_size": "hashsize",
    "key_size": "keysize",
    "storesync": "store_sync",
    "storedelete": "store_delete",
    "lru": "purge_lru",
    "lazy": "lazy_expire",
    "node": "nodes",
    "udp": "udp_servers",
    "udp_server": "udp_servers",
    "udpservers": "udp_servers",
    "udpserver": "udp_servers",
}
_UDP_ADDRESS = re.compile(r"[^:]*:\d{1,5}")
_LEAST: Final = {"items": 2, "blocks": 1, "blocksize": 1, "keysize": 1, "hashsize": 1}
_MOST: Final = {"keysize": LARGEST_KEY, "blocks": 1 << 40, "items": 1 << 40, "blocksize": 1 << 40}
_NO: Final = frozenset(("0", "false", "no", "off"))
_FIELDS: Final = {field.name: field.type for field in dataclasses.fields(CacheSpec)}
_SEPARATOR = re.compile(r"(?<!\\),")


def specs_of(options: CacheOptions) -> list[CacheSpec]:
    """Return the caches that the options name, the old-style one first. Raises `OptionError`."""
    specs = []
    if options.cache:
        old = CacheSpec(
            name=OLD_NAME,
            items=options.cache,
            blocks=options.cache,
            blocksize=options.cache_blocksize or DEFAULT_BLOCKSIZE,
            store=options.cache_store,
            store_sync=options.cache_store_sync,
            lastmod=options.cache_use_last_modified,
            nodes=options.cache_udp_node,
            udp_servers=options.cache_udp_server,
        )
        specs.append(check_spec(old, f"cache={options.cache}"))
    specs += [parse_spec(text, store_sync=options.cache_store_sync) for text in options.cache2]
    names = [spec.name for spec in specs]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"cache2: there are {names.count(name)} caches named {name!r}: a name must be unique")
    stores = [spec.store for spec in specs if spec.store is not None]
    if len(set(stores)) < len(stores):
        raise OptionError("cache2: two caches cannot have the same store")
    return specs


def parse_spec(text: str, *, store_sync: int = 0) -> CacheSpec:
    """Return the cache that a ``--cache2`` describes, such as "name=pages,items=100,blocksize=4096,purge_lru".

    ``store_sync``: how often a store is written to the disk when ``text`` does not say, in seconds; 0 = as the
    kernel likes. Raises `OptionError`.
    """
    given: dict[str, str] = {}
    for word in _SEPARATOR.split(text):
        key, _, value = (part.strip().replace("\\,", ",") for part in word.partition("="))
        if key:
            given[_field(key, text)] = value
    for needed in ("name", "items"):
        if not given.get(needed):
            raise _error(text, f"{needed}=... is missing")
    values: dict[str, object] = {"store_sync": store_sync}
    values.update((key, _value(key, value, text)) for key, value in given.items())
    values.setdefault("blocks", values["items"])
    return check_spec(CacheSpec(**values), text)  # type: ignore[arg-type]


def check_spec(spec: CacheSpec, text: str) -> CacheSpec:
    """Return ``spec`` if it makes sense. Raises `OptionError`. ``text``: how it was given."""
    for key, least in _LEAST.items():
        number, most = getattr(spec, key), _MOST.get(key, 1 << 62)
        if not least <= number <= most:
            why = " (the first of uWSGI's items is never used, so one item would store nothing)" * (key == "items")
            raise _error(text, f"{key}={number} is not from {least} to {most}{why}")
    if spec.blocks < spec.items:
        raise _error(text, f"blocks={spec.blocks} must be at least items={spec.items}")
    if not -(1 << 63) <= spec.math_initial < 1 << 63:
        raise _error(text, f"math_initial={spec.math_initial} is not a signed number of 64 bits")
    for address in (*spec.nodes, *spec.udp_servers):
        if not _UDP_ADDRESS.fullmatch(address) or int(address.rpartition(":")[2]) > 65535:
            raise _error(text, f"expected host:port for UDP, but {address!r} came")
    if "@" in spec.name or "\0" in spec.name:
        raise _error(text, f"a name with '@' means a cache of another instance, so {spec.name!r} cannot be one here")
    return spec


def to_plain(spec: CacheSpec) -> dict[str, Any]:
    """Return a spec as JSON can carry it."""
    return dataclasses.asdict(spec)


def from_plain(plain: Mapping[str, Any]) -> CacheSpec:
    """Return the spec that `to_plain` was given."""
    values: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()}
    return CacheSpec(**values)


def check_room(specs: Iterable[CacheSpec]) -> None:
    """Raise `OptionError` when full caches would be larger than the machine's memory, or than their disk."""
    memory = memory_size()
    total = 0
    for spec in specs:
        if spec.store is not None:
            _check_disk(spec, spec.store)
            continue
        total += spec.size
        if total > memory:
            so_far = "" if total == spec.size else f", {_human(total)} with the caches before it"
            raise OptionError(
                f"cache2: when it is full, cache {spec.name!r} takes {_human(spec.size)} ({spec.items} items, "
                f"{spec.blocks} blocks of {spec.blocksize} bytes){so_far}, but the memory is {_human(memory)}: "
                "choose a smaller items or blocksize"
            )


def _check_disk(spec: CacheSpec, store: str) -> None:
    try:
        disk = os.statvfs(os.path.dirname(os.path.abspath(store)))
    except OSError as error:
        raise OptionError(
            f"cache2: the store {store!r} of cache {spec.name!r} cannot be made: {error.strerror}"
        ) from error
    size = disk.f_frsize * disk.f_blocks
    if spec.size > size:
        raise OptionError(
            f"cache2: when it is full, cache {spec.name!r} takes {_human(spec.size)}, but the disk of its store "
            f"{store!r} has {_human(size)}: choose a smaller items or blocksize"
        )


def memory_size() -> int:
    """Return the bytes of memory that this process may have: the machine's, or its control group's."""
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in _CGROUP_LIMITS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            size = min(size, int(text))
    return size


def _field(key: str, text: str) -> str:
    name = _ALIASES.get(key, key)
    if name in _FIELDS:
        return name
    if name == "sync":
        raise _error(
            text,
            "sync copies the memory of a uWSGI's cache as it lies there, and this one has another form: leave it out; "
            "what changes from now on comes by udp, and name@address reaches the rest",
        )
    near = difflib.get_close_matches(key, [*_FIELDS, *_ALIASES], n=1)
    raise _error(text, f"there is no {key!r}; {f'did you mean {near[0]!r}?' if near else f'known are {_known()}'}")


def _value(key: str, value: str, text: str) -> object:
    kind = _FIELDS[key]
    if kind == "bool":
        return value.lower() not in _NO
    if kind == "int":
        if not re.fullmatch(r"[+-]?\d{1,20}", value):
            raise _error(text, f"{key} takes a whole number, but {value!r} came")
        if key != "math_initial" and value.startswith("-"):
            raise _error(text, f"{key} takes a number from 0, but {value!r} came")
        return int(value)
    if not value:
        raise _error(text, f"{key} needs a value")
    return tuple(value.split(";")) if kind.startswith("tuple") else value


def _known() -> str:
    return ", ".join(sorted(_FIELDS))


def _error(text: str, what: str) -> OptionError:
    return OptionError(f"cache2: {what} (in {text!r})")


def _human(size: int) -> str:
    number = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if number < KIB:
            return f"{number:.4g} {unit}"
        number /= KIB
    return f"{number:.4g} PiB"
