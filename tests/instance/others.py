"""Other servers for the tests: well ones, and those that stall, reset, lie, or send half of what they have to say."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import uwsgi_async
from tests.client import get


@contextmanager
def peer(serve: Callable[[socket.socket], object]) -> Iterator[str]:
    """A server at a TCP port that does with its one connection what ``serve`` does, in a thread; gives the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def work() -> None:
            listener.settimeout(20)
            sock, _ = listener.accept()
            with sock:
                sock.settimeout(20)
                serve(sock)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            thread.join()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@contextmanager
def file_with(path: Path, content: bytes) -> Iterator[BinaryIO]:
    path.write_bytes(content)
    with path.open("rb") as file:
        yield file


def collect(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        assert part, data
        data += part
    return data


async def in_app(tmp_path: Path, work: Callable[[Any], Any], **options: Any) -> Any:
    """Run ``work`` with the `uwsgi` module in a sync app, and return what it gives."""
    results: list[Any] = []

    def sync_app(environ: Any, start_response: Any) -> list[bytes]:
        import uwsgi

        results.append(work(uwsgi))
        start_response("200 OK", [])
        return [b""]

    async with uwsgi_async.run(sync_app, http="127.0.0.1:0", **options) as server:
        await get(server)
    assert results, "the app has failed"
    return results[0]


@asynccontextmanager
async def echoing(tmp_path: Path) -> AsyncIterator[str]:
    """An instance that answers a request with its body and one of its vars."""

    async def app(environ: Any, start_response: Any) -> list[bytes]:
        body = await environ["wsgi.input"].read()
        start_response("201 Created", [("X-Seen", environ.get("X_SENT", "-"))])
        return [environ["REQUEST_METHOD"].encode(), b" ", body]

    path = str(tmp_path / "echo.sock")
    async with uwsgi_async.run(app, socket=path):
        yield path


def answering(*answers: bytes, sent: list[bytes] | None = None, size: int = 4) -> Callable[[socket.socket], None]:
    """A peer that receives ``size`` bytes, and then sends these."""

    def serve(sock: socket.socket) -> None:
        data = collect(sock, size)
        if sent is not None:
            sent.append(data)
        for answer in answers:
            sock.sendall(answer)

    return serve
