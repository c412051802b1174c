"""A Starlette app: a body, a stream, a file, an error, work behind the response, what its lifespan keeps."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

done = []


async def body(request):
    return PlainTextResponse(f"got {len(await request.body())}")


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(1000):
        yield b"x" * 1000


async def stream(request):
    return StreamingResponse(chunks())


async def error(request):
    raise RuntimeError("the endpoint's error")


async def state(request):
    return PlainTextResponse(request.state.begun)


async def where(request):
    return PlainTextResponse(str(request.url_for("where")))


async def file(request):
    return FileResponse(__file__)


def in_thread(request):
    import uwsgi

    uwsgi.async_sleep(0.001)
    return PlainTextResponse("from a thread")


async def work():
    await anyio.sleep(0.05)
    done.append(True)


async def background(request):
    return PlainTextResponse("answered", background=BackgroundTask(work))


async def echo(websocket):
    await websocket.accept(subprotocol=websocket.scope["subprotocols"][0])
    async for message in websocket.iter_text():
        await websocket.send_text(f"{websocket.url.path} {message}")


class Header(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-middleware"] = "passed"
        return response


@asynccontextmanager
async def lifespan(app):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever)
        yield {"begun": "begun"}
        tasks.cancel_scope.cancel()


application = Starlette(
    routes=[
        Route("/body", body, methods=["POST"]),
        Route("/stream", stream),
        Route("/error", error),
        Route("/state", state),
        Route("/where", where),
        Route("/file", file),
        Route("/thread", in_thread),
        Route("/background", background),
        WebSocketRoute("/echo", echo),
    ],
    middleware=[Middleware(Header)],
    lifespan=lifespan,
)
