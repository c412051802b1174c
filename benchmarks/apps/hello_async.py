"""Answer at once."""

BODY = b"hello\n"
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", str(len(BODY)))]


async def application(environ, start_response):
    start_response("200 OK", HEADERS)
    return [BODY]
