"""An ASGI app that keeps something from its beginning, and streams until the client goes away.

    uwsgi-async --http-socket 127.0.0.1:8000 --master --processes 2 --wsgi-file examples/asgi.py
    curl http://127.0.0.1:8000/
    curl -N http://127.0.0.1:8000/clock

Any framework's app is served in the same way: FastAPI, Starlette, Litestar, Django.
"""

import time

import uwsgi_async

TEXT = [(b"content-type", b"text/plain; charset=utf-8")]


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await live(scope, receive, send)
    elif scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": TEXT})
        await (clock if scope["path"] == "/clock" else hello)(scope, send)
    else:
        raise NotImplementedError(scope["type"])


async def live(scope, receive, send):
    """Begin before the first request of a process, and end behind the last one."""
    await receive()
    scope["state"]["since"] = time.ctime()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def hello(scope, send):
    text = f"worker {uwsgi_async.worker_id()} serves since {scope['state']['since']}\n"
    await send({"type": "http.response.body", "body": text.encode()})


async def clock(scope, send):
    """Tell the time each second; when the client has gone away, `send` raises an OSError, and this ends."""
    while True:
        await send({"type": "http.response.body", "body": f"{time.ctime()}\n".encode(), "more_body": True})
        await uwsgi_async.async_sleep(1)
