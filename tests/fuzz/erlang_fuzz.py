"""Fuzzes the Erlang node's parsers: ``python -m tests.fuzz.erlang_fuzz --seconds 60 [--seed N]``.

Valid streams of frames, handshakes and answers of epmd are mutated and split at random. What must hold: nothing but the
errors that are told is raised, how a stream is split makes no difference, and a message that was understood is the same
when it is sent on. A failure prints its seed and input and ends with status 1.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable

from tests.erlang.test_epmd import PORT2
from tests.erlang.test_handshake import acceptor, initiator
from tests.erlang.test_messages import MESSAGES
from tests.fuzz.arguments import main
from uwsgi_async.erlang.epmd import decode_alive, decode_port
from uwsgi_async.erlang.handshake import OURS, Acceptor, Initiator
from uwsgi_async.erlang.messages import TICK, FrameReader, Ignored, decode_message, encode_message
from uwsgi_async.errors import ErlangError, UwsgiAsyncError

LARGEST = 1 << 16
FRAMES = [encode_message(message, OURS) for message in MESSAGES] + [TICK]


def handshake() -> tuple[bytes, bytes]:
    """Return all that each side of a handshake says."""
    one, other = initiator(), acceptor()
    name = one.begin()
    challenge = other.receive_data(name)
    reply = one.receive_data(challenge)
    return name + reply, challenge + other.receive_data(reply)


TO_ACCEPTOR, TO_INITIATOR = handshake()


def mutated(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.randrange(4))
        new = (b"", rng.randbytes(1), rng.randbytes(end - at), b"\xff\xff\xff\xff", bytes(changed[at:end]) * 2)
        changed[at:end] = rng.choice(new)
    return bytes(changed)


def pieces(rng: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def frames(split: list[bytes]) -> list[str]:
    """Return what a stream of frames says, and how it ends."""
    reader, seen = FrameReader(LARGEST), []
    try:
        for piece in split:
            reader.receive_data(piece)
            while (frame := reader.next_frame()) is not None:
                if frame:
                    seen.append(understood(frame))
    except ErlangError as error:
        seen.append(f"end: {error}")
    return seen


def understood(frame: bytes) -> str:
    try:
        message = decode_message(frame)
    except UwsgiAsyncError as error:
        return f"{type(error).__name__}: {error}"
    if not isinstance(message, Ignored):
        try:
            again = encode_message(message, OURS)
        except UwsgiAsyncError:  # such as a SEND, whose sender nobody knows
            return repr(message)
        assert repr(decode_message(again[4:])) == repr(message)
    return repr(message)


def shaken(make: Callable[[], Initiator | Acceptor], split: list[bytes]) -> str:
    """Return what a side has answered, or why it has ended."""
    side, answers = make(), b""
    try:
        for piece in split:
            answers += side.receive_data(piece)
    except ErlangError as error:  # what was answered just before is lost with it
        return f"end: {error}"
    return f"{answers!r} {side.session}"


def fuzz(seconds: float, seed: int) -> int:
    rng = random.Random(seed)
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        stream = mutated(rng, b"".join(rng.choices(FRAMES, k=rng.randint(1, 4))))
        to_acceptor, to_initiator = mutated(rng, TO_ACCEPTOR), mutated(rng, TO_INITIATOR)
        try:
            same = (
                frames([stream]) == frames(pieces(rng, stream))
                and shaken(acceptor, [to_acceptor]) == shaken(acceptor, pieces(rng, to_acceptor))
                and shaken(initiator, [to_initiator]) == shaken(initiator, pieces(rng, to_initiator))
            )
            for decode in (decode_port, decode_alive):
                try:
                    decode(mutated(rng, PORT2))
                except ErlangError:
                    pass
        except Exception:
            print(f"seed {seed}, input {count}: {stream!r} {to_acceptor!r} {to_initiator!r}", file=sys.stderr)
            raise
        if not same:
            print(f"seed {seed}, input {count}: {stream!r} {to_acceptor!r} {to_initiator!r}", file=sys.stderr)
            return 1
        count += 1
    print(f"{count} inputs, seed {seed}: nothing found")
    return 0


if __name__ == "__main__":
    raise SystemExit(main("fuzz the Erlang node's parsers", fuzz))
