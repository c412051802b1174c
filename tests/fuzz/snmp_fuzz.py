"""Fuzzes the SNMP agent: ``python -m tests.fuzz.snmp_fuzz --seconds 60 [--seed N]``.

Valid requests are mutated. What must hold: nothing is raised; each datagram is answered or dropped, and counted once; a
strict reader of the same version understands every answer; no answer is longer than a packet or its request. A failure
prints its seed and ends with status 1.
"""

import argparse
import random
import time
from contextlib import contextmanager

from tests.snmp.conftest import METRICS, Place, made
from tests.snmp.manager import V1, V2C, ask, read
from uwsgi_async.snmp.message import MOST_ANSWER
from uwsgi_async.snmp.objects import Kind

NAMES = (
    "",
    "1",
    "1.1",
    "1.31",
    "2",
    "2.1",
    "2.40",
    "2.41.0",
    "3.1.2",
    "5.3",
    "9.1",
    "9.2",
    ".1.3",
    ".2.999.4294967295",
)

place = contextmanager(made)


def valid_request(rng: random.Random) -> bytes:
    what = rng.choice(("get", "next", "set", "bulk", "bulk", "inform"))
    names = [rng.choice(NAMES) for _ in range(rng.choice((0, 1, 2, 5, 80)))]
    numbers = (rng.randrange(3), rng.choice((0, 1, 10, 2**31 - 1))) if what == "bulk" else (0, 0)
    return ask(what, names, version=rng.choice((V1, V2C)), request_id=rng.randrange(2**31), numbers=numbers)


def mutated(rng: random.Random, request: bytes) -> bytes:
    """Return the request with up to four bytes or slices changed, dropped or doubled."""
    data = bytearray(request)
    for _ in range(rng.randrange(5)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.randrange(1, 5))
        data[at:end] = rng.choice((b"", rng.randbytes(end - at), data[at:end] * 2, b"\0", b"\xff", b"\x30\x80"))
    return bytes(data)


def check(seed: int, where: Place) -> None:
    """Raise what goes wrong in the case that ``seed`` makes."""
    rng = random.Random(seed)
    where.values.set(rng.randrange(1, 101), rng.choice(list(Kind)), rng.randrange(2**64))
    datagram = mutated(rng, valid_request(rng))
    before = dict(where.counts)
    answer = where.agent.answer(datagram)
    grown = {name for name, count in where.counts.items() if count != before.get(name, 0)}
    assert len(grown - {"in_pkts"}) == 1, f"{datagram!r} is counted as {grown}"
    assert (answer is not None) == ("out_pkts" in grown), f"{datagram!r} is counted as {grown}"
    if answer is not None:
        read(answer)
        assert len(answer) <= max(MOST_ANSWER, len(datagram)), f"{datagram!r} is answered by {len(answer)} bytes"


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the SNMP agent.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="run this one case only")
    arguments = parser.parse_args()
    with place(*METRICS) as where:
        if arguments.seed is not None:
            check(arguments.seed, where)
            return
        first = seed = random.SystemRandom().randrange(2**40)
        deadline = time.monotonic() + arguments.seconds
        while time.monotonic() < deadline:
            try:
                check(seed, where)
            except Exception:
                print(f"failed: python -m tests.fuzz.snmp_fuzz --seed {seed}")
                raise
            seed += 1
        print(f"{seed - first} cases, seeds from {first}: no failure")


if __name__ == "__main__":
    main()
