"""Answer in 100 parts of 1 KiB."""

PART = b"x" * 1024
HEADERS = [(b"content-type", b"text/plain")]


async def application(scope, receive, send):
    assert scope["type"] == "http"  # so a server learns that there is nothing to do at its start
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    for _ in range(100):
        await send({"type": "http.response.body", "body": PART, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
