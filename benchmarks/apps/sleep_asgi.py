"""Wait, then answer: with the sleep of the event loop that runs."""

import os

if os.environ.get("BENCHMARK_LOOP") == "trio":
    from trio import sleep
else:
    from asyncio import sleep

SECONDS = float(os.environ["BENCHMARK_SLEEP"])
BODY = b"slept\n"
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", str(len(BODY)).encode())]


async def application(scope, receive, send):
    assert scope["type"] == "http"  # so a server learns that there is nothing to do at its start
    await sleep(SECONDS)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
