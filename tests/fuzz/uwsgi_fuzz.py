"""Fuzzes the uwsgi packet reader: ``python -m tests.fuzz.uwsgi_fuzz --seconds 60 [--seed N]``.

Valid streams are mutated and split at random. What must hold: nothing but BadRequestError is raised, no byte is
lost, and how a stream is split makes no difference. A failure prints its seed and stream and ends with status 1.
"""

import argparse
import random
import time
from collections.abc import Callable

from uwsgi_async.errors import BadRequestError
from uwsgi_async.options.settings import PacketOptions
from uwsgi_async.wire.uwsgi import PacketReader, decode_vars, encode_packet, encode_vars, parse_file
from uwsgi_async.wire.uwsgi.rpc import AnswerReader, decode_call, decode_length, encode_result

OPTIONS = PacketOptions(buffer_size=1024)
LARGEST_RESULT = 70_000
NAMES = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_LENGTH", "HTTP_HOST", "X")


def valid_stream(rng: random.Random) -> bytes:
    """Return one to three valid packets and perhaps a body."""
    packets = [
        encode_packet(rng.choice((0, 17, 30, 100, 110, 173, rng.randrange(256))), rng.randrange(256), some_vars(rng))
        for _ in range(rng.randint(1, 3))
    ]
    return b"".join(packets) + rng.randbytes(rng.randrange(20))


def some_vars(rng: random.Random) -> bytes:
    return encode_vars({name: "v" * rng.randrange(60) for name in NAMES if rng.random() < 0.5})


def mutated(rng: random.Random, stream: bytes) -> bytes:
    """Return the stream with up to four bytes or slices changed, dropped or doubled."""
    data = bytearray(stream)
    for _ in range(rng.randrange(5)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.randrange(1, 9))
        data[at:end] = rng.choice((b"", rng.randbytes(end - at), data[at:end] * 2, b"\0\0", b"\xff\xff"))
    return bytes(data)


def pieces(rng: random.Random, stream: bytes) -> list[bytes]:
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(6)))
    return [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


def outcome(parts: list[bytes]) -> list[object]:
    """Return everything that a reader makes of these pieces."""
    reader = PacketReader(OPTIONS)
    seen: list[object] = []
    try:
        for part in parts:
            reader.receive_data(part)
            while (packet := reader.next_packet()) is not None:
                seen += [packet, variables(packet.payload)]
    except BadRequestError as error:
        return [*seen, error.status, str(error)]
    seen.append(reader.take_rest())
    assert reader.idle
    return seen


def variables(payload: bytes) -> object:
    return [tried(decode, payload) for decode in (decode_vars, decode_call, decode_length)]


def tried(decode: Callable[[bytes], object], payload: bytes) -> object:
    try:
        return decode(payload)
    except BadRequestError as error:
        return error.status


def answer(parts: list[bytes]) -> object:
    """Return what a reader makes of these pieces as the answer to a call."""
    reader = AnswerReader(LARGEST_RESULT)
    try:
        for part in parts:
            result = reader.receive_data(part)
            if result is not None:
                return result
    except BadRequestError as error:
        return error.status
    return None


def check(seed: int) -> None:
    """Run one case; it depends on the seed alone."""
    rng = random.Random(seed)
    stream = mutated(rng, valid_stream(rng))
    parse_file(stream)
    whole = outcome([stream])
    assert outcome(pieces(rng, stream)) == whole, f"seed {seed}: the split matters for {stream!r}"
    result = mutated(rng, encode_result(rng.randbytes(rng.choice((3, 65536)))))
    assert answer(pieces(rng, result)) == answer([result]), f"seed {seed}: the split matters for {result[:99]!r}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzz the uwsgi packet reader.")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, help="run this one case only")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        check(arguments.seed)
        return
    first = seed = random.SystemRandom().randrange(2**40)
    deadline = time.monotonic() + arguments.seconds
    while time.monotonic() < deadline:
        try:
            check(seed)
        except Exception:
            print(f"failed: python -m tests.fuzz.uwsgi_fuzz --seed {seed}")
            raise
        seed += 1
    print(f"{seed - first} cases, seeds from {first}: no failure")


if __name__ == "__main__":
    main()
