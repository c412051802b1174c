"""A FastAPI app: a body, a stream, a file, an error, an endpoint in a thread, what its lifespan keeps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request, WebSocket
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse


@asynccontextmanager
async def lifespan(app):
    yield {"begun": "begun"}


application = FastAPI(lifespan=lifespan)


@application.post("/body", response_class=PlainTextResponse)
async def body(request: Request) -> str:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
    return f"got {size}"


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(1000):
        yield b"x" * 1000


@application.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(chunks())


@application.get("/error")
async def error() -> None:
    raise RuntimeError("the endpoint's error")


def begun(request: Request) -> str:
    return str(request.state.begun)


@application.get("/state", response_class=PlainTextResponse)
async def state(found: Annotated[str, Depends(begun)]) -> str:
    return found


@application.get("/where", response_class=PlainTextResponse)
async def where(request: Request) -> str:
    return str(request.url_for("where"))


@application.get("/file")
async def file() -> FileResponse:
    return FileResponse(__file__)


@application.get("/thread", response_class=PlainTextResponse)
def in_thread() -> str:
    import uwsgi

    uwsgi.async_sleep(0.001)
    return "from a thread"


@application.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept(subprotocol=websocket.scope["subprotocols"][0])
    while True:  # its end is the framework's WebSocketDisconnect
        await websocket.send_text(f"{websocket.url.path} {await websocket.receive_text()}")
