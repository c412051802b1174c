"""Every case of `corpus` against a server that echoes, sent as a whole, frame by frame, and byte by byte."""

from __future__ import annotations

import zlib

import anyio
import pytest

import uwsgi_async
from tests.websockets.client import CLOSE, Frame, WebSocketClient, close_payload, frame, websocket
from tests.websockets.corpus import CHAPTERS, Case

pytestmark = pytest.mark.anyio

BYTE_BY_BYTE = 400  # bytes of the largest case that is sent so: more of them would only take time


async def echo(environ, start_response):
    await uwsgi_async.websocket_handshake()
    ws = uwsgi_async.websocket()
    while True:
        await ws.send(await ws.receive())


def inflated(found: Frame) -> Frame:
    if not found.first & 0x40:
        return found
    payload = zlib.decompressobj(-15).decompress(found.payload + b"\0\0\xff\xff")
    return Frame(found.first & ~0x40, payload)


async def outcome(ws: WebSocketClient, case: Case, pieces: list[bytes]) -> tuple[tuple[Frame, ...], int]:
    """Return what came back for a case, and the code of the server's close frame."""
    seen: list[Frame] = []

    async def send() -> None:
        try:
            for piece in pieces:
                await ws.send(piece)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass  # the server has seen enough

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        while len(seen) < len(case.echoed):
            found = await ws.next()
            if found.opcode == CLOSE:
                return tuple(seen), int.from_bytes(found.payload[:2])
            seen.append(inflated(found))
    if not case.failed:
        await ws.send(frame(CLOSE, close_payload(1000)))
    code, _ = await ws.until_close()
    return tuple(seen), code


def forms(case: Case) -> dict[str, list[bytes]]:
    whole = b"".join(case.frames)
    found = {"whole": [whole]}
    if len(case.frames) > 1 and len(case.frames) < 100:
        found["frame by frame"] = list(case.frames)
    if len(whole) <= BYTE_BY_BYTE:
        found["byte by byte"] = [whole[i : i + 1] for i in range(len(whole))]
    return found


@pytest.mark.parametrize("chapter", CHAPTERS)
async def test_every_case_of_the_chapter(chapter: str) -> None:
    wrong = {}
    async with uwsgi_async.run(echo, http="127.0.0.1:0", websockets_max_size=4096) as server:
        for case in CHAPTERS[chapter]():
            for form, pieces in forms(case).items():
                async with websocket(server, more=case.more) as ws:
                    try:
                        seen = await outcome(ws, case, pieces)
                    except (TimeoutError, anyio.EndOfStream) as error:
                        seen = error
                if seen != (case.echoed, case.code):
                    wrong[f"{case.id}, {form}"] = seen
    assert wrong == {}
