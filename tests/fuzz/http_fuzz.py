"""Fuzzes `HttpReader`: ``python -m tests.fuzz.http_fuzz --seconds 60 [--seed N]``.

Mutates the corpus and checks that both parsers give the same events, however the bytes are split, and that nothing
but `BadRequestError` is raised. At the first difference it prints the input and exits with 1.
"""

import random
import sys
import time

from tests.fuzz.arguments import main
from tests.wire.http.corpus import EVIL, GOOD
from tests.wire.http.drive import Event, one_by_one, run, split_at

SAMPLES = [data for data in (*GOOD.values(), *(data for _, data in EVIL.values())) if len(data) < 1000]
LIMITS = [{}, {"max_header_bytes": 150, "max_header_count": 5, "max_chunk_overhead": 15}]


def mutate(rng: random.Random) -> bytes:
    data = b"".join(rng.choices(SAMPLES, k=rng.randint(1, 3)))
    for _ in range(rng.randint(0, 5)):
        start, size = rng.randrange(len(data) + 1), rng.randint(0, 6)
        other = rng.choice(SAMPLES)
        at = rng.randrange(len(other))
        new = rng.choice(
            (
                b"",
                rng.randbytes(1),
                other[at : at + rng.randint(1, 20)],
                bytes(rng.choices(b"\r\n\t :;,_0a\x00\xff", k=2)),
            )
        )
        data = data[:start] + new + data[start + size :]
    return data


def outcomes(data: bytes, rng: random.Random) -> list[list[Event]]:
    """The events of ``data`` in each way of reading it; they must all be equal."""
    limits = rng.choice(LIMITS)
    cuts = [rng.randrange(len(data) + 1) for _ in range(rng.randint(1, 5))]
    ways = [("httptools", [data]), ("httptools", split_at(data, cuts)), ("h11", split_at(data, cuts))]
    if len(data) < 400:
        ways.append(("httptools", one_by_one(data)))
    return [run(parser, pieces, **limits) for parser, pieces in ways]


def fuzz(seconds: float, seed: int) -> int:
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = mutate(rng)
        try:
            results = outcomes(data, rng)
        except Exception:
            print(f"seed {seed}, input {count}: {data!r}", file=sys.stderr)
            raise
        if any(result != results[0] for result in results):
            print(f"seed {seed}, input {count}: {data!r}", *results, sep="\n", file=sys.stderr)
            return 1
        count += 1
    print(f"{count} inputs, seed {seed}: no difference")
    return 0


if __name__ == "__main__":
    raise SystemExit(main("fuzz the HTTP reader", fuzz))
