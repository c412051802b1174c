"""SNMP: the functions answer the same, and the agent tells the same under the same numbers, with the same types.

Real uWSGI's agent answers a GET of one object in 119 bytes at most, and nothing else, so that is what both are asked.
Where ours goes on, or differs on purpose, is in `differences.SNMP`, with a test of both sides below.
"""

from __future__ import annotations

import random
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.parity.harness import Running, start_oracle, start_ours
from tests.parity.oracle import require
from tests.parity.test_state import Operation, assert_same, run
from tests.snmp.manager import V1, V2C, ask, free_port, oid

pytestmark = [pytest.mark.parity, pytest.mark.timeout(120)]

PATIENCE = 20.0  # seconds
OPERATIONS = 3000
OPTIONS = ["--snmp-community", "public", "--metric", "name=gauge,type=gauge,oid=9.1,initial_value=-2"]
OPTIONS += ["--metric", "name=count,oid=9.2,initial_value=300", "--metric", "name=shadowed,oid=2.77"]
OPTIONS += ["--master", "--processes", "2", "--metrics-no-cores", "--no-orphans"]

NULL = (0x05, 0)
SILENCE = None


@dataclass(frozen=True)
class Asked:
    """A server, and where it is asked by SNMP."""

    server: Running
    port: int

    def get(self, name: str, *, version: int = V2C, community: bytes = b"public") -> tuple[int, int] | None:
        """Return the tag and the unsigned number of an object's value; None when there was no answer.

        Whether there is one is known by the answer to a second request, which comes behind the first one's.
        """
        first = ask("get", [name], version=version, community=community, request_id=1)
        return self.send(first, oid(name))

    def send(self, request: bytes, name: tuple[int, ...]) -> tuple[int, int] | None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(("127.0.0.1", self.port))
            sock.send(request)
            sock.send(BARRIER)
            answer = sock.recv(65536)
            if b"\x02\x02\x44\x44" in answer[:30]:
                return SILENCE
            assert b"\x02\x02\x44\x44" in sock.recv(65536)[:30]
        return last_value(answer, name)


BARRIER = ask("get", ["1.1"], request_id=0x4444)


def last_value(answer: bytes, name: tuple[int, ...]) -> tuple[int, int]:
    """Take the value behind ``name`` out of an answer, whatever a strict reader would say of its number."""
    encoded = bytes([40 * name[0] + name[1]]) + b"".join(map(base128, name[2:]))
    _, found, behind = answer.rpartition(b"\x06" + bytes([len(encoded)]) + encoded)
    assert found, answer
    tag, length, content = behind[0], behind[1], behind[2:]
    assert len(content) == length
    return tag, int.from_bytes(content, "big")


def base128(number: int) -> bytes:
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F | 0x80)
    return bytes(reversed(digits))


@contextmanager
def oracle_asked(tmp: Any) -> Iterator[Asked]:
    port = free_port()
    with start_oracle("state.py", tmp, f"--snmp=127.0.0.1:{port}", *OPTIONS) as server:
        server.log_until(lambda text: re.search("SNMP server enabled on", text))
        yield Asked(server, port)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Asked, Asked]]:
    require()
    tmp = tmp_path_factory.mktemp("snmp")
    with oracle_asked(tmp) as oracle:
        with start_ours("state.py", tmp, "--snmp=127.0.0.1:0", *OPTIONS) as server:
            found = server.log_until(lambda text: re.search(r"SNMP server enabled on 127\.0\.0\.1:(\d+)", text))
            yield oracle, Asked(server, int(found[1]))


KINDS = ("counter32", "counter64", "gauge")
NUMBERS = [0, 1, 2, 7, -1, -5, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 3, 2**63, 2**64 - 1]


def operation(chance: random.Random) -> Operation:
    verb, kind = chance.choice(["set", "incr", "incr", "decr"]), chance.choice(KINDS)
    counts_64 = verb != "set" and kind == "counter64"
    numbers = [number for number in NUMBERS if 0 <= number < 2**32] if counts_64 else NUMBERS
    two = verb == "set" or chance.random() < 0.7
    oid = chance.choice([*range(1, 9), 100])
    if chance.random() < 0.1:
        oid = chance.choice([0, 101, 255, "1", 1.0, None, *([] if two and verb != "set" else [256, -1, 2**70])])
    number = chance.choice(numbers) if chance.random() < 0.95 else chance.choice(["1", 1.5, None])
    return f"snmp_{verb}_{kind}", [oid, number] if two else [oid]


def servers(both: tuple[Asked, Asked]) -> tuple[Running, Running]:
    return both[0].server, both[1].server


def test_random_calls_answer_the_same_and_leave_the_same(both: tuple[Asked, Asked]) -> None:
    chance = random.Random("snmp")
    for _ in range(OPERATIONS // 300):
        assert_same(servers(both), [operation(chance) for _ in range(300)])
        for slot in (*range(1, 9), 100):
            expected, got = (server.get(f"2.{slot}") for server in both)
            if expected == NULL:
                assert got == (0x81, 0), slot  # noSuchInstance
            else:
                assert got == expected, slot


def test_calls_of_wrong_kinds_raise_the_same(both: tuple[Asked, Asked]) -> None:
    calls: list[Operation] = [("snmp_set_community", wrong) for wrong in ([], [1], [None], [{"bytes": "a"}], ["a\0b"])]
    calls += [(f"snmp_{verb}_{kind}", []) for verb in ("set", "incr", "decr") for kind in KINDS]
    calls += [(f"snmp_{verb}_{kind}", [1, 2, 3]) for verb in ("set", "incr", "decr") for kind in KINDS]
    calls += [(f"snmp_set_{kind}", [1]) for kind in KINDS]
    assert_same(servers(both), calls)


def wait_until(condition: Callable[[], bool]) -> None:
    """A request is counted when it has ended, a moment after its answer."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_general_tree_has_the_same_numbers_and_types(both: tuple[Asked, Asked]) -> None:
    """Both have served as many requests, because these tests ask both the same; which worker did is chance."""
    oracle, ours = both
    wait_until(lambda: oracle.get("1.1") == ours.get("1.1"))
    told = [{slot: server.get(f"1.{slot}") for slot in range(1, 101)} for server in both]
    there = [{slot for slot, value in each.items() if value not in (NULL, (0x81, 0))} for each in told]
    assert there[0] == there[1] == {1, 31, 32}
    for each in told:
        assert {value[0] for value in (each[1], each[31], each[32]) if value} == {0x46}
        assert each[1] == (0x46, sum(value[1] for value in (each[31], each[32]) if value))


def test_requests_are_counted(both: tuple[Asked, Asked]) -> None:
    oracle, ours = both
    wait_until(lambda: oracle.get("1.1") == ours.get("1.1"))
    for server in both:
        before = server.get("1.1")
        assert before is not None
        after = before[0], before[1] + 1
        run(server.server, [])
        wait_until(lambda server=server, after=after: server.get("1.1") == after)  # type: ignore[misc]


@pytest.mark.parametrize("name", ["9.1", "9.2", "3.0.14", "3.1.1", "3.2.14", "5.1", "5.3", "5.104", "7.0.1"])
def test_metrics_stand_at_the_same_places_with_the_same_types(both: tuple[Asked, Asked], name: str) -> None:
    oracle, ours = (server.get(name) for server in both)
    assert oracle is not None
    assert ours is not None
    assert ours[0] == oracle[0]
    if name in ("9.1", "9.2"):
        assert ours[1] == oracle[1]


def test_a_metric_below_the_apps_numbers_is_out_of_reach(both: tuple[Asked, Asked]) -> None:
    assert [server.get("2.77") for server in both] == [NULL, (0x81, 0)]


@pytest.mark.parametrize(
    "request_",
    [
        ask("get", ["1.1"], community=b"wrong"),
        ask("get", ["1.1"], community=b""),
        ask("get", ["1.1"], version=3),
        ask("response", ["1.1"]),
        ask("get", ["1.1"])[:-1],
        b"\x30",
        b"",
    ],
    ids=["community", "no community", "version", "no request", "cut", "short", "empty"],
)  # fmt: skip
def test_the_same_gets_no_answer(both: tuple[Asked, Asked], request_: bytes) -> None:
    assert [server.send(request_, oid("1.1")) for server in both] == [SILENCE, SILENCE]


def test_a_community_that_was_set_is_the_one(both: tuple[Asked, Asked]) -> None:
    for server in both:
        assert run(server.server, [("snmp_set_community", ["other"])]) == [True]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(("127.0.0.1", server.port))
            sock.send(ask("get", ["1.1"]))
            sock.send(ask("get", ["1.1"], community=b"other"))
            assert b"other" in sock.recv(65536)
        assert run(server.server, [("snmp_set_community", ["public"])]) == [True]


# --- on purpose -----------------------------------------------------------------------------------------------------


def test_a_slot_that_is_empty_is_null_in_uwsgi_and_no_such_instance_here(both: tuple[Asked, Asked]) -> None:
    assert [server.get("2.50") for server in both] == [NULL, (0x81, 0)]
    assert [server.get("1.2") for server in both] == [NULL, (0x81, 0)]


@pytest.mark.parametrize("name", ["2.101", "9.9", "2.1.0"])
def test_what_is_not_there_gets_no_answer_from_uwsgi_and_a_reason_here(both: tuple[Asked, Asked], name: str) -> None:
    oracle, ours = (server.get(name) for server in both)
    assert oracle is SILENCE
    assert ours in ((0x80, 0), (0x81, 0))


def test_v1_has_no_counter64_here(both: tuple[Asked, Asked]) -> None:
    oracle, ours = (server.get("1.1", version=V1) for server in both)
    assert oracle is not None
    assert (oracle[0], ours) == (0x46, NULL)  # the binding of the request comes back, with the error noSuchName


@pytest.mark.parametrize("what", ["next", "bulk", "set"])
def test_uwsgi_answers_get_alone(both: tuple[Asked, Asked], what: str) -> None:
    oracle, ours = both
    request = ask(what, ["1.1"], numbers=(1, 0) if what == "bulk" else (0, 0))
    assert oracle.send(request, oid("1.1")) is SILENCE
    name = oid("1.1") if what == "set" else oid("1.31")
    assert ours.send(request, name) is not SILENCE


def test_a_counter64_counts_all_of_a_number_here(both: tuple[Asked, Asked]) -> None:
    told = []
    for server in both:
        run(server.server, [("snmp_set_counter64", [60, 0]), ("snmp_incr_counter64", [60, 2**33 + 1])])
        told.append(server.get("2.60"))
    assert told == [(0x46, 1), (0x46, 2**33 + 1)]


@pytest.mark.parametrize("verb", ["incr", "decr"])
def test_an_oid_beyond_a_byte_overflows_here_whatever_else_is_given(both: tuple[Asked, Asked], verb: str) -> None:
    call = [(f"snmp_{verb}_gauge", [256, 1]), (f"snmp_{verb}_gauge", [256])]
    overflow = ["raised", "OverflowError"]
    assert [run(server.server, call) for server in both] == [[["raised", "TypeError"], overflow], [overflow, overflow]]
