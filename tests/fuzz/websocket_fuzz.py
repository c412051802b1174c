"""Fuzzes the reading of frames: ``python -m tests.fuzz.websocket_fuzz --seconds 60 [--seed N]``.

Mutates the corpus and checks that the events are the same however the bytes are cut, and the same as those of the
library `websockets`, as long as both go on. At the first difference it prints the input and exits with 1.
"""

from __future__ import annotations

import itertools
import random
import sys
import time

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side

from tests.fuzz.arguments import main
from tests.websockets.client import CONTINUATION, PING, frame
from tests.websockets.corpus import CHAPTERS, squeeze
from uwsgi_async.wire.websocket import Close, Inbox, Ping, Pong, Readers

LARGEST = 1 << 20
SAMPLES = [
    piece for chapter in CHAPTERS.values() for case in chapter() for piece in case.frames if len(piece) < 500
]  # fmt: skip
SAMPLES += [
    frame(1, squeeze(b"hello " * 20)[:9], fin=False, reserved=4) + frame(CONTINUATION, squeeze(b"hello " * 20)[9:]),
    frame(2, b"a", fin=False) + frame(PING, b"between") + frame(CONTINUATION, b"b"),
]
_readers = Readers(LARGEST)

Seen = list[tuple[str, object]]


def mutate(rng: random.Random) -> bytes:
    data = b"".join(rng.choices(SAMPLES, k=rng.randint(1, 5)))
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        at, size = rng.randrange(len(data) + 1), rng.randint(0, 4)
        data = data[:at] + rng.choice((b"", rng.randbytes(1), rng.randbytes(3))) + data[at + size :]
    return data


def ours(pieces: list[bytes], compressed: bool) -> tuple[Seen, bool]:
    """Return the events before the end, and whether there was one."""
    inbox, seen = Inbox(_readers, compressed), []
    for piece in pieces:
        inbox.take(piece)
        while (event := inbox.next_event()) is not None:
            if isinstance(event, Close):
                return seen, True
            seen.append(_shown(event))
    return seen, False


def _shown(event: str | bytes | Ping | Pong | Close) -> tuple[str, object]:
    if isinstance(event, (Ping, Pong)):
        return type(event).__name__, event.payload
    return "message", event


def theirs(data: bytes, compressed: bool) -> tuple[Seen, bool]:
    """Return the same as `ours`, by `websockets`, which leaves it to others whether text is UTF-8."""
    protocol = Protocol(Side.SERVER, max_size=LARGEST)
    protocol.extensions = [PerMessageDeflate(True, True, 15, 15)] if compressed else []
    protocol.receive_data(data)
    seen: Seen = []
    parts: list[bytes] = []
    text = False
    for found in protocol.events_received():
        if found.opcode is Opcode.CLOSE:
            return seen, True
        if found.opcode in (Opcode.PING, Opcode.PONG):
            seen.append((found.opcode.name.title(), bytes(found.data)))
            continue
        text = found.opcode is Opcode.TEXT if found.opcode is not Opcode.CONT else text
        parts.append(bytes(found.data))
        if found.fin:
            message, parts = b"".join(parts), []
            try:
                seen.append(("message", message.decode() if text else message))
            except UnicodeDecodeError:
                return seen, True
    return seen, protocol.parser_exc is not None


def differences(data: bytes, rng: random.Random) -> list[object]:
    """Return what was seen of ``data`` in each way, if it was not the same in all."""
    compressed = rng.random() < 0.5
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(1, 5)))
    edges = [0, *cuts, len(data)]
    cut = [data[start:end] for start, end in itertools.pairwise(edges) if start < end]
    ways = [ours([data], compressed), ours(cut, compressed)]
    if len(data) < 400:
        ways.append(ours([data[at : at + 1] for at in range(len(data))], compressed))
    if any(way != ways[0] for way in ways):
        return list(ways)
    (seen, ended), (expected, failed) = ways[0], theirs(data, compressed)
    # Each may find out earlier than the other, in the middle of a frame, that it is wrong; nobody reads on behind that.
    size = min(len(seen), len(expected))
    read_on = (len(seen) > size and not (ended and failed)) or (len(expected) > size and not ended)
    return [ways[0], (expected, failed)] if seen[:size] != expected[:size] or read_on else []


def fuzz(seconds: float, seed: int) -> int:
    rng = random.Random(seed)
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = mutate(rng)
        try:
            found = differences(data, rng)
        except Exception:
            print(f"seed {seed}, input {count}: {data!r}", file=sys.stderr)
            raise
        if found:
            print(f"seed {seed}, input {count}: {data!r}", *found, sep="\n", file=sys.stderr)
            return 1
        count += 1
    print(f"{count} inputs, seed {seed}: no difference")
    return 0


if __name__ == "__main__":
    raise SystemExit(main("fuzz the reading of websocket frames", fuzz))
