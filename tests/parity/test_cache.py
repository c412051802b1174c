"""The cache: thousands of random sequences of operations, with the same answers from real uWSGI and from ours.

Left out is what real uWSGI does wrong by its own source, and ours does right (docs/design.md, "The cache"): counting in
a value of less than eight bytes, or in a bitmap (it reads what was in the memory before), a full bitmap with purge_lru
or clear_on_full (it makes room, and stores nothing), and the expiry of an item whose update finds no room in a bitmap
(it changes all the same).
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parity.harness import Running, start_oracle, start_ours
from tests.parity.oracle import require

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

SEQUENCES = int(os.environ.get("CACHE_SEQUENCES", "4000"))
AT_ONCE = 200  # sequences in a request

CACHES = {
    "plain": "items=6,blocksize=40,keysize=700",
    "start": "items=5,math_initial=-7,ignore_full=1",
    "clears": "items=4,blocksize=40,clear_on_full=1",
    "sweeps": "items=6,blocksize=40,sweep_on_full=1000",
    "both": "items=4,blocksize=40,sweep_on_full=1000,clear_on_full=1",
    "lazy": "items=5,blocksize=40,lazy_expire=1",
    "lru": "items=5,blocksize=40,purge_lru=1",
    "lruclears": "items=4,blocksize=40,purge_lru=1,clear_on_full=1",
    "bits": "items=8,blocks=19,blocksize=4,bitmap=1",
    "bits16": "items=17,blocks=32,blocksize=3,bitmap=1",
    "lazybits": "items=6,blocks=12,blocksize=4,bitmap=1,lazy_expire=1",
}
OPTIONS = [word for name, text in CACHES.items() for word in ("--cache2", f"name={name},{text}")]
OPTIONS += ["--cache-expire-freq", "3600"]  # no sweep while these tests run

KEYS = ["a", "b", "c", "d", "e", "f", "\xe9", "K" * 510, "K" * 511, "K" * 700, "K" * 701, ""]
NUMBERS = ["n1", "n2"]
SIZES = [0, 1, 2, 3, 4, 5, 8, 9, 13, 24, 40, 41, 77]
OPERANDS = [1, -1, 2, 7, -3, 0, 2**62, -(2**63), 2**63 - 1]
DIVISORS = [1, 2, 7, -3, 0]  # not -1: the least number divided by it kills real uWSGI
EXPIRES = [0, 0, 0, 1000, -5]

CALLS = ["cache_set", "cache_set", "cache_update", "cache_update", "cache_get", "cache_del", "cache_exists"]
CALLS += ["cache_num", "cache_keys", "count"]

REMOTE = {"cache_clear", "cache_set", "cache_update", "cache_get", "cache_del", "cache_exists"}

Operation = tuple[str, list[Any]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    require()
    tmp = tmp_path_factory.mktemp("parity")
    with start_oracle("cache.py", tmp, *OPTIONS) as oracle, start_ours("cache.py", tmp, *OPTIONS) as ours:
        yield oracle, ours


def run(server: Running, operations: list[Operation]) -> list[Any]:
    seen = server.request("POST", "/", json.dumps(operations).encode())
    assert seen.status == 200, seen
    answers: list[Any] = json.loads(seen.body)
    return answers


def sequence(chance: random.Random, cache: str) -> list[Operation]:
    """Some operations on one cache, which is empty at first."""
    keys = chance.sample(KEYS, 7)
    operations: list[Operation] = [("cache_clear", [cache])]
    for _ in range(chance.randrange(3, 30)):
        key = chance.choice(keys)
        name = chance.choice(CALLS)
        if name in ("cache_set", "cache_update"):
            value = chr(chance.randrange(97, 123)) * chance.choice(SIZES)
            expires = 0 if name == "cache_update" and "bits" in cache else chance.choice(EXPIRES)
            operations.append((name, [key, value, expires, cache]))
        elif name == "cache_keys":
            operations.append((name, [cache]))
        elif name != "count":
            operations.append((name, [key, cache]))
        elif "bits" not in cache:
            name = chance.choice(["cache_inc", "cache_dec", "cache_mul", "cache_div"])
            operand = chance.choice(DIVISORS if name == "cache_div" else OPERANDS)
            number = chance.choice(NUMBERS)
            operations.append((name, [number, operand, chance.choice(EXPIRES), cache]))
            operations.append(("cache_num", [number, cache]))
    operations += [("cache_get", [key, cache]) for key in keys]
    operations.append(("cache_keys", [cache]))
    return operations


def assert_same(oracle: Running, ours: Running, sequences: list[list[Operation]]) -> None:
    operations = [operation for sequence in sequences for operation in sequence]
    expected, got = run(oracle, operations), run(ours, operations)
    if expected != got:
        at = next(at for at, (one, other) in enumerate(zip(expected, got, strict=True)) if one != other)
        start = max(i for i in range(at + 1) if operations[i][0] == "cache_clear")
        lines = [f"{operations[i]} -> {expected[i]!r}, ours {got[i]!r}" for i in range(start, at + 1)]
        pytest.fail("\n".join(lines))


@pytest.mark.parametrize("cache", CACHES)
def test_random_sequences_answer_the_same(both: tuple[Running, Running], cache: str) -> None:
    chance = random.Random(f"cache {cache}")
    left = SEQUENCES // len(CACHES)
    while left > 0:
        assert_same(*both, [sequence(chance, cache) for _ in range(min(AT_ONCE, left))])
        left -= AT_ONCE


def test_the_first_cache_is_the_default(both: tuple[Running, Running]) -> None:
    assert_same(*both, [[("cache_clear", []), ("cache_set", ["k", "v"]), ("cache_get", ["k", "plain"])]])


def test_wrong_calls_raise_the_same(both: tuple[Running, Running]) -> None:
    calls: list[Operation] = [("cache_clear", [""])]
    for name in ("cache_get", "cache_del", "cache_exists", "cache_num"):
        calls += [(name, []), (name, [1]), (name, [None]), (name, ["k", 5]), (name, ["k", "nowhere"]), (name, [["k"]])]
    for name in ("cache_set", "cache_update"):
        calls += [(name, ["k"]), (name, ["k", 1]), (name, ["k", None]), (name, [1, "v"]), (name, ["k", "v", "1"])]
        calls += [(name, ["k", "v", 1.5]), (name, ["k", "v", 1 << 70]), (name, ["k", "v", 0, "nowhere"])]
        calls += [(name, ["k", "v", 0, None]), (name, ["k", "v", 0, "", 0])]
    for name in ("cache_inc", "cache_dec", "cache_mul", "cache_div"):
        calls += [(name, []), (name, ["k", "1"]), (name, ["k", 1 << 63]), (name, ["k", 1, 0, "nowhere"])]
    calls += [("cache_keys", ["nowhere"]), ("cache_keys", ["a@127.0.0.1:1"]), ("cache_clear", ["nowhere"])]
    assert_same(*both, [calls])


def test_lazy_items_end_when_their_second_comes(both: tuple[Running, Running]) -> None:
    stored: list[Operation] = [
        ("cache_clear", ["lazy"]), ("cache_set", ["a", "1", 1, "lazy"]), ("cache_set", ["b", "1", 60, "lazy"]),
        ("cache_inc", ["n1", 5, 1, "lazy"]), ("cache_inc", ["n1", 1, 60, "lazy"]), ("cache_keys", ["lazy"]),
    ]  # fmt: skip
    assert_same(*both, [stored])
    time.sleep(2)  # the clock of real uWSGI counts whole seconds
    after: list[Operation] = [
        ("cache_keys", ["lazy"]), ("cache_exists", ["a", "lazy"]), ("cache_get", ["a", "lazy"]),
        ("cache_keys", ["lazy"]), ("cache_set", ["a", "2", 0, "lazy"]), ("cache_num", ["n1", "lazy"]),
        ("cache_get", ["b", "lazy"]), ("cache_keys", ["lazy"]),
    ]  # fmt: skip
    oracle, ours = both
    assert run(oracle, after) == run(ours, after)


def remote(operations: list[Operation], address: str) -> list[Operation]:
    """The same operations on the caches of the instance at ``address``."""
    return [(name, [*arguments[:-1], f"{arguments[-1]}@{address}"]) for name, arguments in operations]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, both: tuple[Running, Running]) -> Iterator[list[str]]:
    """The addresses of two instances that others may ask: real uWSGI's, and ours."""
    tmp = tmp_path_factory.mktemp("servers")
    allow = ("--uwsgi-allow", "cache")
    with start_oracle("cache.py", tmp, *OPTIONS) as oracle, start_ours("cache.py", tmp, *OPTIONS, *allow) as ours:
        yield [f"127.0.0.1:{oracle.uwsgi}", f"127.0.0.1:{ours.uwsgi}"]


@pytest.mark.parametrize("cache", ["plain", "lru", "clears"])
def test_clients_and_servers_of_both_kinds_answer_the_same(
    both: tuple[Running, Running], servers: list[str], cache: str
) -> None:
    chance = random.Random(f"remote {cache}")
    operations = [operation for _ in range(8) for operation in sequence(chance, cache)]
    operations = [operation for operation in operations if operation[0] in REMOTE]
    answers = [run(client, remote(operations, server)) for client in both for server in servers]
    for other in answers[1:]:
        assert other == answers[0]


def free_udp_port() -> int:
    """A port that nobody has now; real uWSGI does not tell which one it got for 0."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def copied(server: Running, cache: str, keys: list[str]) -> list[Any]:
    """What a cache has once the last change, of the key "end", has come."""
    deadline = time.monotonic() + 20
    while run(server, [("cache_get", ["end", cache])]) == [None]:
        assert time.monotonic() < deadline
    return run(server, [("cache_get", [key, cache]) for key in keys])


@pytest.mark.parametrize("direction", ["from real uWSGI", "to real uWSGI"])
def test_changes_are_copied_by_udp(tmp_path: Path, direction: str) -> None:
    require()
    first, second = (start_oracle, start_ours) if direction == "from real uWSGI" else (start_ours, start_oracle)
    port = free_udp_port()
    options = ("--master", "--cache-expire-freq", "3600", "--cache2")
    receiving = second("cache.py", tmp_path, *options, f"name=c,items=9,blocksize=40,udp=127.0.0.1:{port}")
    sending = first("cache.py", tmp_path, *options, f"name=c,items=9,blocksize=40,nodes=127.0.0.1:{port}")
    with receiving as receiver, sending as sender:
        receiver.log_until(lambda text: "udp server for cache" in text or None)
        changes: list[Operation] = [
            ("cache_set", ["a", "1", 0, "c"]), ("cache_update", ["b", "2" * 40, 1000, "c"]),
            ("cache_update", ["a", "3", 0, "c"]), ("cache_set", ["gone", "4", 0, "c"]), ("cache_del", ["gone", "c"]),
            ("cache_inc", ["n", 5, 0, "c"]), ("cache_set", ["end", "1", 0, "c"]),
        ]  # fmt: skip
        run(sender, changes)
        # Real uWSGI sends deletions, but its check of their length refuses each that comes.
        deleted = None if direction == "from real uWSGI" else ["bytes", "4"]
        expected = [["bytes", "3"], ["bytes", "2" * 40], deleted, ["bytes", "\x05" + "\0" * 7]]
        assert copied(receiver, "c", ["a", "b", "gone", "n"]) == expected
