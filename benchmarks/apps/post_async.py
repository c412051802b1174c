"""Read the whole body and answer with its length."""


async def application(environ, start_response):
    body = await environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    answer = b"%d\n" % len(body)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
