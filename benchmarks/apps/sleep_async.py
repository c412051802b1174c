"""Wait in a core, then answer."""

import os

from uwsgi_async import async_sleep

SECONDS = float(os.environ["BENCHMARK_SLEEP"])
BODY = b"slept\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


async def application(environ, start_response):
    await async_sleep(SECONDS)
    start_response("200 OK", HEADERS)
    return [BODY]
