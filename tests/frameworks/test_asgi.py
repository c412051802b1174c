"""Real ASGI frameworks, unchanged: bodies, streams, files, errors, threads, lifespan; on the loops that each knows."""

from __future__ import annotations

import gc
import importlib
from typing import Any

import anyio
import pytest

import uwsgi_async
from tests.client import connect, get
from tests.websockets.client import CLOSE, TEXT, close_payload, frame, websocket

pytestmark = pytest.mark.anyio

BIG = b"x" * 1_500_000
WITH_LIFESPAN = ("starlette", "fastapi", "litestar")


@pytest.fixture(params=[*WITH_LIFESPAN, "django_asgi"])
def name(request: pytest.FixtureRequest, anyio_backend_name: str) -> str:
    if request.param == "django_asgi" and anyio_backend_name == "trio":
        pytest.skip("Django needs asyncio")
    return str(request.param)


@pytest.fixture
def app(name: str) -> Any:
    return importlib.import_module(f"tests.frameworks.{name}_app").application


def run(app: Any, **options: Any) -> Any:
    return uwsgi_async.run(app, http="127.0.0.1:0", **options)


async def test_a_body_arrives_whole(app: Any) -> None:
    async with run(app) as server, connect(server) as client:
        for size in (0, 5, len(BIG)):
            answer = await client.get("/body", method="POST", body=BIG[:size])
            assert (answer.status, answer.body) == (200, b"got %d" % size)


async def test_a_stream_arrives_whole(app: Any, name: str) -> None:
    async with run(app) as server, connect(server) as client:
        for _ in range(2):
            answer = await client.get("/async-stream" if name == "django_asgi" else "/stream")
            assert (answer.status, len(answer.body)) == (200, 1_000_000)


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning", "ignore:Unclosed file:ResourceWarning")
async def test_a_stream_to_who_goes_away_ends_and_is_no_error(app: Any, name: str) -> None:
    async with run(app, cores=1) as server:
        async with connect(server) as client:
            path = b"/async-stream" if name == "django_asgi" else b"/stream"
            await client.send(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.stream.receive()
        with anyio.fail_after(20):
            assert (await get(server, "/where")).status == 200  # by the only core there is
    gc.collect()  # frameworks leave the generator, and Django the body's file, to the collector, which complains


async def test_a_file_arrives_whole(app: Any, name: str) -> None:
    expected = await anyio.Path(importlib.import_module(f"tests.frameworks.{name}_app").__file__ or "").read_bytes()
    async with run(app) as server, connect(server) as client:
        for _ in range(2):
            assert (await client.get("/file")).body == expected


async def test_an_error_is_the_frameworks_500(app: Any) -> None:
    async with run(app) as server, connect(server) as client:
        assert (await client.get("/error")).status == 500


async def test_plain_functions_run_in_threads_and_may_use_the_module(app: Any) -> None:
    async with run(app) as server, connect(server) as client:
        assert (await client.get("/thread")).body == b"from a thread"


async def test_below_a_mountpoint_it_finds_itself(app: Any) -> None:
    async with run({"/mounted": app}, manage_script_name=True) as server:
        answer = await get(server, "/mounted/where")
    assert answer.body == b"http://test/mounted/where"


@pytest.mark.parametrize("name", WITH_LIFESPAN)
async def test_what_its_lifespan_keeps_is_there_in_requests(app: Any) -> None:
    async with run(app) as server, connect(server) as client:
        assert (await client.get("/state")).body == b"begun"


async def test_a_background_task_of_starlette_holds_nobody_up() -> None:
    module = importlib.import_module("tests.frameworks.starlette_app")
    module.done.clear()
    async with run(module.application, cores=2) as server, connect(server) as client:
        assert (await client.get("/background")).body == b"answered"
        assert (await client.get("/where")).headers["x-middleware"] == "passed"
    assert module.done == [True]


@pytest.mark.parametrize("name", WITH_LIFESPAN)
async def test_its_websockets_are_served(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with run(app) as server:
        async with websocket(server, "/echo", "Sec-WebSocket-Protocol: chat\r\n") as ws:
            assert any(line.lower() == "sec-websocket-protocol: chat" for line in ws.head)
            for message in ("one", "two"):
                await ws.send(frame(TEXT, message.encode()))
                assert await ws.message() == f"/echo {message}"
            await ws.send(frame(CLOSE, close_payload(1000)))
            assert (await ws.until_close())[0] == 1000
    assert "the app raised an error" not in caplog.text
