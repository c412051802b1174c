"""The cases of the Autobahn testsuite by its chapters and numbers, written anew: it needs Python 2.

A case is what a client sends to a server that echoes, and what must come back. Each is sent as a whole, frame by frame
and byte by byte where the suite does so in cases of their own. Performance (9) is measured in `benchmarks/`; here are
its sizes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.websockets.client import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    close_payload,
    frame,
)

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; {}\r\n"
HELLO = b"Hello, world!"
NO_TEXT = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff"
GREEK = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5"
SURROGATE = b"\xed\xa0\x80"
TOO_HIGH = b"\xf4\x90\x80\x80"


@dataclass(frozen=True)
class Case:
    """``frames``: what is sent. ``echoed``: what comes back before the end. ``code``: of the server's close frame.

    ``failed``: the server closes by itself, and need not see more than was sent. Else the client closes with 1000 when
    it has all of it. ``more``: of the client's head.
    """

    id: str
    frames: tuple[bytes, ...]
    echoed: tuple[Frame, ...]
    code: int = 1000
    failed: bool = False
    more: str = ""

    def __str__(self) -> str:
        return self.id


def text(payload: bytes) -> Frame:
    return Frame(0x80 | TEXT, payload)


def binary(payload: bytes) -> Frame:
    return Frame(0x80 | BINARY, payload)


def pong(payload: bytes = b"") -> Frame:
    return Frame(0x80 | PONG, payload)


def fails(id: str, frames: list[bytes], echoed: list[Frame] | None = None, code: int = 1002) -> Case:
    return Case(id, tuple(frames), tuple(echoed or []), code, failed=True)


def passes(id: str, frames: list[bytes], echoed: list[Frame], more: str = "") -> Case:
    return Case(id, tuple(frames), tuple(echoed), more=more)


def fragments(opcode: int, parts: list[bytes]) -> list[bytes]:
    """Return a message in fragments."""
    last = len(parts) - 1
    return [
        frame(opcode if number == 0 else CONTINUATION, part, fin=number == last) for number, part in enumerate(parts)
    ]


def octets(payload: bytes) -> list[bytes]:
    return [payload[i : i + 1] for i in range(len(payload))]


def framing() -> Iterator[Case]:
    """1: a message of each size that has a form of its own."""
    for number, size in enumerate((0, 125, 126, 127, 128, 65535, 65536), 1):
        yield passes(f"1.1.{number}", [frame(TEXT, b"*" * size)], [text(b"*" * size)])
        yield passes(f"1.2.{number}", [frame(BINARY, b"\xfe" * size)], [binary(b"\xfe" * size)])


def pings() -> Iterator[Case]:
    """2: pings are answered with their payload, pongs with nothing."""
    for number, payload in ((1, b""), (2, HELLO), (3, NO_TEXT), (4, b"\xfe" * 125)):
        yield passes(f"2.{number}", [frame(PING, payload)], [pong(payload)])
    yield fails("2.5", [frame(PING, b"\xfe" * 126)])
    yield passes("2.7", [frame(PONG)], [])
    yield passes("2.8", [frame(PONG, b"unsolicited")], [])
    yield passes("2.9", [frame(PONG, b"unsolicited"), frame(PING, b"asked")], [pong(b"asked")])
    many = [b"payload-%d" % number for number in range(10)]
    yield passes("2.10", [frame(PING, payload) for payload in many], [pong(payload) for payload in many])


def reserved_bits() -> Iterator[Case]:
    """3: each combination, on each kind of frame, after a message that is in order."""
    yield fails("3.1", [frame(TEXT, HELLO, reserved=1)])
    for number, bits in ((2, 2), (3, 3), (4, 4)):
        sent = [frame(TEXT, HELLO), frame(TEXT, HELLO, reserved=bits), frame(PING)]
        yield fails(f"3.{number}", sent, [text(HELLO)])
    yield fails("3.5", [frame(BINARY, NO_TEXT, reserved=5)])
    yield fails("3.6", [frame(PING, HELLO, reserved=6)])
    yield fails("3.7", [frame(CLOSE, reserved=7)])


def opcodes() -> Iterator[Case]:
    """4: those that mean nothing."""
    for chapter, numbers in ((1, range(3, 8)), (2, range(11, 16))):
        for number, opcode in enumerate(numbers, 1):
            yield fails(f"4.{chapter}.{number}", [frame(opcode, HELLO)])
            sent = [frame(TEXT, HELLO), frame(opcode), frame(PING)]
            yield fails(f"4.{chapter}.{number} after a message", sent, [text(HELLO)])


def fragmentation() -> Iterator[Case]:
    """5: what may be in pieces, and how."""
    yield fails("5.1", [frame(PING, b"1", fin=False), frame(CONTINUATION, b"2")])
    yield fails("5.2", [frame(PONG, b"1", fin=False), frame(CONTINUATION, b"2")])
    yield passes("5.3", fragments(TEXT, [b"1", b"2"]), [text(b"12")])
    first, second = fragments(TEXT, [b"1", b"2"])
    yield passes("5.6", [first, frame(PING, b"p"), second], [pong(b"p"), text(b"12")])
    yield fails("5.9", [frame(CONTINUATION, b"0"), frame(TEXT, HELLO)])
    yield fails("5.12", [frame(CONTINUATION, b"0", fin=False), frame(TEXT, HELLO)])
    loose = frame(CONTINUATION, b"3", fin=False)
    yield fails("5.15", [first, second, loose, frame(TEXT, b"4")], [text(b"12")])
    yield fails("5.16", [loose, first, second] * 2)
    yield fails("5.17", [frame(CONTINUATION, b"1"), first, second] * 2)
    yield fails("5.18", [first, frame(TEXT, b"2")])
    a, b, c, d, e = fragments(TEXT, [b"1", b"2", b"3", b"4", b"5"])
    sent = [a, b, frame(PING, b"p1"), c, d, frame(PING, b"p2"), e]
    yield passes("5.19", sent, [pong(b"p1"), pong(b"p2"), text(b"12345")])


VALID = [
    b"hello$world", "hello¢world".encode(), "hello€world".encode(), "hello\U00024b62world".encode(), GREEK,
    b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80", b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf",
    b"\xf4\x8f\xbf\xbf", b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xef\xbf\xbe", b"\xf0\x9f\xbf\xbe",
    b"\xf3\xbf\xbf\xbf", b"\xf4\x8f\xbf\xbe",
]  # fmt: skip
INVALID = [
    *(GREEK[:size] for size in (1, 3, 4, 6, 8, 10)),
    b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf",
    b"\xfd\xbf\xbf\xbf\xbf\xbf", TOO_HIGH, b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80", bytes(range(0x80, 0xC0)),
    *(b" ".join(octets(bytes(range(start, start + 8)))) for start in (0xC0, 0xE0, 0xF0, 0xF8)),
    b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80", b"\xdf", b"\xef\xbf",
    b"\xf7\xbf\xbf", b"\xfe", b"\xff", b"\xfe\xfe\xff\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",
    b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80", SURROGATE, b"\xed\xad\xbf", b"\xed\xae\x80",
    b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf",
]  # fmt: skip


def utf_8() -> Iterator[Case]:
    """6: valid and invalid, whole and in single bytes, and refused as soon as it can be known."""
    yield passes("6.1.1", [frame(TEXT)], [text(b"")])
    yield passes("6.1.2", fragments(TEXT, [b"", b"", b""]), [text(b"")])
    yield passes("6.1.3", fragments(TEXT, [b"", b"middle", b""]), [text(b"middle")])
    mixed = "Hello-µ@ßöäüàá-UTF-8!!".encode()
    yield passes("6.2.1", [frame(TEXT, mixed)], [text(mixed)])
    yield passes("6.2.2", fragments(TEXT, ["Hello-µ@ßöä".encode(), "üàá-UTF-8!!".encode()]), [text(mixed)])
    yield passes("6.2.3", fragments(TEXT, octets(mixed)), [text(mixed)])
    yield passes("6.2.4", fragments(TEXT, octets(GREEK)), [text(GREEK)])
    broken = GREEK + SURROGATE + b"edited"
    yield fails("6.3.1", [frame(TEXT, broken)], code=1007)
    yield fails("6.3.2", fragments(TEXT, octets(broken)), code=1007)
    # Fail-fast: the rest is never sent.
    begun = frame(TEXT, GREEK, fin=False)
    yield fails("6.4.1", [begun, frame(CONTINUATION, TOO_HIGH, fin=False)], code=1007)
    yield fails("6.4.2", [begun, frame(CONTINUATION, TOO_HIGH[:2], fin=False)], code=1007)
    whole = frame(TEXT, GREEK + TOO_HIGH + b"edited")
    yield fails("6.4.3", [whole[: -len(b"edited")]], code=1007)
    yield fails("6.4.4", [whole[: -len(b"edited") - 2]], code=1007)
    for number, payload in enumerate(VALID):
        yield passes(f"6.5 valid {number}", [frame(TEXT, payload)], [text(payload)])
        yield passes(f"6.5 valid {number} in bytes", fragments(TEXT, octets(payload)), [text(payload)])
    for number, payload in enumerate(INVALID):
        yield fails(f"6.6 invalid {number}", [frame(TEXT, payload)], code=1007)
        yield fails(f"6.6 invalid {number} in bytes", fragments(TEXT, octets(payload)), code=1007)


def closing() -> Iterator[Case]:
    """7: the close frame, what it may hold, and that it is the last word."""
    normal = frame(CLOSE, close_payload(1000))
    yield fails("7.1.1", [frame(TEXT, HELLO), normal], [text(HELLO)], 1000)
    yield fails("7.1.2", [normal, normal], code=1000)
    yield fails("7.1.3", [normal, frame(PING)], code=1000)
    yield fails("7.1.4", [normal, frame(TEXT, HELLO)], code=1000)
    first, second = fragments(TEXT, [b"1", b"2"])
    yield fails("7.1.5", [first, normal, second], code=1000)
    big = b"BAsd7&jh23" * 26215
    yield fails("7.1.6", [frame(TEXT, big), frame(TEXT, HELLO), normal, frame(PING)], [text(big), text(HELLO)], 1000)
    yield fails("7.3.1", [frame(CLOSE)], code=1005)
    yield fails("7.3.2", [frame(CLOSE, b"a")])
    yield fails("7.3.3", [normal], code=1000)
    yield fails("7.3.4", [frame(CLOSE, close_payload(1000, HELLO))], code=1000)
    yield fails("7.3.5", [frame(CLOSE, close_payload(1000, b"*" * 123))], code=1000)
    yield fails("7.3.6", [frame(CLOSE, close_payload(1000, b"*" * 124))])
    yield fails("7.5.1", [frame(CLOSE, close_payload(1000, GREEK + SURROGATE + b"edited"))], code=1007)
    for number, code in enumerate((1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999), 1):
        yield fails(f"7.7.{number}", [frame(CLOSE, close_payload(code))], code=code)
    for number, code in enumerate((0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999), 1):
        yield fails(f"7.9.{number}", [frame(CLOSE, close_payload(code))])
    for number, code in enumerate((5000, 65535), 1):
        yield fails(f"7.13.{number}", [frame(CLOSE, close_payload(code))])


def sizes() -> Iterator[Case]:
    """9 and 10: large messages, whole and in fragments of every size."""
    for number, size in enumerate((1 << 16, 1 << 18, 1 << 20, 1 << 22), 1):
        payload = b"BAsd7&jh23"[:8] * (size // 8)
        yield passes(f"9.1.{number}", [frame(TEXT, payload)], [text(payload)])
        yield passes(f"9.2.{number}", [frame(BINARY, payload)], [binary(payload)])
    whole = b"*" * (1 << 20)
    for number, size in enumerate((1 << 10, 1 << 14, 1 << 18, 1 << 20), 1):
        parts = [whole[start : start + size] for start in range(0, len(whole), size)]
        yield passes(f"9.3.{number}", fragments(TEXT, parts), [text(whole)])
        yield passes(f"9.4.{number}", fragments(BINARY, parts), [binary(whole)])
    payload = b"*" * 65536
    parts = [payload[start : start + 1300] for start in range(0, len(payload), 1300)]
    yield passes("10.1.1", fragments(TEXT, parts), [text(payload)])


def squeeze(payload: bytes, bits: int = 15) -> bytes:
    deflate = zlib.compressobj(wbits=-bits)
    return deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]


def compression() -> Iterator[Case]:
    """12 and 13: payloads of every size and kind, and the parameters that a client may offer.

    ``echoed`` is what the client sees when it has inflated it.
    """
    parameters = (
        "", "client_max_window_bits", "client_max_window_bits=9", "server_no_context_takeover",
        "client_no_context_takeover", "server_max_window_bits=9", "server_max_window_bits=15",
        "client_no_context_takeover; server_no_context_takeover; client_max_window_bits; server_max_window_bits=12",
    )  # fmt: skip
    kinds = {"zeros": b"\x00", "text": b"The quick brown fox. ", "noise": bytes(range(256))}
    for number, parameter in enumerate(parameters, 1):
        offer = DEFLATE.format(parameter).replace("; \r\n", "\r\n")
        for size in (0, 16, 64, 256, 1024, 4096, 65536):
            for kind, seed in kinds.items():
                if number > 1 and size not in (16, 4096):
                    continue
                payload = (seed * (size // len(seed) + 1))[:size]
                data = squeeze(payload, 9 if "=9" in parameter else 15)
                sent = [frame(BINARY, data, reserved=4)] * 2
                yield passes(f"12.{number} {size} of {kind}", sent, [binary(payload)] * 2, offer)
        data = squeeze(b"The quick brown fox. " * 40)
        parts = [frame(BINARY, data[:9], fin=False, reserved=4), frame(CONTINUATION, data[9:])]
        yield passes(f"13.{number} fragments", parts, [binary(b"The quick brown fox. " * 40)], offer)


CHAPTERS = {
    "1 framing": framing,
    "2 pings and pongs": pings,
    "3 reserved bits": reserved_bits,
    "4 opcodes": opcodes,
    "5 fragmentation": fragmentation,
    "6 UTF-8": utf_8,
    "7 close": closing,
    "9 and 10 sizes": sizes,
    "12 and 13 compression": compression,
}
