"""Answer with 1 MiB."""

BODY = b"x" * 1024 * 1024
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", str(len(BODY)).encode())]


async def application(scope, receive, send):
    assert scope["type"] == "http"  # so a server learns that there is nothing to do at its start
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
