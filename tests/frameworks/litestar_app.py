"""A Litestar app: a body, a stream, a file, an error, an endpoint in a thread, what its lifespan keeps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar, MediaType, Request, WebSocket, get, post, websocket
from litestar.response import File, Stream


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.begun = "begun"
    yield


@post("/body", media_type=MediaType.TEXT, status_code=200)
async def body(request: Request[Any, Any, Any]) -> str:
    return f"got {len(await request.body())}"


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(1000):
        yield b"x" * 1000


@get("/stream")
async def stream() -> Stream:
    return Stream(chunks())


@get("/error")
async def error() -> None:
    raise RuntimeError("the handler's error")


@get("/state", media_type=MediaType.TEXT)
async def state(request: Request[Any, Any, Any]) -> str:
    return str(request.app.state.begun)


@get("/where", name="where", media_type=MediaType.TEXT)
async def where(request: Request[Any, Any, Any]) -> str:
    return str(request.url_for("where"))


@get("/file")
async def file() -> File:
    return File(Path(__file__), content_disposition_type="inline")


@get("/thread", media_type=MediaType.TEXT, sync_to_thread=True)
def in_thread() -> str:
    import uwsgi

    uwsgi.async_sleep(0.001)
    return "from a thread"


@websocket("/echo")
async def echo(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept(subprotocols=socket.scope["subprotocols"][0])
    async for message in socket.iter_data(mode="text"):
        await socket.send_text(f"{socket.url.path} {message}")


application = Litestar(
    [body, stream, error, state, where, file, in_thread, echo],
    lifespan=[lifespan],
    openapi_config=None,
    logging_config=None,
)
