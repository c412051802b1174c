"""An async generator as an app: one line a second, each sent at once. See it with `curl -N`.

uwsgi-async --http-socket 127.0.0.1:8000 --async 100 --wsgi-file examples/streaming.py
"""

import uwsgi_async

LINES = 10


async def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(LINES):
        yield f"line {number}\n".encode()
        await uwsgi_async.async_sleep(1)
