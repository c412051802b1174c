"""Caches of several processes against a plain dict: whoever does it, all see it at once."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.state.cache.making import made
from tests.state.cache.peer import Peers
from uwsgi_async.state.cache.caches import Caches

PROCESSES = 3
EXAMPLES = int(os.environ.get("CACHE_EXAMPLES", "25"))
CACHES = {
    "plain": "items=6,blocksize=12,keysize=600,ignore_full",
    "lazy": "items=6,blocksize=12,keysize=600,ignore_full,lazy_expire",
    "lru": "items=5,blocksize=12,keysize=600,ignore_full,purge_lru",
    "stored": "items=6,blocksize=12,keysize=600,ignore_full,store={store}",
}
LIMIT = {"plain": 5, "lazy": 5, "lru": 4, "stored": 5}
FOREVER = 10**6  # seconds

KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"K" * 511, b"\0", b"\xff" * 600])
VALUES = st.binary(min_size=0, max_size=13)
EXPIRES = st.sampled_from([0, 0, FOREVER, -5])
WHO = st.integers(0, PROCESSES - 1)
OPERATIONS = {"inc": lambda a, b: a + b, "dec": lambda a, b: a - b, "mul": lambda a, b: a * b}


class Model:
    """What uWSGI's cache does, said with a dict; of an LRU cache the oldest item is the first one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.items: OrderedDict[bytes, tuple[bytes, int]] = OrderedDict()

    def find(self, key: bytes) -> bytes | None:
        if key in self.items and self.name == "lazy" and 0 < self.items[key][1] <= time.time():
            del self.items[key]
        return self.items[key][0] if key in self.items else None

    def use(self, key: bytes) -> None:
        if self.name == "lru" and key in self.items:
            self.items.move_to_end(key)

    def put(self, key: bytes, value: bytes, expires: int, replace: bool) -> bool | None:
        if not 0 < len(value) <= 12:
            return None  # before it is looked at, so one that has expired stays
        found = self.find(key)
        if found is not None and not replace:
            return None
        if found is None and len(self.items) >= LIMIT[self.name]:
            if self.name != "lru":
                return None
            self.items.popitem(last=False)
        until = int(time.time()) + expires if expires and self.name != "lru" else 0
        self.items[key] = value, until
        self.use(key)
        return True

    def count(self, key: bytes, operation: Callable[[int], int]) -> bool | None:
        found = self.find(key)
        before = 0 if found is None else int.from_bytes(found[:8].ljust(8, b"\0"), "little", signed=True)
        value = ((operation(before) + 2**63) % 2**64 - 2**63).to_bytes(8, "little", signed=True)
        if found is None:
            return self.put(key, value, 0, True)
        self.items[key] = value, self.items[key][1]  # no use of it, and no new expiry
        return True


class Machine(RuleBasedStateMachine):
    """``peers`` and ``caches`` are set by the test."""

    peers: Peers
    caches: Caches

    @initialize(name=st.sampled_from(sorted(CACHES)))
    def begin(self, name: str) -> None:
        self.name = name
        self.model = Model(name)
        self.ask(0, "clear")

    def ask(self, who: int, method: str, *arguments: Any) -> Any:
        return self.peers.ask(who, self.name, method, *arguments)

    @rule(who=WHO, key=KEYS, value=VALUES, expires=EXPIRES, replace=st.booleans())
    def put(self, who: int, key: bytes, value: bytes, expires: int, replace: bool) -> None:
        assert self.ask(who, "put", key, value, expires, replace) == self.model.put(key, value, expires, replace)

    @rule(who=WHO, key=KEYS, times=st.integers(1, 6))
    def get(self, who: int, key: bytes, times: int) -> None:
        for _ in range(times):  # so often that it is remembered
            assert self.ask(who, "get", key) == self.model.find(key)
        self.model.use(key)

    @rule(who=WHO, key=KEYS)
    def exists(self, who: int, key: bytes) -> None:
        assert self.ask(who, "exists", key) == (None if self.model.find(key) is None else True)

    @rule(who=WHO, key=KEYS)
    def delete(self, who: int, key: bytes) -> None:
        there = self.model.find(key) is not None
        assert self.ask(who, "delete", key) == (True if there else None)
        self.model.items.pop(key, None)

    @rule(who=WHO, key=KEYS, name=st.sampled_from(sorted(OPERATIONS)), operand=st.integers(-100, 100))
    def count(self, who: int, key: bytes, name: str, operand: int) -> None:
        expected = self.model.count(key, lambda value: OPERATIONS[name](value, operand))
        assert self.ask(who, "calculate", key, name, operand, 0) == expected

    @rule(who=WHO)
    def clear(self, who: int) -> None:
        assert self.ask(who, "clear") is True
        self.model.items.clear()

    @invariant()
    def all_see_the_same_keys(self) -> None:
        for who in range(PROCESSES):
            assert sorted(self.ask(who, "keys")) == sorted(self.model.items)
            assert self.ask(who, "count") == len(self.model.items)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Caches, Peers]]:
    store = tmp_path_factory.mktemp("store") / "stored"
    with made(*(f"name={name},{text.format(store=store)}" for name, text in CACHES.items())) as caches:
        with Peers(caches, PROCESSES) as peers:
            yield caches, peers


def test_several_processes_agree_with_a_dict(shared: tuple[Caches, Peers]) -> None:
    class Bound(Machine):
        caches, peers = shared

    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
