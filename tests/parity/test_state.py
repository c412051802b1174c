"""Queue, shared areas and locks: thousands of random operations, with the same answers from real uWSGI and from ours.

Left out is what real uWSGI does wrong and ours does right: a message too long for its slot in `queue_set` and a
negative count in `queue_last` (both kill the worker), `sharedarea_write16` anywhere but in area 0, counting in the last
bytes of an area (beyond its end), a negative number of an area (kills the worker); and what is another form here:
`sharedarea_read` with two arguments.
"""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parity.harness import Running, start_oracle, start_ours
from tests.parity.oracle import require

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

OPERATIONS = int(os.environ.get("STATE_OPERATIONS", "20000"))  # of each subsystem
AT_ONCE = 1000  # in a request

SLOTS, BLOCKSIZE = 8, 512
AREAS = (4096, 8192, 4096, 100)
OPTIONS = ["--queue", str(SLOTS), "--queue-blocksize", str(BLOCKSIZE), "--locks", "3"]
OPTIONS += ["--sharedarea", "1", "--sharedarea", "pages=2", "--sharedarea", "size=100"]
OPTIONS += ["--py-sharedarea", "100"]

Operation = tuple[str, list[Any]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    need_oracle()
    tmp = tmp_path_factory.mktemp("parity")
    with start_oracle("state.py", tmp, *OPTIONS) as oracle, start_ours("state.py", tmp, *OPTIONS) as ours:
        yield oracle, ours


def need_oracle() -> None:
    require()


def run(server: Running, operations: list[Operation]) -> list[Any]:
    seen = server.request("POST", "/", json.dumps(operations).encode())
    assert seen.status == 200, seen
    answers: list[Any] = json.loads(seen.body)
    return answers


def assert_same(both: tuple[Running, Running], operations: list[Operation]) -> None:
    expected, got = (run(server, operations) for server in both)
    for at, (one, other) in enumerate(zip(expected, got, strict=True)):
        before = "\n".join(f"{operations[i]} -> {expected[i]!r}" for i in range(max(0, at - 10), at))
        assert other == one, f"{before}\n{operations[at]} -> {one!r}, ours {other!r}"


def message(chance: random.Random) -> Any:
    size = chance.choice([0, 1, 2, 5, 100, BLOCKSIZE - 17, BLOCKSIZE - 16])
    text = chr(chance.randrange(97, 123)) * size
    return {"bytes": text} if chance.random() < 0.7 else text


def queue_operation(chance: random.Random) -> Operation:
    name = chance.choice(["push"] * 3 + ["pop", "pull", "pull", "get", "set", "last", "slot", "pull_slot"])
    arguments: list[Any] = []
    if name == "push":
        arguments = [chance.choice([message(chance), "x" * (BLOCKSIZE - 15)])]
    elif name == "get":
        arguments = [chance.randrange(-2, SLOTS + 2)]
    elif name == "set":
        arguments = [chance.randrange(-2, SLOTS + 2), message(chance)]
    elif name == "last":
        arguments = chance.choice([[], [0], [chance.randrange(1, SLOTS + 3)]])
    return f"queue_{name}", arguments


WIDTHS = {"8": 1, "16": 2, "32": 4, "64": 8, "byte": 1, "long": 8}
VALUES = [0, 1, -1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, -(2**63)]


def area_operation(chance: random.Random) -> Operation:
    number = chance.randrange(0, 5)
    size = AREAS[number % 4]
    position = chance.choice([0, 1, 8, 13, size - 9, size - 8, size - 4, size - 3, size - 2, size - 1, size, -1, 2**62])
    kind = chance.choice(["read", "write", "readN", "writeN", "count"])
    if kind == "read":
        return "sharedarea_read", [number, position, chance.choice([0, 1, 5, 20, size, 5000])]
    if kind == "write":
        return "sharedarea_write", [number, position, chance.choice(["", "a", {"bytes": "\xff" * 9}, "x" * 100])]
    width = chance.choice(list(WIDTHS))
    if kind == "readN":
        return f"sharedarea_read{width}", [number, position]
    if kind == "writeN":
        value = chance.choice(VALUES)
        if width == "16":
            number, value = 0, value % 2**16
        return f"sharedarea_write{width}", [number, position, value % 2**32 if width == "32" else value]
    name = chance.choice(["inc32", "dec32", "inc64", "dec64", "inclong"])
    if "32" not in name and size - 8 < position < size:
        position = size - 8
    return f"sharedarea_{name}", [number, position, *chance.choice([[], [chance.choice(VALUES)]])]


class LockOperations:
    """Operations on locks that do not wait: nobody else is there to unlock."""

    def __init__(self) -> None:
        self.locked: set[int] = set()

    def __call__(self, chance: random.Random) -> Operation:
        number = chance.randrange(-1, 6)
        name = chance.choice(["lock", "unlock", "is_locked"])
        if name == "lock" and number in self.locked:
            name = "unlock"
        if name == "lock" and 0 <= number <= 3:
            self.locked.add(number)
        elif name == "unlock":
            self.locked.discard(number)
        return name, [] if number == 0 and chance.random() < 0.5 else [number]


@pytest.mark.parametrize("make", [queue_operation, area_operation, LockOperations()], ids=["queue", "area", "lock"])
def test_random_operations_answer_the_same(
    both: tuple[Running, Running], make: Callable[[random.Random], Operation], request: pytest.FixtureRequest
) -> None:
    chance = random.Random(request.node.name)
    assert_same(both, [("sharedarea_write", [3, 0, "\0" * 100])])  # in uWSGI it holds anything at first
    for _ in range(OPERATIONS // AT_ONCE):
        assert_same(both, [make(chance) for _ in range(AT_ONCE)])


def test_calls_of_wrong_kinds_raise_the_same(both: tuple[Running, Running]) -> None:
    names = ["lock", "unlock", "is_locked", "queue_get", "queue_last"]
    calls: list[Operation] = [(name, [wrong]) for name in names for wrong in ("1", 1.5, None, {"bytes": "1"}, [])]
    calls += [("queue_push", [wrong]) for wrong in (1, 1.5, None, [])]
    calls += [
        ("queue_push", []),
        ("queue_get", []),
        ("queue_set", [1]),
        ("queue_set", ["1", "x"]),
        ("queue_set", [1, 1]),
    ]
    for name in ("read8", "read16", "read32", "read64", "memoryview", "rlock", "wlock", "unlock"):
        calls += [(f"sharedarea_{name}", arguments) for arguments in ([], ["0"], [0.0], [None, 1], [9])]
    for name in ("write8", "write32", "write64", "inc32", "inc64", "dec32", "dec64", "inclong"):
        calls += [
            (f"sharedarea_{name}", arguments) for arguments in ([], [0, "0", 1], [0, 0.0, 1], [0, 0, "1"], [0, 0, 1.5])
        ]
    calls += [("sharedarea_write", [0, 0, 1]), ("sharedarea_write", [0, "0", "x"]), ("sharedarea_read", [0, 0, "1"])]
    assert_same(both, calls)


def test_locking_an_area_for_oneself_changes_nothing_else(both: tuple[Running, Running]) -> None:
    assert_same(
        both,
        [
            ("sharedarea_wlock", [1]),
            ("sharedarea_unlock", [1]),
            ("sharedarea_rlock", [1]),
            ("sharedarea_read", [1, 0, 4]),
            ("sharedarea_unlock", [1]),
            ("sharedarea_write", [1, 0, "abcd"]),
            ("sharedarea_memoryview", [2]),
        ],
    )


def test_the_module_has_the_same_names(both: tuple[Running, Running]) -> None:
    assert_same(both, [("queue_size", []), ("sharedarea_write", [0, 0, "x"]), ("queue_nothing", [])])


STORE = ["--queue", "4", "--queue-blocksize", "1024", "--master", "--no-orphans", "--queue-store"]
FILL: list[Operation] = [("queue_push", [text]) for text in ("a", "bb", "ccc", "dddd", "eeeee")]
FILL += [("queue_pull", []), ("queue_set", [2, "set"])]
LOOK: list[Operation] = [("queue_get", [slot]) for slot in range(4)] + [("queue_slot", []), ("queue_pull_slot", [])]
EXPECTED = [None, ["bytes", "bb"], ["bytes", "set"], ["bytes", "dddd"], 1, 1]


@pytest.mark.parametrize(("writer", "reader"), [(start_oracle, start_ours), (start_ours, start_oracle)])
def test_a_queue_store_written_by_one_is_read_by_the_other(writer: Any, reader: Any, tmp_path: Path) -> None:
    need_oracle()
    options = [*STORE, str(tmp_path / "queue.store")]
    with writer("state.py", tmp_path, *options) as server:
        run(server, FILL)
        assert run(server, LOOK) == EXPECTED
    with reader("state.py", tmp_path, *options) as server:
        assert run(server, LOOK) == EXPECTED


METRICS = ["--metric", "hits", "--metric", "name=initial,initial_value=5,type=gauge,oid=1.2.3"]
METRICS += ["--metric", "name=other,type=alias,alias=hits", "--metric", "name=sum,collector=sum,children=hits;initial"]
METRICS += ["--master", "--processes", "2", "--no-orphans"]


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    need_oracle()
    tmp = tmp_path_factory.mktemp("metrics")
    with start_oracle("state.py", tmp, *METRICS, "--stats", str(tmp / "oracle.stats")) as oracle:
        with start_ours("state.py", tmp, *METRICS, "--stats", str(tmp / "ours.stats")) as ours:
            yield oracle, ours


def metric_operation(chance: random.Random) -> Operation:
    name = chance.choice(["hits", "hits", "initial", "other", "sum", "worker.1.respawns", "nothing", ""])
    call = chance.choice(["set", "inc", "dec", "mul", "div", "set_max", "set_min", "get", "get"])
    if call == "get":
        return "metric_get", [name if name not in ("sum", "worker.1.respawns") else "initial"]  # these come late
    values = [0, 1, 2, -3, 7, 2**40, 2**63 - 1, *([-(2**63), -1] if call != "div" else [])]  # not -1: see the cache
    return f"metric_{call}", [name, *chance.choice([[], [chance.choice(values)]])]


def test_random_operations_on_metrics_answer_the_same(counting: tuple[Running, Running]) -> None:
    chance = random.Random("metrics")
    for _ in range(OPERATIONS // AT_ONCE):
        assert_same(counting, [metric_operation(chance) for _ in range(AT_ONCE)])
    assert_same(counting, [("metric_get", []), ("metric_get", [1]), ("metric_set", ["hits", "1"])])
    assert_same(counting, [("metric_set", ["hits", 1.5]), ("metric_inc", ["hits", 2**63]), ("metric_inc", [None])])


def test_the_metrics_have_the_same_names_types_and_oids(counting: tuple[Running, Running]) -> None:
    told = []
    for server in counting:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(server.log_path.with_suffix(".stats")))
            with sock.makefile("rb") as file:
                metrics = json.load(file)["metrics"]
        told.append({name: (metric["type"], metric["oid"]) for name, metric in metrics.items()})
    assert told[1] == told[0]
    assert list(told[1]) == list(told[0])
