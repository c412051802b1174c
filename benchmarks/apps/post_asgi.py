"""Read the whole body and answer with its length."""


async def application(scope, receive, send):
    assert scope["type"] == "http"  # so a server learns that there is nothing to do at its start
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    answer = b"%d\n" % len(b"".join(parts))
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
